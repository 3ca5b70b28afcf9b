"""Trains a Llama-3-style vocabulary and writes it as a GGUF file without tensors."""

import json

import gguf

from lines import CLASSES, make_lines
from peers import LLAMA3_PATTERN, LLAMA3_SPECIALS

VOCAB_SIZE = 4096


def train(seed):
    """(tokens by id, merges by rank): bytes and merges first, then Llama 3's control tokens."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    lines = make_lines(seed, {name: 3000 for name in CLASSES})
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - len(LLAMA3_SPECIALS),
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(
        (line.decode(errors="replace") for name in CLASSES for line in lines[name]), trainer
    )
    vocab = tokenizer.get_vocab(with_added_tokens=False)
    tokens = sorted(vocab, key=vocab.get) + LLAMA3_SPECIALS
    merges = [
        " ".join(pair) if isinstance(pair, list) else pair
        for pair in json.loads(tokenizer.to_str())["model"]["merges"]
    ]
    return tokens, merges


def write_gguf(path, tokens, merges):
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    types = [
        gguf.TokenType.CONTROL if t in LLAMA3_SPECIALS else gguf.TokenType.NORMAL for t in tokens
    ]
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(tokens.index("<|begin_of_text|>"))
    writer.add_eos_token_id(tokens.index("<|eot_id|>"))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
