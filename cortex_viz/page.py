"""Pages for a browser: one file, no scripts, nothing from elsewhere; light or dark as the reader has it.

Names and cells are other people's text: each passes through `text`, and the page forbids scripts besides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

LETTERS = 80
# What a browser may load, and from where: nothing but the style in the page itself.
POLICY = "default-src 'none'; style-src 'unsafe-inline'"

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #646b73; --line: #dfe3e8;
  --page: #fff; --tint: #f4f6f8; --bar: #0072b2; --plus: 0, 114, 178; --minus: 213, 94, 0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ea; --soft: #9aa2ab; --line: #363c43;
  --page: #16181b; --tint: #1e2226; --bar: #56b4e9; --plus: 86, 180, 233; --minus: 240, 140, 60; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 75rem; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.6rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
p { margin: .25rem 0; }
.soft, caption, dt { color: var(--soft); }
dl { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.25rem 0; }
dl div { background: var(--tint); border-radius: .5rem; padding: .6rem 1rem; min-width: 8rem; }
dt { font-size: .85rem; }
dd { margin: 0; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; padding-bottom: .5rem; }
th, td { text-align: left; vertical-align: top; padding: .5rem .75rem .5rem 0; }
th, td { border-bottom: 1px solid var(--line); }
thead th { color: var(--soft); font-weight: 500; font-size: .85rem; }
tbody th { font-weight: 600; max-width: 18rem; overflow-wrap: anywhere; }
.right { text-align: right; padding-right: 1.25rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
.kind { display: inline-block; border: 1px solid var(--line); border-radius: 1rem; padding: 0 .6rem; }
.small, .kind { font-size: .85rem; }
svg { display: block; }
svg.line { display: inline-block; }
svg text { fill: currentColor; font: 11px system-ui, sans-serif; }
rect.bar { fill: var(--bar); }
rect.ground { fill: var(--tint); }
ul { padding-left: 1.2rem; margin: .5rem 0; }
summary { cursor: pointer; color: var(--soft); padding: .5rem 0; }
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole page; ``title`` is plain text, ``body`` is HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escape(plain(title))}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join([f"<h1>{text(title)}</h1>", *body])
        + "\n</main>\n</body>\n</html>\n"
    )


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
    """A table; the first cell of a row is its header.  Cells are HTML."""
    side = [' class="right"' if i in right else "" for i in range(len(head))]
    top = "".join(f'<th scope="col"{side[i]}>{cell}</th>' for i, cell in enumerate(head))
    body = []
    for row in rows:
        cells = "".join(f"<td{side[i]}>{cell}</td>" for i, cell in enumerate(row) if i)
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
