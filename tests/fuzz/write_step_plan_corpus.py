#!/usr/bin/env python3
"""Writes the seeds of the step plan fuzzer: write_step_plan_corpus.py tests/fuzz/corpus/step_plan"""

import struct
import sys

sys.dont_write_bytecode = True
import corpus_writer  # noqa: E402

MAGIC = b"SKP5"
PROMPT, GENERATED = 0, 1
MAX_INT = 2**31 - 1
FULL, SENTENCEKV = 0, 1


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def admission(id, num_prompt_tokens, max_tokens_total, sentences=(), policy=FULL, budget=1024,
              factor=0.0, min_recall=0.0, explain_top=0, num_slots=0, prefix=(0,)):
    """An entry of `admitted`; `sentences` are lengths, which the sentence ends are coded as."""
    return (id, num_prompt_tokens, max_tokens_total, len(sentences), *sentences, policy, budget,
            struct.pack("<dd", factor, min_recall), explain_top, num_slots, *prefix)


def looked_up(prompt_ids, max_cached_tokens):
    """The end of an admission that looks up."""
    return (len(prompt_ids), struct.pack(f"<{len(prompt_ids)}i", *prompt_ids), bytes(range(16)),
            max_cached_tokens)


def plan(step_idx=0, shutdown=0, released=(), admitted=(), lookups=(), forked=(), chunks=(),
         tokens=()):
    """The layout at the top of worker/scheduler/step_plan.cc."""
    numbers = [step_idx, shutdown]
    for entries in ([(i,) for i in released], admitted, lookups, forked, chunks,
                    [(t,) for t in tokens]):
        numbers.append(len(entries))
        for entry in entries:
            numbers.extend(entry)
    return MAGIC + b"".join(n if isinstance(n, bytes) else varint(n) for n in numbers)


SEEDS = {
    "empty": plan(),
    "shutdown": plan(step_idx=2**63 - 1, shutdown=1),
    "prefill": plan(
        admitted=[admission(1, 40, 60)], chunks=[(1, 0, 16, PROMPT, 0)], tokens=range(100, 116)),
    "sentences": plan(
        admitted=[admission(1, 300, 360, [5, 145, 128, 22], SENTENCEKV, 512, 2.5, 0.9, 5, 360),
                  admission(2, 9, 10, [4])],
        chunks=[(1, 0, 4, PROMPT, 0)], tokens=range(4)),
    "more_slots_than_tokens": plan(
        admitted=[admission(1, 40, 60, [20], SENTENCEKV, 64, num_slots=61)]),
    "sentence_past_the_prompt": plan(admitted=[admission(1, 40, 60, [20, 21])]),
    "empty_sentence": plan(admitted=[admission(1, 40, 60, [20, 0])]),
    "unknown_policy": plan(admitted=[admission(1, 40, 60, [20], 99)]),
    "budget_too_small": plan(admitted=[admission(1, 40, 60, [20], SENTENCEKV, 15)]),
    "factor_is_nan": plan(admitted=[admission(1, 40, 60, [20], SENTENCEKV, 16, float("nan"))]),
    "factor_cut_off": plan(admitted=[admission(1, 40, 60, [20], SENTENCEKV, 16, 1.0)])[:-16],
    "min_recall_above_1": plan(
        admitted=[admission(1, 40, 60, [20], SENTENCEKV, 16, 1.0, min_recall=1.5)]),
    "min_recall_cut_off": plan(
        admitted=[admission(1, 40, 60, [20], SENTENCEKV, 16, min_recall=0.5)])[:-8],
    "look_ups": plan(
        admitted=[admission(1, 3, 9, [2], prefix=looked_up([49151, 0, MAX_INT], 2)),
                  admission(2, 40, 60)],
        lookups=[(3, 1), (2**64 - 1, 0)]),
    "part_of_a_prompt": plan(admitted=[admission(1, 3, 9, prefix=looked_up([5, 6], 2))]),
    "negative_prompt_id": plan(admitted=[admission(1, 3, 9, prefix=looked_up([5, -6, 7], 2))]),
    "whole_prompt_cached": plan(admitted=[admission(1, 3, 9, prefix=looked_up([5, 6, 7], 3))]),
    "nothing_cached": plan(admitted=[admission(1, 3, 9, prefix=looked_up([5, 6, 7], 0))]),
    "prompt_of_one": plan(admitted=[admission(1, 1, 9, prefix=looked_up([5], 1))]),
    "lying_prompt_length": plan(admitted=[admission(1, MAX_INT, MAX_INT, prefix=(MAX_INT,))]),
    "root_cut_off": plan(admitted=[admission(1, 3, 9, prefix=looked_up([5, 6, 7], 2))])[:-10],
    "may_wait_is_2": plan(lookups=[(3, 2)]),
    "mixed": plan(
        step_idx=300, released=[7, 2**64 - 1], admitted=[admission(9, 3, 130)], forked=[(5, 4, 2, 8)],
        chunks=[(4, 2, 1, GENERATED, 1), (5, 2, 1, GENERATED, 1), (9, 0, 3, PROMPT, 1)],
        tokens=[49151, 0, MAX_INT, 127, 128]),
    "decodes": plan(
        step_idx=100000, chunks=[(1000 + i, 4000 + i, 1, GENERATED, 1) for i in range(8)],
        tokens=range(30000, 30008)),
    "rebuild": plan(
        released=[3], admitted=[admission(3, 2, 9)],
        chunks=[(3, 0, 2, PROMPT, 0), (3, 2, 3, GENERATED, 1)], tokens=[1, 2, 3, 4, 5]),
    "last_position": plan(chunks=[(1, MAX_INT - 1, 1, GENERATED, 1)], tokens=[5]),
    "overflowing_position": plan(chunks=[(1, MAX_INT, 1, GENERATED, 1)], tokens=[5]),
    "fork_from_itself": plan(forked=[(4, 4, 1, 1)]),
    "missing_token": plan(chunks=[(1, 0, 2, PROMPT, 0)], tokens=[5]),
    "lying_length": MAGIC + varint(0) * 2 + varint(2**32 - 1),
    "over_64_bits": MAGIC + b"\xff" * 9 + b"\x02",
    "needless_byte": MAGIC + b"\x80\x00" + b"\x00" * 6,
    "bytes_left_over": plan() + b"\x00",
    "other_magic": b"SKP1" + plan()[4:],
    "cut_off": plan(step_idx=300)[:5],
}


if __name__ == "__main__":
    corpus_writer.main(SEEDS, __doc__)
