"""What a file says of training: penalties, constraints, losses, an optimiser that goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cortex
from cortex_core.exchange.keras.convert import Converted, convert
from cortex_core.exchange.keras.imported import load
from cortex_core.exchange.keras.methods import train_of
from cortex_core.exchange.keras.model import File, Optimizer
from cortex_core.exchange.keras.reader import read as read_file
from cortex_core.exchange.keras.training import train_section
from cortex_core.registry import OPTIMIZERS as REGISTERED
from cortex_core.spec import read
from tests.core.test_optimizers import stepper

pytestmark = pytest.mark.peers
keras = pytest.importorskip("keras")

FORMATS = ("keras", "h5")
"""In this order: when Keras has written an HDF5 file, it has forgotten which optimizer it was given."""


def saved(model: Any, folder: Path, kind: str) -> tuple[File, Converted]:
    path = folder / f"model.{kind}"
    model.save(path)
    file = read_file(path)
    return file, convert(file)


def model_of(last: int, activation: str | None) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((6, 3)),
            layers.Conv1D(4, 3, padding="same", activation="tanh"),
            layers.LayerNormalization(),
            layers.LSTM(5),
            layers.Dense(4, activation="tanh"),
            layers.Dense(last, activation=activation),
        ]
    )


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9, "nesterov": True, "learning_rate": 0.05},
    "Adam": {"amsgrad": True, "epsilon": 1e-7, "learning_rate": 0.01},
    "AdamW": {"weight_decay": 0.1, "learning_rate": 0.01},
    "Adagrad": {"learning_rate": 0.05},
    "Adadelta": {"learning_rate": 0.5},
    "Lion": {"learning_rate": 0.001},
    "RMSprop": {"momentum": 0.5, "centered": True, "learning_rate": 0.002},
    "Adamax": {"learning_rate": 0.01},
    "Nadam": {"learning_rate": 0.01, "beta_1": 0.8},
}
PLAIN: dict[str, dict[str, Any]] = {"SGD": {"learning_rate": 0.05}, "Adam": {"use_ema": True}}
"""Without moments; and with what stands before them."""


def model_of_all_sorts() -> Any:
    """Weights that are not trained, between others: statistics, a frozen layer, both ways, nested models."""
    layers = keras.layers
    steps = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(3, use_bias=False)]
    )
    inner = keras.Sequential(
        [keras.Input((4,)), layers.BatchNormalization(), layers.Dense(4, trainable=False, name="frozen")]
    )
    return keras.Sequential(
        [
            keras.Input((6, 3)),
            layers.TimeDistributed(steps),
            layers.BatchNormalization(),
            layers.Bidirectional(layers.LSTM(2)),
            inner,
            layers.Dense(4, activation="tanh", trainable=False, name="frozen"),
            layers.Dense(1),
        ]
    )


@pytest.mark.parametrize(("name", "options"), [*OPTIMIZERS.items(), *PLAIN.items()])
def test_training_goes_on_as_in_keras(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Three steps there, the file, and three more steps in both."""
    keras.utils.set_random_seed(1)
    _goes_on(model_of(1, None), name, options, tmp_path)


