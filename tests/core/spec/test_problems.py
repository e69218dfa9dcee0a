# ruff: noqa: E501 (the messages stand here as people see them, each on one line)
"""Wrong descriptions: what `cortex check` says, with line, column and path.

Each case is the text in place of the line `# HERE` (line 4) and the lines that must be printed.  The expected
places were counted by hand.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from cortex_compute.errors import SpecError
from cortex_core.spec import inspect, read
from tests.core.spec.reading import HEAD, LAST, LOSS, inspected

LAYERS = {
    # fields
    "  - conv2d: {filter: 20, kernel: 5}": [
        "net.yaml:4:14: layers[0].conv2d.filter: unknown field. Did you mean 'filters'?"
    ],
    "  - conv2d: {filters: 20, kernel_size: 5, strides: 2}": [
        "net.yaml:4:27: layers[0].conv2d.kernel_size: unknown field. Did you mean 'kernel'?",
        "net.yaml:4:43: layers[0].conv2d.strides: unknown field. Did you mean 'stride'?",
    ],
    "  - conv2d: {kernel: 5}": [
        "net.yaml:4:5: layers[0].conv2d: 'filters' is missing: expected a whole number, at least 1"
    ],
    "  - conv2d: {filters: 0, kernel: [5, 5, 5], padding: sane}": [
        "net.yaml:4:23: layers[0].conv2d.filters: 0 is too small: expected a whole number, at least 1",
        "net.yaml:4:34: layers[0].conv2d.kernel: this is a list of 3: expected a whole number, at least 1, "
        "or a list of 2 of them",
        "net.yaml:4:54: layers[0].conv2d.padding: 'sane' is text: expected valid, same, a whole number of at "
        "least 0, or [[before, after], [before, after]]. Did you mean 'same'?",
    ],
    "  - conv2d: {filters: 8, kernel: 3, padding: [1, 2]}": [
        "net.yaml:4:46: layers[0].conv2d.padding: this is a list of 2: expected valid, same, a whole number of "
        "at least 0, or [[before, after], [before, after]]. Write [[1, 1], [2, 2]]"
    ],
    "  - conv2d: {filters: 9, kernel: 3, groups: 2}": [
        "net.yaml:4:45: layers[0].conv2d.groups: 9 filters do not split into 2 groups: expected a number that "
        "divides filters"
    ],
    "  - dense: {units: 64.0, use_bias: no}": [
        "net.yaml:4:20: layers[0].dense.units: 64.0 is a number: expected a whole number, at least 1. Write 64",
        "net.yaml:4:36: layers[0].dense.use_bias: 'no' is text: expected true or false. Write false",
    ],
    "  - dense: {units: '64'}": [
        "net.yaml:4:20: layers[0].dense.units: '64' is text: expected a whole number, at least 1. Write 64, "
        "without quotes or underscores"
    ],
    "  - dense: {units: true}": [
        "net.yaml:4:20: layers[0].dense.units: true is a truth value: expected a whole number, at least 1"
    ],
    "  - dense: {units: 64, activation: rleu}": [
        "net.yaml:4:36: layers[0].dense.activation: unknown activation 'rleu'. Did you mean 'relu'?"
    ],
    "  - dense: {units: 64, activation: {leaky_relu: {slop: 0.2}}}": [
        "net.yaml:4:50: layers[0].dense.activation.leaky_relu.slop: unknown field. Did you mean 'slope'?"
    ],
    "  - dense: {units: 64, kernel_initializer: xavier_uniform}": [
        "net.yaml:4:44: layers[0].dense.kernel_initializer: unknown initializer 'xavier_uniform'. "
        "Did you mean 'glorot_uniform'?"
    ],
    "  - dropout: 50%": [
        "net.yaml:4:14: layers[0].dropout.rate: '50%' is text: expected a number, at least 0 and below 1. "
        "Write 0.5"
    ],
    "  - dropout: 1.5": [
        "net.yaml:4:14: layers[0].dropout.rate: 1.5 is too large: expected a number, at least 0 and below 1"
    ],
    "  - dropout: .nan": [
        "net.yaml:4:14: layers[0].dropout.rate: nan is not finite: expected a number, at least 0 and below 1"
    ],
    "  - reshape: [-1, -1]": ["net.yaml:4:14: layers[0].reshape.shape: 2 axes are -1: expected one at most"],
    "  - permute: [1, 3]": [
        "net.yaml:4:14: layers[0].permute.axes: [1, 3] is no permutation: expected each of 1 to 2 once "
        "(the batch axis stays first)"
    ],
    "  - relu: 3": [
        "net.yaml:4:11: layers[0].relu: 3 is a number: relu has no main argument: expected a mapping of fields"
    ],
    # kinds, and the ways to write a layer
    "  - Conv2D: {filters: 3, kernel: 5}": [
        "net.yaml:4:5: layers[0].Conv2D: unknown layer 'Conv2D'. Did you mean 'conv2d'?"
    ],
    "  - maxpool2d: 2\n  - fc: 500": [
        "net.yaml:4:5: layers[0].maxpool2d: unknown layer 'maxpool2d'. Did you mean 'max_pool2d'?",
        "net.yaml:5:5: layers[1].fc: unknown layer 'fc'. Did you mean 'dense'?",
    ],
    "  - rleu": ["net.yaml:4:5: layers[0]: unknown layer 'rleu'. Did you mean 'relu'?"],
    "  - dense: {units:64}": [
        "net.yaml:4:13: layers[0].dense.units:64: unknown field. Write 'units: 64', with a space after the colon"
    ],
    "  - dense:\n    units: 64": [
        "net.yaml:5:5: layers[0].units: 2 keys where one name is expected: 'dense', 'units'. "
        "If 'units' is a field of 'dense', indent it further than 'dense'"
    ],
    "  - [dense, 64, {activaton: relu}]": [
        "net.yaml:4:18: layers[0].dense.activaton: unknown field. Did you mean 'activation'?"
    ],
    "  - [dense, 64, 3]": [
        "net.yaml:4:17: layers[0][2]: 2 arguments after 'dense': expected one argument, units, and then {fields}"
    ],
    "  - [dense, 64, {units: 64}]": [
        "net.yaml:4:18: layers[0][2].units: 'units' is given twice: expected it once"
    ],
    "  - 3": [
        "net.yaml:4:5: layers[0]: 3 is a number: expected a name, {name: fields} or [name, argument, {fields}]"
    ],
    "  - {}": ["net.yaml:4:5: layers[0]: this is an empty mapping: expected one name and its fields"],
    # what every layer may have
    "  - dense: {units: 3, trainable: maybe, learning_rate: -1}": [
        "net.yaml:4:34: layers[0].dense.trainable: 'maybe' is text: expected true or false",
        "net.yaml:4:56: layers[0].dense.learning_rate: -1 is too small: expected a number, at least 0",
    ],
    "  - dense: {units: 3, trainabel: false}": [
        "net.yaml:4:23: layers[0].dense.trainabel: unknown field. Did you mean 'trainable'?"
    ],
    "  - dense: {units: 3, penalty: {l2: -1, kernel: {l3: 1}}}": [
        "net.yaml:4:37: layers[0].dense.penalty.l2: -1 is too small: expected a number, at least 0",
        "net.yaml:4:50: layers[0].dense.penalty.kernel.l3: unknown penalty 'l3': expected l1 or l2",
    ],
    "  - dense: {units: 3, repeat: 0}": [
        "net.yaml:4:31: layers[0].dense.repeat: 0 is too small: expected a whole number, at least 1"
    ],
    "  - dense: {units: $n}": [
        "net.yaml:4:20: layers[0].dense.units: '$n' stands outside a block: expected a value"
    ],
    "  - relu: {trainable: false, penalty: {l2: 0.1}}": [
        "net.yaml:4:12: layers[0].relu.trainable: relu has no parameters: nothing is learned here",
        "net.yaml:4:30: layers[0].relu.penalty: relu has no parameters: nothing is learned here",
    ],
    # who takes what
    "  - dense: {units: 64, from: imgae}": [
        "net.yaml:4:30: layers[0].dense.from: there is no 'imgae'. Did you mean 'image'?"
    ],
    "  - dense: {units: 64, id: a, from: b}\n  - dense: {units: 3, id: b, from: a}": [
        "net.yaml:4:37: layers[0].dense.from: a circle: a -> b -> a: expected layers that do not wait for themselves"
    ],
    "  - dense: {units: 64, id: a, from: a}": [
        "net.yaml:4:37: layers[0].dense.from: a circle: a -> a: expected layers that do not wait for themselves"
    ],
    "  - add": ["net.yaml:4:5: layers[0].add: add is given 1 value: expected two or more: from: [a, b]"],
    "  - dense: {units: 3, from: [image, image]}": [
        "net.yaml:4:29: layers[0].dense.from: dense is given 2 values: expected 1. "
        "add, multiply and concatenate take several"
    ],
    "  - dense: {units: 3, id: digit}": [
        "net.yaml:5:28: layers[1].dense.id: 'digit' is the id of layers[0].dense (line 4) already: expected another id"
    ],
    "  - dense: {units: 3, id: image}": [
        "net.yaml:4:27: layers[0].dense.id: 'image' is the name of an input already: expected another id"
    ],
    "  - dense: {units: 3, id: a b}": [
        "net.yaml:4:27: layers[0].dense.id: 'a b' is text: expected a name of letters, digits, _ and -. Write a_b"
    ],
    "  - embedding: {tokens: 9, units: 2, id: words}\n  - dense: {units: 3, from: words.mask}": [
        "net.yaml:5:29: layers[1].dense.from: 'words' gives no mask: expected mask_zero: true in words"
    ],
    "  - dense: {units: 2, id: words}\n  - dense: {units: 3, from: words.mask}": [
        "net.yaml:5:29: layers[1].dense.from: 'words' has no output 'mask': expected 'words' alone"
    ],
    # one mistake, one line: nothing that follows from it
    "  - dens: {units: 3, id: a}\n  - dense: {units: 3, from: a}": [
        "net.yaml:4:5: layers[0].dens: unknown layer 'dens'. Did you mean 'dense'?"
    ],
    "  - rleu: {}\n  - dense: {units: 3, from: relu}": [
        "net.yaml:4:5: layers[0].rleu: unknown layer 'rleu'. Did you mean 'relu'?"
    ],
}


@pytest.mark.parametrize("layers", LAYERS)
def test_a_wrong_layer(tmp_path: Path, layers: str) -> None:
    description, problems = inspected(tmp_path, f"{HEAD}{layers}\n{LAST}{LOSS}")
    assert problems == LAYERS[layers]
    assert description is None or description.canonical == {}


SECTIONS = {
    "input: {image: [3]}\nlayer: [relu]": [
        "net.yaml:1:1: input: unknown section. Did you mean 'inputs'?",
        "net.yaml:2:1: layer: unknown section. Did you mean 'layers'?",
    ],
    "inputs: {x: [3]}": ["net.yaml:1:1: 'layers' is missing: expected a list of layers"],
    "layers: [relu]": ["net.yaml:1:1: 'inputs' is missing: expected names and shapes: {image: [28, 28, 1]}"],
    "inputs: {x: [3]}\nlayers: []": [
        "net.yaml:2:9: layers: this is no list of layers: expected one layer at least"
    ],
    "inputs: {x: [3]}\nlayers:\n  -relu": [
        "net.yaml:3:3: layers: this is no list of layers: expected one layer at least. Write '- relu', with a space"
    ],
    "[relu]": [
        "net.yaml:1:1: this is no mapping: expected cortex, name, inputs, blocks, layers, loss, outputs, train"
    ],
    "cortex: 2\ninputs: {x: [3]}\nlayers: [relu]": [
        "net.yaml:1:9: cortex: version 2: this program reads version 1"
    ],
    "name: a/b\ninputs: {x: [3]}\nlayers: [relu]": [
        "net.yaml:1:7: name: 'a/b' is text: expected a name of letters, digits, ., _ and -"
    ],
    "inputs:\n  x: [3, -1]\n  'a b': {shap: [3]}\n  c: {shape: [2], dtype: float31}\nlayers: [relu: {from: c}]": [
        "net.yaml:2:10: inputs.x[1]: -1 is too small: expected a whole number, at least 1",
        "net.yaml:3:3: inputs.a b: 'a b' is text: expected a name of letters, digits, _ and -. Write a_b",
        "net.yaml:3:11: inputs.a b.shap: unknown field. Did you mean 'shape'?",
        "net.yaml:4:26: inputs.c.dtype: 'float31' is text: expected bool, int8, int16, int32, int64, uint8, "
        "uint16, uint32, uint64, float16, bfloat16, float32 or float64. Did you mean 'float32'?",
    ],
    "inputs: {a: [3], b: [3]}\nlayers: [relu]": [
        "net.yaml:2:10: layers[0].relu: there are 2 inputs that this could take: expected 'from' with one of a, b"
    ],
    "inputs: {a: [3], b: [3]}\nlayers: [relu: {from: a}]": [
        "net.yaml:1:18: inputs.b: no layer takes 'b': expected one that does"
    ],
    "inputs: {x: [3]}\nlayers: [relu: {id: a}, tanh: {id: b, from: x}]\noutputs: b": [
        "net.yaml:2:10: layers[0].relu: 'a' leads to no output and no loss: expected it in outputs, or not at all"
    ],
    "inputs: {x: [3]}\nlayers: [relu]\noutputs: [rleu]": [
        "net.yaml:3:11: outputs[0]: there is no 'rleu'. Did you mean 'relu'?"
    ],
}


@pytest.mark.parametrize("text", SECTIONS)
def test_a_wrong_section(tmp_path: Path, text: str) -> None:
    assert inspected(tmp_path, text)[1] == SECTIONS[text]


LOSSES = {
    "loss:\n  softmax_crossentropy: {of: digit, target: label}": [
        "net.yaml:6:3: loss.softmax_crossentropy: unknown loss 'softmax_crossentropy'. "
        "Did you mean 'softmax_cross_entropy'?"
    ],
    "loss:\n  softmax_cross_entropy: {of: digt, target: label}": [
        "net.yaml:6:31: loss.softmax_cross_entropy.of: there is no 'digt'. Did you mean 'digit'?"
    ],
    "loss:\n  softmax_cross_entropy: {of: digit, taget: label}": [
        "net.yaml:6:38: loss.softmax_cross_entropy.taget: unknown field. Did you mean 'target'?"
    ],
    "loss:\n  mse: {of: digit}": [
        "net.yaml:6:3: loss.mse: 'target' is missing: expected a stream of the data, such as label"
    ],
    "loss:\n  - mse: {target: y, name: a}\n  - mae: {target: y, name: a, weight: -1}": [
        "net.yaml:7:28: loss[1].mae.name: the name 'a' is taken already: expected another",
        "net.yaml:7:39: loss[1].mae.weight: -1 is too small: expected a number, at least 0",
    ],
    "loss:\n  binary_cross_entropy: label": [
        "net.yaml:6:3: loss.binary_cross_entropy: 'digit' ends in no activation, which gives no probabilities: "
        "expected activation: sigmoid there, or from_logits: true here"
    ],
    "train:\n  optimizer: {adma: {learning_rate: 0.1}}\n  epoch: 3\n  batch_size: 0\n  precision: float31": [
        "net.yaml:6:15: train.optimizer.adma: unknown optimizer 'adma'. Did you mean 'adam'?",
        "net.yaml:7:3: train.epoch: unknown field. Did you mean 'epochs'?",
        "net.yaml:8:15: train.batch_size: 0 is too small: expected a whole number, at least 1",
        "net.yaml:9:14: train.precision: 'float31' is text: expected float32 or bfloat16. "
        "Did you mean 'float32'?",
    ],
    "train:\n  optimizer: {sgd: {lr: 0.1}}\n  early_stopping: {patient: 3}\n  metrics: [acuracy]": [
        "net.yaml:6:21: train.optimizer.sgd.lr: unknown field. Did you mean 'learning_rate'?",
        "net.yaml:7:20: train.early_stopping.patient: unknown field. Did you mean 'patience'?",
        "net.yaml:8:13: train.metrics[0]: unknown metric 'acuracy'. Did you mean 'accuracy'?",
    ],
    "train:\n  optimizer: {sgd: {nesterov: true}}\n  validation: 1.5": [
        "net.yaml:6:31: train.optimizer.sgd.nesterov: nesterov without momentum: expected a momentum above 0",
        "net.yaml:7:15: train.validation: 1.5 is a number: expected a number, at least 0 and below 1 or text",
    ],
    "train:\n  metrics: accuracy": [
        "net.yaml:6:12: train.metrics.accuracy: 'of' is missing: expected of and target, as no single "
        "loss tells them"
    ],
}


@pytest.mark.parametrize("text", LOSSES)
def test_a_wrong_loss_or_option(tmp_path: Path, text: str) -> None:
    assert inspected(tmp_path, f"{HEAD}{LAST}{text}\n")[1] == LOSSES[text]


def test_read_raises_with_every_problem(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text(f"{HEAD}  - dens: 3\n  - dropout: 2\n{LAST}")
    with pytest.raises(SpecError) as caught:
        read(file)
    assert [problem.place.line for problem in caught.value.problems] == [4, 5]  # type: ignore[attr-defined]
    assert len(str(caught.value).splitlines()) == 2


def test_a_dict_has_paths_and_no_lines() -> None:
    _, problems = inspect({"inputs": {"x": [3]}, "layers": [{"dense": {"unit": 3}}]})
    assert [str(problem) for problem in problems] == [
        "layers[0].dense.unit: unknown field. Did you mean 'units'?"
    ]
    assert problems[0].place.file == "<dict>"
    assert problems[0].as_data()["line"] is None


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        read(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="cannot be read: Is a directory"):
        read(tmp_path)


def test_a_problem_is_one_line(tmp_path: Path) -> None:
    _, problems = inspected(tmp_path, f'{HEAD}  - dense: {{"a\\nb": 1, units: "x\\ny"}}\n{LAST}')
    assert len(problems) == 2
    assert all("\n" not in problem for problem in problems)
