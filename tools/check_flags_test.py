"""tools/check_flags against stand-ins for the programs."""
import contextlib
import io
import pathlib
import sys
import tempfile
import unittest
from importlib.machinery import SourceFileLoader

sys.dont_write_bytecode = True
check_flags = SourceFileLoader(
    "check_flags", str(pathlib.Path(__file__).with_name("check_flags"))).load_module()

HELP = """A program
Options:
  -h,--help                   Print this help message and exit
  --port INT in 0..65535=0    Port
"""
HELP_WITH_COMMAND = HELP + """
Subcommands:
  start                       Starts it
"""


class CheckFlagsTest(unittest.TestCase):

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.root = pathlib.Path(scratch.name)
        self.page = self.root / "flags.md"
        for program in check_flags.PROGRAMS:
            self.install(program, HELP)

    def install(self, program, text, command=""):
        """A script that prints `text`, or `command` when it is given a word before --help."""
        script = self.root / program
        script.write_text(f"#!/bin/sh\n[ $# -gt 1 ] && cat <<'END' && exit\n{command}END\n"
                          f"cat <<'END'\n{text}END\n")
        script.chmod(0o755)

    def check(self, *args):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = check_flags.main(["--bin", str(self.root), "--page", str(self.page), *args])
        return code, out.getvalue() + err.getvalue()

    def test_a_page_just_written_is_right_and_has_every_command(self):
        self.install("skv", HELP_WITH_COMMAND, command="Starts it\n  --now   At once\n")
        code, output = self.check("--write")
        self.assertEqual(code, 0, output)
        self.assertIn("5 commands", output)
        self.assertIn("## `skv start`", self.page.read_text())
        self.assertEqual(self.check()[0], 0)

    def test_what_has_changed_since_is_named(self):
        self.check("--write")
        cases = [("a new flag", HELP + "  --host TEXT   Address\n", "skv --host: not in the page"),
                 ("a flag that went", HELP.replace("--port", "--admin-port"),
                  "skv --port: only in the page"),
                 ("another default", HELP.replace("65535=0", "65535=1"),
                  "skv: its help has another text"),
                 ("a new command", HELP_WITH_COMMAND, "skv start --now: not in the page")]
        for why, text, problem in cases:
            with self.subTest(why):
                self.install("skv", text, command="Starts it\n  --now   At once\n")
                code, output = self.check()
                self.assertEqual(code, 1)
                self.assertIn(problem, output)
                self.assertIn("run tools/check_flags --write", output)

    def test_a_program_that_fails_is_named(self):
        self.install("skv-worker", "")
        (self.root / "skv-worker").write_text("#!/bin/sh\nexit 3\n")
        with self.assertRaises(SystemExit) as end:
            self.check()
        self.assertIn("skv-worker --help: exit code 3", str(end.exception))


if __name__ == "__main__":
    unittest.main()
