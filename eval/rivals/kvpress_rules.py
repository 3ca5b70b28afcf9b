"""What kvpress keeps of a case's prompt, for the presses whose rule is that of a policy.

A press sees the very keys and queries of a case: a stand-in for its attention module projects
hidden states, which are the rotated queries, onto themselves, and rotary embeddings do nothing.
Values are positions, so that what a press returns says what it kept.
"""
import importlib.metadata
import types
import unittest.mock

import kvpress
import numpy as np
import torch

import comparison
import transcription

VERSIONS = {name: importlib.metadata.version(name) for name in ("kvpress", "torch", "transformers")}
OWN_KERNEL = 5  # of SnapKVPress unless told otherwise


def pool_max(scores, kernel_size, padding, stride):
    return torch.nn.functional.max_pool1d(scores, kernel_size, stride=stride, padding=padding)


def maxima():
    """While this holds, presses pool by the maximum instead of the mean."""
    functional = types.SimpleNamespace(pad=torch.nn.functional.pad, avg_pool1d=pool_max)
    return unittest.mock.patch("kvpress.presses.snapkv_press.F", functional)


class CountBesideWindow(kvpress.PyramidKVPress):
    """The window comes on top of a layer's count, as in the paper's code."""

    def get_layer_budget(self, module, q_len):
        return super().get_layer_budget(module, q_len) + self.window_size


def ratio(length, kept):
    """The compression ratio at which a press keeps `kept` of `length`: halfway to the next."""
    return 1 - (kept + 0.5) / length


class Layer:
    """One layer of a case, cut to its first `length` tokens, as a press is handed it."""

    def __init__(self, case, layer, length):
        keys, queries = case.keys[layer][:, :length], case.queries[layer][:, :length]
        kv_heads, _, group, head_dim = queries.shape
        positions = torch.arange(length)[None, None, :, None].expand(1, kv_heads, -1, head_dim)
        self._module = types.SimpleNamespace(
            layer_idx=layer, head_dim=head_dim, q_proj=lambda hidden: hidden,
            config=types.SimpleNamespace(num_attention_heads=kv_heads * group,
                                         num_key_value_heads=kv_heads,
                                         num_hidden_layers=case.layers))
        # hidden_states, keys, values, attentions, kwargs
        self._arguments = [
            torch.tensor(queries.transpose(1, 0, 2, 3).reshape(1, length, -1)),
            torch.tensor(keys)[None], positions, None,
            {"position_embeddings": (torch.ones(1, length, head_dim),
                                     torch.zeros(1, length, head_dim))}]

    def kept(self, press):
        """Sorted positions per KV head that the press keeps."""
        _, values = press.compress(self._module, *self._arguments)
        return [np.sort(head) for head in values[0, :, :, 0].numpy()]

    def scores(self, press):
        """Scores [kv_heads, length]."""
        return press.score(self._module, *self._arguments)[0].numpy()


def streaming(case, layer, length):
    """Of the first `length` tokens: StreamingLLMPress as it is. Nothing where all are kept."""
    if length <= case.budget:
        return []
    press = kvpress.StreamingLLMPress(compression_ratio=ratio(length, case.budget),
                                      n_sink=transcription.SINKS)
    return Layer(case, layer, length).kept(press)


def snapkv(case, layer):
    """Of the prompt: SnapKVPress with our window, kernel and maximum. Nothing where all stay."""
    if case.prompt <= case.budget:
        return []
    press = kvpress.SnapKVPress(compression_ratio=ratio(case.prompt, case.budget),
                                window_size=transcription.window(case.budget),
                                kernel_size=transcription.POOL)
    with maxima():
        return Layer(case, layer, case.prompt).kept(press)


def pyramidkv(case, layer):
    """Of the prompt: PyramidKVPress likewise, its count beside the window.

    Nothing where it has no pyramid or we have none: its last layer must have as many scored tokens
    as the window, ours one.
    """
    window = transcription.window(case.budget)
    ends = transcription.pyramid_ends(case.prompt, case.budget, case.layers)
    if ends is None or ends[1] < window:
        return []
    press = CountBesideWindow(compression_ratio=1 - (case.budget - window) / case.prompt,
                              window_size=window, kernel_size=transcription.POOL,
                              beta=transcription.BETA)
    with maxima():
        return Layer(case, layer, case.prompt).kept(press)


def same_but_for_ties(case, layer, head, theirs, ours):
    """Whether scores too near to tell, or equal ones, explain every difference."""
    if len(ours) != len(theirs):
        return False
    scores = transcription.snapkv_scores(*comparison.prompt_of(case, layer, head),
                                         transcription.window(case.budget))
    dropped, added = scores[np.setdiff1d(ours, theirs)], scores[np.setdiff1d(theirs, ours)]
    return dropped.max() - added.min() <= comparison.TOLERANCE * dropped.max()


def judge(case, answer):
    """(whether some layer was comparable, whether ties made a difference, the first difference)."""
    compared, ties = False, False
    for (layer, head), steps in zip(case.heads(), answer, strict=True):
        if case.policy == "streaming":
            pairs = [(streaming(case, layer, length), steps[length - case.prompt - 1])
                     for length in {case.prompt + 1, case.tokens}]
        elif case.policy in ("snapkv", "pyramidkv"):
            rule = {"snapkv": snapkv, "pyramidkv": pyramidkv}[case.policy]
            pairs = [(rule(case, layer), steps[0][steps[0] < case.prompt])]
        else:
            return False, False, ""
        for theirs, ours in pairs:
            if not theirs:
                continue
            compared = True
            if np.array_equal(theirs[head], ours):
                continue
            ties = True
            if case.policy == "streaming" or not same_but_for_ties(case, layer, head, theirs[head],
                                                                   ours):
                return compared, ties, f"{case} layer {layer} head {head}: kvpress keeps others"
    return compared, ties, ""


def scores_error(case):
    """Largest relative difference of SnapKVPress' scores, as it is, from the transcription's."""
    window = transcription.window(case.budget)
    if case.prompt <= window:
        return 0
    theirs = Layer(case, 0, case.prompt).scores(kvpress.SnapKVPress(window_size=window))
    worst = 0
    for head, scores in enumerate(theirs):
        # It takes the mean over the window where we take the sum.
        ours = transcription.snapkv_scores(*comparison.prompt_of(case, 0, head), window,
                                           kernel=OWN_KERNEL, kind="avg") / window
        worst = max(worst, float(np.max(np.abs(scores[:-window] - ours) / ours)))
    return worst
