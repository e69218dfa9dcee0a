"""What `check` says is what programs take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import cortex
from cortex_compute.types import TensorType
from cortex_core.check import Report, check
from cortex_core.compiled import compile
from cortex_core.network import Network
from cortex_core.registry import layer
from cortex_core.trace import batch_type
from cortex_core.training.data import open_data, streams_of

EXAMPLES = Path(__file__).parents[2] / "examples"
SPECS = sorted(EXAMPLES.glob("*.yaml"))
PLAIN: dict[str, Any] = {"inputs": {"x": [5]}, "layers": [{"dense": 7}, "tanh", {"dense": 3}]}


def checked(spec: Any, batch: int) -> Report:
    report = check(spec, batch_size=batch)
    if any("there is no data file" in str(problem) for problem in report.problems):
        pytest.skip(str(report.problems[0]))  # its columns tell the shapes
    return report


def taken(network: Network, program: Any) -> int:
    """The bytes of everything that a program holds: states, the arena, its own buffers."""
    states = network.store.states
    shared = {id(buffer) for buffer in states.values()}
    own = [b for b in program._buffers.values() if b is not None and id(b) not in shared]
    return sum(b.nbytes for b in [*states.values(), *own]) + network.store.arena.nbytes


def targets(network: Network, batch: int) -> dict[str, TensorType]:
    """The types of a batch of targets, as the data of an example tell them."""
    if network.training.data is None:
        return {}
    streams = open_data(network.description).streams
    names = streams_of(network.description)[1]
    return {n: batch_type(streams[n].shape, streams[n].dtype, batch) for n in names}


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 32, 100])
@pytest.mark.parametrize("spec", SPECS, ids=lambda p: p.stem)
def test_memory_of_training_is_exact(spec: Path, batch: int) -> None:
    report = checked(spec, batch)
    compiled = compile(spec, "numpy", batch_size=batch)
    types = compiled.types(batch, targets(compiled.network, batch))
    program = compiled.entry(types).program
    assert report.memory is not None
    assert report.memory.arena == program.plan.arena == compiled.network.store.arena.nbytes
    assert report.memory.total == taken(compiled.network, program)


@pytest.mark.parametrize("spec", [*SPECS, PLAIN], ids=lambda p: getattr(p, "stem", "plain"))
def test_memory_of_prediction_is_exact(spec: Any) -> None:
    report = checked(spec, 16)
    compiled = compile(spec, "numpy", batch_size=16, purpose="predict")
    program = compiled.entry(compiled.types(16)).program
    assert report.memory is not None
    assert report.memory.predict_arena == program.plan.arena
    assert report.memory.predict_total == taken(compiled.network, program)


def test_targets_come_in_the_batches_of_states_that_are_carried() -> None:
    spec = {
        "inputs": {"symbols": "auto"},
        "layers": [
            {"embedding": {"tokens": 10, "units": 4}},
            {"lstm": {"units": 4, "return": "sequence", "stateful": True}},
            {"dense": {"units": 10, "id": "said"}},
        ],
        "loss": {"softmax_cross_entropy": {"of": "said", "target": "copied"}},
        "train": {"data": "copy", "batch_size": 8},
    }
    assert check(spec).problems == ()


def test_the_batch_size_is_the_descriptions_by_default() -> None:
    assert check(EXAMPLES / "digits.yaml").batch_size == 32
    assert check(PLAIN).batch_size == 64


def test_memory_grows_with_the_batch_and_nothing_else_does() -> None:
    small, large = (check(EXAMPLES / "mlp.yaml", batch_size=n).memory for n in (64, 128))
    assert small is not None
    assert large is not None
    assert large.activations > 1.8 * small.activations
    assert (large.parameters, large.moments) == (small.parameters, small.moments)


def test_no_memory_is_taken_for_a_network_that_would_not_fit() -> None:
    report = check({"inputs": {"x": [1_000_000]}, "layers": [{"dense": 1_000_000_000}]})
    assert report.memory is not None
    assert report.memory.parameters == 4 * (10**15 + 10**9)


DIGITS: dict[str, Any] = {
    "inputs": {"image": [8, 8, 1]},
    "layers": ["flatten", {"dense": {"units": 10, "id": "digit"}}],
    "loss": {"softmax_cross_entropy": {"of": "digit", "target": "label"}},
    "train": {"data": "digits"},
}


def problems(**changes: Any) -> list[str]:
    return [str(p) for p in check({**DIGITS, **changes}).problems]


def test_good() -> None:
    assert problems() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"inputs": {"image": [8, 8]}},
            "inputs.image: this input is [8, 8]: in data set 'digits' 'image' is [8, 8, 1]",
        ),
        (
            {"inputs": {"picture": [8, 8, 1]}},
            "inputs.picture: 'picture' is no stream of data set 'digits': "
            "it has 'image' (8, 8, 1) float32, 'label' () int64",
        ),
        (
            {"inputs": {"image": {"shape": [8, 8, 1], "dtype": "int64"}}, "layers": [{"embedding": [17, 2]}]},
            None,
        ),
        (
            {"layers": ["flatten", {"dense": {"units": 9, "id": "digit"}}]},
            "loss.softmax_cross_entropy: 'digit' has 9 outputs: 'label' of data set 'digits' has 10 classes; "
            "give 10 outputs, or other data (train.data=..., in evaluate --data)",
        ),
        (
            {
                "layers": ["flatten", {"dense": {"units": 1, "id": "digit"}}],
                "loss": {"binary_cross_entropy": {"of": "digit", "target": "label", "from_logits": True}},
            },
            "loss.binary_cross_entropy: 'label' of data set 'digits' has 10 classes: "
            "expected softmax_cross_entropy with 10 outputs, or two classes",
        ),
        (
            {"train": {"data": "digits", "test": 0.2}},
            "train.test: train.test is 0.2, but the data have a test part: leave it out",
        ),
        (
            {"train": {"data": "digits", "test": "tests"}},
            "train.test: train.test: the data have no part 'tests'; they have train, test",
        ),
        (
            {"train": {"data": "digits", "metrics": {"mae": {"of": "digit", "target": "lable"}}}},
            "train.metrics.mae: 'lable' is no stream of data set 'digits': "
            "it has 'image' (8, 8, 1) float32, 'label' () int64. Did you mean 'label'?",
        ),
    ],
)
def test_data_that_does_not_fit(changes: dict[str, Any], expected: str | None) -> None:
    found = problems(**changes)
    assert found if expected is None else found == [expected]


def test_a_loss_that_cannot_be_computed() -> None:
    (found,) = problems(loss={"mse": {"of": "digit", "target": "label"}})
    assert found.startswith("loss.mse: 'digit' is (10,), 'label' is () int64: ")


def test_two_classes_are_what_one_output_can_tell() -> None:
    changes = {
        "inputs": {"features": [30]},
        "layers": [{"dense": {"units": 1, "id": "y"}}],
        "loss": {"binary_cross_entropy": {"of": "y", "target": "label", "from_logits": True}},
        "train": {"data": "breast_cancer"},
    }
    assert problems(**changes) == []


def test_an_axis_of_any_length() -> None:
    report = check({"inputs": {"x": [None, 3]}, "layers": [{"dense": 4}, "flatten"]})
    assert [row.output for row in report.layers] == [(None, 4), (None,)]
    assert any("any length" in note for note in report.notes)


def test_a_frozen_layer_takes_no_gradients_and_no_moments() -> None:
    frozen = {"dense": {"units": 10, "id": "digit", "trainable": False}}
    body = {"dense": {"units": 20, "id": "body"}}
    report = check({**DIGITS, "layers": ["flatten", body, frozen]})
    assert report.memory is not None
    assert report.memory.gradients == 4 * (64 * 20 + 20)
    network = cortex.network({**DIGITS, "layers": ["flatten", body, frozen]})
    assert "(frozen)" in network.summary()
    assert network.summary().endswith("1,510 parameters, 210 of them frozen")


def test_a_backend_that_is_absent() -> None:
    with pytest.raises(cortex.BackendError, match="unknown backend 'nix'"):
        check(PLAIN, backend="nix")


@pytest.mark.parametrize(
    ("option", "column", "hint"),
    [
        ("early_stopping: {monitor: val_loss}", 19, "'validation_loss'"),
        ("schedule: {reduce_on_plateau: {monitor: acuracy}}", 13, "'accuracy'"),
    ],
)
def test_an_option_that_watches_what_is_not_measured(
    tmp_path: Path, option: str, column: int, hint: str
) -> None:
    text = (
        "inputs: {features: [4]}\nlayers: [{dense: {units: 3, id: kind}}]\n"
        f"loss: {{softmax_cross_entropy: {{of: kind, target: label}}}}\ntrain:\n  data: iris\n  {option}\n"
    )
    (tmp_path / "net.yaml").write_text(text)
    (problem,) = check(tmp_path / "net.yaml").problems
    assert (problem.place.line, problem.place.column) == (6, column)
    assert "is not measured" in str(problem)
    assert hint in problem.hint


def test_a_layer_that_returns_nothing_is_named(own_registry: None) -> None:
    @layer("forgetful")
    class Forgetful:
        def forward(self, p: Any, x: Any) -> Any:
            x * 2

    (problem,) = check({"inputs": {"x": [4]}, "layers": ["forgetful"]}).problems
    assert str(problem).startswith("layers[0].forgetful: ")
    assert "the forward of forgetful gives nothing: it does not return" in str(problem)


def test_an_embedding_with_fewer_tokens_than_the_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "abc.txt").write_text("abcdefgh ijkl. " * 40)
    spec = tmp_path / "net.yaml"
    spec.write_text(
        "inputs: {text: auto}\n"
        "layers:\n"
        "  - embedding: {tokens: 5, units: 4, id: letters}\n"
        "  - dense: {units: 20, id: next_one}\n"
        "loss: {softmax_cross_entropy: {of: next_one, target: next}}\n"
        "train: {data: {text: {file: abc.txt, window: 8}}}\n"
    )
    (problem,) = check(spec).problems
    assert problem.place.line == 3
    assert problem.found == "'letters' has 5 tokens"
    assert re.fullmatch(r"'text' of the data has 1[4-9]", problem.expected)  # and what is special
