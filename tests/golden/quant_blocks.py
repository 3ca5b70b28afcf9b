#!/usr/bin/env python3
"""Writes quant_blocks.bin: random blocks of every weight type with the values that the `gguf` package
gives for them. Needs gguf and numpy; run it from any folder.

Records of u32 type, u32 bytes of all blocks, u32 number of values, the blocks, the values as float32.
"""

import pathlib
import struct

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

NUM_BLOCKS = 3
# Offsets of the float16 scales and minimums inside a block: random bits there would give NaN.
HALVES = {
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0],
    Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
}
PLAIN = {Type.F32: np.dtype("<f4"), Type.F16: np.dtype("<f2"), Type.BF16: np.dtype("<f4")}
NUM_PLAIN = 96


def random_blocks(rng, kind):
    if kind == Type.BF16:
        bits = rng.standard_normal(NUM_PLAIN).astype("<f4").view("<u4")
        return (bits >> 16).astype("<u2").view(np.uint8)
    if kind in PLAIN:
        return rng.standard_normal(NUM_PLAIN).astype(PLAIN[kind]).view(np.uint8)
    block_bytes = gguf.GGML_QUANT_SIZES[kind][1]
    blocks = rng.integers(0, 256, (NUM_BLOCKS, block_bytes), dtype=np.uint8)
    for offset in HALVES[kind]:
        scales = rng.standard_normal(NUM_BLOCKS).astype("<f2")
        blocks[:, offset:offset + 2] = scales.view(np.uint8).reshape(NUM_BLOCKS, 2)
    return blocks.reshape(-1)


def main():
    rng = np.random.default_rng(20)
    out = bytearray()
    for kind in [*PLAIN, *HALVES]:
        blocks = random_blocks(rng, kind)
        source = blocks.view("<f4" if kind == Type.F32 else "<f2") if kind in (Type.F32, Type.F16) else blocks
        values = gguf.quants.dequantize(source, kind).astype("<f4").reshape(-1)
        out += struct.pack("<III", int(kind), blocks.size, values.size)
        out += blocks.tobytes() + values.tobytes()
    pathlib.Path(__file__).with_suffix(".bin").write_bytes(out)


if __name__ == "__main__":
    main()
