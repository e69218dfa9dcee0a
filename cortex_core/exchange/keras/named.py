"""Weights as Keras 1 and 2 lay them out, and Keras 3 in HDF5 files: a group for each layer, by its name.

A nested model has one group.  There lie the weights that are trained of all its layers, then the others; a
layer that was frozen has none that are trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.counts import Counts, counts
from cortex_core.exchange.keras.hdf5 import Hdf5
from cortex_core.exchange.keras.model import Layer, Model, Weight

Weights = tuple[Weight, ...]
Given = dict[int, Weights]
"""The weights of layers, by their identity: two models may hold layers of one name."""

LAYERS, NAMES, OF_MODEL = "layer_names", "weight_names", "top_level_model_weights"


def group_of_weights(file: Hdf5) -> str | None:
    """Where the groups of the layers lie, if they lie as here."""
    return next((g for g in ("model_weights", "") if file.texts(g, LAYERS) is not None), None)


def named_weights(file: Hdf5, group: str) -> dict[str, Weights]:
    """The weights of each layer, in the order of the file."""
    start = f"{group}/" if group else ""
    names = file.texts(group, LAYERS) or []
    if len(set(names)) < len(names):
        file.refuse(group, "two of its layers have one name")
    if _in_group(file, start + OF_MODEL):
        file.refuse(start + OF_MODEL, "holds weights of the model itself, not of its layers: not supported")
    return {name: _in_group(file, start + name, needed=True) for name in names}


def weights_in(file: Hdf5, group: str) -> Weights:
    """The arrays of a group, in the order in which its attribute names them."""
    return tuple(
        Weight(name, found.shape, found.dtype, found.read)
        for name in file.texts(group, NAMES) or ()
        for found in [file.weight(f"{group}/{name}")]
    )


def _in_group(file: Hdf5, group: str, needed: bool = False) -> Weights:
    group = group.replace("\\", "/")
    if needed and group not in file.groups:
        file.refuse(group, "the file names this layer, but has no group for it")
    return weights_in(file, group)


def by_name(model: Model, groups: Mapping[str, Weights], keras_1: bool) -> Given:
    """Which layer has which weights.  Raises `SpecError` where a group fits no layer."""
    layers = {layer.name: layer for layer in model.layers}
    given: Given = {}
    for name, weights in _renamed(model, groups, keras_1).items():
        layer = layers[name]
        if layer.model is None:
            given[id(layer)] = weights
        else:
            given |= _dealt(layer, layer.model, weights, keras_1)
    return given


def _renamed(model: Model, groups: Mapping[str, Weights], keras_1: bool) -> dict[str, Weights]:
    """Weights by the names of the model's layers.  A model that was made anew has other names in the same
    order; as in Keras, the order counts then."""
    full = {name: weights for name, weights in groups.items() if weights}
    if full.keys() <= {layer.name for layer in model.layers}:
        return full
    takers = {layer.name: n for layer in model.layers if (n := sum(map(sum, _counts_in(layer, keras_1))))}
    if [*takers.values()] == [len(weights) for weights in full.values()]:
        return dict(zip(takers, full.values()))
    extra = ", ".join(full.keys() - {layer.name for layer in model.layers})
    raise SpecError(
        f"the file has weights for layers that the model does not have: {extra:.500}; the model's layers "
        f"with weights are {', '.join(takers):.500}"
    )


# Nested models


def _dealt(outer: Layer, model: Model, weights: Weights, keras_1: bool) -> Given:
    """The weights of a nested model's group among its layers."""
    leaves = [*_leaves(model)]
    numbers = [counts(leaf.kind, leaf.config, keras_1) for leaf in leaves]
    return dict(zip(map(id, leaves), dealt(outer.name, leaves, numbers, weights)))


def dealt(
    group: str, leaves: Sequence[Layer], numbers: Sequence[Counts], weights: Weights
) -> Iterator[Weights]:
    """The weights of a nested model's group for each of its layers.  Raises `SpecError`."""
    order = _owners(leaves, numbers, weights)
    if order is None:
        needed = ", ".join(f"{leaf.name} ({sum(n)})" for leaf, n in zip(leaves, numbers) if sum(n))
        raise SpecError(
            f"{group}: the file has {len(weights)} arrays for this model; its layers need "
            f"{sum(map(sum, numbers))}: {needed:.500}"
        )
    own: list[list[Weight]] = [[] for _ in leaves]
    for weight, owner in zip(weights, order):
        own[owner].append(weight)
    return map(tuple, own)


def _owners(leaves: Sequence[Layer], numbers: Sequence[Counts], weights: Weights) -> list[int] | None:
    """Whose each weight is: in an order that names confirm, else by names alone, else by order alone."""
    frozen = [leaf.config.get("trainable", True) is False for leaf in leaves]
    orders = [
        _trained_first(frozen, numbers),
        _trained_first([False] * len(leaves), numbers),  # Keras 1.0
        [i for i, n in enumerate(numbers) for _ in range(sum(n))],
    ]
    fitting = [order for order in orders if len(order) == len(weights)]
    for order in fitting:
        if all(_tells(weight, leaves[i].name) for weight, i in zip(weights, order)):
            return order
    return _by_names(leaves, weights) or next(iter(fitting), None)


def _leaves(model: Model) -> Iterator[Layer]:
    for layer in model.layers:
        if layer.model is None:
            yield layer
        else:
            yield from _leaves(layer.model)


def _counts_in(layer: Layer, keras_1: bool) -> list[Counts]:
    leaves = [layer] if layer.model is None else _leaves(layer.model)
    return [counts(leaf.kind, leaf.config, keras_1) for leaf in leaves]


def _trained_first(frozen: Sequence[bool], numbers: Sequence[Counts]) -> list[int]:
    trained = [i for i, n in enumerate(numbers) for _ in range(0 if frozen[i] else n[0])]
    others = [i for i, n in enumerate(numbers) for _ in range(sum(n) if frozen[i] else n[1])]
    return trained + others


def _tells(weight: Weight, layer: str) -> bool:
    """Whether a weight's name is that of a layer's; TensorFlow numbers names that it has seen before, and
    Keras 1 joins them, dense_1_W."""
    if "/" not in weight.name:
        own = weight.name.removeprefix(f"{layer}_")
        return own != weight.name and not own[:1].isdecimal()
    for part in weight.name.split("/"):
        number = part.removeprefix(f"{layer}_")
        if part == layer or (number != part and number.isdecimal()):
            return True
    return False


def _by_names(leaves: Sequence[Layer], weights: Weights) -> list[int] | None:
    """Whose each weight is by its name alone, where all names tell: that helps with custom layers."""
    called: dict[str, list[int]] = {}
    for i, leaf in enumerate(leaves):
        called.setdefault(leaf.name, []).append(i)
    found = []
    for weight in weights:
        owners = [i for part in set(weight.name.split("/")) for i in called.get(part, ())]
        if len(owners) != 1:
            return None
        found += owners
    return found
