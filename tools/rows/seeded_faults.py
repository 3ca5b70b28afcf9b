"""Rows that apply seeded faults (tests/mutants): which faults are whose, and the row itself."""
import json
import os
import subprocess

import rowlib

# What the names of a row's patches begin with. Every patch belongs to one row.
AREAS = {
    "A.mutants": ["comm", "detokenizer", "kernels", "loader", "model", "router", "scheduler"],
    "B.mutants": ["segmenter", "masks", "selection", "working_set", "policy"],
    "C.mutants": ["kvstore", "tiers", "prefix", "migration"],
}
MIN_FAULTS = 20


def emit_row(row_id):
    """Measures and prints a row of AREAS. $JOBS limits the processes of builds and tests."""
    command = [rowlib.ROOT / "tools/mutants", "--areas", *AREAS[row_id]]
    if os.environ.get("JOBS"):
        command += ["--jobs", os.environ["JOBS"]]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    try:
        result = json.loads(done.stdout)
    except json.JSONDecodeError:
        rowlib.fail(f"tools/mutants: exit code {done.returncode} and no JSON")
    faults = result["faults"]
    value = {key: result[key] for key in ("seeded", "applied", "missed")}
    value["caught"] = value["applied"] - value["missed"]
    areas = ", ".join(AREAS[row_id][:-1]) + " and " + AREAS[row_id][-1]
    rowlib.emit(
        f"At least {MIN_FAULTS} seeded faults in {areas}, each applied alone to a clean clone: all "
        "of them apply and build, and the tests of make test, which pass without a fault, catch "
        "every one",
        "faults", value, samples=value["applied"],
        limits={"seeded": value["seeded"] >= MIN_FAULTS, "caught": value["caught"] == value["seeded"]},
        caught_by={name: fault["caught_by"][:3] for name, fault in faults.items()},
        not_caught={name: fault["state"] for name, fault in faults.items()
                    if fault["state"] != "caught"})
