#!/usr/bin/env python3
"""Writes eval/tokenizer/golden: what other tokenizers make of 500 lines of each class.

smollm2.bin       llama.cpp on the default model's GGUF
llama3_style.bin  Hugging Face tokenizers on llama3_style.gguf, the vocabulary that is trained here

Each line is a byte (whether control tokens are parsed) and three items of a little-endian uint32
size in bytes and the bytes: the line, its ids as uint16, and the text that they decode to.
Run it with the peers' python (tools/install_peers).
"""

import pathlib
import struct
import sys

from lines import CLASSES, make_lines
from peers import LLAMA3_SPECIALS, HuggingFaceTokenizer, LlamaCppTokenizer
from vocabulary import train, write_gguf

SEED = 1
LINES_PER_CLASS = 500
FOLDER = pathlib.Path(__file__).resolve().parent / "golden"


def item(data):
    return struct.pack("<I", len(data)) + data


def write(path, peer, lines):
    with open(path, "wb") as file:
        for parse_special in (False, True):
            half = lines[parse_special::2]
            ids_of_lines = peer.encode(half, parse_special)
            for line, ids, text in zip(half, ids_of_lines, peer.decode(ids_of_lines)):
                file.write(
                    bytes([parse_special])
                    + item(line)
                    + item(struct.pack(f"<{len(ids)}H", *ids))
                    + item(text.encode())
                )
    print(f"{path.name}: {len(lines)} lines, {path.stat().st_size} bytes")


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_goldens.py MODEL.gguf (the default model)")
    FOLDER.mkdir(exist_ok=True)
    lines = [
        line
        for group in make_lines(SEED, {name: LINES_PER_CLASS for name in CLASSES}).values()
        for line in group
    ]
    write(FOLDER / "smollm2.bin", LlamaCppTokenizer(sys.argv[1]), lines)
    tokens, merges = train(SEED)
    write_gguf(FOLDER / "llama3_style.gguf", tokens, merges)
    # Hugging Face reads text only, so that ill-formed bytes are replaced beforehand.
    texts = [line.decode(errors="replace").encode() for line in lines]
    write(FOLDER / "llama3_style.bin", HuggingFaceTokenizer(tokens, merges, LLAMA3_SPECIALS), texts)


if __name__ == "__main__":
    main()
