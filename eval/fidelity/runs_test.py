"""Statistics of eval/fidelity/runs.py, and the needle samples of make_needles."""
import importlib.machinery
import importlib.util
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import runs  # noqa: E402

loader = importlib.machinery.SourceFileLoader("make_needles", str(HERE / "make_needles"))
make_needles = importlib.util.module_from_spec(importlib.util.spec_from_loader("make_needles", loader))
loader.exec_module(make_needles)


class StatisticsTest(unittest.TestCase):

    def test_only_samples_that_differ_count_in_a_pair(self):
        self.assertEqual(runs.paired_p(0, 0), 1)
        self.assertAlmostEqual(runs.paired_p(0, 6), 2 / 64)
        self.assertAlmostEqual(runs.paired_p(3, 3), 1)


class TextsTest(unittest.TestCase):

    def test_the_fixed_texts_have_their_hashes(self):
        self.assertEqual(len(runs.texts()), 6)


class CellsTest(unittest.TestCase):

    def test_a_run_begins_with_the_cells_that_were_kept_and_then_with_its_own(self):
        with tempfile.TemporaryDirectory() as folder:
            state, kept = pathlib.Path(folder, "build/cells.json"), pathlib.Path(folder, "kept.json")
            self.assertFalse(runs.state_path(state, kept).exists())
            kept.write_text("of another machine")
            self.assertEqual(runs.state_path(state, kept).read_text(), "of another machine")
            state.write_text("its own")
            self.assertEqual(runs.state_path(state, kept).read_text(), "its own")


class NeedlesTest(unittest.TestCase):

    def test_spans_are_the_needles_that_are_asked_for(self):
        for task, (num_keys, num_values, num_asked) in make_needles.TASKS.items():
            if task == "followup":
                continue
            with self.subTest(task):
                line = make_needles.Sample(task, 5).line(200, 0)
                self.assertEqual(len(line["spans"]), num_asked * num_values)
                self.assertEqual(len(line["outputs"]), num_asked * num_values)
                data = line["input"].encode()
                self.assertEqual(data.count(b"The hidden number assigned"), num_keys * num_values)
                for begin, end in line["spans"]:
                    needle = data[begin:end].decode()
                    self.assertTrue(any(needle.endswith(f" is {value}.") for value in line["outputs"]), needle)

    def test_seeds_and_lengths_draw_the_same_needles(self):
        sample = make_needles.Sample("multi_key", 7)
        self.assertEqual(sample.line(50, 0)["outputs"], make_needles.Sample("multi_key", 7).line(90, 0)["outputs"])
        self.assertNotEqual(sample.text(50), make_needles.Sample("multi_key", 8).text(50))

    def test_each_question_of_a_followup_has_its_own_needle(self):
        line = make_needles.Sample("followup", 5).line(200, 0)
        self.assertEqual(len(line["questions"]), 2)
        for asked in line["questions"]:
            [value] = asked["outputs"]
            key = asked["answer_prefix"].split()[-2]
            self.assertIn(f"The hidden number assigned to {key} is {value}.", line["document"])
            self.assertIn(key, asked["text"])
            self.assertNotIn(asked["text"], line["document"])


if __name__ == "__main__":
    unittest.main()
