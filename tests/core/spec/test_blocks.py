# ruff: noqa: E501 (the messages stand here as people see them, each on one line)
"""Blocks: parameters, repetition, names inside and outside, and what unfolds to too much."""

from __future__ import annotations

from pathlib import Path

import pytest

from cortex_core.spec import read
from tests.core.spec.reading import LAST, LOSS, inspected

UNIT = """\
inputs: {image: [28, 28, 1]}
blocks:
  unit:
    parameters: {filters: null, stride: 1}
    layers:
      - conv2d: {filters: $filters, kernel: 3, stride: $stride, id: main}
      - relu
layers:
"""

NESTED = {
    "inputs": {"x": [4]},
    "blocks": {
        "pair": {
            "parameters": {"n": 2, "then": "relu"},
            "layers": [{"dense": {"units": 3, "repeat": "$n"}}, "$then"],
        },
        "outer": {
            "parameters": {"k": None},
            "layers": [
                {"pair": {"n": "$k", "id": "inner"}},
                {"dense": {"units": 4, "from": "inner"}},
                {"pair": {"from": "input", "then": {"leaky_relu": 0.1}}},
                {"concatenate": {"from": ["dense", "pair", "inner/dense"]}},
            ],
        },
    },
    "layers": [{"outer": {"k": 3, "id": "q"}}, {"add": {"from": ["q/inner/dense.1", "q/inner/relu"]}}],
    "outputs": ["q", "add"],
}


def test_nested_blocks_unfold_with_names_inside_names() -> None:
    description = read(NESTED)
    assert [(node.id, node.sources) for node in description.layers] == [
        ("q/inner/dense.0", ("x",)),
        ("q/inner/dense.1", ("q/inner/dense.0",)),
        ("q/inner/dense.2", ("q/inner/dense.1",)),
        ("q/inner/relu", ("q/inner/dense.2",)),
        ("q/dense", ("q/inner/relu",)),
        ("q/pair/dense.0", ("x",)),
        ("q/pair/dense.1", ("q/pair/dense.0",)),
        ("q/pair/leaky_relu", ("q/pair/dense.1",)),
        ("q/concatenate", ("q/dense", "q/pair/leaky_relu", "q/inner/dense.2")),
        ("add", ("q/inner/dense.1", "q/inner/relu")),
    ]
    assert description.outputs == ("q/concatenate", "add")


def test_a_block_repeats_in_a_chain() -> None:
    data = {
        "inputs": {"x": [4]},
        "blocks": {"b": {"layers": [{"dense": {"units": 4, "id": "d"}}, {"add": {"from": ["d", "input"]}}]}},
        "layers": [
            {"b": {"repeat": 2, "id": "u1"}},
            {"dense": {"units": 1, "from": "u1"}},
            {"b": {"from": "u1.0"}},
        ],
    }
    wiring = {node.id: node.sources for node in read(data).layers}
    assert wiring == {
        "u1.0/d": ("x",),
        "u1.0/add": ("u1.0/d", "x"),
        "u1.1/d": ("u1.0/add",),
        "u1.1/add": ("u1.1/d", "u1.0/add"),
        "dense": ("u1.1/add",),
        "b/d": ("u1.0/add",),
        "b/add": ("b/d", "u1.0/add"),
    }


def test_a_block_takes_several_values() -> None:
    two = [{"dense": {"units": 3, "from": "input.1", "id": "d"}}, {"add": {"from": ["d", "input.0"]}}]
    data = {
        "inputs": {"a": [3], "b": [3]},
        "blocks": {"two": {"layers": two}},
        "layers": [{"two": {"from": ["a", "b"]}}],
    }
    assert [node.sources for node in read(data).layers] == [("b",), ("two/d", "a")]


def test_a_block_hands_down_what_is_learned() -> None:
    data = {
        "inputs": {"x": [4]},
        "blocks": {"b": {"layers": [{"dense": {"units": 4, "learning_rate": 0.5}}, "relu"]}},
        "layers": [{"b": {"trainable": False, "learning_rate": 0.1}}, {"dense": 1}],
    }
    description = read(data)
    assert [(node.trainable, node.learning_rate) for node in description.layers] == [
        (False, 0.05),
        (True, 1.0),
        (True, 1.0),
    ]
    assert read(description.canonical).canonical == description.canonical


def test_the_place_of_an_unfolded_layer_is_in_the_block(tmp_path: Path) -> None:
    description, problems = inspected(
        tmp_path, f"{UNIT}  - unit: 3\n".replace("unit: 3", "unit: {filters: 3}")
    )
    assert not problems
    assert description is not None
    place = description.layers[0].place
    assert (place.line, place.column, place.path) == (6, 9, "blocks.unit.layers[0].conv2d")


def test_residual_is_forty_lines_and_twenty_layers() -> None:
    file = Path(__file__).parents[3] / "examples" / "residual.yaml"
    assert len(file.read_text().splitlines()) < 50
    wiring = {node.id: node.sources for node in read(file).layers}
    assert wiring["u1/add"] == ("u1/main", "u1/short")
    assert wiring["u1/short"] == wiring["u1/conv2d"] == ("u0/relu_2",)


def chain(count: int, uses: int) -> str:
    """Blocks b0, b1, ... of which each uses the next ``uses`` times."""
    blocks = "".join(f"  b{i}: {{layers: [{', '.join([f'b{i + 1}'] * uses)}]}}\n" for i in range(count))
    return f"inputs: {{x: [3]}}\nblocks:\n{blocks}  b{count}: {{layers: [relu]}}\nlayers:\n  - b0\n"