def test_training_of_all_sorts_goes_on_as_in_keras(tmp_path: Path) -> None:
    """Each weight by itself: predictions also depend on statistics, which follow the batches otherwise."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    model = model_of_all_sorts()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x, y = rng.normal(size=(6, 8, 6, 3)).astype("float32"), rng.normal(size=(6, 8, 1)).astype("float32")
    for step in range(3):
        model.train_on_batch(x[step], y[step])
    found = {}
    for kind in FORMATS:
        model.save(tmp_path / f"model.{kind}")
        made = load(tmp_path / f"model.{kind}")
        assert made.notes == []
        found[kind] = made.network
    before = {name: array.copy() for name, array in found["keras"].parameters.items()}
    for step in (3, 4, 5):
        model.train_on_batch(x[step], y[step])
    model.save(tmp_path / "after.keras")
    after = load(tmp_path / "after.keras").network.parameters
    for network in found.values():
        program = cortex.compile(network, batch_size=8)
        for step in (3, 4, 5):
            program.run({network.description.inputs[0].name: x[step], "target": y[step]})
        for name, right in after.items():
            moved = np.abs(right - before[name]).max()
            assert (moved > 0) == ("frozen" not in name), name
            assert np.abs(network.parameters[name] - right).max() <= 0.02 * moved, name


def _goes_on(model: Any, name: str, options: dict[str, Any], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    model.compile(getattr(keras.optimizers, name)(**options), "mse")
    x, y = rng.normal(size=(6, 8, 6, 3)).astype("float32"), rng.normal(size=(6, 8, 1)).astype("float32")
    for step in range(3):
        model.train_on_batch(x[step], y[step])
    found = {}
    for kind in FORMATS:
        model.save(tmp_path / f"model.{kind}")
        made = load(tmp_path / f"model.{kind}")
        assert [note for note in made.notes if "moving average" not in note] == []
        found[kind] = made.network
        assert (made.network.step, made.network.goes_on) == (3, name.lower())
    before = model.predict(x[0], verbose=0)
    for step in (3, 4, 5):
        model.train_on_batch(x[step], y[step])
    after = model.predict(x[0], verbose=0)
    moved = np.abs(after - before).max()
    for network in found.values():
        program = cortex.compile(network, batch_size=8)
        for step in (3, 4, 5):
            program.run({network.description.inputs[0].name: x[step], "target": y[step]})
        assert np.abs(np.asarray(network.predict(x[0])) - after).max() < 0.01 * moved


@pytest.fixture
def float64() -> Iterator[None]:
    """What Keras computes on JAX in float64, as otherwise it does not."""
    import jax

    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("size", [1, 1e-4, 1e-7])
@pytest.mark.parametrize(("name", "options"), [*OPTIMIZERS.items(), ("RMSprop", {}), ("Adagrad", {})])
def test_twenty_steps_are_those_of_keras(name: str, options: dict[str, Any], size: float) -> None:
    """Also where gradients are as small as epsilon, of which it then matters where it stands."""
    rate = 2**-5  # which is the same in float32
    theirs = getattr(keras.optimizers, name)(**options | {"learning_rate": rate})
    config = json.loads(json.dumps(theirs.get_config(), default=float))
    ((kind, fields),) = train_of(Optimizer(name, config), [])["optimizer"].items()
    start = np.linspace(-1.5, 2, 7)
    w = keras.Variable(start, dtype="float64")
    theirs.build([w])
    step = stepper(REGISTERED[kind](**fields), rate, start)
    for k in range(20):
        at = np.asarray(w)
        g = size * (np.sin(3 * at + 0.7 * k) + 0.3 * at)
        theirs.apply([keras.ops.convert_to_tensor(g, dtype="float64")], [w])
        ours = step(g)
    moved = np.abs(np.asarray(w) - start).max()
    np.testing.assert_allclose(ours, np.asarray(w), rtol=0, atol=1e-11 * moved)


SCHEDULES = keras.optimizers.schedules


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (SCHEDULES.ExponentialDecay(0.1, 100, 0.5), {"exponential": 0.5 ** (10 / 100)}),
        (SCHEDULES.ExponentialDecay(0.1, 100, 0.5, staircase=True), {"step": {"every": 10, "factor": 0.5}}),
        (
            SCHEDULES.PiecewiseConstantDecay([20, 50], [0.1, 0.05, 0.025]),
            {"steps": {"at": [2.05, 5.05], "factor": 0.5}},  # Keras has the new rate one step later
        ),
        (SCHEDULES.CosineDecay(0.1, 100, alpha=0.25), {"cosine": {"floor": 0.25}}),
    ],
)
def test_schedules_that_notes_name_are_like_those_of_keras(theirs: Any, ours: Any) -> None:
    """What `schedules.like` says with 10 steps an epoch, over 100 steps."""
    train = {"optimizer": {"sgd": {"learning_rate": 0.1}}, "schedule": ours}
    layers = [{"dense": {"units": 1, "id": "d"}}]
    schedule = read({"cortex": 1, "inputs": {"x": [1]}, "layers": layers, "train": train}).train.schedule
    found = [schedule.rate(0.1, step, 10, 100) for step in range(100)]
    np.testing.assert_allclose(found, [float(theirs(step)) for step in range(100)], rtol=1e-5)


def test_without_the_state_it_would_not_be_keras_training(tmp_path: Path) -> None:
    """The test above can fail: steps of Adam begin anew are others."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(0)
    model = model_of(1, None)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x, y = rng.normal(size=(4, 8, 6, 3)).astype("float32"), rng.normal(size=(4, 8, 1)).astype("float32")
    for step in range(3):
        model.train_on_batch(x[step], y[step])
    model.save(tmp_path / "model.keras")
    network = load(tmp_path / "model.keras").network
    network.restart(0)
    before = model.predict(x[0], verbose=0)
    model.train_on_batch(x[3], y[3])
    after = model.predict(x[0], verbose=0)
    cortex.compile(network, batch_size=8).run({network.description.inputs[0].name: x[3], "target": y[3]})
    apart = np.abs(np.asarray(network.predict(x[0])) - after).max()
    assert apart > 0.1 * np.abs(after - before).max()


