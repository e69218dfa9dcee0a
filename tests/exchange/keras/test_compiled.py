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
        compiled(metrics=[[{"class_name": "MeanMetricWrapper", "config": {"name": "acc", "fn": "x"}}]]),
        "",
    ),
    (compiled(weighted_metrics={"out": ["AUC"]}), "metrics are not imported (AUC)"),
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


def test_each_output_has_its_loss_and_weight(tmp_path: Path) -> None:
    """A weight that cannot be read is 1."""
    ends = [["left", 0, 0], ["right", 0, 0]]
    source = {"class_name": "InputLayer", "name": "x", "inbound_nodes": []}
    source["config"] = {"name": "x", "batch_input_shape": [None, 3]}
    layers = [{**dense(n, 2), "name": n, "inbound_nodes": [[["x", 0, 0, {}]]]} for n in ("left", "right")]
    config = {"name": "it", "layers": [source, *layers], "input_layers": [["x", 0, 0]], "output_layers": ends}
    groups = {name: weights_of(name, 3, 2) for name in ("left", "right")}
    training = compiled(loss={"left": "mse", "right": "mae"}, loss_weights={"left": 0.25, "right": "x"})
    model = {"class_name": "Model", "config": config}
    found = load(save_named(tmp_path / "m.h5", groups, model, training_config=training))
    losses = found.network.description.losses
    assert [(x.kind, x.target, x.weight) for x in losses] == [
        ("mse", "left_target", 0.25),
        ("mae", "right_target", 1.0),
    ]
    assert found.notes == ["the weight of the loss of right is not imported: it is 'x'"]


def test_a_wrong_optimizer_leaves_the_loss(tmp_path: Path) -> None:
    description = imported(tmp_path, optimizer("SGD", momentum=2.0)).network.description
    assert [node.kind for node in description.losses] == ["softmax_cross_entropy"]
    assert description.train is None


@pytest.mark.parametrize(
    ("kind", "config", "wanted"),
    [
        # A file may have no more than the name: https://keras.io/api/optimizers has the defaults.
        ("sgd", {}, {"sgd": {"learning_rate": 0.01}}),
        ("Adam", {}, {"adam": {"learning_rate": 0.001, "epsilon": 1e-7}}),
        ("AdamW", {}, {"adamw": {"learning_rate": 0.001, "epsilon": 1e-7, "weight_decay": 0.004}}),
        (
            "adagrad",
            {},
            {"adagrad": {"learning_rate": 0.001, "epsilon": 1e-7, "initial_accumulator_value": 0.1}},
        ),
        ("Adagrad", {"lr": 0.1, "epsilon": 1e-7}, {"adagrad": {"learning_rate": 0.1, "epsilon": 1e-7}}),
        ("Lion", {}, {"lion": {"learning_rate": 0.001}}),
        # The epsilon of old ones stands beside the root, as ours.
        ("RMSprop", {"lr": 0.1, "epsilon": 1e-4}, {"rmsprop": {"learning_rate": 0.1, "epsilon": 1e-4}}),
        ("RMSprop", {"epsilon": 1e-4}, {"rmsprop": {"learning_rate": 0.001, "epsilon": 0.01}}),
        # What tf.keras calls the decay of Nadam is that of its momentum.
        ("Nadam", {"decay": 0.004}, {"nadam": {"learning_rate": 0.001, "epsilon": 1e-7}}),
        ("Nadam", {}, {"nadam": {"learning_rate": 0.001, "epsilon": 1e-7, "momentum_decay": 1.0}}),
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
