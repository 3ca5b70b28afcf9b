"""Statistics and bench processes of tools/rows/rowlib.py."""
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "rows"))
import rowlib  # noqa: E402

ECHO = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if request["cmd"] == "die":
        sys.exit(1)
    print(json.dumps({"ok": request["cmd"] == "good", "error": "no such thing"}), flush=True)
"""


class MedianIntervalTest(unittest.TestCase):

    def test_the_interval_is_the_widest_pair_of_ranks_that_the_sign_test_needs(self):
        # Two-sided tails: n = 6 and 8 leave 3.1 % and 0.8 % outside the range; n = 9 with the
        # second ranks 3.9 %; n = 20 with the sixth 4.1 %.
        for n, ranks in {1: (1, 1), 5: (1, 5), 6: (1, 6), 8: (1, 8), 9: (2, 8), 20: (6, 15)}.items():
            with self.subTest(n=n):
                self.assertEqual(rowlib.median_interval(range(n, 0, -1)),
                                 ((n + 1) / 2, list(ranks)))


class ShareIntervalTest(unittest.TestCase):

    def test_the_interval_is_wilsons(self):
        # From the closed form, and at the edges n / (n + z^2).
        for hits, n, low, high in ((16, 20, 0.584, 0.919), (5, 5, 0.566, 1), (0, 5, 0, 0.434),
                                   (81, 263, 0.255, 0.366)):
            with self.subTest(hits=hits, n=n):
                share, interval = rowlib.share_interval(hits, n)
                self.assertEqual(share, hits / n)
                self.assertAlmostEqual(interval[0], low, places=3)
                self.assertAlmostEqual(interval[1], high, places=3)

    def test_the_interval_is_that_of_the_tables(self):
        for hits, n, low, high in ((50, 50, 0.9287, 1), (0, 20, 0, 0.1611), (45, 50, 0.7864, 0.9565)):
            with self.subTest(hits=hits, n=n):
                _, interval = rowlib.share_interval(hits, n)
                self.assertAlmostEqual(interval[0], low, places=4)
                self.assertAlmostEqual(interval[1], high, places=4)

    def test_no_trials_say_nothing(self):
        self.assertEqual(rowlib.share_interval(0, 0), (0, [0, 1]))


class ClusterTest(unittest.TestCase):
    """rowlib.cluster over a made-up skv."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        for name, value in (("BIN", self.folder), ("model_path", lambda: "model")):
            patch = unittest.mock.patch.object(rowlib, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def write_skv(self, body):
        path = self.folder / "skv"
        path.write_text("#!/bin/sh\n" + body)
        path.chmod(0o755)

    def test_it_is_ready_inside_and_stopped_by_sigterm_after(self):
        self.write_skv(f"trap 'touch {self.folder}/stopped; exit 0' TERM\n"
                       "echo '{\"endpoint\": \"e\"}'\nwhile :; do sleep 0.01; done\n")
        with rowlib.cluster("--tp", "2") as ready:
            self.assertEqual(ready, {"endpoint": "e"})
            self.assertFalse((self.folder / "stopped").exists())
        self.assertTrue((self.folder / "stopped").exists())

    def test_one_that_does_not_start_ends_the_row_with_its_exit_code(self):
        self.write_skv("exit 3\n")
        stderr = io.StringIO()
        with contextlib.redirect_stderr(stderr), self.assertRaises(SystemExit):
            with rowlib.cluster():
                self.fail("entered")
        self.assertIn("exit code 3", stderr.getvalue())


class EmitTest(unittest.TestCase):

    def emit(self, limits):
        stdout = io.StringIO()
        with contextlib.redirect_stdout(stdout):
            rowlib.emit("claim", "s", {"x": 1}, samples=1, limits=limits)
        return json.loads(stdout.getvalue())

    def test_a_row_holds_when_all_its_limits_are_met_and_names_those_that_are_not(self):
        self.assertEqual([self.emit({"a": True, "b": True})[key] for key in ("holds", "not_held")], [True, []])
        self.assertEqual([self.emit({"a": True, "b": False})[key] for key in ("holds", "not_held")], [False, ["b"]])

    def test_a_row_without_limits_only_measures(self):
        self.assertNotIn("holds", self.emit(None))


class LineProcessTest(unittest.TestCase):

    def setUp(self):
        self.process = rowlib.LineProcess("echo", [sys.executable, "-c", ECHO])
        self.addCleanup(self.process.close)

    def test_a_good_reply_comes_back(self):
        self.assertTrue(self.process.ask(cmd="good")["ok"])

    def test_an_error_or_a_death_ends_the_row_and_says_whose(self):
        for command, said in {"bad": "no such thing", "die": "ended in request 'die'"}.items():
            with self.subTest(command):
                err = io.StringIO()
                with contextlib.redirect_stderr(err), self.assertRaises(SystemExit):
                    self.process.ask(cmd=command)
                self.assertIn("echo: ", err.getvalue())
                self.assertIn(said, err.getvalue())


if __name__ == "__main__":
    unittest.main()
