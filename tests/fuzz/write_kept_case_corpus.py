#!/usr/bin/env python3
"""Writes the seeds of the fuzzer of cases: write_kept_case_corpus.py tests/fuzz/corpus/kept_case"""

import json
import struct
import sys

sys.dont_write_bytecode = True
import corpus_writer  # noqa: E402

HEADER = {"policy": "sentencekv", "budget": 64, "semantic_factor": 0, "layers": 1, "kv_heads": 1,
          "group": 2, "head_dim": 2, "prompt": 2, "tokens": 3, "max_step": 2, "seed": 1,
          "fork": False, "sentences": [[0, 2, 2]]}


def case(key=1.5, **changes):
    """Header and floats, as at the top of eval/rivals/kept_case.h; `changes` of HEADER."""
    header = {name: value for name, value in (HEADER | changes).items() if value is not None}
    return json.dumps(header).encode() + b"\n" + struct.pack("<18f", *[key] * 6, *[0.1] * 12)


SEEDS = {
    "one": case(),
    "two": case() + case(policy="full", fork=True),
    "no_line_break": json.dumps(HEADER).encode(),
    "not_an_object": b"[]\n",
    "unknown_policy": case(policy="half"),
    "policy_is_a_number": case(policy=1),
    "budget_too_small": case(budget=15),
    "factor_is_a_string": case(semantic_factor="2"),
    "field_missing": case(layers=None),
    "group_is_real": case(group=1.5),
    "tokens_before_the_prompt_ends": case(tokens=1),
    "seed_too_large": case(seed=2**63),
    "fork_is_a_number": case(fork=1),
    "sentences_are_missing": case(sentences=None),
    "sentence_overlaps": case(sentences=[[0, 2, 2], [1, 3, 3]]),
    "sentence_known_too_early": case(sentences=[[0, 2, 0]]),
    "key_is_nan": case(key=float("nan")),
    "key_is_not_bf16": case(key=0.1),
    "cut_off": case()[:-4],
    "more_than_there_is": case(layers=128, kv_heads=64, head_dim=256, tokens=2**20),
}


if __name__ == "__main__":
    corpus_writer.main(SEEDS, __doc__)
