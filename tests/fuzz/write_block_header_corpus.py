#!/usr/bin/env python3
"""Writes the seeds of the block header fuzzer: write_block_header_corpus.py tests/fuzz/corpus/block_header

The fuzzer reads each input a second time with name and checksums repaired, so they are 0 here."""

import struct
import sys

sys.dont_write_bytecode = True
import corpus_writer  # noqa: E402

MAGIC = b"skvblock"
FIXED_BYTES = 104


def header_bytes(num_tokens):
    return (FIXED_BYTES + 4 * num_tokens + 63) // 64 * 64


def block(tokens=(1, 2, 3, 4, 5), payload=b"payload!" * 16, magic=MAGIC, version=2, rank=0,
          group_size=1, num_tokens=None, num_header_bytes=None, payload_bytes=None, flags=0):
    """The table of docs/formats/block.md."""
    num_tokens = len(tokens) if num_tokens is None else num_tokens
    size = header_bytes(len(tokens))
    fixed = magic + struct.pack(
        "<IIQQ16s16s16sIIIIQ", version, size if num_header_bytes is None else num_header_bytes,
        len(payload) if payload_bytes is None else payload_bytes, 0, b"", b"parent key......",
        b"layout id.......", rank, group_size, num_tokens, flags, 0)
    return (fixed + struct.pack(f"<{len(tokens)}i", *tokens)).ljust(size, b"\0") + payload


SEEDS = {
    "one_token": block(tokens=[7]),
    "twenty_tokens": block(tokens=range(100, 120), payload=bytes(range(256)) * 4),
    "most_tokens": block(tokens=range(128)),
    "too_many_tokens": block(tokens=range(129)),
    "no_tokens": block(tokens=[]),
    "second_of_two_ranks": block(rank=1, group_size=2),
    "rank_out_of_range": block(rank=2, group_size=2),
    "rank_negative": block(rank=2**32 - 1, group_size=2),
    "group_too_large": block(group_size=1025),
    "negative_token": block(tokens=[1, -2, 3]),
    "header_bytes_wrong": block(num_header_bytes=192),
    "header_cut_off": block(tokens=range(40))[:200],
    "lying_tokens": block(num_tokens=2**32 - 1),
    "no_payload": block(payload=b""),
    "payload_cut_off": block(payload_bytes=4096),
    "payload_too_large": block(payload_bytes=2**64 - 1),
    "bytes_after_the_payload": block(payload_bytes=64),
    "first_of_its_chain": block(flags=1),
    "unknown_flags": block(flags=3),
    "padding_not_zero": block()[:124] + b"\1" + block()[125:],
    "other_magic": block(magic=b"skvBLOCK"),
    "other_version": block(version=1),
    "empty": b"",
}


if __name__ == "__main__":
    corpus_writer.main(SEEDS, __doc__)
