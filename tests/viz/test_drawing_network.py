"""Networks drawn: what is in the boxes and on the lines, what is folded, and that it can be read."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import DataError, SpecError
from cortex_core.network import Network, network, outline
from cortex_viz.drawing import draw, network_svg
from cortex_viz.page import page
from tests.viz.browser import open_page, overlaps, small_text

EXAMPLES = Path(__file__).parents[2] / "examples"
LARGE = EXAMPLES / "networks" / "resnet50.yaml"
SVG = "{http://www.w3.org/2000/svg}"
UNIT = {
    "parameters": {"filters": 4},
    "layers": [
        {"conv2d": {"filters": "$filters", "kernel": 3, "padding": "same", "id": "main"}},
        {"add": {"from": ["main", "input"]}},
        "relu",
    ],
}


def boxes(svg: str, *kinds: str) -> list[list[str]]:
    """The rows of each box, of some kinds; the text is also proved to be XML."""
    groups = [g for g in ET.fromstring(svg).iter(f"{SVG}g") if g.get("class") in (kinds or (g.get("class"),))]
    return [rows for g in groups if (rows := [t.text or "" for t in g.findall(f"{SVG}text")])]


def labels(svg: str) -> list[str]:
    """What stands on the lines."""
    root = ET.fromstring(svg)
    return [t.text or "" for t in root.findall(f"{SVG}text") if t.get("text-anchor") == "start"][
        : -len(caption(svg))
    ]


def caption(svg: str) -> list[str]:
    """The rows of the caption: the last ones, at the left."""
    left = [t for t in ET.fromstring(svg).findall(f"{SVG}text") if t.get("x") == "10.0"]
    return [t.text or "" for t in left]


def image_network(*layers: Any, **sections: Any) -> dict[str, Any]:
    return {"cortex": 1, "name": "net", "inputs": {"image": [8, 8, 4]}, "layers": list(layers), **sections}


def test_lenet() -> None:
    svg = network_svg(EXAMPLES / "lenet.yaml")
    assert boxes(svg, "layer") == [
        ["conv2d", "filters 20, kernel 5x5"],
        ["max_pool2d", "size 2x2, stride 2x2"],
        ["relu"],
        ["conv2d_2", "filters 50, kernel 5x5"],
        ["max_pool2d_2", "size 2x2, stride 2x2"],
        ["relu_2"],
        ["flatten"],
        ["dense", "units 500, activation relu"],
        ["dropout", "rate 0.5"],
        ["digit: dense", "units 10"],
    ]
    assert boxes(svg, "input") == [["image", "input"], ["label", "target"]]
    assert boxes(svg, "loss") == [["softmax_cross_entropy", "loss"]]
    assert boxes(svg, "output") == [["output", "digit"]]
    assert labels(svg) == [
        "28x28x1",
        "24x24x20 · 520",  # 5 x 5 x 1 x 20 weights and 20 biases
        "12x12x20",
        "12x12x20",
        "8x8x50 · 25,050",
        "4x4x50",
        "4x4x50",
        "800",
        "500 · 400,500",
        "500",
        "10 · 5,010",
        "int64",
    ]
    assert " ".join(caption(svg)) == "lenet: 10 layers, 431,080 parameters; on the lines: shape · parameters"


def test_all_that_a_network_is_made_of_is_drawn(tmp_path: Path) -> None:
    """A path, a dict, a description, an outline, a network and its file give one picture."""
    source = image_network("relu", {"conv2d": {"filters": 2, "kernel": 3}})
    made = network(source)
    made.save(tmp_path / "net.cortex")
    same = [source, made, outline(source), tmp_path / "net.cortex", str(tmp_path / "net.cortex")]
    assert len({network_svg(x) for x in same}) == 1
    assert isinstance(same[2], Network)
    assert draw(made)._repr_svg_() == network_svg(made)


def test_a_block_is_one_box() -> None:
    svg = network_svg(EXAMPLES / "residual.yaml")
    assert boxes(svg, "block") == [
        ["u0: unit", "8 layers", "11,040 parameters"],
        ["u1: unit", "8 layers", "32,448 parameters"],
        ["u2: unit", "8 layers", "129,408 parameters"],
    ]
    assert [label for label in labels(svg) if "040" in label] == ["14x14x24 · 11,040"]


def test_blocks_in_a_row_that_are_alike_are_one_box() -> None:
    """148 = 3 x 3 x 4 x 4 weights and 4 biases each."""
    layers = [
        {"unit": {"id": "u", "repeat": 3}},
        {"unit": {"id": "v"}},
        {"conv2d": {"filters": 4, "kernel": 1}},
    ]
    svg = network_svg(image_network(*layers, {"unit": {"id": "w"}}, blocks={"unit": UNIT}))
    assert boxes(svg, "block") == [
        ["unit × 4", "u.0 to v", "12 layers", "592 parameters"],
        ["w: unit", "3 layers", "148 parameters"],
    ]
    assert "8x8x4 · 592" in labels(svg)


def test_layers_in_a_row_that_are_alike_are_one_box() -> None:
    description = {"cortex": 1, "name": "deep", "inputs": {"x": [10]}}
    svg = network_svg({**description, "layers": [{"dense": {"units": 10, "repeat": 200}}]})
    assert boxes(svg, "layer") == [["dense × 200", "dense.0 to .199", "units 10"]]
    assert labels(svg) == ["10", "10 · 22,000"]
    two = network_svg({**description, "layers": [{"dense": 10}, {"dense": 10}]})
    assert [rows[0] for rows in boxes(two, "layer")] == ["dense", "dense_2"]


def test_fields_are_called_as_descriptions_call_them() -> None:
    svg = network_svg(
        {
            "inputs": {"x": [9, 4]},
            "layers": [
                {"positional_encoding": {"kind": "learned", "length": 9}},
                {"lstm": {"units": 8, "return": "sequence"}},
                {"bidirectional": {"layer": {"gru": {"units": 5}}, "merge": "sum"}},
            ],
        }
    )
    assert boxes(svg, "layer") == [
        ["positional_encoding", "kind learned, length 9"],
        ["lstm", "units 8, return sequence"],
        ["bidirectional", "gru, units 5, merge sum"],
    ]


def test_what_another_takes_too_is_not_folded_away() -> None:
    layers = [{"unit": {"id": "u", "repeat": 3}}, {"add": {"from": ["u.2", "u.0"]}}]
    svg = network_svg(image_network(*layers, blocks={"unit": UNIT}))
    assert [rows[0] for rows in boxes(svg, "block")] == ["u.0: unit", "unit × 2"]


def test_unfolded_each_layer_lies_in_the_frame_of_its_block() -> None:
    svg = network_svg(EXAMPLES / "residual.yaml", unfold=True)
    frames = [g for g in ET.fromstring(svg).iter(f"{SVG}g") if g.get("class") == "frame"]
    assert [g.findtext(f"{SVG}text") for g in frames] == [
        "u0: unit, 8 layers, 11,040 parameters",
        "u1: unit, 8 layers, 32,448 parameters",
        "u2: unit, 8 layers, 129,408 parameters",
    ]
    inside = [
        [g.findtext(f"{SVG}text") for g in f.iter(f"{SVG}g") if g.get("class") == "layer"] for f in frames
    ]
    assert [sorted(map(str, names)) for names in inside] == [
        sorted(
            ["conv2d", "batch_norm", "relu", "conv2d_2", "main: batch_norm", "short: conv2d", "add", "relu_2"]
        )
    ] * 3
    assert len(boxes(svg, "layer")) == 29


def test_blocks_in_blocks() -> None:
    stage = {"parameters": {}, "layers": [{"unit": {"id": "a"}}, {"unit": {"id": "b"}}, "relu"]}
    source = image_network({"stage": {"id": "s"}}, blocks={"unit": UNIT, "stage": stage})
    assert boxes(network_svg(source), "block") == [["s: stage", "7 layers", "296 parameters"]]
    frames = boxes(network_svg(source, unfold=True), "frame")
    assert sorted(row for (row,) in frames) == [
        "a: unit, 3 layers, 148 parameters",
        "b: unit, 3 layers, 148 parameters",
        "s: stage, 7 layers, 296 parameters",
    ]


@pytest.mark.parametrize("unfold", [False, True])
def test_ids_that_only_look_like_a_block(unfold: bool) -> None:
    """A way that leaves a block and comes back, and two blocks that wait for each other: no circles."""
    way = [{"relu": {"id": "a/1"}}, {"tanh": {"id": "b/1"}}, {"sigmoid": {"id": "a/2"}}]
    svg = network_svg(image_network(*way), unfold)
    assert [rows[0] for rows in boxes(svg, "layer")] == ["a/1: relu", "b/1: tanh", "a/2: sigmoid"]
    assert boxes(svg, "block") == []
    way = [
        {"relu": {"id": "a/1"}},
        {"tanh": {"id": "b/1", "from": "image"}},
        {"sigmoid": {"id": "a/2", "from": "b/1"}},
        {"gelu": {"id": "b/2", "from": "a/1"}},
    ]
    svg = network_svg(image_network(*way), unfold)
    assert len(boxes(svg, "layer")) == 4
    assert boxes(svg, "block") == []


def test_several_inputs_outputs_losses_and_weights() -> None:
    source = {
        "cortex": 1,
        "name": "pair",
        "inputs": {"a": [4], "b": {"shape": [3, 2], "dtype": "int64"}},
        "layers": [
            {"embedding": {"tokens": 5, "units": 2, "from": "b", "id": "words"}},
            {"flatten": {"from": "words"}},
            {"concatenate": {"from": ["a", "flatten"], "id": "both"}},
            {"dense": {"units": 4, "id": "again", "trainable": False}},
            {"dense": {"units": 1, "from": "both", "id": "score"}},
        ],
        "loss": [
            {"mse": {"of": "again", "target": "a", "weight": 0.5, "name": "copy"}},
            {"mse": {"of": "score", "target": "y", "name": "guess"}},
        ],
    }
    svg = network_svg(source)
    assert sorted(boxes(svg, "input")) == [["a", "input"], ["b", "input"], ["y", "target"]]
    assert sorted(boxes(svg, "loss")) == [["copy: mse", "loss", "weight 0.5"], ["guess: mse", "loss"]]
    assert sorted(boxes(svg, "output")) == [["output", "again"], ["output", "score"]]
    assert "3x2 int64" in labels(svg)
    frozen = [rows for rows in boxes(svg, "layer") if "frozen" in rows]
    assert frozen == [["again: dense", "units 4", "frozen"]]
    assert svg.count("stroke-dasharray") == 1


def test_a_mask_is_a_box_of_its_own() -> None:
    source = {
        "cortex": 1,
        "name": "masked",
        "inputs": {"text": {"shape": [7], "dtype": "int64"}},
        "layers": [
            {"embedding": {"tokens": 5, "units": 2, "mask_zero": True, "id": "words"}},
            {"flatten": {"from": "words.mask", "id": "seen"}},
            {"flatten": {"from": "words", "id": "all"}},
            {"flatten": {"from": "words.mask", "id": "again"}},
        ],
    }
    assert boxes(network_svg(source), "output").count(["words.mask"]) == 1  # for both that take it


def test_a_softmax_that_was_written_in_a_dense_layer() -> None:
    """Its logits are a layer of their own, digit/logits, which is no block."""
    source = {
        "inputs": {"x": [4]},
        "layers": [{"dense": {"units": 3, "activation": "softmax", "id": "digit"}}],
        "loss": {"softmax_cross_entropy": {"of": "digit", "target": "label"}},
    }
    svg = network_svg(source)
    assert [rows[0] for rows in boxes(svg, "layer")] == ["digit/logits: dense", "digit: softmax"]
    assert labels(svg)[:3] == ["4", "3 · 15", "3"]


def test_a_shape_that_is_left_to_the_data(tmp_path: Path) -> None:
    rows = "\n".join(f"{i},{i * 7 % 11}.5,{'yes' if i % 2 else 'no'}" for i in range(40))
    (tmp_path / "table.csv").write_text(f"a,b,c\n{rows}\n", encoding="utf-8")
    (tmp_path / "net.yaml").write_text(
        "cortex: 1\nname: table\ninputs: {features: auto}\nlayers: [{dense: {units: 2, id: last}}]\n"
        "loss: {softmax_cross_entropy: {of: last, target: c}}\n"
        "train: {data: table.csv}\n",
        encoding="utf-8",
    )
    assert labels(network_svg(tmp_path / "net.yaml"))[:2] == ["2", "2 · 6"]
    (tmp_path / "table.csv").unlink()
    with pytest.raises(DataError, match=r"table\.csv"):
        network_svg(tmp_path / "net.yaml")


def test_mistakes_are_told() -> None:
    with pytest.raises(SpecError, match="Did you mean 'relu'"):
        network_svg(image_network("rely"))
    free = {"cortex": 1, "name": "free", "inputs": {"x": [None, 3]}, "layers": [{"dense": 4}]}
    assert labels(network_svg(free)) == ["anyx3", "anyx4 · 16"]


@pytest.mark.slow
def test_too_many_boxes_are_refused() -> None:
    pair = [{"dense": {"units": n}} for n in (3, 4)]
    source = {"cortex": 1, "name": "long", "inputs": {"x": [4]}, "layers": pair * 1001}
    with pytest.raises(SpecError, match=r"2,004 boxes.*write what repeats as a block"):
        network_svg(source)


def test_two_hundred_different_layers() -> None:
    layers = [{"dense": {"units": 3 + i % 2}} for i in range(200)]
    svg = network_svg({"cortex": 1, "name": "long", "inputs": {"x": [4]}, "layers": layers})
    assert len(boxes(svg, "layer")) == 200


HOSTILE = {
    "cortex": 1,
    "name": "hostile",
    "inputs": {"image": [8, 8, 4]},
    "layers": [
        {"conv2d": {"filters": 4, "kernel": 3, "id": "W" * 60, "padding": [[1, 1], [1, 1]], "stride": 2}},
        {"unit": {"id": "m" * 150, "repeat": 2}},
        {"unit": {"id": "w"}},
        {"add": {"from": ["w", "W" * 60, "m" * 150 + ".0"]}},
        "flatten",
        {"dense": {"units": 123456, "id": "i" * 20}},
    ],
    "blocks": {"unit": UNIT},
    "loss": {"mse": {"of": "i" * 20, "target": '<script>標籤﷽"&</text>\u202e'}},
}

OUTSIDE = """
const wrong = [];
for (const group of document.querySelectorAll("svg g[class]")) {
  const around = group.querySelector(":scope > rect").getBoundingClientRect();
  for (const text of group.querySelectorAll(":scope > text")) {
    const box = text.getBoundingClientRect();
    if (box.left < around.left || box.right > around.right) wrong.push(text.textContent);
    if (box.top < around.top || box.bottom > around.bottom) wrong.push(text.textContent);
  }
  for (const inner of group.querySelectorAll("rect")) {
    const box = inner.getBoundingClientRect();
    if (box.left < around.left - 1 || box.right > around.right + 1 || box.bottom > around.bottom + 1)
      wrong.push(group.querySelector("text").textContent);
  }
}
return wrong;
"""


def test_hostile_names_are_text() -> None:
    svg = network_svg(HOSTILE, unfold=True)
    assert "<script>" not in svg
    assert ['<script>標籤﷽"&</text>\\u202e', "target"] in boxes(svg, "input")


@pytest.mark.parametrize("unfold", [False, True])
@pytest.mark.parametrize(
    "source", [HOSTILE, EXAMPLES / "residual.yaml", LARGE], ids=["hostile", "small", "large"]
)
def test_in_a_browser_text_stays_in_its_box(
    source: Mapping[str, Any] | Path, unfold: bool, browser: Any, tmp_path: Path
) -> None:
    """Also inside a page with rules of its own, for the text of other drawings."""
    svg = network_svg(source, unfold)
    (tmp_path / "page.html").write_text(page("net", [svg]), encoding="utf-8")
    open_page(browser, tmp_path / "page.html", 3000)
    assert browser.execute_script("return document.querySelectorAll('svg g.input > text').length") > 1
    assert browser.execute_script(OUTSIDE) == []
    assert overlaps(browser) == []
    assert small_text(browser) == []


def test_in_a_browser_it_follows_the_reader_into_the_dark(browser: Any, tmp_path: Path) -> None:
    draw(EXAMPLES / "lenet.yaml").save(tmp_path / "lenet.svg")
    ask = (
        "return [...document.querySelectorAll('.ground, g.layer > rect, g.layer > text')].slice(0, 3)"
        ".map(e => getComputedStyle(e).fill.match(/\\d+/g).slice(0, 3).map(Number))"
    )
    for dark in (False, True):
        open_page(browser, tmp_path / "lenet.svg", dark=dark)
        ground, inside, text = (np.mean(colour) for colour in browser.execute_script(ask))
        assert (ground < 60) == dark
        assert abs(text - inside) > 120


def test_what_is_no_network() -> None:
    with pytest.raises(SpecError, match=r"expected a network, a description .*; got 3"):
        draw(3)
