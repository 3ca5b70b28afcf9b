"""What the peer comparison asks of both sides, and what it costs in operations and bytes."""
import dataclasses
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


def dots_per_product(side, isa):
    """Dots of int8 that a product costs: llama.cpp rounds activations to 8 bits, ours have 16.

    With VNNI these are two planes of bytes; AVX2 multiplies words, in the instructions of one dot
    of bytes.
    """
    return 2 if side != "llama_cpp" and isa in ("avx512vnni", "avx512bf16") else 1


@dataclasses.dataclass
class Load:
    """What a token costs on average; a step reads its bytes once for all of its tokens."""
    products: float         # operations with weights
    attention: float        # operations with keys and values
    step_bytes: float = 0   # weights and KV that each step reads
    tokens_of_step: int = 1

    @property
    def step_megabytes(self):
        return round(self.step_bytes / 1e6)

    def least_seconds(self, side, limits):
        """("compute" or "read", seconds): what this machine needs for a token at the least.

        Operations run one after the other, reading beside them. Dots are int8; those of attention
        bf16 where the CPU has them, else float32.
        """
        attention = limits["bf16_gop_s"][-1] or limits["f32_gop_s"][-1]
        compute = (self.products * dots_per_product(side, limits["isa"]) / limits["int8_gop_s"][-1]
                   + self.attention / attention) / 1e9
        if not self.step_bytes:
            return "compute", compute
        bandwidth = limits["read_gb_s"][str(self.step_megabytes)][-1]
        read = self.step_bytes / self.tokens_of_step / bandwidth / 1e9
        return max(("compute", compute), ("read", read), key=lambda bound: bound[1])


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
        """Load per metric."""
        position = self.context + self.n / 2
        return dict(zip(self.metrics, (
            Load(DENSE_OPS + HEAD_OPS / self.context, ATTENTION_OPS * self.context / 2),
            Load(DENSE_OPS + HEAD_OPS, ATTENTION_OPS * position,
                 LAYER_BYTES + HEAD_BYTES + KV_BYTES * position))))


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
        position, prompts_per_token = self.context + self.n / 2, self.context / self.n
        return dict(zip(self.metrics, (
            Load(DENSE_OPS * (1 + prompts_per_token) + HEAD_OPS,
                 ATTENTION_OPS * (position + prompts_per_token * self.context / 2)),
            Load(DENSE_OPS + HEAD_OPS, ATTENTION_OPS * position,
                 LAYER_BYTES + HEAD_BYTES + STREAMS * KV_BYTES * position, STREAMS))))


FULL = [Single("512", 512, 64), Single("4096", 4096, 64), Streams(512, 64)]
# Under QUICK=1: fewer tokens where that changes the rate least.
QUICK = [Single("512", 512, 32), Single("4096", 4096, 24), Streams(128, 16)]
