"""The comparison of row B.rivals tells right from wrong. Needs NumPy."""
import sys
import unittest

sys.dont_write_bytecode = True

import numpy as np  # noqa: E402

import cases  # noqa: E402
import comparison  # noqa: E402
import transcription  # noqa: E402


def transcribed(case):
    """What a program that follows the transcription answers."""
    return [list(transcription.POLICIES[case.policy](
        case.queries[layer, head].astype(float), case.keys[layer, head].astype(float),
        prompt=case.prompt, budget=case.budget, layer=layer, layers=case.layers))
        for layer, head in case.heads()]


def plain_case(policy):
    return cases.make_case(policy, cases.KINDS.index("plain"))


class ComparisonTest(unittest.TestCase):

    def test_the_transcription_agrees_with_itself(self):
        for policy in transcription.POLICIES:
            for number in range(len(cases.KINDS)):
                case = cases.make_case(policy, number)
                self.assertEqual(comparison.judge(case, transcribed(case)), comparison.Verdict())

    def test_one_position_of_another_rank_is_a_difference(self):
        for policy in transcription.POLICIES:
            case = plain_case(policy)
            answer = transcribed(case)
            row = answer[-1][-1]
            outside = np.setdiff1d(np.arange(case.tokens), row)[0]
            answer[-1][-1] = np.sort(np.append(np.delete(row, len(row) // 2), outside))
            self.assertIn("missing", comparison.judge(case, answer).difference, policy)

    def test_a_choice_between_near_scores_is_near_and_kept(self):
        judge = comparison.Judge(width=1)
        judge.observed = np.array([0, 2, 9])
        scores = np.array([3, 1 + 1e-6, 1, 0.5])
        np.testing.assert_array_equal(judge(np.arange(4), scores, 2), [0, 2])
        self.assertEqual(judge.near, 1)

    def test_farther_scores_and_exact_ties_keep_to_the_rule(self):
        for second in (1 + 1e-4, 1):
            judge = comparison.Judge(width=1)
            judge.observed = np.array([0, 2, 9])
            scores = np.array([3, second, 1, 0.5])
            np.testing.assert_array_equal(judge(np.arange(4), scores, 2), [0, 1])
            self.assertEqual(judge.near, 0)

    def test_equal_keys_get_equal_scores(self):
        random = np.random.default_rng(1)
        keys = random.standard_normal((300, 64))
        keys[200:250] = keys[100]
        weights = transcription.attention(random.standard_normal((32, 3, 64)), keys, 268)
        self.assertTrue((weights[:, :, 200:250] == weights[:, :, 100:101]).all())


if __name__ == "__main__":
    unittest.main()
