"""Shows what `benchmarks.compare` measured: as text while it runs, and as the tables of docs/benchmarks.md.

python -m benchmarks.report FILE.json       writes the tables into docs/benchmarks.md
python -m benchmarks.report --numpy         writes the table of what NumPy computes, and keeps its reasons
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.rows import LABELS, ROWS, Row

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
MARKED = re.compile(r"<!-- table: [^ ]* -->\n.*?<!-- end -->", re.DOTALL)
BY_NUMPY = re.compile(r"(?<=<!-- numpy -->\n).*?(?=\n<!-- end -->)", re.DOTALL)
COLUMNS = ("cortex", "torch", "torch_channels_last", "torch_compile", "jax")
Result = dict[str, Any]


def number(x: float) -> str:
    """Three digits."""
    return f"{x:.0f}" if x >= 100 else f"{x:#.3g}"


def ranged(x: dict[str, float], percent: bool = False) -> str:
    """The median, and the range in brackets."""
    if percent:
        low, middle, high = (f"{100 * x[k]:.0f}" for k in ("low", "median", "high"))
        return f"{middle} % ({low}-{high})"
    return f"{number(x['median'])} ({number(x['low'])}-{number(x['high'])})"


def verdict(value: float, bar: float | None, goal: float | None) -> str:
    """What was reached: the goal, the bar, or neither."""
    if bar is None or goal is None:
        return ""
    return "goal met" if value >= goal else "bar met" if value >= bar else "missed"


def against(row: Row, result: Result) -> str:
    """The words for what a ratio is over."""
    if row.against == ("cortex_float32",):
        return "its own float32"
    return "PyTorch eager" if row.against else "the fastest peer"


def text(result: Result) -> str:
    """A row as lines of text, as soon as it is measured."""
    row = ROWS[result["name"]]
    if "failed" in result:
        return f"{row.title}\n  not measured: {result['failed']}"
    lines = [f"{row.title}: milliseconds, median of rounds (range)"]
    for library, x in result["times"].items():
        tail = f"   99 % below {number(x['p99'])}" if "p99" in x else ""
        lines.append(f"  {LABELS[library]:27} {ranged(x):24}{tail}")
    for library, accuracy in result.get("accuracy", {}).items():
        lines.append(f"  {LABELS[library]:27} cross-validated accuracy {accuracy:.4f}")
    lines += [f"  {LABELS[library]} is left out: {why}" for library, why in result["left_out"].items()]
    if "ratio" in result:
        asked = f"   bar {row.bar}, goal {row.goal}: " if row.bar is not None else ""
        met = verdict(result["ratio"]["median"], row.bar, row.goal)
        lines.append(f"  ratio to {against(row, result)}: {ranged(result['ratio'])}{asked}{met}")
    return "\n".join(lines)


def peak_text(peak: dict[str, Any], results: list[Result]) -> str:
    """The fractions of the machine's peak as lines of text, at the end of a run."""
    lines = [f"best large matrix product of the run: {peak['gflops']:.0f} GFLOP/s, {LABELS[peak['library']]}"]
    for r in results:
        if "of_peak" in r:
            row = ROWS[r["name"]]
            bar, goal = row.of_peak or (None, None)
            asked = f"   bar {100 * bar:.0f} %, goal {100 * goal:.0f} %: " if bar and goal else ""
            met = verdict(r["of_peak"]["median"], bar, goal)
            lines.append(f"  {row.title}: {ranged(r['of_peak'], percent=True)} of it{asked}{met}")
    return "\n".join(lines)


