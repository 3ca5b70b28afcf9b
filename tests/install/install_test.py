"""Installs skv into an empty folder, builds examples/ against it as a stranger would, and asks.

usage: install_test.py BUILD_DIR CXX_FLAGS

BUILD_DIR is skv's, completely built; CXX_FLAGS are those that the ABI of its libraries asks for
(sanitizers).
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = os.environ.get("SKV_MODEL", "models/SmolLM2-135M-Instruct.Q4_1.gguf")
REPORT = re.compile(r"\[(\d+) prompt tokens, (\d+) generated \((stop|length)\); "
                    r"sentencekv read ([\d.]+) of ([\d.]+) tokens a step "
                    r"and as much as ([\d.]+) to choose them\]\n")


def run(*command):
    """Standard output of a command that must succeed."""
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=600,
                          check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class InstallTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls.prefix = pathlib.Path(scratch.name) / "prefix"
        cls.build = pathlib.Path(scratch.name) / "build"
        run("cmake", "--install", BUILD_DIR, "--prefix", str(cls.prefix))

    def test_what_is_installed_is_what_the_library_and_the_programs_need(self):
        files = {p.relative_to(self.prefix).as_posix() for p in self.prefix.rglob("*")
                 if p.is_file()}
        self.assertEqual({f for f in files if f.startswith("bin/")},
                         {"bin/skv", "bin/skv-kvstore", "bin/skv-router", "bin/skv-worker"})
        self.assertEqual({f for f in files if f.startswith("include/")}, {"include/skv/llm.h"})
        libraries = {f for f in files if f.endswith(".a")}
        self.assertIn("lib/libskv_llm.a", libraries)
        self.assertEqual({f for f in libraries if re.search("test|eval|bench|router|proto", f)},
                         set())
        self.assertIn("lib/cmake/skv/skvConfig.cmake", files)
        self.assertIn("lib/cmake/skv/skvConfigVersion.cmake", files)
        version = run(str(self.prefix / "bin/skv"), "--version")
        self.assertRegex(version, r"\d+\.\d+\.\d+")

    def test_the_example_builds_against_it_and_answers(self):
        run("cmake", "-S", "examples", "-B", str(self.build), f"-DCMAKE_PREFIX_PATH={self.prefix}",
            f"-DCMAKE_CXX_FLAGS={CXX_FLAGS}")
        run("cmake", "--build", str(self.build))
        out = run(str(self.build / "skv-example-generate"), MODEL, "examples/lighthouse.txt",
                  "How many hens did Marta keep on the rock?")
        report = REPORT.search(out)
        self.assertIsNotNone(report, out)
        self.assertTrue(out[:report.start()].strip(), out)
        prompt, generated, _, read, of, choosing = report.groups()
        self.assertGreater(int(generated), 1)
        self.assertGreater(float(of), int(prompt))
        self.assertLessEqual(float(read), 384)
        self.assertGreater(float(read), 16)
        self.assertGreater(float(choosing), 0)


if __name__ == "__main__":
    BUILD_DIR, CXX_FLAGS = sys.argv[1:]
    unittest.main(argv=sys.argv[:1])
