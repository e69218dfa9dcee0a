"""What a file says of training changes no prediction: what cannot be read or said is told, and left out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cortex_core.exchange.keras.imported import Imported, load
from cortex_core.exchange.keras.methods import train_of
from cortex_core.exchange.keras.model import Optimizer
from tests.exchange.keras.handmade import dense, numbers, save_named, weights_of
from tests.keras_file import LAYERS, forward, write_model

CROSS = "sparse_categorical_crossentropy"
CROSS_ACCURACY = "sparse_categorical_accuracy"


def imported(folder: Path, training: Any, layers: Any = LAYERS) -> Imported:
    """A model of these layers that was compiled so; what it predicts does not depend on that."""
    path = folder / "model.h5"
    write_model(path, layers, training=training)
    with h5py.File(path, "r+") as file:  # as Keras writes it, whose JSON knows NaN and infinity
        file.attrs["training_config"] = json.dumps(training)
    found = load(path)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_allclose(found.network.predict(x), forward(x)[1], rtol=1e-5)
    return found


def compiled(**said: Any) -> dict[str, Any]:
    adam = {"class_name": "Adam", "config": {"learning_rate": 0.01}}
    return {"loss": CROSS, "optimizer_config": adam} | said


def optimizer(kind: str, **config: Any) -> dict[str, Any]:
    return compiled(optimizer_config={"class_name": kind, "config": config})


STRANGE: tuple[Any, ...] = ("x", [], [[]], {}, {"a": 1}, True, -1, 0, float("nan"), float("inf"), 10**400)
DEEP: Any = [[[["x"]]], {"out": [None, {"class_name": []}]}]
PLACES = ("loss", "loss_weights", "metrics", "weighted_metrics", "optimizer_config", "sample_weight_mode")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("said", [*STRANGE, DEEP], ids=lambda x: repr(x)[:20])
def test_whatever_stands_there_the_model_predicts(place: str, said: Any, tmp_path: Path) -> None:
    imported(tmp_path, compiled(**{place: said}))


FIELDS = ("learning_rate", "decay", "clipvalue", "clipnorm", "global_clipnorm", "weight_decay", "epsilon")
FIELDS += ("beta_1", "momentum", "rho", "amsgrad", "nesterov", "schedule_decay", "use_ema")


@pytest.mark.parametrize("kind", ["Adam", "SGD", "RMSprop", "Nadam"])
@pytest.mark.parametrize("said", STRANGE, ids=lambda x: repr(x)[:20])
def test_whatever_an_optimizer_is_given_the_model_predicts(kind: str, said: Any, tmp_path: Path) -> None:
    imported(tmp_path, optimizer(kind, **dict.fromkeys(FIELDS, said)))


@pytest.mark.parametrize("said", STRANGE, ids=lambda x: repr(x)[:20])
def test_whatever_a_loss_is_given_the_model_predicts(said: Any, tmp_path: Path) -> None:
    options = dict.fromkeys(("delta", "from_logits", "label_smoothing", "axis", "reduction"), said)
    for kind in ("Huber", "SparseCategoricalCrossentropy", "CategoricalCrossentropy"):
        imported(tmp_path, compiled(loss={"class_name": kind, "config": options}))


@pytest.mark.parametrize("said", STRANGE, ids=lambda x: repr(x)[:20])
def test_whatever_a_penalty_is_the_model_predicts(said: Any, tmp_path: Path) -> None:
    rules = (
        {"class_name": "L2", "config": {"l2": said}},
        {"class_name": "MaxNorm", "config": {"axis": said}},
    )
    bound = {"class_name": "MaxNorm", "config": {"max_value": said}}
    for regularizer, constraint in ((said, said), rules, (None, bound)):
        config = {**LAYERS[1]["config"], "kernel_regularizer": regularizer, "bias_constraint": constraint}
        imported(tmp_path, {}, [LAYERS[0], {"class_name": "Dense", "config": config}, LAYERS[2]])


def loss(kind: str, **config: Any) -> dict[str, Any]:
    return compiled(loss={"class_name": kind, "config": config})


TOLD: list[tuple[dict[str, Any], str]] = [
    (compiled(loss_weights=["x"]), "the weight of the loss of out is not imported: it is 'x'"),
    (compiled(loss_weights=[1, 2]), "the weight of the loss is not imported: it is given for 2 outputs"),
    (compiled(loss={"other": "mse"}), "the loss of 'other' is not imported: no output has this name"),
    (compiled(metrics=["accuracy"]), ""),
    (compiled(metrics=["accuracy"], loss="mse"), "metrics are not imported (accuracy)"),
    (compiled(metrics=["acc", "Accuracy"]), "metrics are not imported (Accuracy)"),
    (
        compiled(
            metrics=[[{"class_name": "MeanMetricWrapper", "config": {"name": "acc", "fn": CROSS_ACCURACY}}]]
        ),
        "",
    ),
    (compiled(metrics=[{"class_name": "AUC", "config": {"name": "acc"}}]), "metrics are not imported (AUC)"),
    (compiled(metrics=["sparse_top_k_categorical_accuracy"]), "(sparse_top_k_categorical_accuracy)"),  # of 2
    (compiled(weighted_metrics={"out": ["AUC"]}), "(AUC); train.metrics may name those of here: accuracy,"),
    (loss("MeanSquaredError", reduction="sum"), "the loss of out: its reduction is 'sum'; here the mean"),
    (loss("MeanSquaredError", reduction="none"), "the loss of out: its reduction is 'none'"),
    (loss("CategoricalCrossentropy", axis=1), ""),  # the last one
    (loss("CategoricalCrossentropy", axis=0), "of out is not imported: its axis is 0"),
    (loss("CategoricalCrossentropy", from_logits=True), "it takes logits, and gets what ends in softmax"),
    (loss("CategoricalCrossentropy", label_smoothing="x"), "its label_smoothing is 'x'"),
    (loss("SparseCategoricalCrossentropy", label_smoothing=0.1, ignore_class=-1), ""),
    (loss("Huber", delta=0), "the loss 'Huber' of out is not imported: its delta is 0"),
    (loss("Huber", novelty=3), "the loss 'Huber' of out is not imported: its novelty is 3"),
    (loss("Poisson"), "the loss 'Poisson' of out is not imported: there is none of this name here"),
    (optimizer("SGD", momentum="x"), "the optimizer's momentum is not imported: it is 'x'"),
    (optimizer("SGD", clipvalue=-1.0), "the optimizer's clipvalue is not imported: it is -1.0"),
    (optimizer("SGD", decay=0.1), "decay of the learning rate (0.1 a step) is not imported"),
    (optimizer("SGD", gradient_accumulation_steps=4), "sum of the gradients of 4 batches is not imported"),
    (optimizer("SGD", momentum=2.0), "how it was trained is not all imported: "),
    (optimizer("Ftrl"), "the optimizer 'Ftrl' is not imported: adagrad stands in its place"),
    (optimizer("Mine"), "the optimizer 'Mine' is not imported"),
    (optimizer("LossScaleOptimizer", inner_optimizer=optimizer("Adam")["optimizer_config"]), "scale of the"),
]


@pytest.mark.parametrize(("training", "told"), TOLD, ids=range(len(TOLD)))
def test_what_is_not_as_there_is_told(training: dict[str, Any], told: str, tmp_path: Path) -> None:
    notes = imported(tmp_path, training).notes
    assert len(notes) == bool(told), notes
    assert all(told in note for note in notes)


@pytest.mark.parametrize("metrics", [["acc"], {"out": ["accuracy", "AUC"]}, [["categorical_accuracy"]]])
def test_the_accuracy_of_classes(metrics: Any, tmp_path: Path) -> None:
    """Where the file has an optimizer, and where not."""
    for said in (compiled(metrics=metrics), {"loss": CROSS, "metrics": metrics}):
        train = imported(tmp_path, said).network.training
        assert [metric.kind for metric in train.metrics] == ["accuracy"]


def test_a_mask_that_the_loss_would_see_is_told(tmp_path: Path) -> None:
    """Keras hands it on to the loss; here masked steps count."""
    tokens = {"name": "tokens", "batch_input_shape": [None, 5], "dtype": "int32"}
    words = {"name": "words", "input_dim": 7, "output_dim": 3, "mask_zero": True}
    layers = [("InputLayer", tokens), ("Embedding", words), ("Dense", dense("out", 2)["config"])]
    config = [{"class_name": kind, "config": said} for kind, said in layers]
    groups = {"words": [("words/embeddings:0", numbers(7, 3))], "out": weights_of("out", 3, 2)}
    model = {"class_name": "Sequential", "config": {"name": "it", "layers": config}}
    path = save_named(tmp_path / "m.h5", groups, model, training_config=compiled(loss="mse"))
    assert load(path).notes == ["the loss of out: Keras leaves out masked steps, which count here"]


def two_outputs(folder: Path, training: Any, version: str = "2.9.0") -> Imported:
    """A model with the outputs left and right, compiled so."""
    ends = [["left", 0, 0], ["right", 0, 0]]
    source = {"class_name": "InputLayer", "name": "x", "inbound_nodes": []}
    source["config"] = {"name": "x", "batch_input_shape": [None, 3]}
    layers = [{**dense(n, 2), "name": n, "inbound_nodes": [[["x", 0, 0, {}]]]} for n in ("left", "right")]
    config = {"name": "it", "layers": [source, *layers], "input_layers": [["x", 0, 0]], "output_layers": ends}
    groups = {name: weights_of(name, 3, 2) for name in ("left", "right")}
    model = {"class_name": "Functional", "config": config}
    return load(save_named(folder / "m.h5", groups, model, version, training_config=training))


def test_each_output_has_its_loss_and_weight(tmp_path: Path) -> None:
    """A weight that cannot be read is 1."""
    training = compiled(loss={"left": "mse", "right": "mae"}, loss_weights={"left": 0.25, "right": "x"})
    found = two_outputs(tmp_path, training)
    losses = found.network.description.losses
    assert [(x.kind, x.target, x.weight) for x in losses] == [
        ("mse", "left_target", 0.25),
        ("mae", "right_target", 1.0),
    ]
    assert found.notes == ["the weight of the loss of right is not imported: it is 'x'"]


LEFT, RIGHT = ("mae", "left", "left_target"), ("mse", "right", "right_target")
ALSO_RIGHT = ("mae", "right", "right_target")


@pytest.mark.parametrize(
    ("version", "metrics", "wanted", "left"),
    [
        ("2.9.0", {"left": ["mae"], "right": "mse"}, [LEFT, RIGHT], ""),
        ("2.9.0", [["mae", "AUC"], ["mse"]], [LEFT, RIGHT], "AUC of left"),
        ("2.9.0", ["mae", "acc"], [LEFT, ALSO_RIGHT], "acc of left, acc of right"),  # of both
        ("2.9.0", [[], [{"class_name": "MeanSquaredError", "config": {"name": "mine"}}]], [RIGHT], ""),
        ("3.3.0", ["mae", "mse"], [LEFT, RIGHT], ""),  # one for each
        ("3.3.0", [None, ["mse", "mae", "AUC"]], [RIGHT, ALSO_RIGHT], "AUC of right"),
    ],
)
def test_each_output_has_its_metrics(
    version: str, metrics: Any, wanted: list[tuple[str, str, str]], left: str, tmp_path: Path
) -> None:
    found = two_outputs(tmp_path, compiled(loss="mse", metrics=metrics), version)
    made = found.network.training.metrics
    assert [(x.kind, x.of, x.target) for x in made] == wanted
    told = f"metrics are not imported ({left}); train.metrics may name those of here: accuracy, "
    assert all(note.startswith(told) for note in found.notes)
    assert len(found.notes) == bool(left)


def test_metrics_of_an_output_that_is_not_there_are_told(tmp_path: Path) -> None:
    notes = two_outputs(tmp_path, compiled(loss="mse", metrics={"other": ["mae"]})).notes
    assert notes == ["the list of metrics of 'other' is not imported: no output has this name"]


def test_a_wrong_optimizer_leaves_the_loss(tmp_path: Path) -> None:
    description = imported(tmp_path, optimizer("SGD", momentum=2.0)).network.description
    assert [node.kind for node in description.losses] == ["softmax_cross_entropy"]
    assert description.train is None


USUAL = {"learning_rate": 0.001, "epsilon": 1e-7}
INSIDE = {"epsilon_inside": True}


@pytest.mark.parametrize(
    ("kind", "config", "wanted"),
    [
        # A file may have no more than the name: https://keras.io/api/optimizers has the defaults.
        ("sgd", {}, {"sgd": {"learning_rate": 0.01}}),
        ("Adam", {}, {"adam": {**USUAL, "epsilon_hat": True}}),
        ("AdamW", {}, {"adamw": {**USUAL, "weight_decay": 0.004, "epsilon_hat": True}}),
        ("adagrad", {}, {"adagrad": {**USUAL, "initial_accumulator_value": 0.1, **INSIDE}}),
        ("Adagrad", {"lr": 0.1, "epsilon": 1e-7}, {"adagrad": {"learning_rate": 0.1, "epsilon": 1e-7}}),
        ("Lion", {}, {"lion": {"learning_rate": 0.001}}),
        # The epsilon of old ones stands beside the root where there is no momentum.
        ("RMSprop", {"lr": 0.1, "epsilon": 1e-4}, {"rmsprop": {"learning_rate": 0.1, "epsilon": 1e-4}}),
        ("RMSprop", {"decay": 0, "momentum": 0.5}, {"rmsprop": {**USUAL, "momentum": 0.5, **INSIDE}}),
        ("RMSprop", {}, {"rmsprop": {**USUAL, **INSIDE}}),
        # What tf.keras calls the decay of Nadam is that of its momentum.
        ("Nadam", {"decay": 0.004}, {"nadam": USUAL}),
        ("Nadam", {}, {"nadam": {**USUAL, "momentum_decay": 1.0}}),
        ("Custom>Adamax", {"learning_rate": 0.5}, {"adamax": {"learning_rate": 0.5, "epsilon": 1e-7}}),
        (
            "SGD",
            {"learning_rate": {"class_name": "PiecewiseConstantDecay", "config": {"values": [0.3, 0.1]}}},
            {"sgd": {"learning_rate": 0.3}},
        ),
        ("Adafactor", {"learning_rate": 0.2}, {"adam": {"learning_rate": 0.2}}),
    ],
)
def test_the_optimizer(kind: str, config: Mapping[str, Any], wanted: Any) -> None:
    assert train_of(Optimizer(kind, config), []) == {"optimizer": wanted}


AT_ALL_STEPS = "is not imported: the rate is 0.1 at all steps here; "
LIKE = f"{AT_ALL_STEPS}with n steps an epoch, schedule: "
NONE = f"{AT_ALL_STEPS}train.schedule has none like it, and may be one of constant, step, steps, "


@pytest.mark.parametrize(
    ("kind", "config", "told"),
    [
        ("ExponentialDecay", {"decay_steps": 100, "decay_rate": 0.5}, LIKE + "{exponential: 0.5^(n / 100)}"),
        (
            "ExponentialDecay",
            {"decay_steps": 100, "decay_rate": 0.5, "staircase": True},
            LIKE + "{step: {every: 100 / n, factor: 0.5}}",
        ),
        (
            "PiecewiseConstantDecay",
            {"boundaries": [20, 50], "values": [0.1, 0.05, 0.025]},
            LIKE + "{steps: {at: [20 / n, 50 / n], factor: 0.5}}",
        ),
        ("PiecewiseConstantDecay", {"boundaries": [2, 5], "values": [0.1, 0.05, 0.01]}, NONE),
        (
            "CosineDecay",
            {"decay_steps": 80, "alpha": 0.25, "initial_learning_rate": 0.1},
            LIKE + "{cosine: {floor: 0.25}} over epochs: 80 / n",
        ),
        (
            "CosineDecay",
            {"decay_steps": 80, "initial_learning_rate": 0.0, "warmup_target": 0.1, "warmup_steps": 20},
            LIKE + "{cosine: {floor: 0, warm_up: 20 / n}} over epochs: 100 / n",
        ),
        ("CosineDecay", {"decay_steps": "x"}, NONE),
        ("PolynomialDecay", {"decay_steps": 10}, NONE),
        ("Package>Mine", {}, NONE),
    ],
)
def test_the_note_of_a_schedule_says_what_to_write(kind: str, config: Any, told: str) -> None:
    notes: list[str] = []
    said = {"class_name": kind, "config": {"initial_learning_rate": 0.1} | config}
    train = train_of(Optimizer("SGD", {"learning_rate": said}), notes)
    assert train == {"optimizer": {"sgd": {"learning_rate": 0.1}}}
    assert [note.startswith(f"the optimizer's schedule {kind!r} {told}") for note in notes] == [True]
