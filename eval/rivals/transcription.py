"""Five rivals of `sentencekv` from their formulas, in NumPy: what a generated position attends.

Written from the papers and the project's specification of them alone, to hold the C++ policies to.
Of one layer and KV head: keys [tokens, head_dim], queries [tokens, group, head_dim], both rotated.
Each policy is a generator over the generated positions: it yields the sorted positions that each
attends.

Equal keys get bitwise equal scores, so that ties are exact. `choose(candidates, scores, count)`
picks positions or pages by their scores; `best` is the rule, a comparison may put its own there.
"""
from fractions import Fraction
import math

import numpy as np

SINKS = 4  # StreamingLLM's
POOL = 7  # width of SnapKV's pooling
BETA = 20  # PyramidKV's
PAGE, LEAST_PAGES, DENSE_LAYERS = 16, 3, 2  # Quest's


def best(candidates, scores, count):
    """The `count` candidates of the largest scores, ties to the smaller one; in ascending order."""
    order = np.lexsort((candidates, -scores))
    return np.sort(candidates[order[:count]])


def attention(queries, keys, first):
    """Causal attention [group, rows, keys]; the first row of queries is at position `first`."""
    different, place = np.unique(keys, axis=0, return_inverse=True)
    logits = np.einsum("rgd,kd->grk", queries, different, optimize=True) / math.sqrt(keys.shape[1])
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))[:, :, place.ravel()]
    visible = np.arange(len(keys)) <= first + np.arange(len(queries))[:, None]
    weights = np.where(visible, weights, 0)
    return weights / weights.sum(axis=2, keepdims=True)


def window(budget):
    """How many of the prompt's last queries SnapKV observes."""
    return min(32, budget // 4)


def streaming(queries, keys, prompt, budget, **_):
    """StreamingLLM (arXiv 2309.17453): the first tokens and the last ones."""
    for position in range(prompt, len(keys)):
        length = position + 1
        kept = np.arange(length)
        yield kept[(kept < SINKS) | (kept >= length - (budget - SINKS))]


def pool(scores, kernel, kind):
    """Each score's neighbourhood of `kernel`, zeros beyond the ends; its `max` or its `avg`."""
    sides = np.pad(scores, [(0, 0)] * (scores.ndim - 1) + [(kernel // 2, kernel // 2)])
    views = np.lib.stride_tricks.sliding_window_view(sides, kernel, axis=-1)
    return views.max(axis=-1) if kind == "max" else views.sum(axis=-1) / kernel


def snapkv_scores(queries, keys, observed, kernel=POOL, kind="max"):
    """Scores [len(keys) - observed] of a prompt, from its last `observed` queries."""
    before = len(keys) - observed
    mass = attention(queries[before:], keys, before)[:, :, :before].sum(axis=1)
    return pool(mass, kernel, kind).mean(axis=0)


def snapkv(queries, keys, prompt, budget, choose=best, scored=None, **_):
    """SnapKV (arXiv 2404.14469): the prompt's most observed and last tokens, all generated ones.

    `scored` is how many of the former; by default what the budget leaves.
    """
    observed = window(budget)
    kept = np.arange(prompt)
    if prompt >= budget:
        scored = budget - observed if scored is None else scored
        scores = snapkv_scores(queries[:prompt], keys[:prompt], observed)
        chosen = choose(kept[:prompt - observed], scores, scored)
        kept = np.concatenate([chosen, kept[prompt - observed:]])
    for position in range(prompt, len(keys)):
        yield np.concatenate([kept, np.arange(prompt, position + 1)])


def pyramid_ends(prompt, budget, layers):
    """Scored tokens of PyramidKV's first and last layer; None: SnapKV's in every layer."""
    observed = window(budget)
    average = budget - observed
    if prompt < 2 * average or layers == 1:
        return None
    least = Fraction(average, BETA)
    most = 2 * average - least
    if most >= prompt - observed:
        most = Fraction(prompt - observed)
        least = 2 * average - most
    return (most, least) if least >= 1 else None


def pyramid_sizes(prompt, budget, layers):
    """Scored tokens of each layer, beside the window."""
    average = budget - window(budget)
    ends = pyramid_ends(prompt, budget, layers)
    if ends is None:
        return [average] * layers
    most, least = ends
    step = (most - least) / (layers - 1)
    sizes = [math.floor(most - layer * step + Fraction(1, 2)) for layer in range(layers)]
    rest = layers * average - sum(sizes)
    for layer in range(abs(rest)):
        sizes[layer] += 1 if rest > 0 else -1
    return sizes


def pyramidkv(queries, keys, prompt, budget, layer=0, layers=1, choose=best, **_):
    """PyramidKV (arXiv 2406.02069): SnapKV with more tokens in lower layers."""
    scored = pyramid_sizes(prompt, budget, layers)[layer]
    return snapkv(queries, keys, prompt, budget, choose=choose, scored=scored)


def h2o(queries, keys, prompt, budget, choose=best, **_):
    """H2O (arXiv 2306.14048): the tokens that got most attention so far, and the last ones."""
    recent = heavy = budget // 2
    scores = np.zeros(len(keys))
    scores[:prompt] = attention(queries[:prompt], keys[:prompt], 0).sum(axis=(0, 1))
    kept = np.arange(prompt)
    if prompt > budget:
        old = kept[:prompt - recent]
        kept = np.concatenate([choose(old, scores[old], heavy), kept[prompt - recent:]])
    for position in range(prompt, len(keys)):
        kept = np.append(kept, position)
        if len(kept) > budget:  # which the token itself counts in: it evicts before it attends
            old = kept[kept <= position - recent]
            kept = np.concatenate([choose(old, scores[old], len(old) - 1), kept[len(old):]])
        yield kept
        query = queries[position:position + 1]
        scores[kept] += attention(query, keys[kept], len(kept)).sum(axis=(0, 1))


def quest_scores(query, keys):
    """Scores of the pages of `keys` for one query [group, head_dim]."""
    first = np.arange(0, len(keys), PAGE)
    largest, smallest = np.maximum.reduceat(keys, first), np.minimum.reduceat(keys, first)
    bounds = np.maximum(query[:, None] * largest, query[:, None] * smallest).sum(axis=2)
    bounds /= math.sqrt(keys.shape[1])
    weights = np.exp(bounds - bounds.max(axis=1, keepdims=True))
    return (weights / weights.sum(axis=1, keepdims=True)).max(axis=0)


def quest(queries, keys, prompt, budget, layer=0, choose=best, **_):
    """Quest (arXiv 2406.10774): the pages whose keys could match best, and the last page."""
    for position in range(prompt, len(keys)):
        length = position + 1
        last = position // PAGE
        count = max(LEAST_PAGES, budget // PAGE)
        if layer < DENSE_LAYERS or length <= budget or count > last:
            yield np.arange(length)
            continue
        scores = quest_scores(queries[position], keys[:length])
        pages = np.append(choose(np.arange(last), scores[:last], count - 1), last)
        positions = np.arange(length)
        yield positions[np.isin(positions // PAGE, pages)]


POLICIES = {"streaming": streaming, "snapkv": snapkv, "pyramidkv": pyramidkv, "h2o": h2o,
            "quest": quest}
