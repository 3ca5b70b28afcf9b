"""Statistics and bench processes of tools/rows/rowlib.py."""
import contextlib
import io
import pathlib
import sys
import unittest

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
