"""Golden logits: their files, and the measures that compare logits with them.

A golden is a pair NAME.json, NAME.bin. The JSON names the model (sha256), the reference, the
documents and the arrays; the .bin holds the arrays, raw little-endian, at the offsets given there:
  tokens       int32 [sum of document lengths]  the documents' tokens, one after the other
  document     int32 [N]          index of the document that a golden position is in
  position     int32 [N]          its position there: the logits follow tokens 0..position
  top_ids      uint16 [N, top]    ids of the largest logits, falling
  top_logits   float32 [N, top]   their logits
  lse          float64 [N]        log(sum(exp(logits))) over the whole vocabulary
  tail_lse     float64 [N]        the same over the ids outside top_ids (-inf when there are none)
argmax is top_ids[:, 0]; margin is top_logits[:, 0] - top_logits[:, 1].
Needs numpy only.
"""
import dataclasses
import json
import pathlib

import numpy as np

FORMAT = "skv-logits-golden-1"
DTYPES = {"tokens": "<i4", "document": "<i4", "position": "<i4", "top_ids": "<u2",
          "top_logits": "<f4", "lse": "<f8", "tail_lse": "<f8"}


def log_sum_exp(x):
    """Along the last axis, in float64; -inf for no or only -inf entries."""
    if x.shape[-1] == 0:
        return np.full(x.shape[:-1], -np.inf)
    x = x.astype(np.float64)
    peak = np.max(x, axis=-1, keepdims=True)
    peak = np.where(np.isfinite(peak), peak, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.sum(np.exp(x - peak), axis=-1)) + peak[..., 0]


def tail_log_sum_exp(logits, top_ids):
    """log-sum-exp of each row of logits [n, vocab] without its top_ids [n, top]."""
    tail = logits.astype(np.float64)
    np.put_along_axis(tail, top_ids.astype(np.int64), -np.inf, axis=-1)
    return log_sum_exp(tail)


@dataclasses.dataclass
class Summary:
    """What is kept of logits [n, vocab]; fields as in the file format above."""
    top_ids: np.ndarray
    top_logits: np.ndarray
    lse: np.ndarray
    tail_lse: np.ndarray


def summarize(logits, top):
    """Summary of logits [n, vocab]. Equal logits are ordered by id."""
    ids = np.argsort(-logits, axis=-1, kind="stable")[:, :top]
    return Summary(ids.astype(np.uint16), np.take_along_axis(logits, ids, axis=-1),
                   log_sum_exp(logits), tail_log_sum_exp(logits, ids))


@dataclasses.dataclass
class Golden:
    header: dict
    arrays: dict

    def documents(self):
        """(name, tokens, rows of this document's golden positions) of each document."""
        start = 0
        for index, document in enumerate(self.header["documents"]):
            end = start + document["num_tokens"]
            rows = np.flatnonzero(self.arrays["document"] == index)
            yield document["name"], self.arrays["tokens"][start:end], rows
            start = end

    @property
    def margin(self):
        top = self.arrays["top_logits"]
        return top[:, 0].astype(np.float64) - top[:, 1]

    def kl(self, logits, rows):
        """KL(golden || logits) in nats of rows, logits [len(rows), vocab].

        Over top + 1 outcomes: the golden's top ids, and everything else lumped into one. Lumping
        never raises KL, so this is a lower bound of the full one, tight when the tail is thin.
        """
        ids = self.arrays["top_ids"][rows].astype(np.int64)
        ours = log_sum_exp(logits)[:, None]
        log_p = self.arrays["top_logits"][rows].astype(np.float64) - self.arrays["lse"][rows][:, None]
        log_q = np.take_along_axis(logits, ids, axis=-1).astype(np.float64) - ours
        kl = np.sum(np.exp(log_p) * (log_p - log_q), axis=-1)
        if ids.shape[1] < logits.shape[1]:
            tail_p = self.arrays["tail_lse"][rows] - self.arrays["lse"][rows]
            tail_q = tail_log_sum_exp(logits, ids) - ours[:, 0]
            kl += np.exp(tail_p) * (tail_p - tail_q)
        return kl

    def agrees(self, logits, rows):
        """Whether the largest logit is the golden's, per row."""
        return logits.argmax(axis=-1) == self.arrays["top_ids"][rows, 0]


def save(path, header, arrays):
    """Writes PATH.json and PATH.bin; path has no suffix."""
    path = pathlib.Path(path)
    offsets, offset = {}, 0
    with open(path.with_suffix(".bin"), "wb") as file:
        for name, dtype in DTYPES.items():
            data = np.ascontiguousarray(arrays[name], dtype=dtype)
            offsets[name] = {"dtype": data.dtype.name, "shape": list(data.shape), "offset": offset}
            file.write(data.tobytes())
            offset += data.nbytes
    header = {"format": FORMAT, **header, "arrays": offsets}
    path.with_suffix(".json").write_text(json.dumps(header, indent=1) + "\n")


def load(path):
    """Golden of PATH.json and PATH.bin; path has no suffix. ValueError on another format."""
    path = pathlib.Path(path)
    header = json.loads(path.with_suffix(".json").read_text())
    if header.get("format") != FORMAT:
        raise ValueError(f"{path}.json: format {header.get('format')!r}, expected {FORMAT!r}")
    raw = path.with_suffix(".bin").read_bytes()
    arrays = {}
    for name, spec in header["arrays"].items():
        count = int(np.prod(spec["shape"]))
        arrays[name] = np.frombuffer(raw, np.dtype(spec["dtype"]).newbyteorder("<"), count,
                                     spec["offset"]).reshape(spec["shape"])
    return Golden(header, arrays)
