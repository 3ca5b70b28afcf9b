#!/usr/bin/env python3
"""Writes the seeds of the Redis reply fuzzer: write_redis_reply_corpus.py tests/fuzz/corpus/redis_reply"""

import sys

sys.dont_write_bytecode = True
import corpus_writer  # noqa: E402


def replies(data, piece_bytes=256):
    return bytes([piece_bytes - 1]) + data


SEEDS = {
    "strings": replies(b"$3\r\nabc\r\n$0\r\n\r\n$-1\r\n"),
    "strings_in_pieces": replies(b"$3\r\nabc\r\n$20\r\n" + b"\r\n" * 10 + b"\r\n", 1),
    "ok": replies(b"+OK\r\n:1\r\n:0\r\n", 2),
    "errors": replies(b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
                      b"-WRONGTYPE Operation against a key\r\n-NOAUTH Authentication required.\r\n"),
    "control_characters": replies(b"-\x1b[2J\x00\xff\r\n"),
    "array": replies(b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
    "null_array": replies(b"*-1\r\n"),
    "nested": replies(b"*1\r\n" * 12),
    "many_elements": replies(b"*2147483647\r\n"),
    "length_too_large": replies(b"$1073741825\r\nabc"),
    "length_negative": replies(b"$-2\r\n"),
    "length_without_end": replies(b"$" + b"0" * 40, 7),
    "length_no_number": replies(b"$1x\r\n"),
    "integer_too_large": replies(b":99999999999999999999\r\n"),
    "no_line_feed": replies(b"+OK\r+OK\r\n"),
    "http": replies(b"HTTP/1.1 400 Bad Request\r\n"),
}


if __name__ == "__main__":
    corpus_writer.main(SEEDS, __doc__)
