"""What notebooks show of a tensor, a network, a run and a data set: small tables and pictures in HTML.

A display computes nothing large, however large the thing; pictures that cannot be read are told in words.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from cortex_core.png import as_bytes, png

EDGE = 4  # rows and columns at each end of what is cut in the middle
CUT = "…"
WIDTH, HEIGHT, INSIDE = 240, 90, 6  # of a curve, in pixels
COLOURS = ("#0072b2", "#d55e00")  # training and validation
MACHINE = ("seconds", "samples_per_second", "waiting_seconds")  # columns that are in history.csv alone
CLASSES = 20  # of more, counts are no display
SHOWN = 10  # the first examples
LETTERS = 20  # of the name of a class
LARGEST, EDGES = 1 << 20, 64  # numbers of a picture that is shown, and pixels along its longer edge


def tensor_html(x: Any) -> str:
    """Type, history, and the numbers, of which long axes are cut in the middle."""
    facts = [f"Tensor {x.type}"]
    if x.node is not None:
        facts.append(f"made by {x.operation}")
    elif x.requires_grad:
        facts.append("requires gradient")
    if x.is_sparse:
        return paragraph([*facts, "holds some rows only"])
    array = x._data
    if array is None:
        return paragraph([*facts, "its numbers were given back by backward"])
    if array.size == 0:
        return paragraph(facts)
    if array.ndim > 2:
        facts.append(f"here [{'0, ' * (array.ndim - 2)}:, :]")
    array = array[(0,) * (array.ndim - 2)]
    rows = array.reshape(1, -1) if array.ndim < 2 else array
    columns = _places(rows.shape[1])
    return paragraph(facts) + table(
        [CUT if i is None or j is None else _text(rows[i, j].item()) for j in columns]
        for i in _places(rows.shape[0])
    )


def run_html(run: Any) -> str:
    """The curves, the history with one row per epoch, the confusion of classes, and where the run lies."""
    columns = [name for name in run.history.columns if name not in MACHINE]
    body = [
        [CUT if i is None else _text(run.history.rows[i].get(column, "")) for column in columns]
        for i in _places(len(run.history))
    ]
    facts = [f"Run {run.network.name}", f"epochs: {len(run.history)}", f"in {run.path}"]
    shown = paragraph(facts) + _curves(run.history) + (table(body, columns) if body else "")
    return shown + _confusion(run.confusion, run.classes)


def _curves(history: Any) -> str:
    """The loss, and all that was measured on the validation examples, too."""
    names = history.columns
    shown = [name for name in names if name == "loss" or f"validation_{name}" in names]
    return "".join(_curve(history, name) for name in shown)


def _curve(history: Any, name: str) -> str:
    """One number by epoch, as small SVG; what is missing or not finite is a gap."""
    columns = [c for c in (name, f"validation_{name}") if c in history.columns]
    lines = {c: [_finite(x) for x in history[c]] for c in columns}
    there = [x for line in lines.values() for x in line if x is not None]
    if len(history) < 2 or not there:
        return ""
    low, high = min(there), max(there)
    step, rise = (WIDTH - 2 * INSIDE) / (len(history) - 1), HEIGHT / ((high - low) or 1.0)
    drawn = []
    for colour, line in zip(COLOURS, lines.values()):
        path, pen = "", "M"
        for i, y in enumerate(line):
            if y is not None:
                path += f"{pen}{INSIDE + i * step:.1f} {INSIDE + (high - y) * rise:.1f}h0"
            pen = "M" if y is None else "L"
        drawn.append(
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-linecap="round"/>'
        )
    told = ", ".join(
        f'<span style="color: {colour}">{escape(c)}</span>' for colour, c in zip(COLOURS, columns)
    )
    about = escape(f"{name} by epoch, between {low:.4g} and {high:.4g}")
    return (
        '<figure style="display: inline-block; margin: 4px 16px 4px 0">'
        f"<figcaption>{told}: {low:.4g} to {high:.4g}</figcaption>"
        f'<svg role="img" aria-label="{about}" width="{WIDTH}" height="{HEIGHT + 2 * INSIDE}">'
        f"{''.join(drawn)}</svg></figure>"
    )


def _confusion(counts: Any, classes: Sequence[str]) -> str:
    """Counts by true and predicted class; the colour is a count's share of its true class."""
    if counts is None or not 0 < len(classes) <= CLASSES:
        return ""
    cell = '<td style="text-align: right; background: rgba(0, 114, 178, {:.2f})">{}</td>'
    rows = []
    for name, row in zip(classes, np.asarray(counts).tolist()):
        cells = "".join(cell.format(0.6 * n / max(1, sum(row)), n) for n in row)
        rows.append(f"<tr><th>{escape(_short(name))}</th>{cells}</tr>")
    head = "".join(f"<th>{escape(_short(name))}</th>" for name in classes)
    told = paragraph(["Examples by true class (rows) and predicted class (columns)"])
    return f"{told}<table><thead><tr><th></th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _short(text: str) -> str:
    return text if len(text) <= LETTERS else text[: LETTERS - 1] + CUT


