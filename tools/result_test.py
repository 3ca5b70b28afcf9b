"""tools/result against scratch repositories with made-up rows."""
import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from importlib.machinery import SourceFileLoader
from unittest import mock

sys.dont_write_bytecode = True
result = SourceFileLoader("result", str(pathlib.Path(__file__).with_name("result"))).load_module()

GOOD_ROW = {"claim": "c", "unit": "u", "value": {"speed": 2.0}, "interval": {}, "samples": 7,
            "peer_samples": 0, "peers": {}}


class ResultTest(unittest.TestCase):

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        (self.root / "tools/rows").mkdir(parents=True)
        self.environment = dict(os.environ)
        self.addCleanup(lambda: (os.environ.clear(), os.environ.update(self.environment)))
        os.environ.pop("QUICK", None)

    def add_row(self, row_id, body):
        path = self.root / "tools/rows" / row_id
        path.write_text("#!/bin/sh\n" + body)
        path.chmod(0o755)

    def run_tool(self, *args):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = result.main(["--root", str(self.root), *args])
        return code, out.getvalue(), err.getvalue()

    def test_a_good_row_is_printed_and_written_with_its_circumstances(self):
        self.add_row("A.good", f"echo noise\necho '{json.dumps(GOOD_ROW)}'\n")
        code, out, _ = self.run_tool("A.good")
        self.assertEqual(code, 0)
        row = json.loads(out)
        self.assertEqual(row, json.loads((self.root / "results/A.good.json").read_text()))
        self.assertEqual(row["value"], {"speed": 2.0})
        for key in ("id", "command", "commit", "machine", "date", "duration_s"):
            self.assertIn(key, row)

    def git(self, *arguments):
        done = subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", *arguments],
                              cwd=self.root, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    def commit_of_good_row(self):
        code, out, err = self.run_tool("A.good")
        self.assertEqual(code, 0, err)
        return json.loads(out)["commit"], err

    def test_the_row_names_head_and_says_when_the_tree_differs(self):
        self.add_row("A.good", f"echo '{json.dumps(GOOD_ROW)}'\n")
        self.assertEqual(self.commit_of_good_row()[0], "unknown")
        self.git("init", "--quiet")
        self.git("add", "-A")
        self.git("commit", "--quiet", "-m", "rows")
        head = self.git("rev-parse", "--short=12", "HEAD")
        self.assertEqual(self.commit_of_good_row(), (head, mock.ANY))
        (self.root / "results/A.other.json").write_text("{}")
        self.assertEqual(self.commit_of_good_row()[0], head)
        self.add_row("A.good", f"echo changed\necho '{json.dumps(GOOD_ROW)}'\n")
        commit, err = self.commit_of_good_row()
        self.assertEqual(commit, f"{head}-dirty")
        self.assertIn("uncommitted", err)

    def test_nothing_is_written_when_the_tree_changes_meanwhile(self):
        self.add_row("A.bad", f"echo new > source\necho '{json.dumps(GOOD_ROW)}'\n")
        self.git("init", "--quiet")
        self.git("add", "-A")
        self.git("commit", "--quiet", "-m", "rows")
        code, _, err = self.run_tool("A.bad")
        self.assertEqual(code, 1)
        self.assertIn("when it began", err)
        self.assertFalse((self.root / "results").exists())

    def test_quick_goes_beside_the_committed_row_and_is_told_to_the_script(self):
        self.add_row("A.good", f"test \"$QUICK\" = 1 || exit 9\necho '{json.dumps(GOOD_ROW)}'\n")
        os.environ["QUICK"] = "1"
        self.assertEqual(self.run_tool("A.good")[0], 0)
        self.assertTrue((self.root / "results/quick/A.good.json").exists())
        self.assertFalse((self.root / "results/A.good.json").exists())

    def test_a_row_that_cannot_be_quick_prints_the_committed_one_and_says_so(self):
        self.add_row("A.slow", "# quick: committed\nexit 9\n")
        os.environ["QUICK"] = "1"
        self.assertEqual(self.run_tool("A.slow")[0], 1)
        (self.root / "results").mkdir()
        (self.root / "results/A.slow.json").write_text(json.dumps({**GOOD_ROW, "date": "then"}))
        code, out, err = self.run_tool("A.slow")
        self.assertEqual((code, json.loads(out)["date"]), (0, "then"))
        self.assertIn("cannot be quick", err)

    def test_a_broken_row_writes_nothing(self):
        cases = {"exits": "exit 3\n", "silent": "true\n", "words": "echo fine\n",
                 "list": "echo '[1]'\n", "keys": "echo '{\"claim\": \"c\"}'\n"}
        for why, body in cases.items():
            with self.subTest(why):
                self.add_row("A.bad", body)
                code, out, err = self.run_tool("A.bad")
                self.assertEqual((code, out), (1, ""))
                self.assertIn("nothing written", err)
                self.assertFalse((self.root / "results").exists())

    def test_an_unknown_row_is_named_with_the_known_ones(self):
        self.add_row("A.good", "true\n")
        code, _, err = self.run_tool("A.typo")
        self.assertEqual(code, 2)
        self.assertIn("A.typo", err)
        self.assertIn("A.good", err)

    def test_a_claim_that_does_not_hold_is_loud(self):
        self.add_row("A.bad", f"echo '{json.dumps({**GOOD_ROW, 'holds': False})}'\n")
        self.assertIn("NOT hold", self.run_tool("A.bad")[2])

    def test_the_limits_that_were_not_met_are_named(self):
        self.add_row("A.bad", f"echo '{json.dumps({**GOOD_ROW, 'holds': False, 'not_held': ['pause', 'memory']})}'\n")
        self.assertIn("NOT hold: pause; memory", self.run_tool("A.bad")[2])


if __name__ == "__main__":
    unittest.main()
