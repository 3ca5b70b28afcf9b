"""A trace of chats for the row C.picking, and the most that any cache can have of it.

Half of the conversations are chats under one of a few system prompts, half are questions on one of more documents; the
first ones of both are the most popular. Each turn's prompt is the one before, its answer as the trace has it, and more:
what a model answers when the trace is played changes nothing. All is drawn from a seed.
"""
import bisect
import dataclasses
import itertools
import random

import documents

SYSTEMS, DOCUMENTS = 5, 12


@dataclasses.dataclass
class Turn:
    sentences: list  # of the whole prompt, which the answer follows
    pause: float  # seconds before it: after the start for the first, after the answer to the one before for others

    def prompt(self):
        return " ".join(self.sentences) + " Answer:"


def trace(seed, conversations, per_second, pauses=(1, 6)):
    """Lists of turns, one a conversation; these begin `per_second` on average. `pauses`: seconds, least and most."""
    rng = random.Random(seed)
    fresh = itertools.count(1)

    def say(low, high, opening):
        said = documents.sentences(f"{seed} said {next(fresh)}", rng.randint(low, high))
        return [f"{opening} {said[0]}", *said[1:]]

    def popular(kind, count, low, high):
        texts = [documents.sentences(f"{seed} {kind} {i}", rng.randint(low, high)) for i in range(count)]
        texts = [[f"This is {kind} number {i}.", *text] for i, text in enumerate(texts)]
        return texts, [1 / (i + 1) for i in range(count)]

    systems, system_weights = popular("system", SYSTEMS, 12, 25)
    files, file_weights = popular("document", DOCUMENTS, 30, 70)
    result, start = [], 0.0
    for i in range(conversations):
        start += rng.expovariate(per_second)
        if i % 2 == 0:
            history, num_turns = rng.choices(systems, system_weights)[0], rng.randint(2, 6)
        else:
            history, num_turns = rng.choices(files, file_weights)[0], rng.randint(1, 3)
        turns = []
        for number in range(num_turns):
            history = history + say(1, 4, "Question:")
            turns.append(Turn(history, start if number == 0 else rng.uniform(*pauses)))
            history = history + say(2, 8, "Answer:")
        result.append(turns)
    return result


def sentence_tokens(turns):
    """Tokens of each sentence of these turns, by text."""
    texts = sorted({sentence for turn in turns for sentence in turn.sentences})
    counts, count = [], 0
    end = documents.tokens_of(".")[0]
    for token in documents.tokens_of(" ".join(texts)):
        count += 1
        if token == end:
            counts.append(count)
            count = 0
    if count != 0 or len(counts) != len(texts):
        raise ValueError(f"{len(texts)} sentences have {len(counts)} ends and {count} tokens behind the last one")
    return dict(zip(texts, counts))


def most_cached(turns, capacity, tokens=None):
    """Prompt tokens that the best cache of `capacity` tokens has of the turns in this order: Belady's.

    Each token is a page of its own, and the one that is needed again last goes first. So no cache of that size has more,
    however it is divided and whoever knows the future: it would have to have whole sentences, and all those before one.
    `tokens`: of each sentence, by text; counted where it is missing.
    """
    tokens = tokens or sentence_tokens(turns)
    nodes = {}  # (the node before, sentence) -> number
    paths = []
    for turn in turns:
        path, before = [], -1
        for sentence in turn.sentences:
            before = nodes.setdefault((before, sentence), len(nodes))
            path.append(before)
        paths.append(path)
    size = {number: tokens[sentence] for (_, sentence), number in nodes.items()}
    uses = {}
    for i, path in enumerate(paths):
        for node in path:
            uses.setdefault(node, []).append(i)
    resident, total, hits = {}, 0, 0
    for i, path in enumerate(paths):
        for node in path:
            hits += resident.get(node, 0)
            total += size[node] - resident.get(node, 0)
            resident[node] = size[node]
        if total <= capacity:
            continue

        def next_use(node, now=i):
            later = bisect.bisect_right(uses[node], now)
            return uses[node][later] if later < len(uses[node]) else len(paths)

        for node in sorted(resident, key=next_use, reverse=True):
            gone = min(resident[node], total - capacity)
            resident[node] -= gone
            total -= gone
            if resident[node] == 0:
                del resident[node]
            if total <= capacity:
                break
    return hits
