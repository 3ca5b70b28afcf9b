#!/usr/bin/env python3
"""Writes two tiny random Llama models (GGUF) and their logits goldens.

tiny_kquants: Q4_K and Q6_K tensors of random valid blocks (the gguf package can dequantise them,
not quantise). tiny_mixed: every simpler type, two layers, heads wider than hidden / heads, an
output matrix of its own and rope_freqs. Same environment as make_goldens.py.
"""
import argparse
import dataclasses
import pathlib

import gguf
import numpy as np

import make_goldens

Type = gguf.GGMLQuantizationType
NUM_TOKENS = 96
MERGES = ["t h", "th e"]
VOCAB_SIZE = 256 + len(MERGES)  # no multiple of any vector width
TOP = 256


@dataclasses.dataclass
class Shape:
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    types: list  # per layer: tensor name -> type
    embedding: Type
    output: Type | None = None  # None: tied
    rope_factors: bool = False


KQUANTS = Shape(
    hidden=256, heads=4, kv_heads=2, head_dim=64, ffn=256, embedding=Type.Q6_K,
    types=[{"attn_q": Type.Q4_K, "attn_k": Type.Q4_K, "attn_v": Type.Q6_K, "attn_output": Type.Q4_K,
            "ffn_gate": Type.Q4_K, "ffn_up": Type.Q4_K, "ffn_down": Type.Q6_K}])
MIXED = Shape(
    hidden=64, heads=4, kv_heads=2, head_dim=32, ffn=96, embedding=Type.F16, output=Type.BF16,
    rope_factors=True,
    types=[{"attn_q": Type.F32, "attn_k": Type.F16, "attn_v": Type.BF16, "attn_output": Type.Q8_0,
            "ffn_gate": Type.Q4_0, "ffn_up": Type.Q4_1, "ffn_down": Type.Q8_0},
           {"attn_q": Type.Q4_1, "attn_k": Type.Q8_0, "attn_v": Type.Q4_0, "attn_output": Type.BF16,
            "ffn_gate": Type.F16, "ffn_up": Type.F32, "ffn_down": Type.Q4_1}])


def random_k_blocks(kind, rows, columns, std, rng):
    """Random blocks of Q4_K or Q6_K whose values have mean near 0 and the given deviation."""
    block_size, block_bytes = gguf.GGML_QUANT_SIZES[kind]
    count = rows * columns // block_size
    blocks = rng.integers(0, 256, size=(count, block_bytes), dtype=np.uint8)

    def set_scales(factor):
        if kind == Type.Q4_K:  # d, dmin: value = d * scale * q - dmin * min, q around 7.5
            pair = np.array([factor, 7.5 * factor], dtype="<f2").view(np.uint8)
            blocks[:, :4] = pair
        else:
            blocks[:, -2:] = np.array([factor], dtype="<f2").view(np.uint8)

    set_scales(1 / 64)
    values = gguf.quants.dequantize(blocks.reshape(rows, -1), kind)
    set_scales(std / values.std() / 64)
    return blocks.reshape(rows, -1)


def add_matrix(writer, name, rows, columns, kind, rng):
    std = columns ** -0.5
    if kind in (Type.Q4_K, Type.Q6_K):
        data = random_k_blocks(kind, rows, columns, std, rng)
    else:
        data = gguf.quants.quantize(
            rng.normal(0, std, size=(rows, columns)).astype(np.float32), kind)
    raw = None if kind in (Type.F32, Type.F16) else kind
    writer.add_tensor(f"{name}.weight", data, raw_dtype=raw)


def add_norm(writer, name, size, gain, rng):
    writer.add_tensor(f"{name}.weight", rng.normal(gain, 0.1, size=size).astype(np.float32))


def byte_tokens():
    """GPT-2's printable stand-ins of the 256 bytes, in byte order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return [chr(b) if b in plain else chr(256 + others.index(b)) for b in range(256)]


def vocabulary():
    return byte_tokens() + [merge.replace(" ", "") for merge in MERGES]


def write_model(path, shape, rng):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(path.stem)
    writer.add_context_length(256)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(len(shape.types))
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCAB_SIZE)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(vocabulary())
    writer.add_token_types([gguf.TokenType.NORMAL] * VOCAB_SIZE)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)

    add_matrix(writer, "token_embd", VOCAB_SIZE, shape.hidden, shape.embedding, rng)
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    sizes = {"attn_q": (q, shape.hidden), "attn_k": (kv, shape.hidden),
             "attn_v": (kv, shape.hidden), "attn_output": (shape.hidden, q),
             "ffn_gate": (shape.ffn, shape.hidden), "ffn_up": (shape.ffn, shape.hidden),
             "ffn_down": (shape.hidden, shape.ffn)}
    for layer, types in enumerate(shape.types):
        add_norm(writer, f"blk.{layer}.attn_norm", shape.hidden, 1.0, rng)
        add_norm(writer, f"blk.{layer}.ffn_norm", shape.hidden, 1.0, rng)
        for name, kind in types.items():
            add_matrix(writer, f"blk.{layer}.{name}", *sizes[name], kind, rng)
    add_norm(writer, "output_norm", shape.hidden, 3.0, rng)  # gain: logits spread like a model's
    if shape.output is not None:
        add_matrix(writer, "output", VOCAB_SIZE, shape.hidden, shape.output, rng)
    if shape.rope_factors:
        factors = np.linspace(1, 8, shape.head_dim // 2).astype(np.float32)
        writer.add_tensor("rope_freqs.weight", factors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, type=pathlib.Path, help="folder of the goldens")
    args = parser.parse_args()
    for name, shape in (("kquants", KQUANTS), ("mixed", MIXED)):
        rng = np.random.default_rng(2026)
        model = args.out / f"tiny_{name}.gguf"
        write_model(model, shape, rng)
        tokens = [int(t) for t in rng.integers(0, VOCAB_SIZE, size=NUM_TOKENS)]
        make_goldens.make(model, [("random_ids", tokens)], [list(range(0, NUM_TOKENS, 3))], TOP,
                          args.out / f"logits_{name}")


if __name__ == "__main__":
    main()
