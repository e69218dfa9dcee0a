"""What `cortex data describe` prints: a report of data as text.

The report is plain data, of the shape that cortex_datasets/describe/report.py gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cortex_core.summary import align, readable_bytes
from cortex_viz.describe import MEASURES
from cortex_viz.page import number
from cortex_viz.page import plain as on_one_line

Report = Mapping[str, Any]
BLOCKS = "▁▂▃▄▅▆▇█"
PAIRS = 10
VALUES = 5
LETTERS = 48
WIDTH = 100


def lines(report: Report) -> Iterator[str]:
    """The report for people, without line ends."""
    forms = {"table": _table, "arrays": _arrays, "pictures": _pictures, "text": _text}
    yield from forms[report["kind"]](report)
    if report["notes"]:
        yield ""
        for note in report["notes"]:
            yield f"note: {plain(note, 1000)}"


def _head(report: Report, what: str) -> str:
    return f"{plain(report['file'], 1000)}: {what}, {readable_bytes(report['bytes'])}"


def _table(report: Report) -> Iterator[str]:
    columns = report["columns"]
    yield _head(report, f"{_many(report['rows'], 'row')}, {_many(len(columns), 'column')}")
    if report["duplicates"]:
        yield f"{_many(report['duplicates'], 'row')} equal to an earlier one"
    yield ""
    overview = [("column", "kind", "missing", "", "distinct", "why")]
    for c in columns:
        missing = f"{c['missing']:,}" if c["missing"] else ""
        share = _share(c["missing"], report["rows"]) if c["missing"] else ""
        overview.append(
            (plain(c["name"]), c["kind"], missing, share, f"{c['distinct']:,}", plain(c["why"], 100))
        )
    yield from align(overview, right=(2, 3, 4))
    yield from _numbers([(c["name"], c["number"]) for c in columns if "number" in c])
    yield from _categories([c for c in columns if "category" in c])
    yield from _dates([c for c in columns if "date" in c])
    yield from _texts([c for c in columns if "text" in c])
    unreadable = [c for c in columns if c.get("unreadable")]
    for c in unreadable:
        yield f"{plain(c['name'])}: {_many(c['unreadable'], 'cell')} cannot be read as a {c['kind']}"
    yield from _pairs(report["correlations"])


def _numbers(found: Sequence[tuple[str, Report]], head: str = "numbers") -> Iterator[str]:
    if not found:
        return
    yield ""
    table: list[Sequence[str]] = [(head, "min", "25 %", "median", "75 %", "max", "mean", "std", "histogram")]
    for name, s in found:
        quartiles = s["quartiles"] or [None] * 3
        cells = [s["min"], *quartiles, s["max"], s["mean"], s["std"]]
        table.append((plain(name), *map(number, cells), bars(s["histogram"])))
    yield from align(table, right=range(1, 8))
    for name, s in found:
        if s["infinite"]:
            yield f"{plain(name)}: {_many(s['infinite'], 'number')} infinite"


def _categories(columns: Sequence[Report]) -> Iterator[str]:
    if columns:
        yield ""
        rows = [(plain(c["name"]), _values(c["category"], c["distinct"])) for c in columns]
        yield from align([("categories", "the most frequent"), *rows])


def _values(counts: Sequence[Report], different: int, most: int = VALUES) -> str:
    shown = [f"{plain(v['value'], 24)} ({v['count']:,})" for v in counts[:most]]
    more = f", {different - len(shown):,} more" if different > len(shown) else ""
    return ", ".join(shown) + more


def _dates(columns: Sequence[Report]) -> Iterator[str]:
    if columns:
        yield ""
        rows = [
            (plain(c["name"]), c["date"]["first"], c["date"]["last"], bars(c["date"]["histogram"]))
            for c in columns
        ]
        yield from align([("dates", "first", "last", "histogram"), *rows])


def _texts(columns: Sequence[Report]) -> Iterator[str]:
    if columns:
        yield ""
        table = [("texts", "characters", "mean", "words", "the first")]
        for c in columns:
            t = c["text"]
            span = f"{t['min']:,} to {t['max']:,}"
            table.append(
                (plain(c["name"]), span, f"{t['mean']:.1f}", f"{t['words']:.1f}", plain(t["example"]))
            )
        yield from align(table, right=(2, 3))


def _pairs(correlations: Report) -> Iterator[str]:
    pairs = correlations["pairs"]
    if pairs:
        yield ""
        rows = [
            (plain(p["a"]), plain(p["b"]), f"{p['value']:.2f}", MEASURES[p["measure"]], f"{p['rows']:,}")
            for p in pairs[:PAIRS]
        ]
        yield from align([("go together", "", "", "measure", "rows"), *rows], right=(2, 4))
        if len(pairs) > PAIRS:
            yield f"and {len(pairs) - PAIRS:,} weaker pairs"


def _arrays(report: Report) -> Iterator[str]:
    arrays = report["arrays"]
    yield _head(report, _many(len(arrays), "array"))
    yield ""
    table = [("array", "shape", "dtype", "NaN")]
    for a in arrays:
        shape = " x ".join(map(str, a["shape"])) or "scalar"
        table.append((plain(a["name"]), shape, a["dtype"], f"{a['nan']:,}" if a.get("nan") else ""))
    yield from align(table, right=(3,))
    yield from _numbers([(a["name"], a["number"]) for a in arrays if "number" in a])
    yield from _categories([{**a, "distinct": len(a["category"])} for a in arrays if "category" in a])


def _pictures(report: Report) -> Iterator[str]:
    yield _head(report, _many(report["pictures"], "picture"))
    yield ""
    if any(c["name"] for c in report["classes"]):
        rows = [(c["part"], plain(c["name"]), f"{c['count']:,}") for c in report["classes"]]
        yield from align([("part", "class", "pictures"), *rows], right=(2,))
        yield ""
    sizes = _values(report["sizes"], report["different_sizes"])
    yield f"height x width: {sizes or 'none is readable'}"
    for name in ("modes", "formats"):
        if report[name]:
            yield f"{name}: {_values(report[name], len(report[name]))}"
    if damaged := report["damaged"]:
        yield f"{_many(len(damaged), 'picture')} damaged:"
        for d in damaged[:PAIRS]:
            yield f"  {plain(d['file'], 200)} {plain(d['problem'], 200)}"
        if len(damaged) > PAIRS:
            yield f"  and {len(damaged) - PAIRS:,} more"


def _text(report: Report) -> Iterator[str]:
    yield _head(report, _many(report["lines"], "line"))
    yield ""
    rows = [("lines", report["lines"], report["empty_lines"], "empty")]
    rows += [(n, report[n], report[f"different_{n}"], "different") for n in ("characters", "words")]
    for name, count, other, what in rows:
        yield f"{name:<10}  {count:>13,}  {other:>9,} {what}"
    yield from _numbers([("of a line", report["lengths"])], head="characters")
    for name in ("characters", "words"):
        yield ""
        yield from _filled(f"common {name}: ", [_told(v) for v in report[f"common_{name}"]])


def _told(value: Report) -> str:
    """A value and its count; what has neither letter nor digit in quotes, as it may be a comma."""
    shown = value["value"] if any(map(str.isalnum, value["value"])) else repr(value["value"])
    return f"{plain(shown, 24)} ({value['count']:,})"


def _filled(head: str, parts: Sequence[str]) -> Iterator[str]:
    """The parts behind each other, in lines that fit a terminal; the next lines stand under the first."""
    line = head
    for i, part in enumerate(parts):
        piece = part + ", " * (i < len(parts) - 1)
        if len(line) > len(head) and len(line) + len(piece) > WIDTH:
            yield line.rstrip()
            line = " " * len(head)
        line += piece
    yield line


def bars(histogram: Report | None) -> str:
    """A block for each bin, as high as its share of the fullest one; a blank where nothing lies."""
    if histogram is None:
        return ""
    most = max(histogram["counts"])
    return "".join(BLOCKS[(n * 8 - 1) // most] if n else " " for n in histogram["counts"])


def plain(text: str, most: int = LETTERS) -> str:
    """A text of others on one line; nothing in it moves the cursor."""
    return on_one_line(text, most)


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
