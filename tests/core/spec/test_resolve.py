"""Resolving: names become ids, `auto` becomes an initialiser, cross entropy finds its logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cortex
from cortex_compute.errors import SpecError
from cortex_core.layers.dense import Dense
from cortex_core.optimizers import SGD
from cortex_core.spec import Penalty, read


def network(*layers: Any, **sections: Any) -> Any:
    return read({"inputs": {"x": [8, 8, 1]}, "layers": list(layers), **sections})


def kernels(*layers: Any) -> dict[str, str]:
    """The initialiser of each kernel, by id."""
    nodes = network(*layers).layers
    return {n.id: n.layer.kernel_initializer.kind for n in nodes if hasattr(n.layer, "kernel_initializer")}


CONV: dict[str, Any] = {"conv2d": {"filters": 2, "kernel": 3}}


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (["relu"], "he_normal"),
        (["batch_norm", {"max_pool2d": 2}, {"dropout": 0.5}, "flatten", "relu"], "he_normal"),
        (["linear", "selu"], "lecun_normal"),
        (["tanh"], "glorot_uniform"),
        (["softmax", "relu"], "glorot_uniform"),
        ([{"dense": {"units": 1, "activation": "relu"}}], "glorot_uniform"),
        ([], "glorot_uniform"),
        ([{"add": {"from": ["conv2d", "conv2d"]}}, "relu"], "he_normal"),
        (["tanh", {"selu": {"from": "conv2d"}}], "lecun_normal"),
        (["tanh", {"selu": {"from": "conv2d"}}, {"gelu": {"from": "conv2d"}}], "he_normal"),
    ],
)
def test_auto_is_what_suits_the_activation_that_follows(after: list[Any], expected: str) -> None:
    assert kernels(CONV, *after)["conv2d"] == expected


def test_the_own_activation_decides_first_and_what_is_given_stays() -> None:
    assert kernels({"dense": {"units": 3, "activation": "selu"}}, "relu")["dense"] == "lecun_normal"
    assert kernels({"dense": {"units": 3, "activation": "linear"}}, "relu")["dense"] == "he_normal"
    assert kernels({"dense": {"units": 3, "kernel_initializer": "zeros"}}, "relu")["dense"] == "zeros"


def test_ids_are_stable_and_keep_clear_of_given_ones() -> None:
    nodes = network({"dense": 1}, {"dense": {"units": 2, "id": "dense_2"}}, {"dense": 3}, "relu").layers
    assert [node.id for node in nodes] == ["dense", "dense_2", "dense_3", "relu"]


def test_layers_stand_in_an_order_in_which_sources_come_first() -> None:
    nodes = network(
        {"add": {"from": ["b", "a"], "id": "sum"}},
        {"dense": {"units": 3, "id": "b", "from": "a"}},
        {"dense": {"units": 3, "id": "a", "from": "x"}},
    ).layers
    assert [node.id for node in nodes] == ["a", "b", "sum"]


def test_outputs_are_the_leaves_unless_given() -> None:
    layers = (
        {"dense": {"units": 3, "id": "a"}},
        {"dense": {"units": 3, "from": "a"}},
        {"relu": {"from": "a"}},
    )
    assert network(*layers).outputs == ("dense", "relu")
    assert network(*layers, outputs=["relu", "a", "dense"]).outputs == ("relu", "a", "dense")


def test_a_second_output_is_a_source() -> None:
    nodes = network(
        {"embedding": {"tokens": 5, "units": 2, "mask_zero": True, "id": "w"}}, {"relu": {"from": "w.mask"}}
    )
    assert nodes.layers[1].sources == ("w.mask",)


def test_cross_entropy_takes_the_logits_of_a_softmax_layer() -> None:
    description = network({"dense": 3}, {"softmax": {"id": "p"}}, loss={"softmax_cross_entropy": "label"})
    assert description.losses[0].of == "dense"
    assert description.outputs == ("p",)
    assert description.notes == (
        "layers[1].softmax: 'p' ends in softmax: softmax_cross_entropy takes its logits",
    )
    assert read(description.canonical).canonical == description.canonical


def test_cross_entropy_takes_the_logits_before_a_softmax_activation() -> None:
    layer = {"dense": {"units": 3, "activation": "softmax", "id": "p"}}
    description = network(layer, loss={"softmax_cross_entropy": "label"})
    assert [(n.id, n.kind, n.sources) for n in description.layers] == [
        ("p/logits", "dense", ("x",)),
        ("p", "softmax", ("p/logits",)),
    ]
    assert description.layers[0].layer.activation is None
    assert (description.losses[0].of, description.outputs) == ("p/logits", ("p",))
    assert read(description.canonical).canonical == description.canonical


STEPS: Any = {"reshape": [8, 8]}


def of_each_step(layer: Any, depth: int = 1, **fields: Any) -> Any:
    return {"time_distributed": {"layer": of_each_step(layer, depth - 1) if depth > 1 else layer, **fields}}


@pytest.mark.parametrize("depth", [1, 2])
def test_cross_entropy_takes_the_logits_of_each_step(depth: int) -> None:
    """Layers in layers; the same predictions, and their logits, are those without the loss."""
    ending = {"dense": {"units": 3, "activation": "softmax"}}
    layers = (of_each_step(ending, depth, id="p"),)
    description = network(*layers, loss={"softmax_cross_entropy": "label"})
    assert [(n.id, n.kind, n.sources) for n in description.layers] == [
        ("p/logits", "time_distributed", ("x",)),
        ("p", "softmax", ("p/logits",)),
    ]
    assert (description.losses[0].of, description.outputs) == ("p/logits", ("p",))
    assert "'p' ends in softmax: softmax_cross_entropy takes its logits" in description.notes[0]
    assert read(description.canonical).canonical == description.canonical
    made, plain = cortex.Network(description), cortex.Network(network(*layers))
    for name in plain.parameters:
        plain.parameters[name] = made.parameters[name.replace("p/", "p/logits/")]
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype("float32")
    np.testing.assert_allclose(made.predict(x), plain.predict(x), rtol=1e-6)


def test_cross_entropy_takes_the_logits_of_a_softmax_at_each_step() -> None:
    layers = ({"dense": 3}, of_each_step("softmax", id="p"))
    description = network(*layers, loss={"softmax_cross_entropy": "label"})
    assert (description.losses[0].of, description.outputs) == ("dense", ("p",))


RNN: Any = {"simple_rnn": {"units": 3, "activation": "softmax"}}


@pytest.mark.parametrize("layer", [RNN, {"bidirectional": {"layer": RNN}}, of_each_step(RNN)])
def test_a_softmax_within_a_recurrence_has_no_logits(layer: Any) -> None:
    before = () if "time_distributed" in layer else (STEPS,)
    with pytest.raises(SpecError, match="ends in softmax at each step of its recurrence: expected another"):
        network(*before, layer, loss={"softmax_cross_entropy": "label"})


def test_a_softmax_within_gates_stays_where_it_is() -> None:
    layer = {"lstm": {"units": 3, "activation": "softmax"}}
    description = network(STEPS, layer, loss={"softmax_cross_entropy": "label"})
    assert [n.kind for n in description.layers] == ["reshape", "lstm"]
    assert description.layers[-1].layer.activation is not None


@pytest.mark.parametrize(
    ("activation", "loss"),
    [
        ("sigmoid", {"binary_cross_entropy": {"target": "t", "from_logits": True}}),
        (None, {"binary_cross_entropy": "t"}),
    ],
)
def test_what_each_step_ends_in_is_looked_at(activation: str | None, loss: Any) -> None:
    layer = of_each_step({"dense": {"units": 3, "activation": activation}}, id="p")
    with pytest.raises(SpecError, match=r"'p' ends in (sigmoid|no activation), which gives"):
        network(layer, loss=loss)


def test_softmax_along_another_axis_is_left_alone() -> None:
    layers = ({"dense": 3}, {"softmax": {"axis": 1}})
    description = network(*layers, loss={"softmax_cross_entropy": "label"})
    assert (description.losses[0].of, description.notes) == ("softmax", ())


def test_losses_in_all_their_places() -> None:
    description = network(
        {"dense": {"units": 3, "id": "a", "loss": {"mse": {"target": "t", "weight": 0.5}}}},
        {"dense": {"units": 3, "id": "b"}},
        loss=[{"mse": {"of": "b", "target": "u"}}, {"mae": {"of": "b", "target": "x", "name": "again"}}],
    )
    assert [(n.name, n.kind, n.of, n.target, n.weight) for n in description.losses] == [
        ("mse", "mse", "b", "u", 1.0),
        ("again", "mae", "b", "x", 1.0),
        ("mse_2", "mse", "a", "t", 0.5),
    ]


def test_metrics_are_of_the_loss() -> None:
    description = network(
        {"dense": 3}, loss={"mse": "y"}, train={"metrics": ["mae", {"top_k": 2}, {"mse": {"name": "m"}}]}
    )
    assert [(n.name, n.of, n.target) for n in description.train.metrics] == [
        ("mae", "dense", "y"),
        ("top_k", "dense", "y"),
        ("m", "dense", "y"),
    ]


def test_penalties_are_on_the_kernel_unless_a_parameter_is_named() -> None:
    penalty = {"l2": 0.1, "bias": {"l1": 2}}
    node = network({"dense": {"units": 1, "penalty": penalty}}).layers[0]
    assert [(p.parameter, p.kind, p.value) for p in node.penalties] == [
        ("bias", "l1", 2.0),
        ("kernel", "l2", 0.1),
    ]
    assert isinstance(node.penalties[0], Penalty)


def test_defaults_of_train() -> None:
    options = network("relu", train={}).train
    assert (options.batch_size, options.epochs, options.seed, options.precision) == (64, 1, 0, "float32")
    assert (options.optimizer.kind, options.schedule, options.metrics, options.data) == (
        "adam",
        None,
        (),
        None,
    )
    assert network("relu").train is None


def test_instances_and_numbers_of_numpy_may_stand_in_a_dict() -> None:
    description = read(
        {
            "inputs": {"x": np.array([3, 4]).shape},
            "layers": [
                Dense(units=3, activation="relu"),
                {"dense": np.int64(4)},
                {"dropout": np.float32(0.5)},
            ],
            "train": {"optimizer": SGD(learning_rate=0.5), "batch_size": np.int32(3)},
        }
    )
    assert description.inputs[0].shape == (2,)
    assert [node.layer.units for node in description.layers[:2]] == [3, 4]
    assert description.train.optimizer == SGD(learning_rate=0.5)


def test_a_dict_that_contains_itself_is_refused() -> None:
    from cortex_compute.errors import SpecError

    data: dict[str, Any] = {"inputs": {"x": [3]}, "layers": []}
    data["layers"].append(data)
    with pytest.raises(SpecError, match="nests deeper than 64 levels"):
        read(data)


def test_fifty_layers_are_read_without_a_second_parse() -> None:
    """A frozen description is equal to itself and can be hashed and compared by its hash."""
    description = network(*({"dense": 3} for _ in range(50)))
    assert len(description.layers) == 50
    assert description == read(description.canonical) or description.hash == read(description.canonical).hash
