"""The drawing of the benchmark of t-SNE."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from benchmarks.tsne import MARGIN, WIDTH, draw


def test_the_drawing_holds_every_point(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    points, groups = rng.normal(size=(50, 2)) * [30, 10], rng.integers(0, 3, 50)
    chart = {"points": points.tolist(), "groups": groups.tolist(), "names": ["zero", "one", "two"]}
    draw(chart, tmp_path / "a.svg")
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    texts = [e.text for e in root.iter() if e.tag.endswith("text")]
    assert texts == ["zero", "one", "two"]
    scale = (WIDTH - 2 * MARGIN) / np.ptp(points[:, 0])
    expected = (points - points.min(axis=0)) * scale + MARGIN
    for g, path in enumerate(e for e in root.iter() if e.tag.endswith("path")):
        steps = [(int(x), int(y)) for x, y in re.findall(r"m(-?\d+)([+-]\d+)h0", path.get("d", ""))]
        found = np.cumsum(steps, axis=0)
        ordered = expected[groups == g]
        near = np.abs(found[:, None] - ordered).max(axis=2)
        assert len(found) == len(ordered)
        assert near.min(axis=0).max() <= 0.5 + 1e-9
