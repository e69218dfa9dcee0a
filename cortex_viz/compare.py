"""Runs side by side: their numbers, their curves, and where their descriptions differ."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cortex_compute.errors import ArgumentError
from cortex_core.training.callbacks import lower_is_better
from cortex_core.training.checkpoint import header
from cortex_core.training.run import LAST, Run, load_run
from cortex_viz import charts
from cortex_viz.curves import NOT_DRAWN
from cortex_viz.page import grid, number, page, plain, text

POINTS = 30  # epochs up to which each is marked on its curve
PLACES = ("file", "files", "folder", "list")  # the fields of a reader that say what it reads


class Absent:
    """Stands for what a description does not have."""

    def __repr__(self) -> str:
        return "–"


ABSENT: Any = Absent()


@dataclass(frozen=True)
class Difference:
    """A place of the description, and what each run has there: plain data, or `ABSENT`."""

    path: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Number:
    """A number of each run, None where it has none; ``lower``: whether less is better, None where neither is.

    ``epochs``: in which epoch it was reached, for what changes from epoch to epoch.
    """

    name: str
    values: tuple[float | None, ...]
    lower: bool | None = None
    epochs: tuple[int | None, ...] | None = None

    @property
    def best(self) -> float | None:
        """The best of all runs; None where there is nothing to choose."""
        known = [v for v in self.values if v is not None and not math.isnan(v)]
        if self.lower is None or len(known) < 2 or len(set(known)) == 1:
            return None
        return min(known) if self.lower else max(known)


@dataclass(frozen=True)
class Comparison:
    """Runs by name, their numbers, the differences of their descriptions, and what to know of the numbers."""

    runs: dict[str, Run]
    numbers: list[Number]
    differences: list[Difference]
    notes: list[str]

    def data(self) -> dict[str, Any]:
        """All of it as plain data, but for the histories."""
        names = list(self.runs)
        return {
            "runs": [
                {"name": n, "path": str(r.path), "network": r.network.name} for n, r in self.runs.items()
            ],
            "numbers": [_number_data(n, names) for n in self.numbers],
            "differences": [
                {"path": d.path, "values": {n: v for n, v in zip(names, d.values) if v is not ABSENT}}
                for d in self.differences
            ],
            "notes": self.notes,
        }

    def html(self) -> str:
        """A page: the numbers, the curves over each other, and the differences."""
        names = [text(name) for name in self.runs]
        rows = [
            [text(n.name.replace("_", " ")), *(_cell(n, i) for i in range(len(names)))] for n in self.numbers
        ]
        right = range(1, len(names) + 1)
        body = [
            "<h2>Numbers</h2>",
            grid(_explained(self.numbers, "Bold is"), ["", *names], rows, right),
            *(f"<p>{text(note, 1000)}</p>" for note in self.notes),
            "<h2>Curves</h2>",
            *self._curves(),
            "<h2>Descriptions</h2>",
        ]
        cells = [[_path(d.path), *(text(shown(v), 1000) for v in d.values)] for d in self.differences]
        alike = "<p>The descriptions are the same.</p>"
        body.append(grid("Where they differ.", ["", *names], cells) if cells else alike)
        return page(f"{len(names)} runs", body, scripts=[charts.SCRIPT])

    def _curves(self) -> Iterator[str]:
        columns = dict.fromkeys(c for run in self.runs.values() for c in measured(run))
        if not columns:
            yield '<p class="soft">No epoch of these runs has ended.</p>'
        for column in columns:
            yield f"<h3>{text(column.replace('_', ' '))}</h3>"
            yield charts.lines(
                [_series(n, r, column, i) for i, (n, r) in enumerate(self.runs.items())], x="epoch"
            )

    def __str__(self) -> str:
        """The tables for a terminal."""
        return "\n".join(
            [
                *_table(list(self.runs), self.numbers),
                *(f"note: {plain(note, 1000)}" for note in self.notes),
                "",
                *_listed(list(self.runs), self.differences),
            ]
        )


def compare(folders: Sequence[str | Path | Run]) -> Comparison:
    """Two or more runs: folders as `cortex.train` leaves them, or `Run` objects.

    A run is called by the name of its folder, by the path where several folders have that name.  Raises
    `ArgumentError` for fewer than two and for one that is given twice, `CheckpointError` for what is no run.
    """
    runs = [given if isinstance(given, Run) else load_run(given) for given in folders]
    if len(runs) < 2:
        raise ArgumentError("there is nothing to compare with; give the folders of two or more runs")
    paths = [run.path.resolve() for run in runs]
    for i, path in enumerate(paths):
        if path in paths[:i]:
            raise ArgumentError(f"{runs[i].path} is given twice; give each run once")
    short = [path.name for path in paths]
    names = [name if short.count(name) == 1 else str(run.path) for name, run in zip(short, runs)]
    descriptions = [run.network.description.canonical for run in runs]
    named = dict(zip(names, runs))
    return Comparison(named, list(_numbers(runs)), list(differences("", descriptions)), list(_notes(named)))


def measured(run: Run) -> list[str]:
    """The columns of a history that say how good the network was."""
    return [name for name in run.history.columns if name not in (*NOT_DRAWN, "learning_rate")]


def differences(path: str, values: Sequence[Any]) -> Iterator[Difference]:
    """The places at which pieces of plain data differ.

    Items of a list that have an ``id`` or a ``name``, as layers and losses do, are compared by it: a layer
    more does not move those behind it.
    """
    if all(v == values[0] for v in values):
        return
    kinds = [_keyed(v) for v in values]
    if not all(isinstance(v, Mapping) for v in kinds) or _tagged_apart(kinds):
        yield Difference(path, tuple(values))
        return
    for key in dict.fromkeys(key for v in kinds for key in v):
        inner = [v.get(key, ABSENT) for v in kinds]
        if all(isinstance(v, list) for v in values):
            inner = _fields(inner)
        yield from differences(f"{path}.{key}" if path else str(key), inner)


def _keyed(value: Any) -> Any:
    """A list of {kind: {id or name, ...}} as a mapping by id or name; all else as it is."""
    if not isinstance(value, list) or not all(isinstance(x, Mapping) and len(x) == 1 for x in value):
        return value
    fields = [next(iter(x.values())) for x in value]
    keys = [f.get("id", f.get("name")) if isinstance(f, Mapping) else None for f in fields]
    return dict(zip(keys, value)) if None not in keys and len(set(keys)) == len(keys) else value


def _fields(items: list[Any]) -> list[Any]:
    """The fields of things of one kind; things of several kinds as they are."""
    kinds = {ABSENT if x is ABSENT else next(iter(x)) for x in items}
    return items if len(kinds) > 1 else [next(iter(x.values())) for x in items]


def _tagged_apart(values: Sequence[Mapping[str, Any]]) -> bool:
    """Whether these are things of different kinds, such as {adam: ...} and {sgd: ...}."""
    return all(len(v) == 1 for v in values) and len({next(iter(v)) for v in values}) > 1


def _path(path: str) -> str:
    """A path as HTML, which breaks behind its dots, and elsewhere only where it must."""
    parts = "<wbr>".join(map(text, path.replace(".", ".\0").split("\0")))
    return f'<span style="overflow-wrap: break-word">{parts}</span>'


def shown(value: Any) -> str:
    """A value of a description as YAML on one line."""
    from cortex_core.spec.write import to_yaml

    return "–" if value is ABSENT else " ".join(to_yaml({"x": value}).split()).removeprefix("x: ")


def _numbers(runs: Sequence[Run]) -> Iterator[Number]:
    for column in dict.fromkeys(c for run in runs for c in measured(run)):
        found = [_best_epoch(run, column) for run in runs]
        lower = _agreed(column, [run for run in runs if column in measured(run)])
        yield Number(column, tuple(v for v, _ in found), lower, tuple(e for _, e in found))
    for name in dict.fromkeys(name for run in runs for name in run.metrics.get("test", {})):
        values = tuple(run.metrics.get("test", {}).get(name) for run in runs)
        lower = _agreed(name, [run for run in runs if name in run.metrics.get("test", {})])
        yield Number(f"test {name}", values, lower)
    yield Number("epochs", tuple(len(run.history) for run in runs))
    yield Number("seconds", tuple(_seconds(run) for run in runs))
    sizes = (sum(slot.type.size for slot in run.network.slots.values()) for run in runs)
    yield Number("parameters", tuple(sizes))


def _notes(runs: Mapping[str, Run]) -> Iterator[str]:
    if len(_sources(runs.values())) > 1:
        told = ", ".join(f"{name} of {data_of(run) or 'unknown data'}" for name, run in runs.items())
        yield f"these runs are of different data ({told}): no number is the best of its row"
    for name, run in runs.items():
        if not run.summary:
            yield f"{name} has no end yet (it broke off, or still runs): its numbers are those so far"


def _sources(runs: Iterable[Run]) -> set[str]:
    return {data_of(run) for run in runs} - {""}


def data_of(run: Run) -> str:
    """What a run was trained on: the data set or the files that its description names, else how many examples
    it was handed; empty where neither is known."""
    options = run.network.description.canonical.get("train") or {}
    found = options.get("data")
    if found is None:
        path = run.path / LAST
        told = header(path).run if path.is_file() else None
        return f"{sum(told['data']['counts'].values()):,} examples" if told and "data" in told else ""
    if isinstance(found, Mapping):
        fields = next(iter(found.values()))
        places = [fields[key] for key in PLACES if fields.get(key) is not None]
        found = places[0] if len(places) == 1 else places
    return found if isinstance(found, str) else shown(found)


def _lower(run: Run, column: str) -> bool:
    options = run.network.description.train
    return lower_is_better(() if options is None else options.metrics, column)


def _agreed(column: str, runs: Sequence[Run]) -> bool | None:
    """Whether less is better; None where that is not the same in all runs, or their data are not."""
    if len(_sources(runs)) > 1:
        return None
    found = {_lower(run, column) for run in runs}
    return found.pop() if len(found) == 1 else None


def _best_epoch(run: Run, column: str) -> tuple[float | None, int | None]:
    """The best number of a column and its epoch."""
    rows = [r for r in run.history if r.get(column) is not None and not math.isnan(r[column])]
    if not rows:
        return None, None
    row = (min if _lower(run, column) else max)(rows, key=lambda r: r[column])
    return row[column], row["epoch"]


def _seconds(run: Run) -> float:
    whole: float = run.summary.get("seconds", sum(row.get("seconds", 0.0) for row in run.history))
    return round(whole, 3)


def _number_data(made: Number, names: Sequence[str]) -> dict[str, Any]:
    data: dict[str, Any] = {"name": made.name, "values": dict(zip(names, made.values))}
    if made.epochs is not None:
        data["epochs"] = dict(zip(names, made.epochs))
    return data


def _explained(numbers: Sequence[Number], mark: str) -> str:
    best = f"{mark} the best of its row." if any(n.best is not None for n in numbers) else ""
    epochs = "The best epoch of each measured number." if any(n.epochs for n in numbers) else ""
    return f"{best} {epochs}".strip()


def _cell(made: Number, i: int) -> str:
    value = made.values[i]
    if value is None:
        return "–"
    cell = f'<data value="{value}">{number(value)}</data>'
    return f"<strong>{cell}</strong>" if value == made.best else cell


def _series(name: str, run: Run, column: str, colour: int) -> charts.Series:
    epochs = [float(row["epoch"]) for row in run.history]
    values = [row.get(column) for row in run.history]
    return charts.Series(name, epochs, values, points=len(epochs) <= POINTS, colour=colour)


def _table(names: Sequence[str], numbers: Sequence[Number]) -> Iterator[str]:
    rows = [["", *(plain(n) for n in names)]]
    for made in numbers:
        cells = [number(v) + ("*" if v is not None and v == made.best else " ") for v in made.values]
        rows.append([made.name, *cells])
    widths = [max(map(len, column)) for column in zip(*rows)]
    for first, *rest in rows:
        line = "  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:]))])
        yield line.rstrip()
    told = _explained(numbers, "*")
    if told:
        yield told


def _listed(names: Sequence[str], differences: Sequence[Difference]) -> Iterator[str]:
    if not differences:
        yield "the descriptions are the same"
    width = max(len(plain(name)) for name in names)
    for made in differences:
        yield plain(made.path, 200)
        for name, value in zip(names, made.values):
            yield f"  {plain(name):<{width}}  {plain(shown(value), 500)}"
