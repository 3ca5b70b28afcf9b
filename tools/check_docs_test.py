"""tools/check_docs against scratch repositories."""
import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest
from importlib.machinery import SourceFileLoader

sys.dont_write_bytecode = True
check_docs = SourceFileLoader(
    "check_docs", str(pathlib.Path(__file__).with_name("check_docs"))).load_module()


class CheckDocsTest(unittest.TestCase):

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        (self.root / "results").mkdir()
        row = {"value": {"ratio": 1.934, "top1": 0.99751, "tiny": 3.21e-4, "count": 20000,
                         "by_option": {"least=0.05": [{"f1": 0.5}]}}}
        (self.root / "results/A.x.json").write_text(json.dumps(row))

    def check(self, text, *args):
        (self.root / "README.md").write_text(text)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = check_docs.main(["--root", str(self.root), *args])
        return code, out.getvalue() + err.getvalue()

    def test_a_number_passes_only_as_the_rounded_measurement(self):
        cases = [("<!-- row A.x value.ratio -->1.93x", 0), ("<!-- row A.x value.ratio -->1.9x", 0),
                 ("<!-- row A.x value.ratio -->1.94x", 1), ("<!-- row A.x value.ratio -->2x", 0),
                 ("<!-- row A.x value.top1 x100 -->99.8 %", 0),
                 ("<!-- row A.x value.top1 x100 -->99.9 %", 1),
                 ("<!-- row A.x value.tiny -->3.2e-4", 0), ("<!-- row A.x value.tiny -->3e-5", 1),
                 ("<!-- row A.x value.count -->20,000 lines", 0),
                 ("<!-- row A.x value.count -->20,001 lines", 1),
                 ("<!-- row A.x value.by_option.least=0.05.0.f1 -->0.50", 0),
                 ("<!-- row A.x value.by_option.least=0.05.1.f1 -->0.50", 1),
                 ("<!-- row A.x value.by_option.least=0.0.f1 -->0.50", 1)]
        for text, expected in cases:
            with self.subTest(text):
                self.assertEqual(self.check(text)[0], expected)

    def test_a_mark_without_row_path_or_number_is_a_problem_with_its_line(self):
        for text in ("<!-- row A.y value.ratio -->1", "<!-- row A.x value.none -->1",
                     "<!-- row A.x value -->1", "<!-- row A.x value.ratio -->fast"):
            with self.subTest(text):
                code, said = self.check("\n\n" + text)
                self.assertEqual(code, 1)
                self.assertIn("README.md:3:", said)

    def test_command_blocks_run_only_when_asked_and_must_succeed(self):
        bad = "<!-- run -->\n```sh\ntrue\nfalse\ntrue\n```\n"
        self.assertEqual(self.check(bad)[0], 0)
        self.assertEqual(self.check(bad, "--run")[0], 1)
        self.assertEqual(self.check("```sh\nfalse\n```\n", "--run")[0], 0)

    def test_of_a_transcript_only_the_prompted_lines_run(self):
        text = "<!-- run -->\n```console\n$ echo made > made\nnot a command\n```\n"
        self.assertEqual(self.check(text, "--run")[0], 0)
        self.assertEqual((self.root / "made").read_text(), "made\n")

    def test_a_block_that_takes_too_long_is_stopped(self):
        code, said = self.check("<!-- run 1 -->\n```sh\nread line < <(sleep 30)\n```\n", "--run")
        self.assertEqual(code, 1)
        self.assertIn("longer than 1 s", said)

    def test_a_quotation_stands_in_its_file_line_by_line(self):
        (self.root / "list.h").write_text("#pragma once\nint a;\nint b;\n")
        cases = [("```cpp\nint a;\nint b;\n```", 0), ("```cpp\n#pragma once\nint a;\n```", 0),
                 ("```cpp\nint a;\n```\n\n```\nint c;\n```", 0), ("```cpp\nint b;\nint a;\n```", 1),
                 ("```cpp\nnt a;\n```", 1), ("```cpp\nint\n```", 1), ("int a;", 1)]
        for block, expected in cases:
            with self.subTest(block):
                code, said = self.check(f"text\n<!-- quote list.h -->\n{block}\n")
                self.assertEqual(code, expected, said)
                self.assertEqual("README.md:2: quote list.h" in said, bool(expected))

    def test_a_quotation_of_no_file_is_a_problem(self):
        self.assertEqual(self.check("<!-- quote none.h -->\n```\nint a;\n```\n")[0], 1)


if __name__ == "__main__":
    unittest.main()
