"""The page of `cortex data describe --html`.

The report is plain data, of the shape that cortex_datasets/describe/report.py gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from cortex_core.training.files import write_atomically
from cortex_viz import page as html
from cortex_viz.page import facts, grid, histogram, number, plain, share, size, text

Report = Mapping[str, Any]
MAPPED = 30  # columns in the heat map
PAIRS = 20  # shown at once; the others unfold, up to UNFOLDED
UNFOLDED = 500
VALUES = 5

MEASURES = {"pearson": "Pearson's r", "cramers_v": "Cramér's V", "correlation_ratio": "correlation ratio"}


def write(report: Report, path: str | Path) -> None:
    """Writes the page of a report."""
    write_atomically(Path(path), page(report).encode("utf-8", "replace"))


def page(report: Report) -> str:
    """The page of a report, as HTML."""
    return html.page(Path(report["file"]).name, _body(report))


def _body(report: Report) -> Iterator[str]:
    yield f'<p class="soft">{text(report["file"], 1000)}</p>'
    bodies = {"table": _table, "arrays": _arrays, "pictures": _pictures, "text": _text}
    yield from bodies[report["kind"]](report)
    if report["notes"]:
        yield "<h2>Notes</h2>"
        yield "<ul>" + "".join(f"<li>{text(note, 1000)}</li>" for note in report["notes"]) + "</ul>"


# Tables


def _table(report: Report) -> Iterator[str]:
    columns, rows = report["columns"], report["rows"]
    missing = sum(c["missing"] for c in columns)
    yield facts(
        {
            "rows": f"{rows:,}",
            "columns": f"{len(columns):,}",
            "missing cells": share(missing, rows * len(columns)),
            "duplicate rows": f"{report['duplicates']:,}",
            "size": size(report["bytes"]),
        }
    )
    yield "<h2>Columns</h2>"
    head = ("column", "kind", "missing", "distinct", "distribution", "")
    caption = "Kinds are guessed on all rows; training guesses on its own, and a description may say."
    yield grid(caption, head, (_column(c, rows) for c in columns), right=(2, 3))
    yield from _correlations(report["correlations"])


def _column(c: Report, rows: int) -> tuple[str, ...]:
    kind = f'<span class="kind">{text(c["kind"])}</span><div class="small soft">{text(c["why"], 200)}</div>'
    missing = (
        f'{c["missing"]:,}<div class="small soft">{share(c["missing"], rows)}</div>' if c["missing"] else "0"
    )
    drawn, told = "", []
    if "number" in c:
        drawn, told = histogram(c["number"]["histogram"]), _told(c["number"])
    elif "category" in c:
        drawn = _values(c["category"], rows, c["distinct"])
    elif "date" in c:
        drawn = histogram(c["date"]["histogram"], dates=c["date"])
        told = [f"{when} {escape(c['date'][end])}" for when, end in (("from", "first"), ("to", "last"))]
    elif "text" in c:
        t = c["text"]
        drawn = f'<span class="small">“{text(t["example"])}”</span>'
        told = [
            f"{t['min']:,} to {t['max']:,} characters",
            f"{t['mean']:.1f} on average",
            f"{t['words']:.1f} words",
        ]
    if c.get("unreadable"):
        told = [*told, f"{c['unreadable']:,} cells unreadable"]
    return text(c["name"]), kind, missing, f"{c['distinct']:,}", drawn, _small(told)


def _told(s: Report) -> list[str]:
    if s["min"] is None:
        return ["no finite number"]
    quartiles = " · ".join(number(q) for q in s["quartiles"])
    told = [
        f"{number(s['min'])} to {number(s['max'])}",
        f"quartiles {quartiles}",
        f"mean {number(s['mean'])}, std {number(s['std'])}",
    ]
    return [*told, f"{s['infinite']:,} infinite"] if s["infinite"] else told


def _small(parts: Iterable[str]) -> str:
    return "".join(f'<div class="small">{part}</div>' for part in parts)


def _values(counts: Sequence[Report], total: int, different: int) -> str:
    """The most frequent values, each with a bar as long as its share of all rows."""
    rows = [
        f'{_bar(v["count"], total)} {text(v["value"], 40)} <span class="soft">{v["count"]:,}</span>'
        for v in counts[:VALUES]
    ]
    if different > VALUES:
        rows.append(f'<span class="soft">and {different - VALUES:,} more</span>')
    return _small(rows)


def _bar(count: int, total: int) -> str:
    width = 100 * count / max(1, total)
    return (
        '<svg class="line" width="104" height="12" aria-hidden="true">'
        f'<rect class="bar" y="2" width="{max(1.0, width):.1f}" height="8"/></svg>'
    )


def _correlations(found: Report) -> Iterator[str]:
    pairs = found["pairs"]
    if not pairs:
        return
    yield "<h2>What goes together</h2>"
    yield (
        "<p class='soft'>Pearson's r (−1 to 1) between numbers; Cramér's V (0 to 1) between categories; the"
        " correlation ratio (0 to 1) between a number and a category. Each over the rows in which both have"
        " a value.</p>"
    )
    yield heat_map(found)
    yield _pairs("The strongest pairs", pairs[:PAIRS])
    if rest := pairs[PAIRS:UNFOLDED]:
        more = f", {len(pairs) - UNFOLDED:,} left out" if len(pairs) > UNFOLDED else ""
        shown = _pairs("Weaker pairs", rest)
        yield f"<details><summary>{len(rest):,} weaker pairs{more}</summary>{shown}</details>"


def _pairs(caption: str, pairs: Sequence[Report]) -> str:
    rows = (
        (text(p["a"]), text(p["b"]), f"{p['value']:.3f}", MEASURES[p["measure"]], f"{p['rows']:,}")
        for p in pairs
    )
    return grid(caption, ("column", "and", "value", "measure", "rows"), rows, right=(2, 4))


def heat_map(found: Report, cell: int = 26, margin: int = 150) -> str:
    """A square for each pair, as dark as it is strong: the columns of the strongest pairs, at most 30."""
    strongest = list(dict.fromkeys(name for p in found["pairs"] for name in (p["a"], p["b"])))[:MAPPED]
    names = [name for name in found["columns"] if name in set(strongest)]
    place = {name: i for i, name in enumerate(names)}
    size = len(names) * cell
    drawn = [f'<rect class="ground" x="{margin}" width="{size}" height="{size}"/>']
    for p in found["pairs"]:
        if p["a"] in place and p["b"] in place:
            told = f"{plain(p['a'], 40)} and {plain(p['b'], 40)}: {p['value']:.2f}, {MEASURES[p['measure']]}"
            colour = f"rgba(var(--{'plus' if p['value'] >= 0 else 'minus'}), {abs(p['value']):.3f})"
            for i, j in ((place[p["a"]], place[p["b"]]), (place[p["b"]], place[p["a"]])):
                drawn.append(
                    f'<rect x="{margin + i * cell}" y="{j * cell}" width="{cell - 1}" height="{cell - 1}" '
                    f'style="fill: {colour}"><title>{escape(told)}</title></rect>'
                )
    for name, i in place.items():
        label = escape(plain(name, 20))
        middle = i * cell + cell / 2
        drawn.append(f'<text x="{margin - 8}" y="{middle + 4}" text-anchor="end">{label}</text>')
        drawn.append(
            f'<text transform="translate({margin + middle + 4} {size + 8}) rotate(90)">{label}</text>'
        )
    whole = margin + size
    return (
        f'<div class="wide"><svg role="img" aria-label="heat map of how {len(names)} columns go together; the'
        f' numbers stand in the table below" width="{whole}" height="{whole}" viewBox="0 0 {whole} {whole}">'
        f"{''.join(drawn)}</svg></div>"
    )


# Arrays, pictures, texts


def _arrays(report: Report) -> Iterator[str]:
    yield facts({"arrays": f"{len(report['arrays']):,}", "size": size(report["bytes"])})
    yield "<h2>Arrays</h2>"
    rows = []
    for a in report["arrays"]:
        drawn = told = ""
        if "number" in a:
            drawn, told = histogram(a["number"]["histogram"]), _small(_told(a["number"]))
        if "category" in a:
            drawn = _values(a["category"], sum(v["count"] for v in a["category"]), len(a["category"]))
        shape = " × ".join(map(str, a["shape"])) or "scalar"
        rows.append((text(a["name"]), shape, text(a["dtype"]), f"{a.get('nan', 0):,}", drawn, told))
    yield grid("", ("array", "shape", "dtype", "NaN", "distribution", ""), rows, right=(3,))


def _pictures(report: Report) -> Iterator[str]:
    yield facts(
        {
            "pictures": f"{report['pictures']:,}",
            "damaged": f"{len(report['damaged']):,}",
            "sizes": f"{report['different_sizes']:,}",
            "size on disk": size(report["bytes"]),
        }
    )
    classes = [c for c in report["classes"] if c["name"]]
    if classes:
        yield "<h2>Classes</h2>"
        most = max(c["count"] for c in classes)
        rows = (
            (text(c["name"]), escape(c["part"]), f"{_bar(c['count'], most)} {c['count']:,}") for c in classes
        )
        yield grid("", ("class", "part", "pictures"), rows)
    for title, name, different in (
        ("Sizes (height × width)", "sizes", report["different_sizes"]),
        ("Modes", "modes", len(report["modes"])),
        ("Formats", "formats", len(report["formats"])),
    ):
        yield f"<h2>{title}</h2>{_values(report[name], report['pictures'], different)}"
    if report["damaged"]:
        yield "<h2>Damaged</h2>"
        named = [(text(d["file"], 200), text(d["problem"], 200)) for d in report["damaged"][:UNFOLDED]]
        left = len(report["damaged"]) - len(named)
        yield grid(f"and {left:,} more" if left else "", ("file", "problem"), named)


def _text(report: Report) -> Iterator[str]:
    yield facts(
        {
            "lines": f"{report['lines']:,}",
            "empty lines": f"{report['empty_lines']:,}",
            "characters": f"{report['characters']:,}",
            "different characters": f"{report['different_characters']:,}",
            "words": f"{report['words']:,}",
            "different words": f"{report['different_words']:,}",
            "size": size(report["bytes"]),
        }
    )
    yield "<h2>Characters in a line</h2>"
    yield histogram(report["lengths"]["histogram"], width=440, height=96) + _small(_told(report["lengths"]))
    for name in ("characters", "words"):
        yield f"<h2>Common {name}</h2>"
        total = report[name]
        shown = (
            (text(repr(v["value"])), f"{v['count']:,}", share(v["count"], total))
            for v in report[f"common_{name}"]
        )
        yield grid("", (name[:-1], "count", "share"), shown, right=(1, 2))