def markdown(run: dict[str, Any]) -> str:
    """The tables of a run."""
    measured = [(ROWS[r["name"]], r) for r in run["rows"] if "times" in r]
    parts = [
        machine.line(run, run["threads"]) + f"; {run['rounds']} rounds of {number(run['seconds'])} s.",
        table(
            ["milliseconds, median (range)", *(LABELS[c] for c in COLUMNS), "ratio", "bar", "goal", ""],
            [step_cells(row, r) for row, r in measured if row.purpose != "fit"],
        ),
        "Ratios are over the fastest peer of each round; those of bfloat16 over Cortex's own float32, "
        "and those of predictions over PyTorch eager.",
    ]
    tails = [cells for row, r in measured if (cells := tail_cells(row, r))]
    if tails:
        parts += ["99 % of the steps take less than, in milliseconds:"]
        parts += [table(["", *(LABELS[c] for c in COLUMNS)], tails)]
    fits = [fit_cells(row, r) for row, r in measured if row.purpose == "fit"]
    if fits:
        head = ["milliseconds, median (range); accuracy", "Cortex", "scikit-learn", "ratio", "bar", ""]
        parts += [table(head, fits)]
    if run["peak"]:
        rate, library = run["peak"]["gflops"], LABELS[run["peak"]["library"]]
        parts += [f"The best large matrix product of the run, a {library}: {rate:.0f} GFLOP/s. Of that:"]
        rows = [peak_cells(row, r) for row, r in measured if "of_peak" in r]
        parts += [table(["Cortex's step, float32", "fraction of the peak", "bar", "goal", ""], rows)]
    for r in run["rows"]:
        if "failed" in r:
            parts.append(f"{ROWS[r['name']].title} was not measured: {r['failed']}")
        for library, why in r.get("left_out", {}).items():
            parts.append(f"{ROWS[r['name']].title}: {LABELS[library]} is left out: {why}")
    return "\n\n".join(parts)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def step_cells(row: Row, result: Result) -> list[str]:
    times = {k: ranged(x) for k, x in result["times"].items()}
    if "cortex_float32" in times:
        times["cortex"] += f"; float32 {times['cortex_float32']}"
    ratio = result.get("ratio")
    met = verdict(ratio["median"], row.bar, row.goal) if ratio else ""
    asked = ["" if x is None else f"{x}" for x in (row.bar, row.goal)]
    cells = [times.get(c, "") for c in COLUMNS]
    return [row.title, *cells, ranged(ratio) if ratio else "", *asked, met]


def tail_cells(row: Row, result: Result) -> list[str]:
    """Of predictions, and of steps beside a busy process; nothing for the others."""
    times = result["times"]
    if not (row.purpose == "predict" or row.neighbour):
        return []
    return [row.title, *(number(times[c]["p99"]) if c in times else "" for c in COLUMNS)]


def fit_cells(row: Row, result: Result) -> list[str]:
    names, ratio = ("cortex", "sklearn"), result["ratio"]
    cells = [f"{ranged(result['times'][x])}; {result['accuracy'][x]:.4f}" for x in names]
    return [row.title, *cells, ranged(ratio), f"{row.bar}", verdict(ratio["median"], row.bar, row.goal)]


def peak_cells(row: Row, result: Result) -> list[str]:
    bar, goal = row.of_peak or (None, None)
    asked = ["" if x is None else f"{100 * x:.0f} %" for x in (bar, goal)]
    fraction = result["of_peak"]
    return [row.title, ranged(fraction, percent=True), *asked, verdict(fraction["median"], bar, goal)]


def insert(page: str, file: str, tables: str) -> str:
    """The page with these tables, and the name of the file that they come from."""
    return MARKED.sub(lambda _: f"<!-- table: {file} -->\n{tables}\n<!-- end -->", page)


def by_numpy(page: str) -> list[list[str]]:
    """The cells of the page's table of what NumPy computes, without its head; the last one is the reason."""
    found = BY_NUMPY.search(page)
    lines = found[0].splitlines()[2:] if found else []
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def with_by_numpy(page: str, head: list[str], rows: list[list[str]]) -> str:
    """The page with these rows, each with the reason that the page gives for its first two cells."""
    reasons = {(cells[0], cells[1]): cells[-1] for cells in by_numpy(page)}
    full = [[*cells, reasons.get((cells[0], cells[1]), "")] for cells in rows]
    return BY_NUMPY.sub(lambda _: table([*head, "why NumPy"], full), page)


def main(argument: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    if argument == "--numpy":
        from benchmarks.numpy_share import HEAD, shares

        page = with_by_numpy(page, HEAD, [share.cells() for share in shares()])
    else:
        source, root = Path(argument).resolve(), PAGE.parents[1]
        name = source.relative_to(root).as_posix() if source.is_relative_to(root) else source.name
        page = insert(page, name, markdown(json.loads(source.read_text(encoding="utf-8"))))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.report FILE.json | --numpy")
    main(sys.argv[1])
