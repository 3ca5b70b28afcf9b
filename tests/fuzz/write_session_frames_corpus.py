#!/usr/bin/env python3
"""Writes the seeds of the session frame fuzzer: write_session_frames_corpus.py tests/fuzz/corpus/session_frames"""

import struct
import sys

sys.dont_write_bytecode = True
import corpus_writer  # noqa: E402

(HELLO, WELCOME, CREATE, CREATE_REPLY, SEAL, SEAL_REPLY, GET, GET_REPLY, RELEASE, RELEASE_REPLY,
 WAIT, WAIT_REPLY, NOTICE, ERROR, REPORT, REPORT_REPLY) = range(1, 17)
KEY = b"a key of sixteen"
OTHER_KEY = b"sixteen for keys"
LEASE = 3 << 32 | 7


def frame(kind, *parts, id=1):
    """docs/formats/session.md; numbers among the parts have 4 bytes."""
    return struct.pack("<IQ", kind, id) + b"".join(
        part if isinstance(part, bytes) else struct.pack("<I", part) for part in parts)


def u64(*numbers):
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def hello(magic=b"skvsess\0", version=3, world_size=2, rank=1, name=b"worker", tenant=b"acme"):
    return frame(HELLO, magic, version, 4711, world_size, rank, b"layout id.......", len(name),
                 name, len(tenant), tenant, id=0)


def create_item(parent=OTHER_KEY, num_tokens=20, payload_bytes=1 << 16):
    return (KEY + parent.ljust(16, b"\0") +
            struct.pack("<IIQ", bool(parent), num_tokens, payload_bytes))


SEEDS = {
    "hello": hello(),
    "hello_of_a_tool": hello(world_size=1, rank=0, name=b"skv", tenant=b""),
    "hello_other_magic": hello(magic=b"GET / HT"),
    "hello_other_version": hello(version=2),
    "hello_rank_too_large": hello(rank=2),
    "hello_control_character": hello(name=b"a\nb"),
    "welcome": frame(WELCOME, 3, KEY, u64(1 << 30), 65536, 64, id=0),
    "create": frame(CREATE, 2, create_item(parent=b""), create_item()),
    "create_lying_count": frame(CREATE, 2**32 - 1, create_item()),
    "create_no_tokens": frame(CREATE, 1, create_item(num_tokens=0)),
    "create_payload_too_large": frame(CREATE, 1, create_item(payload_bytes=2**63)),
    "create_reply": frame(CREATE_REPLY, 4, 0, 1, u64(LEASE, 64, 4096), 0, 2, u64(0, 0, 0),
                          0, 3, u64(0, 0, 0), 8, 0, u64(0, 0, 0)),
    "create_reply_range_overflows": frame(CREATE_REPLY, 1, 0, 1, u64(LEASE, 2**47, 2**64 - 1)),
    "seal": frame(SEAL, 2, u64(LEASE), 0, u64(LEASE + 1), 1),
    "seal_reply": frame(SEAL_REPLY, 3, 0, 1, 0, 0, 10, 0),
    "get": frame(GET, 2, KEY, OTHER_KEY),
    "get_of_400": frame(GET, 400, KEY * 400),
    "get_nothing": frame(GET, 0),
    "get_reply": frame(GET_REPLY, 0, u64(LEASE), 2, u64(0, 4096, 4096, 64)),
    "get_reply_miss": frame(GET_REPLY, 0, u64(0), 0),
    "get_reply_failed": frame(GET_REPLY, 8, u64(0), 0),
    "release": frame(RELEASE, 2, u64(LEASE, 0)),
    "release_reply": frame(RELEASE_REPLY, 2, 0, 3),
    "wait": frame(WAIT, 1, KEY),
    "wait_reply": frame(WAIT_REPLY, 0),
    "notice": frame(NOTICE, 1, KEY, 1, OTHER_KEY, id=0),
    "notice_empty": frame(NOTICE, 0, 0, id=0),
    "error": frame(ERROR, 3, 11, b"hello first", id=0),
    "report": frame(REPORT, 2, KEY, OTHER_KEY),
    "report_nothing": frame(REPORT, 0),
    "report_reply": frame(REPORT_REPLY, 14),
    "kind_unknown": frame(17, 0),
    "trailing_byte": frame(WAIT, 1, KEY, b"\0"),
    "empty": b"",
}


if __name__ == "__main__":
    corpus_writer.main(SEEDS, __doc__)
