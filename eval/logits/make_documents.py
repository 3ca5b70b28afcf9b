#!/usr/bin/env python3
"""Writes the documents of the logits goldens as token ids (JSON), to --out.

The ids are committed inside the goldens, so nobody has to run this again; it says where they come
from. Texts: public domain (King James Version as printed by Debian's `bible` program), our own
sources at a fixed commit, the licence file, and seeded synthetic text. Tokenised by llama.cpp.
Runs in the environment of tools/install_peers.
"""
import argparse
import json
import pathlib
import random
import subprocess

import llama_cpp

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES_COMMIT = "139d11d"
LONG_TOKENS = 3256
SHORT_TOKENS = 320
SMALL_TOKENS = 300


def scripture(args, passage):
    command = [args.bible, *(["-p", args.bible_path] if args.bible_path else []), "-f", passage]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return " ".join(line.split(" ", 1)[1] for line in lines if " " in line)


def sources():
    names = subprocess.run(["git", "ls-tree", "-r", "--name-only", SOURCES_COMMIT, "kernels",
                            "common"], cwd=ROOT, capture_output=True, text=True,
                           check=True).stdout.split()
    return "\n".join(subprocess.run(["git", "show", f"{SOURCES_COMMIT}:{name}"], cwd=ROOT,
                                    capture_output=True, text=True, check=True).stdout
                     for name in names if name.endswith((".h", ".cc")))


def chat(args):
    story = scripture(args, "Ruth1:1-6")
    return ("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
            f"<|im_start|>user\nWho went to Moab, and why?\n\n{story}<|im_end|>\n"
            "<|im_start|>assistant\nElimelech went there with his wife Naomi and their two sons, "
            "because there was a famine in the land.<|im_end|>\n"
            "<|im_start|>user\nWhom did the sons marry?<|im_end|>\n<|im_start|>assistant\n"
            "They married two women of Moab: Orpah and Ruth.<|im_end|>\n"
            "<|im_start|>user\nList all five names with one fact each.<|im_end|>\n"
            "<|im_start|>assistant\n1. Elimelech: he died in Moab.\n2. Naomi: his wife, "
            "who returned to Judah.\n3. Mahlon and Chilion: the sons.\n")


def json_log(rng):
    levels, parts = ["info", "warning", "error"], ["router", "worker", "store"]
    return "\n".join(json.dumps({"time": f"2026-01-{day:02d}T{rng.randrange(24):02d}:00:00Z",
                                 "level": rng.choice(levels), "part": rng.choice(parts),
                                 "step": rng.randrange(10000), "ms": round(rng.random() * 50, 2)})
                     for day in range(1, 29))


def languages():
    return ("Der Zug fährt um 17:45 Uhr nach Köln. Le café était déjà fermé à minuit. "
            "El niño comió tres manzanas. Поезд отправляется в семь часов утра. "
            "Το τρένο φεύγει στις επτά. 列車は七時に出発します。火车七点开。기차는 일곱 시에 떠난다. "
            "القطار يغادر في السابعة. הרכבת יוצאת בשבע. रेलगाड़ी सात बजे चलती है। "
            "Pociąg odjeżdża o siódmej. Tàu chạy lúc bảy giờ. 🚂⏰7️⃣ ")


def repetition(rng):
    names = ["Ada", "Ben", "Cleo", "Dan"]
    line = ", ".join(f"{name} has {rng.randrange(10, 99)} coins" for name in names)
    return "".join(f"Round {i}: {line}. " for i in range(1, 30))


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--bible", default="bible", help="program of Debian's bible-kjv")
    parser.add_argument("--bible-path", default="", help="folder of its bible.data")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    return parser.parse_args()


def main():
    args = parse_args()
    rng = random.Random(20260101)
    model = llama_cpp.Llama(args.model, vocab_only=True, verbose=False)

    def tokens(text, count):
        ids = model.tokenize(text.encode(), add_bos=False, special=True)
        if len(ids) < count:
            raise SystemExit(f"text {text[:40]!r} has {len(ids)} tokens, expected {count}")
        return ids[:count]

    documents = [
        ("prose_long", tokens(scripture(args, "Gen1:1-6:22"), LONG_TOKENS)),
        ("code_long", tokens(sources(), LONG_TOKENS)),
        ("chat", tokens(chat(args), SHORT_TOKENS)),
        ("licence", tokens((ROOT / "LICENSE").read_text(), SHORT_TOKENS)),
        ("json_log", tokens(json_log(rng), SHORT_TOKENS)),
        ("languages", tokens(languages() * 2, SHORT_TOKENS)),
        ("random_ids", [rng.randrange(17, model.n_vocab()) for _ in range(SHORT_TOKENS)]),
        ("repetition", tokens(repetition(rng), SHORT_TOKENS)),
    ]
    small = [("prose", tokens(scripture(args, "Psa23:1-6") + " " + scripture(args, "Psa24:1-10"),
                              SMALL_TOKENS))]
    args.out.write_text(json.dumps({"full": documents, "small": small}))


if __name__ == "__main__":
    main()
