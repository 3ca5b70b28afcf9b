#!/usr/bin/env python3
"""Measures llama.cpp against a logits golden and records it in the golden's header.

Key `peers.llama_cpp`: mean and maximal KL, agreement of the largest logit, with f16 KV (its best
quality default). tools/rows/A.logits quotes it: the limit there is "or no worse than llama.cpp on
the same positions". Runs in the environment of tools/install_peers.
"""
import argparse
import json
import pathlib
import sys

import llama_cpp
import numpy as np

import goldens

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "bench/peers"))
from llama_cpp_peer import LlamaCpp  # noqa: E402


def logits_at(engine, tokens, positions):
    """Logits [len(positions), vocab] of one pass over tokens in full batches."""
    engine.clear()
    wanted, out = set(int(p) for p in positions), []
    for start in range(0, len(tokens), engine.max_batch):
        chunk = range(start, min(start + engine.max_batch, len(tokens)))
        engine.decode([(int(tokens[p]), p, 0) for p in chunk], [p in wanted for p in chunk])
        out += [engine.logits_of(p - start).copy() for p in chunk if p in wanted]
    return np.stack(out)


def score(engine, golden):
    kl = np.empty(len(golden.margin))
    agrees = np.empty(len(kl), dtype=bool)
    for name, tokens, rows in golden.documents():
        logits = logits_at(engine, tokens, golden.arrays["position"][rows])
        kl[rows], agrees[rows] = golden.kl(logits, rows), golden.agrees(logits, rows)
        print(f"{name}: mean KL {kl[rows].mean():.3e}, top-1 {agrees[rows].mean():.4f}", flush=True)
    clear = golden.margin > 0.1
    return {"mean_kl": float(kl.mean()), "max_kl": float(kl.max()), "top1": float(agrees.mean()),
            "top1_margin": float(agrees[clear].mean())}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--golden", required=True, type=pathlib.Path, help="without suffix")
    args = parser.parse_args()
    golden = goldens.load(args.golden)
    longest = max(document["num_tokens"] for document in golden.header["documents"])
    engine = LlamaCpp(args.model, threads=2, context_tokens=max(512, -(-longest // 256) * 256),
                      num_streams=1, flash_attention="off", kv_type="f16", unified=False,
                      ubatch=512)
    result = {"version": f"llama-cpp-python {llama_cpp.__version__}", "kv_type": "f16",
              "flash_attention": "off", "system": llama_cpp.llama_print_system_info().decode(),
              **score(engine, golden)}
    golden.header.setdefault("peers", {})["llama_cpp"] = result
    goldens.save(args.golden, golden.header, golden.arrays)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
