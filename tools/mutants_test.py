"""tools/mutants in a repository of five text files, whose tests are greps."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

TOOL = pathlib.Path(__file__).resolve().parent / "mutants"
sys.dont_write_bytecode = True
sys.path.insert(0, str(TOOL.parent / "rows"))
import seeded_faults  # noqa: E402
LISTING = """
cmake_minimum_required(VERSION 3.25)
project(tiny NONE)
enable_testing()
add_custom_target(skv_near_test)
add_custom_target(skv_near_deep_test)
add_custom_target(skv_near_wide_test)
add_custom_target(everything ALL COMMAND grep -q good ${CMAKE_SOURCE_DIR}/built.txt)
add_test(NAME skv_near_test COMMAND grep -q good ${CMAKE_SOURCE_DIR}/near/a.txt)
add_test(NAME another COMMAND grep -q good ${CMAKE_SOURCE_DIR}/near/deep/d.txt)
add_test(NAME skv_near_deep_test COMMAND grep -q good ${CMAKE_SOURCE_DIR}/built.txt)
add_test(NAME skv_near_wide_test COMMAND grep -q good ${CMAKE_SOURCE_DIR}/near/deep/d.txt)
add_test(NAME other COMMAND grep -q good ${CMAKE_SOURCE_DIR}/near/b.txt)
add_test(NAME slow COMMAND grep -q good ${CMAKE_SOURCE_DIR}/near/c.txt)
add_test(NAME tools_mutants_test COMMAND grep -q good ${CMAKE_SOURCE_DIR}/near/c.txt)
set_tests_properties(slow PROPERTIES LABELS slow)
"""
PRESETS = {"version": 6, "configurePresets": [
    {"name": "release", "generator": "Ninja", "binaryDir": "${sourceDir}/build/release"}]}
FILES = ("near/a.txt", "near/b.txt", "near/c.txt", "near/deep/d.txt", "built.txt")


def fault(path, old="good"):
    return f"--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-{old}\n+bad\n"


class MutantsTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.write("CMakeLists.txt", LISTING)
        self.write("CMakePresets.json", json.dumps(PRESETS))
        self.write(".gitignore", "build/\n")
        for path in FILES:
            self.write(path, "good\n")
        self.write("tools/mutants", TOOL.read_text())
        shutil.copymode(TOOL, self.root / "tools/mutants")
        self.git("init", "--quiet")
        self.commit()

    def write(self, path, text):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def git(self, *arguments):
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", *arguments],
                       cwd=self.root, check=True, stdout=subprocess.DEVNULL)

    def commit(self):
        self.git("add", "-A")
        self.git("commit", "--quiet", "-m", "tiny")

    def mutants(self, *arguments):
        done = subprocess.run([self.root / "tools/mutants", "--jobs", "1", *arguments], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        return done.returncode, json.loads(done.stdout or "{}"), done.stderr

    def test_every_fault_gets_its_verdict(self):
        self.write("tests/mutants/near.patch", fault("near/a.txt"))
        self.write("tests/mutants/other.patch", fault("near/b.txt"))
        self.write("tests/mutants/only_slow.patch", fault("near/c.txt"))
        self.write("tests/mutants/outdated.patch", fault("near/a.txt", old="older"))
        self.write("tests/mutants/unbuildable.patch", fault("built.txt"))
        code, result, _ = self.mutants()
        self.assertEqual(code, 1)
        self.assertEqual({name: (entry["state"], entry["caught_by"])
                          for name, entry in result["faults"].items()},
                         {"near": ("caught", ["skv_near_test Failed"]),
                          "other": ("caught", ["other Failed"]),
                          "only_slow": ("missed", []), "outdated": ("does not apply", []),
                          "unbuildable": ("does not build", [])})
        self.assertEqual((result["seeded"], result["applied"], result["missed"]), (5, 3, 1))

    def test_tests_of_the_top_folder_come_before_all_others(self):
        self.write("tests/mutants/deep.patch", fault("near/deep/d.txt"))
        _, result, _ = self.mutants()
        self.assertEqual(result["faults"]["deep"]["caught_by"], ["skv_near_wide_test Failed"])

    def test_outcomes_are_kept_until_the_commit_or_the_patch_changes(self):
        self.write("tests/mutants/near.patch", fault("near/a.txt"))
        self.assertEqual(self.mutants()[0], 0)
        self.assertNotIn("1/1", self.mutants()[2])
        self.assertIn("1/1 near: caught", self.mutants("--fresh")[2])
        self.commit()
        self.assertIn("1/1 near: caught", self.mutants()[2])

    def test_an_area_is_what_names_begin_with(self):
        self.write("tests/mutants/near_a.patch", fault("near/a.txt"))
        self.write("tests/mutants/nearly_b.patch", fault("near/b.txt"))
        code, result, _ = self.mutants("--areas", "near")
        self.assertEqual((code, list(result["faults"])), (0, ["near_a"]))
        code, _, stderr = self.mutants("--areas", "near", "far")
        self.assertEqual(code, 1)
        self.assertIn("unknown: far", stderr)

    def test_nothing_is_judged_when_the_tests_fail_without_a_fault(self):
        self.write("near/b.txt", "bad\n")
        self.commit()
        self.write("tests/mutants/near.patch", fault("near/a.txt"))
        code, result, stderr = self.mutants()
        self.assertEqual((code, result), (1, {}))
        self.assertIn("without a fault fails: other Failed", stderr)


class PatchesTest(unittest.TestCase):
    """The faults of this repository: a change of the code that they seed must take them along."""

    root = TOOL.parent.parent

    def patches(self):
        return sorted((self.root / "tests/mutants").glob("*.patch"))

    def test_every_patch_belongs_to_one_row(self):
        for patch in self.patches():
            rows = [row for row, areas in seeded_faults.AREAS.items()
                    if any(patch.stem.startswith(area + "_") for area in areas)]
            self.assertEqual(len(rows), 1, f"{patch.name}: {rows}")

    def test_every_patch_applies(self):
        root = self.root
        for patch in self.patches():
            with self.subTest(patch.name):
                done = subprocess.run(["git", "apply", "--check", patch], cwd=root, text=True,
                                      capture_output=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    os.environ.pop("GIT_DIR", None)
    unittest.main()
