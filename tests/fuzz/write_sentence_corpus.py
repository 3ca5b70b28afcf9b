#!/usr/bin/env python3
"""Writes the seeds of the sentence fuzzer: write_sentence_corpus.py CORPUS_FOLDER.

text/sentence_fuzzer.cc describes the format.
"""
import sys

sys.dont_write_bytecode = True
import corpus_writer  # noqa: E402

FIRST_PIECE = 260  # behind the 256 bytes and the four special tokens of text/testing/tiny_spec.h
IM_START, IM_END = 257, 258
NUM_PIECES_OF_TEXT = 24


def pieces_of(text):
    """Runs of letters with the space before them, and each other byte alone; those seen twice."""
    pieces, run = [], b""
    for byte in text + b"\0":
        if chr(byte).isalpha() and byte < 128:
            run += bytes([byte])
            continue
        pieces.append(run)
        run = bytes([byte])
    return [piece for piece in dict.fromkeys(pieces) if 1 < len(piece) < 64][:NUM_PIECES_OF_TEXT]


def tokens_of(text, pieces):
    tokens = []
    while text:
        for control, name in ((IM_START, b"<|im_start|>"), (IM_END, b"<|im_end|>")):
            if text.startswith(name):
                tokens.append(control)
                text = text[len(name):]
                break
        else:
            piece = max((p for p in pieces if text.startswith(p)), key=len, default=b"")
            tokens.append(FIRST_PIECE + pieces.index(piece) if piece else text[0])
            text = text[len(piece) or 1:]
    return tokens


def seed(text, extra_pieces=(), extra_tokens=()):
    text = text if isinstance(text, bytes) else text.encode()
    pieces = [*pieces_of(text), *extra_pieces]
    tokens = [*tokens_of(text, pieces), *extra_tokens]
    return (bytes([len(pieces)]) + b"".join(bytes([len(p)]) + p for p in pieces)
            + b"".join(token.to_bytes(2, "little") for token in tokens))


SEEDS = {
    "prose": seed('Dr. Smith paid $3.50 to the U.S. Army. "Why?" he asked. (Nobody knew.) The end.'),
    "list": seed("Steps:\n1. Wash it.\n2) Dry it\n- Go\n* Run\n1.2. Scope of it\n"),
    "wrapped": seed("It was a long line of prose that was wrapped at seventy\nColumns, or\nso."),
    "code": seed("int f(int a) {\n  if (a == 3) return g(a,\n    b);\n}\n\n# end\n\tx\r\ny = 1\n"),
    "cjk": seed("他走了。「好。」真的？！嗯，是…「对」"),
    "chat": seed("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHo. No<|im_start|>"),
    "long": seed("a" * 97 + ", " + "b" * 121 + " " + "c" * 260),
    "ill_formed": seed(b"Yes.\xe3\x80 no \xff.\xe4\xbb. E\xcc\x81\xf0\x9f"),
    "fused": seed("He said", (b'.")\n\n', b" The", b"?!", b"\xe3\x80"), (265, 266, 262, 263, 264)),
    "unknown_ids": seed("A. B. C.", (), (65535, 300, 259, 256)),
    "empty": b"",
}


corpus_writer.main(SEEDS, __doc__)