LOSSES: list[tuple[Any, str | None, dict[str, Any]]] = [
    ("categorical_crossentropy", "softmax", {"softmax_cross_entropy": {}}),
    (
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        None,
        {"softmax_cross_entropy": {}},
    ),
    (
        keras.losses.CategoricalCrossentropy(label_smoothing=0.1),
        "softmax",
        {"softmax_cross_entropy": {"label_smoothing": 0.1}},
    ),
    ("binary_crossentropy", "sigmoid", {"binary_cross_entropy": {}}),
    (
        keras.losses.BinaryCrossentropy(from_logits=True),
        None,
        {"binary_cross_entropy": {"from_logits": True}},
    ),
    ("mae", None, {"mae": {}}),
    (keras.losses.Huber(), None, {"huber": {"delta": 1.0}}),  # Keras does not write another
    ("kl_divergence", "softmax", {"kl_divergence": {}}),
    ("hinge", "tanh", {"hinge": {}}),
]


@pytest.mark.parametrize(("loss", "activation", "wanted"), LOSSES)
def test_losses(loss: Any, activation: str | None, wanted: dict[str, Any], tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, activation=activation, name="out")])
    model.compile("adam", loss)
    for kind in FORMATS:
        found = train_section(*saved(model, tmp_path, kind))
        assert found is not None
        ((name, fields),) = found[0][0].items()
        assert {name: {k: v for k, v in fields.items() if k not in ("of", "target")}} == wanted
        assert (fields["of"], fields["target"]) == ("out", "target")


@pytest.mark.parametrize("loss", ["categorical_crossentropy", "binary_crossentropy"])
def test_the_loss_of_each_step_takes_what_the_layer_of_each_step_ends_in(loss: str, tmp_path: Path) -> None:
    """The usual end of a model that writes sequences; its predictions stay those of Keras."""
    keras.utils.set_random_seed(1)
    activation = "softmax" if loss.startswith("cat") else "sigmoid"
    ending = keras.layers.Dense(3, activation=activation)
    layers = [keras.Input((4, 3)), keras.layers.GRU(5, return_sequences=True)]
    model = keras.Sequential([*layers, keras.layers.TimeDistributed(ending, name="out")])
    model.compile("adam", loss)
    x = np.random.default_rng(0).normal(size=(6, 4, 3)).astype("float32")
    y = np.eye(3, dtype="float32")[np.random.default_rng(1).integers(3, size=(6, 4))]
    expected = float(model.evaluate(x, y, verbose=0))
    for kind in FORMATS:
        model.save(tmp_path / f"model.{kind}")
        made = load(tmp_path / f"model.{kind}")
        assert made.notes == []
        np.testing.assert_allclose(made.network.predict(x), model.predict(x, verbose=0), rtol=1e-5)
        inputs = {made.network.description.inputs[0].name: x, "target": y}
        found = cortex.compile(made.network, batch_size=6).run(inputs)["loss"]
        assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("loss", "units", "activation", "metrics", "wanted"),
    [
        ("mse", 2, None, ["mae", "mse"], ["mae", "mse"]),
        ("mse", 2, None, [keras.metrics.MeanAbsoluteError(name="mine")], ["mae"]),
        ("mse", 2, None, [keras.metrics.RootMeanSquaredError(name="mse")], None),
        ("categorical_crossentropy", 7, "softmax", ["top_k_categorical_accuracy"], ["top_k"]),
        ("categorical_crossentropy", 7, "softmax", [keras.metrics.TopKCategoricalAccuracy(3)], ["top_k"]),
        ("binary_crossentropy", 1, "sigmoid", ["Precision", keras.metrics.Recall()], ["precision", "recall"]),
        ("binary_crossentropy", 1, "sigmoid", [keras.metrics.Recall(thresholds=0.7)], None),
        ("mae", 2, None, [keras.metrics.MeanSquaredError()], ["mse"]),
        ("binary_crossentropy", 1, "sigmoid", ["accuracy"], ["accuracy"]),
        ("binary_crossentropy", 1, "sigmoid", [keras.metrics.BinaryAccuracy()], ["accuracy"]),
        ("binary_crossentropy", 1, "sigmoid", [keras.metrics.BinaryAccuracy(threshold=0.9)], None),
        ("binary_crossentropy", 3, "sigmoid", ["accuracy"], None),
        (keras.losses.BinaryCrossentropy(from_logits=True), 1, None, ["accuracy"], None),
        ("mse", 1, None, ["accuracy"], None),
    ],
)
def test_metrics_are_those_of_keras_or_none(
    loss: Any, units: int, activation: str | None, metrics: Any, wanted: list[str] | None, tmp_path: Path
) -> None:
    """What they measure of the same predictions is what Keras measures."""
    keras.utils.set_random_seed(1)
    layers = [keras.Input((3,)), keras.layers.Dense(units, activation=activation, name="out")]
    model = keras.Sequential(layers)
    model.compile("adam", loss, metrics=metrics)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 3)).astype("float32"), rng.integers(2, size=(9, units)).astype("float32")
    measured = [float(found) for found in model.evaluate(x, y, verbose=0)[1:]]
    for kind in FORMATS:
        model.save(tmp_path / f"model.{kind}")
        made = load(tmp_path / f"model.{kind}")
        found = [metric.kind for metric in made.network.description.train.metrics]
        assert found == (wanted or [])
        assert any("metrics are not imported" in note for note in made.notes) == (wanted is None)
        if wanted:
            given = {made.network.description.inputs[0].name: x, "target": y}
            results = cortex.evaluate(made.network, given)
            ours = [results[metric.name] for metric in made.network.description.train.metrics]
            np.testing.assert_allclose(ours, measured, rtol=1e-5)


