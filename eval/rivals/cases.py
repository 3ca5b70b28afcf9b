"""Random cases of skv-kept-sets, and its answers. kept_case.h describes the format."""
import dataclasses
import json
import subprocess
import tempfile

import numpy as np

import transcription

GROUPS = [1, 3, 8]
KINDS = ["plain", "in_window", "at_budget", "beside_budget", "ties", "all_equal", "twice_scored",
         "wide"]
BATCH = 20  # cases a run of the program


@dataclasses.dataclass
class Case:
    """keys [layers, kv_heads, tokens, head_dim]; queries, a group of them before head_dim."""
    policy: str
    kind: str
    budget: int
    prompt: int
    max_step: int
    seed: int
    fork: bool
    keys: np.ndarray
    queries: np.ndarray

    def __str__(self):
        return (f"{self.policy} {self.kind} budget {self.budget} prompt {self.prompt} of "
                f"{self.tokens} {self.queries.shape}")

    @property
    def layers(self):
        return self.keys.shape[0]

    @property
    def tokens(self):
        return self.keys.shape[2]

    def heads(self):
        """(layer, kv_head) in the order of the program's answers."""
        return list(np.ndindex(self.keys.shape[:2]))

    def encoded(self):
        layers, kv_heads, tokens, group, head_dim = self.queries.shape
        header = {"policy": self.policy, "budget": self.budget, "semantic_factor": 0,
                  "layers": layers, "kv_heads": kv_heads, "group": group, "head_dim": head_dim,
                  "prompt": self.prompt, "tokens": tokens, "max_step": self.max_step,
                  "seed": self.seed, "fork": self.fork, "sentences": []}
        return b"".join([json.dumps(header).encode(), b"\n", self.keys.astype("<f4").tobytes(),
                         self.queries.astype("<f4").tobytes()])


def bf16(values):
    """The values as float32, cut to those of bf16."""
    return (values.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def prompt_length(kind, budget, random):
    """How many prompt tokens a case of `kind` has."""
    window = transcription.window(budget)
    return {"in_window": lambda: random.integers(1, window),
            "at_budget": lambda: budget,
            "beside_budget": lambda: budget + random.choice([-1, 1]),
            "twice_scored": lambda: 2 * (budget - window) + random.integers(-1, 2),
            }.get(kind, lambda: random.integers(budget + 1, 4 * budget))()


def add_ties(keys, prompt, random):
    """Half of the prompt's pages become copies of others; elsewhere some keys do."""
    page = transcription.PAGE
    pages = prompt // page
    for target in range(pages):
        if random.random() < 0.5:
            source = random.integers(pages)
            keys[:, :, target * page:(target + 1) * page] = (
                keys[:, :, source * page:(source + 1) * page])
        elif random.random() < 0.5:
            places = target * page + random.integers(page, size=4)
            keys[:, :, places] = keys[:, :, random.integers(prompt, size=4)]


def make_case(policy, number):
    """Case `number` of a policy: always the same one."""
    random = np.random.default_rng([sum(policy.encode()), number])
    kind = KINDS[number % len(KINDS)]
    # Few cases are wide enough for a pyramid whose top holds a window of 32 twenty times over.
    wide = kind == "wide" and policy != "h2o"
    budget = int(random.integers(672, 720) if wide else random.integers(16, 161))
    prompt = int(prompt_length("twice_scored" if wide and number % 3 else kind, budget, random))
    generated = int(random.integers(1, 40) if policy != "pyramidkv" else random.integers(1, 4))
    layers = {"quest": 3, "pyramidkv": int(random.choice([1, 2, 3, 4, 7, 12]))}.get(policy, 1)
    kv_heads = 1 if wide else 2
    group, head_dim = GROUPS[number % len(GROUPS)], int(random.choice([32, 64]))
    tokens = prompt + generated
    keys = bf16(random.standard_normal((layers, kv_heads, tokens, head_dim)))
    if kind == "ties":
        add_ties(keys, prompt, random)
    if kind == "all_equal":
        keys[:] = keys[:, :, :1]
    scale = random.choice([0.5, 1, 2, 4])
    queries = (scale * random.standard_normal(
        (layers, kv_heads, tokens, group, head_dim))).astype(np.float32)
    return Case(policy, kind, budget, prompt, max_step=int(random.integers(1, prompt + 1)),
                seed=int(random.integers(2**31)), fork=bool(random.integers(2)), keys=keys,
                queries=queries)


def positions(ranges):
    return np.concatenate([np.arange(begin, end) for begin, end in ranges])


def attended(program, cases):
    """Per case, per layer and KV head, per generated position: what its policy attends."""
    for first in range(0, len(cases), BATCH):
        with tempfile.NamedTemporaryFile(suffix=".cases") as file:
            for case in cases[first:first + BATCH]:
                file.write(case.encoded())
            file.flush()
            done = subprocess.run([program, "--cases", file.name], stdout=subprocess.PIPE,
                                  text=True, check=True)
        for line in done.stdout.splitlines():
            yield [[positions(row) for row in head] for head in json.loads(line)["attended"]]
