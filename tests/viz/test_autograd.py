"""Drawings of what eager code recorded."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from cortex_compute.errors import GradientError
from cortex_core.eager_graph import graph_of
from cortex_core.tensor import Tensor
from cortex_viz.autograd import Drawing, visualize_graph

SVG = "{http://www.w3.org/2000/svg}"


def leaf(*numbers: float) -> Tensor:
    return Tensor(list(numbers), requires_grad=True)


def boxes(drawing: Drawing) -> list[list[str]]:
    """The rows of each box; the text is also proved to be XML."""
    root = ET.fromstring(str(drawing))
    return [[text.text or "" for text in group.iter(f"{SVG}text")] for group in root.iter(f"{SVG}g")]


def test_leaves_and_operations_are_boxes_with_their_types() -> None:
    x, y = leaf(2.0, 3.0), Tensor([4.0, 5.0])
    drawing = visualize_graph((x * y + 1.0).sum())
    assert sorted(boxes(drawing)) == [
        ["add", "a + 1.0", "float32[2]"],
        ["input", "float32[2]"],
        ["mul", "float32[2]"],
        ["parameter", "float32[2]"],
        ["sum", "axes=(0,)", "float32[]"],
    ]
    assert drawing.title == "3 operations on 2 leaves"
    assert repr(drawing) == "<Drawing: 3 operations on 2 leaves>"
    root = ET.fromstring(str(drawing))
    assert root.get("aria-label") == root.findtext(f"{SVG}title") == drawing.title


def test_names_are_escaped() -> None:
    x = leaf(1.0)
    loss = x.exp()
    drawing = visualize_graph(loss, names={'<script>"&\x00': x, "loss": loss})
    assert sorted(boxes(drawing)) == [['<script>"&\ufffd', "float32[1]"], ["loss = exp", "float32[1]"]]
    assert "<script>" not in str(drawing)


def test_values_and_gradients() -> None:
    x, w = leaf(2.0), leaf(-3.0)
    loss = x * w
    loss.backward(retain_graph=True)
    told = boxes(visualize_graph(loss, names={"x": x, "w": w}, values=True))
    assert ["x", "float32[1]", "value [2.]", "gradient [-3.]"] in told
    assert ["w", "float32[1]", "value [-3.]", "gradient [2.]"] in told
    assert ["mul", "float32[1]", "value [-6.]"] in told


def test_it_is_the_same_each_time() -> None:
    def draw() -> str:
        x = leaf(2.0, 3.0)
        return str(visualize_graph((x * x.exp() + x.sin() / x).sum()))

    assert draw() == draw()


def test_long_graphs_are_cut_and_say_so() -> None:
    x, late = leaf(1.0), leaf(2.0)
    y = x
    for _ in range(1000):
        y = y.sin()
    drawing = visualize_graph(y * late)
    assert drawing.title == (
        "1,001 operations on 2 leaves; the 701 operations before the last 300 are left out"
    )
    assert drawing.title in str(drawing)
    assert len(boxes(drawing)) == 301
    assert str(drawing).count("stroke-dasharray") == 1


def test_a_graph_is_drawn_too() -> None:
    loss = leaf(1.0).exp()
    assert str(visualize_graph(graph_of(loss))) == str(visualize_graph(loss))


def test_after_backward() -> None:
    loss = leaf(1.0).exp().sum()
    before = str(visualize_graph(loss))
    loss.backward()
    assert str(visualize_graph(loss)) == before


def test_a_circle_is_an_error() -> None:
    a = leaf(1.0).exp()
    b = a.sin()
    assert a.node is not None
    a.node.inputs = (b,)
    with pytest.raises(GradientError, match="Cycle detected"):
        visualize_graph(b)


def test_it_is_saved_as_svg(tmp_path: Path) -> None:
    drawing = visualize_graph(leaf(1.0).exp())
    drawing.save(tmp_path / "graph.svg")
    assert (tmp_path / "graph.svg").read_text(encoding="utf-8") == str(drawing)
    with pytest.raises(ValueError, match=r"save it as graph\.svg"):
        drawing.save(tmp_path / "graph.png")


def test_notebooks_show_it() -> None:
    drawing = visualize_graph(leaf(1.0).exp())
    assert drawing._repr_svg_() == str(drawing)


def test_it_needs_neither_matplotlib_nor_graphviz() -> None:
    code = (
        "import sys; sys.modules.update(matplotlib=None, graphviz=None)\n"
        "from cortex_core.tensor import Tensor\n"
        "from cortex_viz.autograd import visualize_graph\n"
        "assert '</svg>' in str(visualize_graph(Tensor([1.0], requires_grad=True).exp()))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_leaf_alone() -> None:
    assert boxes(visualize_graph(Tensor(np.zeros((2, 3))))) == [["input", "float64[2, 3]"]]
