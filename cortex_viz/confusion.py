"""The confusion matrix of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortex_viz.figure import figure, literal

ANNOTATED = 25  # classes; of more, the numbers could not be read


def confusion(matrix: Any, classes: Sequence[str], path: str | Path) -> Path:
    """Draws counts (true class, predicted class) as a table; returns ``path``.

    The colour of a cell is its share of the true class, so that rare classes show as well as frequent ones.
    Raises ImportError where matplotlib is absent.
    """
    counts = np.asarray(matrix)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    size = max(3.6, min(12.0, 1.6 + 0.48 * len(counts)))
    right, total = int(np.trace(counts)), int(counts.sum())
    with figure(path, size + 0.9, size) as made:
        axes = made.subplots()
        axes.grid(visible=False)
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        made.colorbar(image, ax=axes, shrink=0.8, label="share of the true class")
        named = range(len(counts)) if len(counts) <= 3 * ANNOTATED else range(0, len(counts), 10)
        labels = [literal(str(classes[i]), 30) for i in named]
        turned = max(map(len, labels), default=0) > 3
        axes.set_xticks(list(named), labels, rotation=45 if turned else 0, ha="right" if turned else "center")
        axes.set_yticks(list(named), labels)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(f"{right:,} of {total:,} right ({100 * right / max(1, total):.2f} %)")
        if len(counts) <= ANNOTATED:
            for i, j in zip(*np.nonzero(counts)):
                colour = "white" if shares[i, j] > 0.5 else "#333333"
                axes.text(j, i, f"{counts[i, j]:g}", ha="center", va="center", color=colour, fontsize=8)
    return Path(path)
