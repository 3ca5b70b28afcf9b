"""tools/check_metrics against scratch repositories."""
import contextlib
import io
import pathlib
import sys
import tempfile
import unittest
from importlib.machinery import SourceFileLoader

sys.dont_write_bytecode = True
check_metrics = SourceFileLoader(
    "check_metrics", str(pathlib.Path(__file__).with_name("check_metrics"))).load_module()

SOURCE = '''metrics->AddGauge("skv_worker_kv_blocks", "Blocks.", {}, read);
counter("skv_worker_steps_total", "Steps.");
metrics->AddHistogram(
    "skv_router_ttft_seconds", "TTFT.", LatencyBuckets());
'''
PAGE = """| `skv_worker_kv_blocks` | gauge | | blocks |
| `skv_worker_steps_total` | counter | | steps |
| `skv_router_ttft_seconds` | histogram | | time |
"""


class CheckMetricsTest(unittest.TestCase):

    def check(self, source, page, path="worker/server/worker_metrics.cc"):
        with tempfile.TemporaryDirectory() as scratch:
            root = pathlib.Path(scratch)
            for name, text in ((path, source), ("docs/metrics.md", page)):
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = check_metrics.main(["--root", scratch])
        return code, out.getvalue() + err.getvalue()

    def test_a_complete_page_passes(self):
        code, output = self.check(SOURCE, PAGE)
        self.assertEqual(code, 0, output)
        self.assertIn("3 metrics, 0 problems", output)

    def test_every_difference_is_named(self):
        gauge = "| `skv_worker_kv_blocks` | gauge | | blocks |\n"
        cases = [
            ("not documented", SOURCE, PAGE.replace(gauge, ""), "skv_worker_kv_blocks: registered, but"),
            ("not registered", SOURCE, PAGE + gauge.replace("blocks", "pages"),
             "skv_worker_kv_pages: in docs/metrics.md, but"),
            ("another type", SOURCE, PAGE.replace("| gauge", "| counter"),
             "skv_worker_kv_blocks: docs/metrics.md says counter, the source gauge"),
            ("twice", SOURCE, PAGE + gauge, "skv_worker_kv_blocks: twice"),
            ("a name that is registered in a new way", SOURCE + 'Watch("skv_worker_new");', PAGE,
             "skv_worker_new: registered, but"),
            ("no metric at all", "", "", "no metric found")]
        for why, source, page, problem in cases:
            with self.subTest(why):
                code, output = self.check(source, page)
                self.assertEqual(code, 1)
                self.assertIn(problem, output)

    def test_names_in_tests_do_not_count(self):
        code, output = self.check(SOURCE, PAGE, path="worker/server/worker_metrics_test.cc")
        self.assertEqual(code, 1)
        self.assertIn("no metric found", output)


if __name__ == "__main__":
    unittest.main()
