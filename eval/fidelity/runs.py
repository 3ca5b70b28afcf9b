"""Runs of skv-fidelity for the rows B.*, and the test that compares their needle tasks."""
import hashlib
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools/rows"))
import rowlib  # noqa: E402

DATA = rowlib.ROOT / "eval/data"
# Results of a row that one sitting is too short for may be kept in results/partial until it is complete.
CELLS = rowlib.ROOT / "build/fidelity/cells.json"
KEPT_CELLS = rowlib.ROOT / "results/partial/cells.json"
# Of all runs of a row together; 0: no limit.
TIME_BUDGET = float(os.environ.get("FIDELITY_SECONDS") or 0)
START = time.monotonic()


def texts():
    """The fixed texts, checked against their hashes."""
    paths = []
    for line in (DATA / "SHA256SUMS").read_text().splitlines():
        expected, name = line.split()
        got = hashlib.sha256((DATA / name).read_bytes()).hexdigest()
        if got != expected:
            rowlib.fail(f"{DATA / name}: SHA-256 {got}, expected {expected}")
        paths.append(DATA / name)
    return paths


def state_path(state=CELLS, kept=KEPT_CELLS):
    """Where cells are, of whatever text, setting and policy revision; begins with those that were kept elsewhere.

    skv-fidelity refuses a file of another arithmetic or segmenter, and looks for cells of its own revision.
    """
    state.parent.mkdir(parents=True, exist_ok=True)
    if not state.exists() and kept.exists():
        shutil.copyfile(kept, state)
    return state


def run(policies, *arguments):
    """The cells of one run. Ends the row when $FIDELITY_SECONDS were not enough; the next goes on from there."""
    program = rowlib.binary("skv-fidelity")
    seconds = max(1e-3, TIME_BUDGET - (time.monotonic() - START)) if TIME_BUDGET else 0
    done = subprocess.run([program, "--model", rowlib.model_path(), "--policies", ";".join(policies),
                           "--out", state_path(), "--time-budget", str(seconds), *map(str, arguments)],
                          stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        rowlib.fail(f"skv-fidelity: exit code {done.returncode}")
    report = json.loads(done.stdout)
    if not report["complete"]:
        rowlib.fail(f"out of time with {report['jobs_left']} texts or samples left; run it again to go on, elsewhere "
                    f"with {CELLS} kept as {KEPT_CELLS}")
    return report["cells"]


def needles(task, length, first_seed, count):
    """Lines of make_needles, one a sample."""
    return subprocess.run([rowlib.ROOT / "eval/fidelity/make_needles", "--task", task, "--length", str(length),
                           "--seed", str(first_seed), "--count", str(count)],
                          stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()


def paired_p(lost, won):
    """Two-sided exact McNemar test: `lost` samples only the first answers, `won` only the second."""
    n = lost + won
    tail = sum(math.comb(n, i) for i in range(min(lost, won) + 1)) / 2**n
    return min(1.0, 2 * tail)
