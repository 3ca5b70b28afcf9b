"""Compares what a program attends with the transcription, case by case."""
import dataclasses

import numpy as np

import transcription

# Scores that differ by less, relative to the larger, are too near to tell: the policies compute in
# float32, the transcription in float64. float32_error is what that makes of a score.
TOLERANCE = 1e-5


def prompt_of(case, layer, head, dtype=np.float64):
    """Queries and keys of the prompt."""
    return (case.queries[layer, head, :case.prompt].astype(dtype),
            case.keys[layer, head, :case.prompt].astype(dtype))


def within_tolerance(ours, theirs, candidates, scores):
    """Whether two choices of as many candidates differ only in scores too near to tell.

    Equal scores are not near but a tie, which has a rule: then this is false.
    """
    dropped = scores[np.isin(candidates, np.setdiff1d(ours, theirs))]
    added = scores[np.isin(candidates, np.setdiff1d(theirs, ours))]
    if np.isin(dropped, added).any():
        return False
    return dropped.max() - added.min() <= TOLERANCE * dropped.max()


class Judge:
    """`choose` of the transcription: the rule's choice, or the observed one where both are right.

    So a policy whose state depends on its choices goes on from the program's.
    """

    def __init__(self, width):
        self._width = width  # positions that a candidate stands for
        self.observed = None  # positions attended at the step that the choice decides
        self.near = 0

    def __call__(self, candidates, scores, count):
        ours = transcription.best(candidates, scores, count)
        seen = np.isin(candidates * self._width, self.observed)
        # What was chosen and evicted before the step is not seen: it must have been the best left.
        missing = max(0, count - np.count_nonzero(seen))
        left = transcription.best(candidates[~seen], scores[~seen], missing)
        theirs = np.sort(np.concatenate([candidates[seen], left]))
        if np.array_equal(ours, theirs) or len(theirs) != count:
            return ours
        if not within_tolerance(ours, theirs, candidates, scores):
            return ours
        self.near += 1
        return theirs


@dataclasses.dataclass
class Verdict:
    near: bool = False  # some choice was too near to tell
    difference: str = ""  # the first one


def judge(case, answer):
    """Verdict on one case; `answer` is per layer and KV head, per generated position."""
    verdict = Verdict()
    policy = transcription.POLICIES[case.policy]
    for (layer, head), observed in zip(case.heads(), answer, strict=True):
        choose = Judge(transcription.PAGE if case.policy == "quest" else 1)
        steps = policy(case.queries[layer, head].astype(float),
                       case.keys[layer, head].astype(float), prompt=case.prompt,
                       budget=case.budget, layer=layer, layers=case.layers, choose=choose)
        for step, theirs in enumerate(observed):
            choose.observed = theirs
            ours = next(steps)
            if not np.array_equal(ours, theirs):
                verdict.difference = (f"{case} layer {layer} head {head} step {step}: missing "
                                      f"{np.setdiff1d(ours, theirs)}, too many "
                                      f"{np.setdiff1d(theirs, ours)}")
                return verdict
        verdict.near |= choose.near > 0
    return verdict


def prompt_scores(case, layer, head, dtype):
    """The scores that the policy ranks by at the prompt's end, computed in `dtype`."""
    queries, keys = prompt_of(case, layer, head, dtype)
    if case.policy == "h2o":
        return transcription.attention(queries, keys, 0).sum(axis=(0, 1))
    if case.policy == "quest":
        return transcription.quest_scores(queries[-1], keys)
    return transcription.snapkv_scores(queries, keys, transcription.window(case.budget))


def float32_error(case):
    """Largest relative error of float32 in the scores of the first layer and KV head."""
    if case.policy == "streaming" or case.prompt <= case.budget:
        return 0
    exact = prompt_scores(case, 0, 0, np.float64)
    return float(np.max(np.abs(prompt_scores(case, 0, 0, np.float32) - exact) / exact))