def _finite(x: Any) -> float | None:
    return float(x) if isinstance(x, (int, float)) and math.isfinite(x) else None


def dataset_html(dataset: Any) -> str:
    """The streams and the parts of a `DataSet`; no data are read for it."""
    parts = [f"{part}: {count:,} examples" for part, count in dataset.lengths.items()]
    about = [doc.rstrip(".")] if (doc := getattr(dataset, "doc", "")) else []
    return paragraph([f"Data set {dataset.name}", *about, *parts]) + _streams(dataset.streams)


def source_html(source: Any) -> str:
    """The streams of a `Source`, and its first examples where they are pictures."""
    shown = paragraph([f"{len(source):,} examples"]) + _streams(source.streams)
    try:
        return shown + "".join(_pictures(source))
    except Exception as error:  # files that are gone, say: a notebook goes on
        return shown + paragraph([f"Its pictures cannot be shown: {type(error).__name__}: {error}"])


def _streams(streams: Mapping[str, Any]) -> str:
    head = ("stream", "shape", "type", "classes")
    body = []
    for name, stream in streams.items():
        shape = " x ".join("any" if n is None else str(n) for n in stream.shape) or "scalar"
        classes = stream.classes or ()
        some = [CUT if i is None else str(classes[i]) for i in _places(len(classes))]
        body.append([name, shape, stream.dtype, f"{len(classes)}: {', '.join(some)}" if classes else ""])
    return table(body, head, right=())


def _pictures(source: Any) -> Iterator[str]:
    """The first stream of pictures, under each what its classes say."""
    name = next((name for name, stream in source.streams.items() if _is_picture(stream)), None)
    if name is None:
        return
    rows = np.arange(min(SHOWN, len(source)))
    labels = [n for n, s in source.streams.items() if s.classes and s.shape == ()]
    streams = {n: source.streams[n] for n in (name, *labels)}
    found = {n: np.empty((len(rows), *s.shape), s.dtype) for n, s in streams.items()}
    source.select(rows).gather(rows, found)  # another reader's scratch memory is left alone
    for i, image in enumerate(as_bytes(found[name])):
        caption = ", ".join(str(streams[n].classes[int(found[n][i])]) for n in labels)
        yield _figure(image, caption or str(i))


def _is_picture(stream: Any) -> bool:
    shape = stream.shape
    whole = len(shape) == 3 and None not in shape and shape[2] in (1, 3) and min(shape) > 0
    return whole and math.prod(shape) <= LARGEST and stream.dtype == "float32"


def _figure(image: Any, caption: str) -> str:
    step = -(-max(image.shape[:2]) // EDGES)
    small = image[::step, ::step]
    data = base64.b64encode(png(small[..., 0] if small.shape[2] == 1 else small)).decode()
    said = escape(_short(caption))
    return (
        '<figure style="display: inline-block; margin: 4px; text-align: center">'
        f'<img alt="{said}" style="height: 56px; image-rendering: pixelated" '
        f'src="data:image/png;base64,{data}"/><figcaption>{said}</figcaption></figure>'
    )


def _places(n: int) -> list[int | None]:
    """0 to n - 1; where these are many, None stands for those in the middle."""
    if n <= 2 * EDGE + 1:
        return list(range(n))
    return [*range(EDGE), None, *range(n - EDGE, n)]


def _text(x: Any) -> str:
    return f"{x:.4g}" if isinstance(x, float) else str(x)


def paragraph(facts: Sequence[str]) -> str:
    """What is to be said, in one line."""
    return f"<div>{escape('; '.join(facts))}</div>"


def table(body: Iterable[Sequence[str]], head: Sequence[str] = (), right: Sequence[int] | None = None) -> str:
    """Rows of text; ``right``: the columns that stand flush right, all of them where it is None."""
    side = ["right" if right is None or i in right else "left" for i in range(len(head))]

    def row(cells: Sequence[str], tag: str) -> str:
        sides = side or ["right"] * len(cells)
        inside = (f'<{tag} style="text-align: {s}">{escape(c)}</{tag}>' for s, c in zip(sides, cells))
        return f"<tr>{''.join(inside)}</tr>"

    top = f"<thead>{row(head, 'th')}</thead>" if head else ""
    return f"<table>{top}<tbody>{''.join(row(cells, 'td') for cells in body)}</tbody></table>"
