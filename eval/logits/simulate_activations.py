#!/usr/bin/env python3
"""How much rounding of activations the logits bear, simulated in transformers on a golden.

Rounds the input of every linear layer, weights exact, and prints KL and top-1 per way of rounding.
Runs in the environment of make_goldens.py.
"""
import argparse

import numpy as np
import torch

import goldens
import reference_model

MAX_TOKENS = 1000  # longer documents cost minutes per way


def round_blocks(x, block, levels):
    """Blocks of `block` values to integers in [-levels, levels] with one float scale."""
    blocks = x.reshape(*x.shape[:-1], -1, block)
    scale = blocks.abs().amax(-1, keepdim=True) / levels
    scale = torch.where(scale == 0, 1.0, scale)
    return (torch.round(blocks / scale) * scale).reshape(x.shape)


WAYS = {
    "int8, blocks of 32": lambda x: round_blocks(x, 32, 127),
    "int8, blocks of 16": lambda x: round_blocks(x, 16, 127),
    "int9, blocks of 32": lambda x: round_blocks(x, 32, 255),
    "int10, blocks of 32": lambda x: round_blocks(x, 32, 511),
    "int12, blocks of 32": lambda x: round_blocks(x, 32, 2047),
    "two int8 planes, blocks of 32": lambda x: round_blocks(x, 32, 32512),
    "bf16": lambda x: x.bfloat16().float(),
}


def measure(model, golden):
    kl, agrees, margin = [], [], []
    for _, tokens, rows in golden.documents():
        if len(tokens) > MAX_TOKENS:
            continue
        logits = reference_model.logits_at(model, tokens, golden.arrays["position"][rows])
        kl.append(golden.kl(logits, rows))
        agrees.append(golden.agrees(logits, rows))
        margin.append(golden.margin[rows])
    clear = np.concatenate(margin) > 0.1
    return np.concatenate(kl).mean(), np.concatenate(agrees)[clear].mean(), clear.sum()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--golden", required=True, help="without suffix")
    args = parser.parse_args()
    model = reference_model.load(args.model)
    golden = goldens.load(args.golden)
    way = None
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_pre_hook(lambda _, inputs: (way(inputs[0]),))
    for name, way in WAYS.items():
        kl, top1, count = measure(model, golden)
        print(f"{name:32s} mean KL {kl:.1e}, top-1 {top1:.4f} of {count} with margin > 0.1",
              flush=True)


if __name__ == "__main__":
    main()
