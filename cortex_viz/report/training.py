"""How a training went: what came of it, its curves, its history, its time and memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cortex_core.training.history import History
from cortex_viz import charts
from cortex_viz.curves import NOT_DRAWN, SHARES, VALIDATION
from cortex_viz.page import facts, grid, number, size, text
from cortex_viz.report.facts import Facts, exact

DRAWN = 1000  # epochs
COLUMNS = 9  # of a table, beside the epoch
SMALLEST, DRAWN_AT, MARGINS = 11, 12, 64  # pixels: letters, those of a drawing, beside it with its scrollbar
SPREAD = 20  # a curve that falls by this factor is drawn over a logarithmic axis


def overview(given: Facts) -> str:
    """The numbers that people look for first."""
    summary, rows = given.summary, given.history.rows
    large = {}
    measured: Mapping[str, Mapping[str, float | None]] = summary.get("metrics", {})
    part = next((p for p in ("test", "validation", "train") if p in measured), None)
    if part is not None:
        large = {f"{text(name)}, {part}": _measured(value) for name, value in measured[part].items()}
    large["epochs"] = number(summary.get("epochs", rows[-1].get("epoch", len(rows)) if rows else 0))
    if "parameters" in summary:
        large["parameters"] = number(summary["parameters"])
    if "seconds" in summary:
        large["time"] = duration(summary["seconds"])
    return facts(large) + _best(summary) + _metrics(measured)


def _best(summary: Mapping[str, Any]) -> str:
    told = []
    if best := summary.get("best"):
        told.append(
            f"The model is that of epoch {best['epoch']:,}, chosen by {text(best['monitor'])} "
            f"({_measured(best['value'])})."
        )
    if summary.get("stopped"):
        told.append(f"Training ended early: {text(summary['stopped'], 400)}.")
    return f"<p>{' '.join(told)}</p>" if told else ""


def _measured(value: float | None) -> str:
    """A number of summary.json, in which JSON has no other word for one that is not finite."""
    return "not finite" if value is None else exact(value)


def _metrics(measured: Mapping[str, Mapping[str, float | None]]) -> str:
    if not measured:
        return ""
    names = dict.fromkeys(name for numbers in measured.values() for name in numbers)
    parts = measured.values()
    rows = ([text(n), *(_measured(part[n]) if n in part else "" for part in parts)] for n in names)
    caption = "Training: in the best epoch, while the parameters moved. Other parts: the best model."
    return grid(caption, ["", *measured], rows, right=range(1, len(measured) + 1))


def curves(given: Facts) -> str:
    """Loss and metrics by epoch, training and validation together, and the learning rate."""
    history = given.history
    if not len(history):
        return '<p class="soft">No epoch has ended yet.</p>'
    rates = {row.get("learning_rate") for row in history}
    constant = len(rates) == 1 and None not in rates
    names = [name for name in _quantities(history) if not (constant and name == "learning_rate")]
    made = [_curve(history, name, _best_epoch(given.summary)) for name in names]
    told = f"<p>The learning rate is {exact(rates.pop())} in every epoch.</p>" if constant else ""
    cut = ""
    if len(history) > DRAWN:
        cut = (
            f'<p class="soft">Of {len(history):,} epochs those are drawn that are the lowest or the highest '
            "of every so many.</p>"
        )
    return f'{told}{cut}<div class="panels">{"".join(made)}</div>'


def _quantities(history: History) -> list[str]:
    names = [name for name in history.columns if name not in NOT_DRAWN and not name.startswith(VALIDATION)]
    return sorted(names, key=lambda name: name == "learning_rate")


def _best_epoch(summary: Mapping[str, Any]) -> list[tuple[float, str]]:
    return [(summary["best"]["epoch"], "best epoch")] if summary.get("best") else []


def _curve(history: History, name: str, marks: Sequence[tuple[float, str]]) -> str:
    pair = (("training", name), ("validation", VALIDATION + name))
    rows = _extremes(history.rows, [column for _, column in pair if column in history.columns])
    lines = [
        charts.Series(
            label if name != "learning_rate" else "learning rate",
            [float(row.get("epoch", i + 1)) for i, row in enumerate(rows)],
            [row.get(column) for row in rows],
            points=len(rows) < 30,
            colour=colour,
        )
        for colour, (label, column) in enumerate(pair)
        if column in history.columns
    ]
    title = text(name.replace("_", " "))
    drawn = charts.lines(lines, x="epoch", y="", log=_falls_far(name, lines), marks=marks)
    return f"<div><h3>{title}</h3>{drawn}</div>"


def _falls_far(name: str, lines: Sequence[charts.Series]) -> bool:
    values = [y for line in lines for y in line.y if y is not None and math.isfinite(y)]
    return name not in SHARES and bool(values) and min(values) > 0 and max(values) > SPREAD * min(values)


def _thinned(rows: Sequence[dict[str, Any]], most: int = DRAWN) -> Sequence[dict[str, Any]]:
    """Rows evenly chosen, with the first and the last."""
    if len(rows) <= most:
        return rows
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]


def _extremes(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Sequence[dict[str, Any]]:
    """Of each of many stretches the lowest and the highest row, by each of the columns, and the first that is
    not finite: no peak is lost, and no gap."""
    if len(rows) <= DRAWN:
        return rows
    kept, stretch = {0, len(rows) - 1}, -(-len(rows) // (DRAWN // (3 * len(columns))))
    for start in range(0, len(rows), stretch):
        for name in columns:
            values = {i: rows[i].get(name) for i in range(start, min(start + stretch, len(rows)))}
            known = {i: y for i, y in values.items() if y is not None and math.isfinite(y)}
            kept |= {pick(known, key=known.__getitem__) for pick in (min, max) if known}
            kept |= set(list(values.keys() - known.keys())[:1])
    return [rows[i] for i in sorted(kept)]


def history(given: Facts) -> str:
    """The table of all epochs, whose numbers are those of history.csv."""
    whole = given.history
    if not len(whole):
        return ""
    rows, columns = _thinned(whole.rows), [name for name in whole.columns if name != "epoch"]
    cut = f" {len(rows):,} of {len(whole):,} epochs are shown." if len(rows) < len(whole) else ""
    caption = f"Rounded here; history.csv has every digit.{cut}"
    tables = []
    for start in range(0, len(columns), COLUMNS):
        part = columns[start : start + COLUMNS]
        cells = ([exact(row.get("epoch")), *(exact(row.get(name)) for name in part)] for row in rows)
        head = ["epoch", *(text(name.replace("_", " ")) for name in part)]
        tables.append(grid(caption if not start else "", head, cells, right=range(1, len(head))))
    many = f"{len(whole):,} epoch{'s' if len(whole) > 1 else ''}"
    return f"<details><summary>{many}</summary>{''.join(tables)}</details>"


def time(given: Facts) -> str:
    """Seconds, examples by second, and the memory of the training."""
    history, summary = given.history, given.summary
    made = []
    for name, title in (("seconds", "seconds in an epoch"), ("samples_per_second", "examples per second")):
        if name in history.columns and len(history) > 1:
            rows = _extremes(history.rows, [name])
            epochs = [float(row.get("epoch", i + 1)) for i, row in enumerate(rows)]
            lines = [charts.Series(title, epochs, [row.get(name) for row in rows], points=len(rows) < 30)]
            made.append(f"<div><h3>{title}</h3>{charts.lines(lines, x='epoch')}</div>")
    panels = f'<div class="panels">{"".join(made)}</div>' if made else ""
    return _times(history, summary) + panels + _memory(summary)


def _times(history: History, summary: Mapping[str, Any]) -> str:
    large = {}
    if "seconds" in summary:
        large["in all"] = duration(summary["seconds"])
    epochs = [row["seconds"] for row in history if row.get("seconds") is not None]
    if epochs:
        large["an epoch"] = duration(sum(epochs) / len(epochs))
        waited = [row.get("waiting_seconds") or 0.0 for row in history]
        large["waiting for data"] = duration(sum(waited))
    return facts(large) if large else ""


KINDS = {
    "parameters": "weights",
    "gradients": "gradients of the weights",
    "moments": "what the optimizer remembers",
    "activations": "what layers keep for the gradient, and what passes between them",
    "workspace": "what kernels need beside",
    "total": "all of the training step",
    "arena": "of it the block that is planned, where what is no longer needed makes room",
    "process": "the most that the whole process had, data and Python included",
}


def _memory(summary: Mapping[str, Any]) -> str:
    known = {name: count for name, count in (summary.get("memory") or {}).items() if count is not None}
    if not known:
        return ""
    rows = [
        [text(name), f'<data value="{count}">{size(count)}</data>', KINDS.get(name, "")]
        for name, count in known.items()
    ]
    caption = "Memory: that of the process as it was, all else as it was planned before the first step."
    return grid(caption, ["", "size", "of what"], rows, right=[1])


def duration(seconds: float) -> str:
    """``0.42 s``, ``12.3 s``, ``4 min 5 s``, ``2 h 10 min``"""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s"


def environment(given: Facts) -> str:
    """Where the run was made."""
    known = given.summary.get("environment")
    if not known:
        return ""
    rows = [[text(name), text(told, 400)] for name, told in _flat(known)]
    return grid("", ["", "of this run"], rows)


def _flat(known: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in known.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name} ")
        elif value is not None:
            yield f"{before}{name}", ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def command(given: Facts) -> str:
    """How to make this run again."""
    if "command" not in given.summary:
        return ""
    line = given.summary["command"]
    if line is None:
        why = text(given.summary.get("command_why", "it was not written down"), 1000)
        return f"<p>There is no such command: {why}. description.yaml holds the description.</p>"
    return f"<pre><code>{text(line, 10_000)}</code></pre>"


def data(given: Facts) -> str:
    """How many examples there were, and what was said of them while they were read."""
    known = given.summary.get("data")
    if not known:
        return ""
    large = {text(part): number(count) for part, count in known.get("examples", {}).items()}
    notes = "".join(f"<li>{text(note, 1000)}</li>" for note in known.get("notes", ()))
    return (facts(large) if large else "") + (f"<ul>{notes}</ul>" if notes else "")


def description(given: Facts) -> str:
    """The description, with all of its defaults."""
    if not given.description:
        return ""
    lines = given.description.count("\n")
    yaml = "\n".join(text(line, 10_000) if line.strip() else "" for line in given.description.split("\n"))
    return (
        f"<details><summary>{lines:,} lines of YAML, defaults included</summary>"
        f"<pre><code>{yaml}</code></pre></details>{_fitting(given.drawing)}"
    )


def _fitting(drawing: str) -> str:
    """A drawing, smaller where the page is narrow; not there where its letters would be too small."""
    if not drawing:
        return ""
    width = int(drawing.partition('width="')[2].partition('"')[0])
    least = math.ceil(width * SMALLEST / DRAWN_AT) + MARGINS
    style = f"#drawing svg {{ max-width: 100%; height: auto }} @media (max-width: {least - 1}px)"
    style = f"<style>{style} {{ #drawing {{ display: none }} }}</style>"
    return f'<details id="drawing" open><summary>drawing</summary>{style}{drawing}</details>'
