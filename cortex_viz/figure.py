"""Figures without a screen, and how they are written."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cortex_core.training.files import write_atomically
from cortex_viz.page import LETTERS, plain

# Okabe and Ito (2008): colours that differ for every kind of colour vision, without black, which is for text,
# and with a yellow that shows on white; then wine and indigo of Tol's and a grey: many data have ten classes.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#A89B00"),
    *("#882255", "#332288", "#8C8C8C"),
)

STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "cortex",  # the same figure gives the same bytes
}


def literal(words: str, most: int = LETTERS) -> str:
    """Text of others as a figure shows it: one line, in which no dollar begins a formula."""
    return plain(words, most).replace("$", r"\$")


@contextmanager
def figure(path: str | Path, width: float, height: float, dpi: int = 120) -> Iterator[Any]:
    """A matplotlib figure of this size in inches, written to ``path`` (a .png, .svg or .pdf) at the end.

    Uses neither a screen nor pyplot, whose figures are global.  Raises ImportError where matplotlib is
    absent.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    target = Path(path)
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box stands for it
        made = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(made)
        yield made
        content = io.BytesIO()
        kind = target.suffix.lstrip(".") or "png"
        made.savefig(content, format=kind, dpi=dpi, metadata={"Date": None} if kind == "svg" else None)
    write_atomically(target, content.getvalue())
