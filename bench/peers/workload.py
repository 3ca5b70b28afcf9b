"""What the peer comparison asks of both sides, and what it costs in operations and bytes."""
import random

STREAMS = 8
# Ordinary text tokens of a vocabulary of 49,152; the ids do not change the work.
TOKEN_RANGE = (300, 49000)

# The default model (docs/architecture.md): cost of one token.
DENSE_OPS = 212e6             # products of all layers
HEAD_OPS = 56.6e6             # output matrix, once per chosen token
ATTENTION_OPS = 69120         # times the position
LAYER_BYTES = 66.4e6          # Q4_1 blocks of all layers
HEAD_BYTES = 30.1e6           # Q8_0 blocks of the output matrix
KV_BYTES = 23040              # of one cached token, 2 bytes an element


def prompt(rng, length):
    return [rng.randrange(*TOKEN_RANGE) for _ in range(length)]


class Single:
    """One stream: prefill of `context` tokens, then `n` decoded tokens."""

    def __init__(self, name, context, n):
        self.name, self.context, self.n = name, context, n
        self.num_streams = 1
        self.metrics = [f"prefill_{name}", f"decode_{name}"]

    def request(self, seed):
        return {"cmd": "decode", "tokens": prompt(random.Random(seed), self.context), "n": self.n}

    def rates(self, reply):
        """Tokens per second of each metric."""
        return dict(zip(self.metrics, (reply["prefill_tokens"] / reply["prefill_seconds"],
                                       reply["tokens"] / reply["seconds"])))

    def loads(self):
        """Per metric (unit, operations or bytes per token): what bounds it, on average."""
        return dict(zip(self.metrics, (
            ("int8_gop_s", DENSE_OPS + ATTENTION_OPS * self.context / 2 + HEAD_OPS / self.context),
            ("read_gb_s", LAYER_BYTES + HEAD_BYTES + KV_BYTES * (self.context + self.n / 2)))))


class Streams:
    """Eight streams at once, each a prompt of `context` tokens and `n` new ones."""

    def __init__(self, context, n):
        self.name, self.context, self.n = f"{STREAMS} streams", context, n
        self.num_streams = STREAMS
        self.metrics = [f"streams_{STREAMS}", f"streams_{STREAMS}_decode"]

    def request(self, seed):
        rng = random.Random(seed)
        return {"cmd": "streams", "prompts": [prompt(rng, self.context) for _ in range(STREAMS)],
                "n": self.n}

    def rates(self, reply):
        return dict(zip(self.metrics, (reply["tokens"] / reply["seconds"],
                                       reply["decode_tokens"] / reply["decode_seconds"])))

    def loads(self):
        per_prompt_token = DENSE_OPS + ATTENTION_OPS * self.context / 2
        per_token = DENSE_OPS + HEAD_OPS + ATTENTION_OPS * (self.context + self.n / 2)
        weights = (LAYER_BYTES + HEAD_BYTES) / STREAMS
        return dict(zip(self.metrics, (
            ("int8_gop_s", per_token + per_prompt_token * self.context / self.n),
            ("read_gb_s", weights + KV_BYTES * (self.context + self.n / 2)))))


FULL = [Single("512", 512, 64), Single("4096", 4096, 64), Streams(512, 64)]
# Under QUICK=1: fewer tokens where that changes the rate least.
QUICK = [Single("512", 512, 32), Single("4096", 4096, 24), Streams(128, 16)]
