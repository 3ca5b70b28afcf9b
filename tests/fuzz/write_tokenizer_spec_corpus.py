#!/usr/bin/env python3
"""Writes the seeds of the tokenizer fuzzer: write_tokenizer_spec_corpus.py CORPUS_FOLDER.

text/tokenizer_spec_fuzzer.cc describes the format.
"""
import sys

sys.dont_write_bytecode = True
import corpus_writer  # noqa: E402

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 1, 2, 3, 4, 5
CHATML = [(CONTROL, "<|endoftext|>"), (CONTROL, "<|im_start|>"), (CONTROL, "<|im_end|>")]
LLAMA3 = [(CONTROL, t) for t in ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                 "<|eot_id|>")]
CHATML_TEMPLATE = "'<|im_start|>system\nBe kind<|im_end|>' '<|im_start|>' + message"
LLAMA3_TEMPLATE = "<|start_header_id|> <|eot_id|> Cutting Knowledge Date"
TEXT = "it's 1234 h\u00e9llo  \u4f60\u597d!\n\n \U0001f600 <|im_end|> I'LL\u0085\x0b <tool>".encode()
MERGES = ["h e", "he l", "l l", "\u0120 h", "\u00c3 \u00a9"]


def string(text):
    data = text if isinstance(text, bytes) else text.encode()
    return bytes([len(data)]) + data


def strings(texts):
    return bytes([len(texts)]) + b"".join(map(string, texts))


def seed(pre, tokens, template, *, flags=1, model="gpt2", merges=(), bos=255, eos=255,
         stops=("!\n", "llo"), text=TEXT):
    pieces = [(NORMAL, merge.replace(" ", "", 1)) for merge in merges]
    tokens = [*tokens, *pieces]
    return (bytes([flags]) + string(model) + string(pre) + bytes([len(tokens)])
            + b"".join(bytes([kind]) + string(piece) for kind, piece in tokens)
            + strings(merges) + bytes([bos, eos]) + string(template) + strings(stops) + text)


SEEDS = {
    "smollm": seed("smollm", CHATML, CHATML_TEMPLATE, merges=MERGES),
    "llama3": seed("llama-bpe", LLAMA3, LLAMA3_TEMPLATE, merges=MERGES),
    "gpt2_user_defined": seed("gpt-2", [(USER_DEFINED, "<tool>"), (UNKNOWN, "<unk>"), (UNUSED, "?x")],
                              "", merges=MERGES),
    "default": seed("default", CHATML, CHATML_TEMPLATE, merges=MERGES),
    "add_bos": seed("", [], "", flags=3, bos=65, eos=66),
    "without_types": seed("gpt-2", [], "[INST]", flags=5),
    "without_bytes": seed("gpt-2", [(NORMAL, "a"), (NORMAL, "b")], "", flags=0, merges=["a b"]),
    "ill_formed_text": seed("smollm", [], "", text=b"\x80\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80 \xe4\xbd"),
    "overlapping_specials": seed("gpt-2", [(CONTROL, "[a"), (CONTROL, "a]]"), (CONTROL, "[a]")], "",
                                 text=b"[a]] [a] [[a]"),
    "unknown_model": seed("gpt-2", [], "", model="llama"),
    "unknown_pre": seed("qwen2", [], ""),
    "duplicate": seed("gpt-2", [(NORMAL, "a")], ""),
    "bad_type": seed("gpt-2", [(9, "ab")], ""),
    "bad_merge": seed("gpt-2", [(NORMAL, "ab")], "", merges=["a  b"]),
    "bad_id": seed("gpt-2", [], "", bos=128),
    "ill_formed_piece": seed("gpt-2", [(NORMAL, b"\xff")], ""),
}


corpus_writer.main(SEEDS, __doc__)
