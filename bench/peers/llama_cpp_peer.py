#!/usr/bin/env python3
"""llama.cpp as a bench process (PROTOCOL.md), through llama-cpp-python's low-level API.

Streams are sequences of one batch: llama-cpp-python's own server answers one request at a time,
so it would be no fair peer. Run it with the python of the environment that tools/install_peers
builds.
"""
import argparse
import ctypes
import json
import pathlib
import sys
import time

import llama_cpp as ll
import numpy as np

KV_TYPES = {"f16": ll.GGML_TYPE_F16, "q8_0": ll.GGML_TYPE_Q8_0}
FLASH_ATTENTION = {"on": ll.LLAMA_FLASH_ATTN_TYPE_ENABLED,
                   "off": ll.LLAMA_FLASH_ATTN_TYPE_DISABLED}


@ll.llama_log_callback
def _quiet_log(level, text, user_data):
    if level >= 3:  # warnings and errors only
        sys.stderr.write(text.decode(errors="replace"))


class LlamaCpp:
    """One model and one context of llama.cpp; every request starts from an empty context."""

    def __init__(self, model, *, threads, context_tokens, num_streams, flash_attention, kv_type,
                 unified, ubatch):
        ll.llama_log_set(_quiet_log, ctypes.c_void_p(0))
        ll.llama_backend_init()
        model_params = ll.llama_model_default_params()
        self._model = ll.llama_model_load_from_file(str(model).encode(), model_params)
        if not self._model:
            raise ValueError(f"{model}: llama.cpp cannot load it")
        params = ll.llama_context_default_params()
        params.n_seq_max = num_streams
        params.n_ctx = context_tokens * num_streams
        params.n_batch = 2048
        params.n_ubatch = ubatch
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = FLASH_ATTENTION[flash_attention]
        params.type_k = params.type_v = KV_TYPES[kv_type]
        params.kv_unified = unified
        params.offload_kqv = False
        self._context = ll.llama_init_from_model(self._model, params)
        if not self._context:
            raise ValueError(f"flash attention {flash_attention}, KV {kv_type}: no such context")
        self._memory = ll.llama_get_memory(self._context)
        self.num_streams = num_streams
        self.tokens, self.position = [], 0  # of the streams between fill and continue
        self.vocab_size = ll.llama_vocab_n_tokens(ll.llama_model_get_vocab(self._model))
        self.max_batch = params.n_batch
        self._batch = ll.llama_batch_init(self.max_batch, 0, num_streams)

    def clear(self):
        ll.llama_memory_clear(self._memory, False)

    def copy_first_stream(self):
        for stream in range(1, self.num_streams):
            ll.llama_memory_seq_cp(self._memory, 0, stream, -1, -1)

    def decode(self, rows, logits):
        """One llama_decode of rows (token, position, sequence); logits[i] asks for row i's."""
        batch = self._batch
        batch.n_tokens = len(rows)
        for i, (token, position, sequence) in enumerate(rows):
            batch.token[i] = token
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
            batch.logits[i] = logits[i]
        code = ll.llama_decode(self._context, batch)
        if code != 0:
            raise ValueError(f"llama_decode of {len(rows)} tokens: code {code}, expected 0")

    def logits_of(self, row):
        """Logits of row `row` of the last decode: a view that the next decode overwrites."""
        pointer = ll.llama_get_logits_ith(self._context, row)
        return np.ctypeslib.as_array(pointer, shape=(self.vocab_size,))

    def keep(self, position):
        """Drops what the first stream holds from `position` on."""
        if not ll.llama_memory_seq_rm(self._memory, 0, position, -1):
            raise ValueError(f"llama.cpp cannot drop the tokens from {position} on")

    def prefill(self, prompts, first=0):
        """Decodes whole prompts, one sequence each, in full batches; their next tokens.

        What stands before `first` is in the cache.
        """
        rows = [(token, position, sequence) for sequence, prompt in enumerate(prompts)
                for position, token in enumerate(prompt) if position >= first]
        lengths = [len(prompt) for prompt in prompts]
        next_tokens = []
        for start in range(0, len(rows), self.max_batch):
            chunk = rows[start:start + self.max_batch]
            wanted = [position == lengths[sequence] - 1 for _, position, sequence in chunk]
            self.decode(chunk, wanted)
            next_tokens += [int(self.logits_of(i).argmax()) for i, w in enumerate(wanted) if w]
        return next_tokens

    def step(self, tokens, position_of):
        """One token of every sequence: their next tokens."""
        rows = [(token, position_of[s], s) for s, token in enumerate(tokens)]
        self.decode(rows, [True] * len(rows))
        return [int(self.logits_of(i).argmax()) for i in range(len(rows))]


