"""CortexClassifier beside scikit-learn's MLPClassifier, of the same hidden sizes, on its small data sets.

    python -m benchmarks.sklearn_estimators [--rounds 5] [--threads 2] [--only digits,wine] [--json FILE]

Both stand behind a StandardScaler, with the parameters that they have by themselves.  A round is a
cross-validation over five folds, in other folds in each round, the same ones for both.  Each estimator has
a process of its own, and they take turns.  The first round is told apart: in it programs are compiled.
What is compared are the seconds of the five fits; processor seconds are told beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks import machine
from benchmarks.turns import ROOT, environment

SETS = ("digits", "wine")
ESTIMATORS = ("cortex", "sklearn")
HIDDEN, FOLDS = (100,), 5
BAR = 3.0  # times as fast as MLPClassifier, at no lower accuracy

Round = dict[str, Any]


def work(name: str, estimator: str) -> None:
    """The process of an estimator: for each line of input, a number, a cross-validation in those folds."""
    from sklearn import datasets  # type: ignore[import-untyped]
    from sklearn.model_selection import StratifiedKFold, cross_validate  # type: ignore[import-untyped]
    from sklearn.neural_network import MLPClassifier  # type: ignore[import-untyped]
    from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
    from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

    from cortex.sklearn import CortexClassifier

    warnings.simplefilter("ignore")  # MLPClassifier's, that it has not converged in its 200 epochs
    kind = CortexClassifier if estimator == "cortex" else MLPClassifier
    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    for line in sys.stdin:
        model = make_pipeline(StandardScaler(), kind(HIDDEN, random_state=int(line)))
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=int(line))
        began = time.process_time()
        found = cross_validate(model, x, y, cv=folds)
        processor = time.process_time() - began
        answer = {
            "seconds": sum(found["fit_time"]),
            "processor": processor,
            "accuracy": mean(found["test_score"]),
        }
        print(json.dumps(answer), flush=True)


def measure(name: str, rounds: int, threads: int) -> dict[str, Any]:
    """All rounds of a data set, in turn, and what they say."""
    found: list[dict[str, Round]] = []
    with ExitStack() as stack:
        workers = {x: stack.enter_context(_start(name, x, threads)) for x in ESTIMATORS}
        for number in range(rounds + 1):
            found.append({x: _turn(worker, number) for x, worker in workers.items()})
    return {"name": name, **summary(found[1:]), "first": summary(found[:1]), "rounds": found}


def _start(name: str, estimator: str, threads: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.sklearn_estimators", "--work", name, estimator],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment(threads),
    )  # fmt: skip


def _turn(worker: subprocess.Popen[str], number: int) -> Round:
    assert worker.stdin is not None
    assert worker.stdout is not None
    print(number, file=worker.stdin, flush=True)
    line = worker.stdout.readline()
    if not line:
        sys.exit(f"{worker.args!r} ended")  # it said why
    made: Round = json.loads(line)
    return made


def summary(rounds: list[dict[str, Round]]) -> dict[str, Any]:
    """Medians of each estimator over rounds, its mean accuracy, and how many times as fast Cortex is."""
    told: dict[str, Any] = {
        name: {
            "seconds": median(r[name]["seconds"] for r in rounds),
            "processor": median(r[name]["processor"] for r in rounds),
            "accuracy": mean(r[name]["accuracy"] for r in rounds),
        }
        for name in ESTIMATORS
    }
    for what in ("seconds", "processor"):
        told[f"{what}_ratio"] = median(r["sklearn"][what] / r["cortex"][what] for r in rounds)
    return told


def passes(row: dict[str, Any]) -> bool:
    """Whether a data set has what is asked."""
    return row["seconds_ratio"] >= BAR and row["cortex"]["accuracy"] >= row["sklearn"]["accuracy"]


def line(row: dict[str, Any]) -> str:
    """A data set for people."""
    ours, theirs, first = row["cortex"], row["sklearn"], row["first"]
    return (
        f"{row['name']}: {FOLDS} fits in {ours['seconds']:.3f} s, MLPClassifier {theirs['seconds']:.3f} s: "
        f"{row['seconds_ratio']:.1f} times as fast ({row['processor_ratio']:.1f} by processor seconds; "
        f"{first['seconds_ratio']:.1f} in the first round); "
        f"accuracy {ours['accuracy']:.4f}, {theirs['accuracy']:.4f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sklearn_estimators", description=__doc__.split("\n")[0]
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="cross-validations of each, beside the first (%(default)s)")
    add("--threads", type=int, default=os.cpu_count() or 1, help="of both (%(default)s)")
    add("--only", default=",".join(SETS), metavar="SETS", help="data sets, with commas between (%(default)s)")
    add("--json", type=Path, metavar="FILE", help="everything that was measured")
    add("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(*options.work)
        return
    unknown = sorted(set(options.only.split(",")) - set(SETS))
    if unknown:
        parser.error(f"unknown data set {unknown[0]!r}; known are {', '.join(SETS)}")
    facts = {
        "date": time.strftime("%Y-%m-%d"),
        "processor": machine.processor(),
        "cores": os.cpu_count(),
        "threads": options.threads,
        "load_before": os.getloadavg()[0],
        "versions": {name: version(name) for name in ("numpy", "scikit-learn")},
        "hidden_layer_sizes": HIDDEN,
        "folds": FOLDS,
        "bars": {"ratio": BAR},
    }
    rows = []
    for name in options.only.split(","):
        rows.append(measure(name, options.rounds, options.threads))
        print(line(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps({**facts, "sets": rows}, indent=1) + "\n", encoding="utf-8")
    sys.exit(int(not all(map(passes, rows))))


if __name__ == "__main__":
    main()
