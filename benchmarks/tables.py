"""The examples with tables beside scikit-learn's HistGradientBoostingClassifier: accuracy from the raw files.

    python -m benchmarks.tables [--only titanic,adult] [--seeds 3] [--quick] [--threads 2] [--json FILE]

Each example of ``examples/`` is trained as it is described, from files that hold the lines of the raw file
which a fold trains on and holds out.  The peer has its defaults and gets the same rows and columns: numbers
as they are, what is no number as categories, missing cells as missing.  Both have the same five stratified
folds and the same seeds.  `adult` has a test file of its own besides.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np

import cortex
from benchmarks import machine
from benchmarks.turns import ROOT
from cortex_core.spec import read
from cortex_core.training.examples import finder_beside
from cortex_core.training.run import Run

BARS = {"titanic": 1.0, "adult": 1.0, "penguins": 2.0}
"""By how many points of accuracy each may lie below the peer."""

FOLDS = 5


@dataclass(frozen=True)
class Pair:
    """A training and a test part, each a raw file and the same rows as a DataFrame with the peer's types."""

    files: tuple[Path, Path]
    frames: tuple[Any, Any]


class Example:
    """A description, its raw table as lines of text, and the same as the peer reads it."""

    def __init__(self, name: str) -> None:
        description = read(str(ROOT / "examples" / f"{name}.yaml"))
        self.name, self.canonical = name, description.canonical
        self.table = description.train.data
        self.target = description.losses[0].target
        find = finder_beside(description)
        self.file = find(self.table.file)
        self.test_file = None if self.table.test is None else find(self.table.test)

    def folds(self, folder: Path) -> Iterator[Pair]:
        """Each fold, with its files written into the folder."""
        from sklearn.model_selection import StratifiedKFold

        head, lines = self._lines()
        frame = self.frame(self.file)
        if len(frame) != len(lines):
            raise ValueError(f"{self.file.name} has {len(lines)} lines, but {len(frame)} rows")
        dealt = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(frame, frame[self.target])
        for i, parts in enumerate(dealt):
            files = folder / f"{self.name}-{i}-train.csv", folder / f"{self.name}-{i}-test.csv"
            for file, rows in zip(files, parts):
                file.write_text("\n".join([*head, *(lines[row] for row in rows), ""]), encoding="utf-8")
            yield Pair(files, tuple(frame.iloc[rows] for rows in parts))

    def own_test(self) -> Pair | None:
        """The whole table, and the test file that was published with it."""
        import pandas

        if self.test_file is None:
            return None
        both = pandas.concat([self.frame(self.file), self.frame(self.test_file)], ignore_index=True)
        both = categorical(both)
        end = len(self.frame(self.file))
        return Pair((self.file, self.test_file), (both[:end], both[end:]))

    def frame(self, file: Path) -> Any:
        """The table as pandas reads it, its labels without the point that ends them in Adult's test file."""
        import pandas

        options = {"names": self.table.header, "skipinitialspace": True, "na_values": ["?"]}
        frame = pandas.read_csv(file, **options)
        frame[self.target] = frame[self.target].astype(str).str.rstrip(".")
        return categorical(frame)

    def train(self, pair: Pair, seed: int, out: Path, threads: int) -> Run:
        """The example as it is described, but for its files."""
        train = self.canonical["train"]
        options = next(iter(train["data"].values()))
        files = {"file": str(pair.files[0]), "test": str(pair.files[1])}
        data = {"table": {**options, **files}}
        description = {**self.canonical, "train": {**train, "data": data, "test": None}}
        return cortex.train(description, seed=seed, out=out, threads=threads, progress=False, report=False)

    def _lines(self) -> tuple[list[str], list[str]]:
        """The header, where the file has one, and the lines of the rows."""
        lines = [line for line in self.file.read_text(encoding="utf-8").splitlines() if line.strip()]
        start = 1 if self.table.header is None else 0
        return lines[:start], lines[start:]


def categorical(frame: Any) -> Any:
    """With a category's type for each column that holds no numbers."""
    return frame.astype({c: "category" for c in frame if frame[c].dtype.kind not in "biuf"})