WRONG = {
    UNIT + "  - unit": ["9:5: layers[0].unit: 'filters' is missing: the block requires it"],
    UNIT + "  - unit: {filter: 3}": [
        "9:12: layers[0].unit.filter: unknown parameter. Did you mean 'filters'?"
    ],
    UNIT + "  - unit: 3": [
        "9:11: layers[0].unit: 3 is a number: unit has no main argument: expected a mapping of fields"
    ],
    UNIT + "  - unit: {filters: 3, penalty: {l2: 1}}": [
        "9:24: layers[0].unit.penalty: a block has no penalty: expected it on a layer inside"
    ],
    UNIT + "  - unit: {filters: -3, repeat: 2}\n  - unit: {filters: 3, stride: x}": [
        "9:21: layers[0].unit.filters: -3 is too small: expected a whole number, at least 1",
        "10:32: layers[1].unit.stride: 'x' is text: expected a whole number, at least 1, or a list of 2 of them",
    ],
    # a mistake inside a block is said once, however often the block is used, and also if it is not used
    UNIT.replace("kernel", "kernl") + "  - unit: {filters: 3}\n  - unit: {filters: 4}": [
        "6:37: blocks.unit.layers[0].conv2d.kernl: unknown field. Did you mean 'kernel'?"
    ],
    UNIT.replace("kernel", "kernl") + "  - relu": [
        "6:37: blocks.unit.layers[0].conv2d.kernl: unknown field. Did you mean 'kernel'?"
    ],
    UNIT.replace("$stride", "$strid") + "  - unit: {filters: 3}": [
        "6:56: blocks.unit.layers[0].conv2d.stride: the block has no parameter 'strid'. Did you mean 'stride'?"
    ],
    UNIT.replace("- relu", "- add: {from: [mian, image]}") + "  - unit: {filters: 3}": [
        "7:22: blocks.unit.layers[1].add.from[0]: there is no 'mian'. Did you mean 'main'?",
        "7:28: blocks.unit.layers[1].add.from[1]: there is no 'image': a block sees its own layers and 'input' "
        "only. Hand it in with 'from'",
    ],
    UNIT.replace("- relu", "- add: {from: [main, input.1]}") + "  - unit: {filters: 3}": [
        "9:5: layers[0].unit: unit is given 1 value: expected 2: from: [a, b]"
    ],
    UNIT.replace("- relu", "- unit: {filters: 3}") + "  - unit: {filters: 3}": [
        "3:3: blocks.unit: the block contains itself: unit -> unit"
    ],
    UNIT.replace("- relu", "- $stride") + "  - unit: {filters: 3, stride: unit}": [
        "3:3: blocks.unit: the block contains itself: unit -> unit"
    ],
    UNIT + "  - unit: {filters: 3, repeat: 60000}": [
        "9:5: layers[0]: the description unfolds to 120,001 layers, of which 120,000 come from here: "
        "expected 100,000 in all at most"
    ],
    UNIT.replace("unit:", "relu:") + "  - tanh": [
        "3:3: blocks.relu: 'relu' is a layer already: expected another name"
    ],
    UNIT.replace("stride: 1", "id: 1").replace("$stride", "1") + "  - unit: {filters: 3}": [
        "4:33: blocks.unit.parameters.id: 'id' is a field that every layer has: "
        "expected another name for the parameter"
    ],
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_block(tmp_path: Path, text: str) -> None:
    _, problems = inspected(tmp_path, f"{text}\n{LAST}{LOSS}")
    assert problems == [f"net.yaml:{line}" for line in WRONG[text]]


def test_what_unfolds_to_too_much_is_told_before_anything_is_unfolded(tmp_path: Path) -> None:
    _, problems = inspected(tmp_path, chain(40, 2))
    assert problems == [
        "net.yaml:45:5: layers[0]: the description unfolds to 1,099,511,627,776 layers, of which "
        "1,099,511,627,776 come from here: expected 100,000 in all at most"
    ]


def test_blocks_nest_only_so_deep(tmp_path: Path) -> None:
    assert inspected(tmp_path, chain(60, 1))[1] == []
    _, problems = inspected(tmp_path, chain(5000, 1))
    assert problems == ["net.yaml:5005:5: layers[0]: blocks nest deeper than 64 levels: expected fewer"]


@pytest.mark.slow
def test_blocks_that_differ_in_each_use_are_counted_within_bounds(tmp_path: Path) -> None:
    """Each level hands down one more parameter in two ways: 2 ** 40 uses of which no two are alike."""
    lines = ["inputs: {x: [3]}", "blocks:"]
    for i in range(40):
        names = [f"p{j}" for j in range(i)]
        hand = "".join(f"{name}: ${name}, " for name in names)
        parameters = "".join(f"{name}: 0, " for name in names)
        lines.append(f"  b{i}:")
        lines.append(f"    parameters: {{{parameters}}}")
        lines.append("    layers:")
        lines += [f"      - b{i + 1}: {{{hand}p{i}: {value}}}" for value in (0, 1)]
    parameters = "".join(f"p{j}: 0, " for j in range(40))
    lines += ["  b40:", f"    parameters: {{{parameters}}}", "    layers: [relu]", "layers: [b0]"]
    _, problems = inspected(tmp_path, "\n".join(lines))
    assert problems == [
        "net.yaml:206:10: layers[0]: blocks are used in more than 20,000 different ways: expected fewer"
    ]
