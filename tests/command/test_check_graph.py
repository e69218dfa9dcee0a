"""What ``cortex check`` says of layers that wait for themselves, contain themselves, share what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Cli

NO_CIRCLE = "expected layers that do not wait for themselves"
CIRCLES = {
    "a pair": (
        "inputs: {x: [4]}\n"
        "layers:\n"
        "  - dense: {units: 4, id: a, from: b}\n"
        "  - dense: {units: 4, id: b, from: a}\n",
        f"3:36: layers[0].dense.from: a circle: a -> b -> a: {NO_CIRCLE}",
    ),
    "itself": (
        "inputs: {x: [4]}\nlayers:\n  - dense: {units: 4, id: a, from: a}\n",
        f"3:36: layers[0].dense.from: a circle: a -> a: {NO_CIRCLE}",
    ),
    "a field": (
        "inputs: {x: [4, 3]}\n"
        "layers:\n"
        "  - lstm: {units: 3, id: a, from: x, initial: b}\n"
        "  - dense: {units: 3, id: b}\n",
        f"3:47: layers[0].lstm.initial: a circle: a -> b -> a: {NO_CIRCLE}",
    ),
    "blocks": (
        "inputs: {x: [4]}\n"
        "blocks:\n"
        "  unit: {layers: [{dense: 4}, relu]}\n"
        "layers:\n"
        "  - unit: {id: u, from: v}\n"
        "  - unit: {id: v, from: u}\n",
        "5:25: blocks.unit.layers[0].dense.from: a circle: "
        f"u/dense -> u/relu -> v/dense -> v/relu -> u/dense: {NO_CIRCLE}",
    ),
}
ENDLESS = {
    "itself": ("  a: {layers: [{dense: 4}, a]}\n", "3:3: blocks.a: the block contains itself: a -> a"),
    "by another": (
        "  a: {layers: [b]}\n  b: {layers: [relu, {a: {repeat: 3}}]}\n",
        "3:3: blocks.a: the block contains itself: a -> b -> a",
    ),
}
SHARED = {
    "of other shapes": (
        "  - dense: {units: 4, id: a}\n  - dense: {units: 5, id: b, share: a}\n",
        "4:5: layers[1].dense: 'a' is (4,): a/kernel is (4, 4) for 'a', (4, 5) for 'b': "
        "layers that share it need one shape",
    ),
    "of another shape, by name": (
        "  - dense: {units: 5, id: a}\n  - dense: {units: 5, id: b, share: {kernel: a/kernel}}\n",
        "4:5: layers[1].dense: 'a' is (5,): a/kernel is (4, 5) for 'a', (5, 5) for 'b': "
        "layers that share it need one shape",
    ),
    "of a layer further on": (
        "  - dense: {units: 3, id: a, share: b}\n  - dense: {units: 4, id: b}\n",
        "4:5: layers[1].dense: 'a' is (3,): b/kernel is (4, 3) for 'a', (3, 4) for 'b': "
        "layers that share it need one shape",
    ),
    "of none": (
        "  - dense: {units: 4, id: first}\n  - dense: {units: 4, share: fist}\n",
        "4:30: layers[1].dense.share: there is no layer 'fist'. Did you mean 'first'?",
    ),
    "of another kind": (
        "  - dense: {units: 4, id: a}\n  - batch_norm: {id: n, share: a}\n",
        "layers[1].batch_norm.share: 'a' is dense, 'n' is batch_norm: expected two of one kind",
    ),
    "that it has not": (
        "  - dense: {units: 4, id: a}\n  - dense: {units: 4, id: b, share: {kernle: a/kernel}}\n",
        "layers[1].dense.share: 'b' has no parameter 'kernle'. Did you mean 'kernel'?",
    ),
    "that the other has not": (
        "  - dense: {units: 4, id: a}\n  - dense: {units: 4, id: b, share: {kernel: a/kernle}}\n",
        "layers[1].dense.share: 'a' has no parameter 'kernle'. Did you mean 'kernel'?",
    ),
    "of a layer with fewer": (
        "  - dense: {units: 4, id: a, use_bias: false}\n  - dense: {units: 4, id: b, share: a}\n",
        "layers[1].dense.share: 'b' has a bias, 'a' has none: expected layers with the same parameters",
    ),
}


def said(cli: Cli, folder: Path, text: str) -> list[str]:
    """The mistakes of a description: the lines without the name of its file."""
    path = folder / "net.yaml"
    path.write_text(text)
    found = cli("check", path)
    assert found.code == 2
    assert found.out == ""
    lines = found.err.splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    return [line.removeprefix(f"{path}:") for line in lines]


@pytest.mark.parametrize("case", CIRCLES)
def test_a_circle(cli: Cli, tmp_path: Path, case: str) -> None:
    text, told = CIRCLES[case]
    assert said(cli, tmp_path, text) == [told]


@pytest.mark.parametrize("case", ENDLESS)
def test_a_block_that_contains_itself(cli: Cli, tmp_path: Path, case: str) -> None:
    blocks, told = ENDLESS[case]
    assert said(cli, tmp_path, f"inputs: {{x: [4]}}\nblocks:\n{blocks}layers: [a]\n") == [told]


@pytest.mark.parametrize("case", SHARED)
def test_parameters_that_cannot_be_shared(cli: Cli, tmp_path: Path, case: str) -> None:
    layers, told = SHARED[case]
    (line,) = said(cli, tmp_path, f"inputs: {{x: [4]}}\nlayers:\n{layers}")
    assert line.endswith(told)


def test_blocks_on_inputs_of_other_shapes_share_nothing(cli: Cli, tmp_path: Path) -> None:
    text = (
        "inputs: {x: [4], y: [5]}\n"
        "blocks:\n"
        "  tower: {layers: [{dense: 3}, relu]}\n"
        "layers:\n"
        "  - tower: {id: left, from: x}\n"
        "  - tower: {id: right, from: y, share: left}\n"
        "  - add: {from: [left, right]}\n"
    )
    (line,) = said(cli, tmp_path, text)
    assert "left/dense/kernel is (4, 3) for 'left/dense', (5, 3) for 'right/dense'" in line


def test_no_label_at_all(cli: Cli, tmp_path: Path) -> None:
    """A column of labels without one is found where it lies, and nothing is trained."""
    (tmp_path / "people.csv").write_text("a,b,kind\n1,2,\n3,4,\n5,6,\n")
    text = (
        "inputs: {features: auto}\n"
        "layers: [{dense: {units: 2, id: out}}]\n"
        "loss: {softmax_cross_entropy: {of: out, target: kind}}\n"
        "train: {data: people.csv}\n"
    )
    (line,) = said(cli, tmp_path, text)
    assert line.startswith("4:15: train.data: column 'kind': every cell is missing")
    trained = cli("train", tmp_path / "net.yaml", "--out", tmp_path / "run")
    assert trained.code == 2
    assert "column 'kind': every cell is missing" in trained.err
