"""Mistakes that people really make: exactly one line for each, at its place, and nothing that follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cortex_compute.errors import ShapeError, SpecError
from cortex_core.check import check
from cortex_core.compiled import compile
from cortex_core.network import network

GOOD = """\
inputs:
  image: [28, 28, 1]
layers:
  - conv2d: {filters: 8, kernel: 3}
  - relu
  - flatten
  - dense: {units: 32, id: hidden}
  - dense: {units: 10, id: digit}
loss:
  softmax_cross_entropy: {of: digit, target: label}
train:
  data: mnist
  validation: 0.1
  metrics: [accuracy]
"""
DENSE = "dense: {units: 32, id: hidden}"
LOSS = "  softmax_cross_entropy: {of: digit, target: label}\n"

# What is written, what stands there instead, and the one line that it gets, up to where it is certain.
MISTAKES = [
    # inputs: nothing follows from one that cannot be read, or that the data does not have
    ("[28, 28, 1]", "[28, -28, 1]", "2:15: inputs.image[1]: -28 is too small"),
    ("[28, 28, 1]", "(28, 28, 1)", "2:10: inputs.image: '(28, 28, 1)' is text"),
    ("image: [28, 28, 1]", "image:", "2:9: inputs.image: there is no value (null)"),
    ("image: [28, 28, 1]", "my image: [28, 28, 1]", "2:3: inputs.my image: 'my image' is text"),
    ("[28, 28, 1]", "[28, 28]", "2:3: inputs.image: this input is [28, 28]: in data set 'mnist'"),
    ("[28, 28, 1]", "[1, 28, 28]", "*Channels stand last"),
    ("[28, 28, 1]", "[null, 28, 28, 1]", "*Leave the batch axis out"),
    ("[28, 28, 1]", "[None, 28, 28, 1]", "*Write null for an axis of any length"),
    ("[28, 28, 1]", "[null, null, 1]", "7:5: layers[3].dense: the shape of 'hidden/kernel' depends"),
    ("[28, 28, 1]", "[10000000, 10000000, 1]", "2:10: inputs.image: this is too large"),
    # what a layer takes
    (DENSE, "dense: {units: 32, id: hidden, from: [flatten, relu]}", "7:42: layers[3].dense.from: dense is"),
    (DENSE, "dense: {units: 32, id: hidden, from: []}", "7:42: layers[3].dense.from: this is an empty list"),
    (DENSE, "dense: {units: 32, id: hidden, from: }", "7:42: layers[3].dense.from: there is no value (null)"),
    (DENSE, "add: [flatten, flatten]", "*Write {add: {from: [...]}} if it takes these"),
    (DENSE, "dense: {units: 32, id: input}", "7:28: layers[3].dense.id: 'input' means the input of a block"),
    (
        "relu",
        "relu: {id: r, repeat: 2}\n  - tanh: {from: r.2}",
        "*there is no 'r.2', 'r' ends with 'r.1': expected 'r.1' alone",
    ),
    (
        "- relu",
        "- max_pool2d: {size: 2, penalty: {l2: 0.1}}",
        "5:27: layers[1].max_pool2d.penalty: max_pool2d",
    ),
    (DENSE, "dense: {units: 3, penalty: {l2: 0.1, kernel: {l2: 0.2}}}", "7:32: layers[3].dense.penalty: the"),
    ("units: 32", "units: 9223372036854775807", "*bytes: expected smaller shapes or a smaller batch"),
    # wrong indentation, another house's keys
    (
        LOSS,
        "  softmax_cross_entropy:\n  of: digit\n  target: label\n",
        "11:3: loss.of: 3 keys where one name",
    ),
    (
        DENSE,
        "type: dense\n    units: 32\n    id: hidden",
        "7:5: layers[3].type: 'type' is no name that is kn",
    ),
    ("[accuracy]", "{accuracy: , target: label}", "14:25: train.metrics.target: 2 keys where one name"),
    ("  - relu", "  -relu: 5", "5:3: a '-' without a space behind it"),
    ("filters: 8, ", "filters: 8 ", "*or put a ',' between its items"),
    # losses, metrics, data
    ("  - flatten\n", "", "9:3: loss.softmax_cross_entropy: 'digit' is (26, 26, 10), 'label' is () int64: "),
    ("units: 10", "units: 1", "10:3: loss.softmax_cross_entropy: "),
    ("[accuracy]", "[{accuracy: {target: labl}}]", "*Did you mean 'label'?"),
    ("[accuracy]", "[acc]", "*Did you mean 'accuracy'?"),
    ("validation: 0.1", "validation: 10%", "13:15: train.validation: unknown data set '10%'"),
]


@pytest.mark.parametrize(("good", "wrong", "line"), MISTAKES)
def test_one_line(tmp_path: Path, good: str, wrong: str, line: str) -> None:
    path = tmp_path / "net.yaml"
    assert good in GOOD
    path.write_text(GOOD.replace(good, wrong, 1))
    found = [str(p).removeprefix(f"{path}:") for p in check(str(path)).problems]
    assert len(found) == 1, found
    assert found[0].endswith(line[1:]) if line.startswith("*") else found[0].startswith(line)


def test_each_wrong_loss_is_named_beside_the_others(tmp_path: Path) -> None:
    both = LOSS.replace("label", "labl") + "  mse: {of: hidden, target: label}\n"
    path = tmp_path / "net.yaml"
    path.write_text(GOOD.replace(LOSS, both).replace("  metrics: [accuracy]\n", ""))
    assert [p.path for p in check(str(path)).problems] == ["loss.softmax_cross_entropy", "loss.mse"]


def test_a_split_of_the_data_may_validate(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(GOOD.replace("validation: 0.1", "validation: test"))
    assert not check(str(path)).problems


@pytest.mark.slow
def test_an_absurd_batch_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(GOOD.replace("- relu", "- max_pool2d: 2"))
    memory = check(str(path), batch_size=10**9).memory
    assert memory is not None
    assert memory.total > 10**9 * 28 * 28 * 4
    with pytest.raises(ShapeError, match="smaller batch"):
        check(str(path), batch_size=10**18)


@pytest.mark.parametrize("seed", ["a", -1, 1.5, True, 2**64])
def test_a_wrong_seed(seed: Any) -> None:
    with pytest.raises(SpecError, match="expected a whole number"):
        network({"inputs": {"x": [3]}, "layers": [{"dense": 2}]}, seed=seed)


@pytest.mark.parametrize("size", ["a", 0, -1, 1.5, True])
def test_a_wrong_batch_size(size: Any) -> None:
    made = network({"inputs": {"x": [3]}, "layers": [{"dense": 2}]})
    with pytest.raises(SpecError, match=r"batch_size is .*: expected a whole number, at least 1"):
        compile(made, purpose="predict", batch_size=size)
    with pytest.raises(SpecError, match="batch_size is"):
        made.predict([[1.0, 2.0, 3.0]], batch_size=size)


def test_a_wrong_purpose_and_a_wrong_batch() -> None:
    made = network({"inputs": {"x": [3]}, "layers": [{"dense": 2}]})
    with pytest.raises(SpecError, match="known are train, evaluate, predict"):
        compile(made, purpose="fly")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="dict of arrays"):
        compile(made, purpose="predict").run([1.0])  # type: ignore[arg-type]