def boosting(pair: Pair, target: str, columns: list[str], seed: int) -> float:
    """The peer's accuracy on the test part."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    train, test = (frame[columns] for frame in pair.frames)
    answers, expected = (frame[target].astype(str) for frame in pair.frames)
    peer = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed)
    return float((peer.fit(train, answers).predict(test) == expected.to_numpy()).mean())


def one(example: Example, pair: Pair, seed: int, threads: int) -> dict[str, Any]:
    """Both sides once: accuracies on the test part, seconds, and what was given to both."""
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        run = example.train(pair, seed, Path(scratch) / "run", threads)
        middle = time.perf_counter()
        columns = list(run.network.encoding.features)
        theirs = boosting(pair, example.target, columns, seed)
        end = time.perf_counter()
    return {
        "seed": seed,
        "rows": [len(frame) for frame in pair.frames],
        "columns": columns,
        "cortex": run.metrics["test"]["accuracy"],
        "boosting": theirs,
        "seconds": {"cortex": middle - start, "boosting": end - middle},
    }


def summed(runs: list[dict[str, Any]], bar: float) -> dict[str, Any]:
    """Means and spreads in percent, and whether the mean lies within the bar."""
    ours, theirs = (100 * np.array([run[side] for run in runs]) for side in ("cortex", "boosting"))
    sides = {"cortex": ours, "boosting": theirs, "difference": ours - theirs}
    spread = {
        name: {"mean": mean(x), "deviation": stdev(x) if len(x) > 1 else 0.0, "low": min(x), "high": max(x)}
        for name, x in ((name, x.tolist()) for name, x in sides.items())
    }
    seconds = {side: median(run["seconds"][side] for run in runs) for side in ("cortex", "boosting")}
    met = spread["difference"]["mean"] >= -bar
    columns = runs[0]["columns"]
    runs = [{key: value for key, value in run.items() if key != "columns"} for run in runs]
    return {**spread, "bar": bar, "met": met, "seconds": seconds, "columns": columns, "runs": runs}


def measure(name: str, chosen: argparse.Namespace) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of one example: its folds, and its own test file where it has one."""
    example = Example(name)
    with tempfile.TemporaryDirectory() as scratch:
        pairs = list(example.folds(Path(scratch)))[: 1 if chosen.quick else FOLDS]
        runs = [one(example, pair, seed, chosen.threads) for seed in chosen.seeds for pair in pairs]
    yield name, summed(runs, BARS[name])
    own = example.own_test()
    if own is not None:
        runs = [one(example, own, seed, chosen.threads) for seed in chosen.seeds]
        yield f"{name}, its test file", summed(runs, BARS[name])


HEAD = (
    "| accuracy, % | columns | Cortex | gradient boosting | difference | at least | seconds, median |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)


def text(name: str, row: dict[str, Any]) -> str:
    """One line of the table: means, with the standard deviation of the runs in brackets."""
    ours, theirs, difference = (row[key] for key in ("cortex", "boosting", "difference"))
    cells = [
        name,
        str(len(row["columns"])),
        f"{ours['mean']:.2f} ({ours['deviation']:.2f})",
        f"{theirs['mean']:.2f} ({theirs['deviation']:.2f})",
        f"{difference['mean']:+.2f} ({difference['deviation']:.2f})",
        f"{-row['bar']:+.0f}: {'met' if row['met'] else 'missed'}",
        f"{row['seconds']['cortex']:.1f}, {row['seconds']['boosting']:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--only", metavar="NAMES", default=",".join(BARS), help="examples, with commas between (%(default)s)")
    add("--seeds", type=int, default=3, help="how many (%(default)s)")
    add("--quick", action="store_true", help="one seed and one fold: whether it runs, and no verdict")
    add("--threads", type=int, default=os.cpu_count() or 1, help="of Cortex (%(default)s)")
    add("--json", metavar="FILE", help="everything that was measured; - is standard output")
    chosen = parser.parse_args()
    chosen.only = chosen.only.split(",")
    unknown = sorted(set(chosen.only) - set(BARS))
    if unknown:
        parser.error(f"no example {', '.join(unknown)}; known are {', '.join(BARS)}")
    chosen.seeds = range(1 if chosen.quick else chosen.seeds)
    return chosen


def main() -> None:
    """Measures, and says it; ends with 1 where a bar is missed."""
    chosen = options()
    facts = machine.facts("auto", sys.executable)
    facts |= {name: version(name) for name in ("scikit-learn", "pandas")}
    told = sys.stderr if chosen.json == "-" else sys.stdout
    print(
        f"{facts['date']}, {facts['processor']}, {facts['cores']} cores, {chosen.threads} threads, load "
        f"{facts['load_before'][0]:.1f} before the run; Cortex {facts['cortex']} on {facts['backend']}, "
        f"scikit-learn {facts['scikit-learn']}; {len(chosen.seeds)} seeds\n\n{HEAD}",
        file=told,
    )
    rows = {}
    try:
        for name in chosen.only:
            for title, row in measure(name, chosen):
                rows[title] = row
                print(text(title, row), file=told, flush=True)
    except cortex.CortexError as error:
        raise SystemExit(f"benchmarks.tables: {error}") from None
    made = {"machine": facts, "folds": FOLDS, "seeds": len(chosen.seeds), "rows": rows}
    if chosen.json == "-":
        print(json.dumps(made, indent=1))
    elif chosen.json:
        Path(chosen.json).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    if not chosen.quick and not all(row["met"] for row in rows.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