def answer_fill(engine, prompt):
    """Prefills `prompt` and gives every other stream a copy of its cache, in memory of its own."""
    engine.clear()
    start = time.perf_counter()
    token = engine.prefill([prompt])[0]
    seconds = time.perf_counter() - start
    engine.copy_first_stream()
    engine.position = len(prompt)
    engine.tokens = engine.step([token] * engine.num_streams, [engine.position] * engine.num_streams)
    engine.position += 1
    return {"prefill_seconds": seconds, "prefill_tokens": len(prompt)}


def answer_continue(engine, n):
    """n tokens more of every stream, from where the last fill or continue ended."""
    start = time.perf_counter()
    for _ in range(n):
        engine.tokens = engine.step(engine.tokens, [engine.position] * engine.num_streams)
        engine.position += 1
    return {"seconds": time.perf_counter() - start, "tokens": n * engine.num_streams}


def answer_again(engine, prompt, keep):
    """A prompt whose first `keep` tokens are those of the last request's: only the rest is decoded."""
    start = time.perf_counter()
    engine.keep(keep)
    engine.prefill([prompt], first=keep)
    return {"prefill_seconds": time.perf_counter() - start, "prefill_tokens": len(prompt) - keep}


def answer_streams(engine, prompts, n):
    """n tokens of every prompt; seconds of all of it and of the decoding steps."""
    engine.clear()
    start = time.perf_counter()
    tokens = engine.prefill(prompts)
    decoding = time.perf_counter()
    for i in range(n - 1):
        tokens = engine.step(tokens, [len(prompt) + i for prompt in prompts])
    end = time.perf_counter()
    return {"seconds": end - start, "tokens": n * len(prompts), "decode_seconds": end - decoding,
            "decode_tokens": (n - 1) * len(prompts)}


def answer_decode(engine, prompt, n):
    engine.clear()
    start = time.perf_counter()
    tokens = engine.prefill([prompt])
    decoding = time.perf_counter()
    for i in range(n):
        tokens = engine.step(tokens, [len(prompt) + i])
    return {"seconds": time.perf_counter() - decoding, "tokens": n,
            "prefill_seconds": decoding - start, "prefill_tokens": len(prompt)}


def answer_info(engine, args):
    return {"engine": "llama.cpp", "version": f"llama-cpp-python {ll.__version__}",
            "system": ll.llama_print_system_info().decode().strip(" |"), "threads": args.threads,
            "settings": {"flash_attention": args.flash_attention, "kv_type": args.kv_type,
                         "kv_unified": args.unified, "n_batch": engine.max_batch,
                         "n_ubatch": args.ubatch},
            "vocab_size": engine.vocab_size}


def answer(engine, request, args):
    command = request.get("cmd")
    if command == "info":
        return answer_info(engine, args)
    if command == "decode":
        return answer_decode(engine, request["tokens"], request["n"])
    if command == "streams":
        return answer_streams(engine, request["prompts"], request["n"])
    if command == "fill":
        return answer_fill(engine, request["tokens"])
    if command == "continue":
        return answer_continue(engine, request["n"])
    if command == "again":
        return answer_again(engine, request["tokens"], request["keep"])
    raise ValueError(f"cmd {command!r}: expected info, decode, streams, fill, continue or again")


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context-tokens", type=int, default=4608, help="of each stream")
    parser.add_argument("--num-streams", type=int, default=1)
    parser.add_argument("--flash-attention", choices=FLASH_ATTENTION, default="on")
    parser.add_argument("--kv-type", choices=KV_TYPES, default="f16")
    parser.add_argument("--unified", action="store_true", help="one KV buffer for all streams")
    parser.add_argument("--ubatch", type=int, default=512)
    return parser.parse_args()


def main():
    args = parse_args()
    engine = LlamaCpp(args.model, threads=args.threads, context_tokens=args.context_tokens,
                      num_streams=args.num_streams, flash_attention=args.flash_attention,
                      kv_type=args.kv_type, unified=args.unified, ubatch=args.ubatch)
    for line in sys.stdin:
        try:
            reply = {"ok": True, **answer(engine, json.loads(line), args)}
        except (ValueError, KeyError, IndexError) as error:
            reply = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
