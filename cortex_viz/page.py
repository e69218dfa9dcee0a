"""Pages for a browser: one file, nothing from elsewhere; light or dark as the reader has it.

Names and cells are other people's text: each passes through `text`, and the page forbids all scripts but
those that it was made with, known by their hashes.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

LETTERS = 80
# What a browser may load, and from where: nothing but the style and the pictures in the page itself.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
STYLE = (Path(__file__).parent / "web/style.css").read_text("utf-8")


def page(title: str, body: Iterable[str], scripts: Sequence[str] = (), connect: bool = False) -> str:
    """A whole page; ``title`` is plain text, ``body`` is HTML.

    ``scripts`` are texts of JavaScript that run when the page is there; no other script can.  With
    ``connect`` they may talk to the server that the page came from.
    """
    policy = POLICY
    if scripts:
        policy += f"; script-src {' '.join(map(_digest, scripts))}"
    if connect:
        policy += "; connect-src 'self'"
    # A server would be asked for a picture of the site, by a browser that knows of none.
    icon = '<link rel="icon" href="data:,">\n' if connect else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n{icon}'
        f"<title>{escape(plain(title))}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join([f"<h1>{text(title)}</h1>", *body])
        + "\n</main>\n"
        + "".join(f"<script>{script}</script>\n" for script in scripts)
        + "</body>\n</html>\n"
    )


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def text(value: str, most: int = LETTERS) -> str:
    """Text of others as HTML, in a direction of its own (names may be Arabic, or pretend to be)."""
    return f"<bdi>{escape(plain(value, most))}</bdi>"


def plain(value: str, most: int = LETTERS) -> str:
    """Text of others on one line: at most ``most`` characters of it, with control characters spelt out."""
    shown = value if len(value) <= most else value[: most - 1] + "…"
    made = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)
    return made if made.strip() else repr(made)


def facts(facts: Mapping[str, str]) -> str:
    """A few facts in large type: names and values, which are HTML."""
    return "<dl>" + "".join(f"<div><dt>{k}</dt><dd>{v}</dd></div>" for k, v in facts.items()) + "</dl>"


def grid(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table; the first cell of a row is its header.  Cells are HTML.

    Where it is too wide, a page with `charts.SCRIPT` shows each row as a card of named values.
    """
    names = [re.sub("<[^>]*>", "", cell).replace('"', "&quot;") for cell in head]
    side = [' class="right"' if i in right else "" for i in range(len(head))]
    top = "".join(f'<th scope="col"{side[i]}>{cell}</th>' for i, cell in enumerate(head))
    body = []
    for row in rows:
        cells = "".join(
            f'<td{side[i]} data-label="{names[i]}">{cell}</td>' for i, cell in enumerate(row) if i
        )
        body.append(f'<tr><th scope="row">{row[0]}</th>{cells}</tr>')
    return (
        f'<div class="wide"><table><caption>{caption}</caption><thead><tr>{top}</tr></thead>\n<tbody>'
        + "\n".join(body)
        + "</tbody></table></div>"
    )


def histogram(
    data: Mapping[str, Any] | None, dates: Mapping[str, str] | None = None, width: int = 220, height: int = 48
) -> str:
    """Bars; each says its bin and count where the pointer rests.  ``dates`` holds the ends where they are
    dates, whose edges are seconds."""
    if data is None:
        return ""
    counts, edges = data["counts"], data["edges"]
    step, most = width / len(counts), max(counts)
    bars = []
    for i, n in enumerate(counts):
        tall = height * n / most
        bin_ = "" if dates else f"{number(edges[i])} to {number(edges[i + 1])}: "
        bars.append(
            f'<rect class="bar" x="{i * step:.2f}" y="{height - tall:.2f}" width="{max(0.5, step - 1):.2f}" '
            f'height="{tall:.2f}"><title>{bin_}{n:,}</title></rect>'
        )
    low, high = (dates["first"][:10], dates["last"][:10]) if dates else (number(edges[0]), number(edges[-1]))
    return (
        f'<svg role="img" aria-label="histogram from {escape(low)} to {escape(high)}" width="{width}" '
        f'height="{height + 16}" viewBox="0 0 {width} {height + 16}">{"".join(bars)}'
        f'<text y="{height + 13}">{escape(low)}</text>'
        f'<text x="{width}" y="{height + 13}" text-anchor="end">{escape(high)}</text></svg>'
    )


def number(value: float | None) -> str:
    """Four digits or more; whole numbers below 10^9 as they are."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    if value == round(value) and abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:,.1f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def share(part: int, whole: int) -> str:
    """``25.0 %``"""
    return f"{100 * part / max(1, whole):.1f} %"


def size(count: int) -> str:
    """``1.2 MB``"""
    for unit, many in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= many:
            return f"{count / many:.1f} {unit}"
    return f"{count} bytes"