@pytest.mark.parametrize("metrics", [{"b": ["mse"], "a": ["mae", "mse"]}, [["mae", "mse"], "mse"]])
def test_metrics_of_several_outputs_are_those_of_keras(metrics: Any, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,), name="x")
    model = keras.Model(inputs, [keras.layers.Dense(2, name=name)(inputs) for name in ("a", "b")])
    model.compile("sgd", ["mse", "mae"], metrics=metrics)
    x, a, b = np.random.default_rng(0).normal(size=(3, 9, 3)).astype("float32")
    a, b = a[:, :2], b[:, 1:]
    measured = model.evaluate(x, [a, b], verbose=0, return_dict=True)
    wanted = [measured[name] for name in ("a_mae", "a_mse", "b_mse")]
    for kind in FORMATS:
        model.save(tmp_path / f"model.{kind}")
        made = load(tmp_path / f"model.{kind}")
        assert made.notes == []
        results = cortex.evaluate(made.network, {"x": x, "a_target": a, "b_target": b})
        ours = [results[metric.name] for metric in made.network.training.metrics]
        np.testing.assert_allclose(ours, wanted, rtol=1e-5)


def test_losses_of_several_outputs(tmp_path: Path) -> None:
    x = keras.Input((3,))
    outputs = [keras.layers.Dense(2, name=name)(x) for name in ("a", "b")]
    model = keras.Model(x, outputs)
    model.compile("sgd", {"a": "mse", "b": "cosine_similarity"}, loss_weights={"a": 0.5, "b": 1.0})
    file, converted = saved(model, tmp_path, "keras")
    found = train_section(file, converted)
    assert found is not None
    assert found[0] == [{"mse": {"of": "a", "target": "a_target", "weight": 0.5}}]
    assert any("cosine_similarity" in note for note in converted.notes)


def test_penalties_and_constraints(tmp_path: Path) -> None:
    layers, regularizers, constraints = keras.layers, keras.regularizers, keras.constraints
    model = keras.Sequential(
        [
            keras.Input((6, 3)),
            layers.Conv1D(
                4,
                3,
                kernel_regularizer=regularizers.L2(0.02),
                bias_regularizer=regularizers.L1L2(0.01, 0.03),
                kernel_constraint=constraints.MaxNorm(1.5, axis=[0, 1]),
                name="conv",
            ),
            layers.LSTM(4, recurrent_regularizer="l1", kernel_constraint=constraints.UnitNorm(), name="lstm"),
            layers.BatchNormalization(gamma_regularizer="l2", beta_constraint="non_neg", name="norm"),
            layers.Dense(
                2,
                kernel_regularizer=regularizers.OrthogonalRegularizer(),
                kernel_constraint=constraints.MaxNorm(1.5, axis=1),
                bias_constraint=constraints.MaxNorm(2.0),
                name="dense",
            ),
        ]
    )
    for kind in FORMATS:
        _, converted = saved(model, tmp_path, kind)
        told = {f["id"]: f for entry in converted.builder.layers for f in entry.values()}
        assert told["conv"]["penalty"] == {"kernel": {"l2": 0.02}, "bias": {"l1": 0.01, "l2": 0.03}}
        assert told["conv"]["constraint"] == {"kernel": {"max_norm": 1.5}}
        assert told["lstm"]["penalty"] == {"recurrent_kernel": {"l1": 0.01}}
        assert told["lstm"]["constraint"] == {"kernel": "unit_norm"}
        assert told["norm"]["penalty"] == {"scale": {"l2": 0.01}}
        assert told["norm"]["constraint"] == {"shift": "non_negative"}
        assert "penalty" not in told["dense"]
        assert told["dense"]["constraint"] == {"bias": {"max_norm": 2.0}}
        assert len([note for note in converted.notes if note.startswith("dense: ")]) == 2
        read(converted.description("it"))
