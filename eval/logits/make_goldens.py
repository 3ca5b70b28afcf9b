#!/usr/bin/env python3
"""Makes the logits goldens of one model: transformers in float32 on the dequantised weights.

Needs torch, transformers and gguf (see README.md). Also repeats every position in float64, and
records the distance of the two in the header: the noise floor of the golden itself.
"""
import argparse
import hashlib
import importlib.metadata
import json
import pathlib
import random

import numpy as np
import torch
import transformers

import goldens
import reference_model

LATE = 3000  # positions from here on count as long-context


def choose_positions(length, rng):
    """Long documents: all that is late and 210 others. Short ones: 180 anywhere."""
    if length > LATE:
        late = range(LATE + 1, length)
        return sorted(rng.sample(late, 250) + rng.sample(range(LATE), 210))
    return sorted(rng.sample(range(length), 180))


def measure_noise(model, golden):
    """Distance of the golden from the same pass in float64."""
    kl, wrong = [], 0
    for _, tokens, rows in golden.documents():
        logits = reference_model.logits_at(model, tokens, golden.arrays["position"][rows])
        kl.append(golden.kl(logits, rows))
        wrong += int(np.sum(~golden.agrees(logits, rows) & (golden.margin[rows] > 1e-3)))
    kl = np.concatenate(kl)
    return {"mean_kl": float(kl.mean()), "max_kl": float(kl.max()), "wrong_above_margin": wrong}


def make(model_path, documents, positions, top, out):
    model = reference_model.load(model_path)
    parts = {name: [] for name in goldens.DTYPES}
    for index, ((name, tokens), chosen) in enumerate(zip(documents, positions)):
        print(f"{name}: {len(tokens)} tokens, {len(chosen)} positions", flush=True)
        summary = goldens.summarize(reference_model.logits_at(model, tokens, chosen), top)
        parts["tokens"].append(tokens)
        parts["document"].append(np.full(len(chosen), index))
        parts["position"].append(chosen)
        for field in ("top_ids", "top_logits", "lse", "tail_lse"):
            parts[field].append(getattr(summary, field))
    header = {
        "model": {"file": pathlib.Path(model_path).name,
                  "sha256": hashlib.sha256(pathlib.Path(model_path).read_bytes()).hexdigest()},
        "reference": {"torch": torch.__version__, "transformers": transformers.__version__,
                      "gguf": importlib.metadata.version("gguf"), "dtype": "float32"},
        "vocab_size": model.config.vocab_size, "top": top,
        "documents": [{"name": name, "num_tokens": len(tokens)} for name, tokens in documents]}
    arrays = {name: np.concatenate(part) for name, part in parts.items()}
    goldens.save(out, header, arrays)
    header["noise"] = measure_noise(reference_model.load(model_path, torch.float64),
                                    goldens.load(out))
    goldens.save(out, header, arrays)
    print(out, header["noise"])


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--documents", required=True, type=pathlib.Path,
                        help="what make_documents.py wrote")
    parser.add_argument("--out", required=True, type=pathlib.Path, help="folder of the goldens")
    return parser.parse_args()


def main():
    args = parse_args()
    documents = json.loads(args.documents.read_text())
    rng = random.Random(7)
    small = documents["small"]
    make(args.model, small, [sorted(rng.sample(range(len(t)), 40)) for _, t in small], 64,
         args.out / "logits_small")
    full = documents["full"]
    make(args.model, full, [choose_positions(len(t), rng) for _, t in full], 256,
         args.out / "logits")


if __name__ == "__main__":
    main()
