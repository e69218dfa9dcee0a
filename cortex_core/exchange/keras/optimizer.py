"""The state of an optimiser: what training had learned of the gradients goes on here.

A moment has the shape of its weight, and is turned as that is: it is put in the place of the weight, and the
model is converted anew.  Where one number of ours is the sum of several of Keras, as a bias that Keras has
twice, its moment is their mean: all have the same gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_compute.errors import CheckpointError, CortexError
from cortex_compute.frozen import frozen
from cortex_core.exchange.keras.convert import convert
from cortex_core.exchange.keras.model import File, Layer, Model, Optimizer, Weight, release
from cortex_core.exchange.keras.training import optimizer_name, rate

if TYPE_CHECKING:
    from cortex_core.exchange.keras.at import Translator
    from cortex_core.network import Network

BLOCKS: dict[str, tuple[tuple[str, ...], ...]] = {
    "sgd": (("velocity",),),
    "adam": (("m", "v"), ("largest",)),
    "adamw": (("m", "v"), ("largest",)),
    "rmsprop": (("v",), ("velocity",), ("m",)),
    "adagrad": (("squares",),),
    "adadelta": (("squares", "moves"),),
    "lion": (("m",),),
}
"""Our moments in the order of Keras's variables."""
TOGETHER = (2, 11)
"""The release since which the moments of a block stand together for each weight."""
UNSORTED = (2, 1)
"""The release since which weights are trained in the order of the model, not of their names."""
UNTRAINED = {
    "BatchNormalization": 2,
    "SyncBatchNormalization": 2,
    "Normalization": 3,
    "SpectralNormalization": 1,
}
"""How many weights of a layer, its last ones, are not trained."""


@frozen
class State:
    """How many steps training took, and the moments of our parameters: ``moments["m"]["id/kernel"]``."""

    step: int
    moments: Mapping[str, Mapping[str, np.ndarray]]


def resume(network: Network, file: File, maps: Mapping[str, Translator] | None = None) -> str:
    """Gives a network the state of the file's optimiser, which the description names; what was not possible.

    The next training of the network goes on from there.
    """
    from cortex_core.exchange.keras.imported import placed

    try:
        state = read_state(file, network.training.optimizer, maps)
    except CortexError as error:
        return f"the optimizer's state is not imported: {error}"
    if state is None:
        return ""
    for moment, arrays in state.moments.items():
        for name, array in arrays.items():
            if (own := placed(network, name)) in network.slots:
                network.store.write(own, array, moment)
    network.step, network.goes_on = state.step, network.training.optimizer.kind
    return ""


def read_state(file: File, optimizer: Any, maps: Mapping[str, Translator] | None = None) -> State | None:
    """The state of the file's optimiser, for ours; None where there is none.

    Raises `CheckpointError` where its variables are not those of the trained weights, in an order that is
    known.
    """
    found = file.optimizer
    if found is None or not found.weights or optimizer_name(found.kind) != optimizer.kind:
        return None
    if release(file.version) < (2,):
        raise CheckpointError("that of Keras 1 is for weights in another form")
    step, variables = _counted(found)
    trained, slots = _fitting(optimizer, variables, file)
    if not slots:
        told = f"it has {len(variables)} arrays for {len(trained)} trained weights"
        raise CheckpointError(f"{told}, which do not fit each other")
    factors = _factors(optimizer, rate(found))
    counts = _converted(file, maps, trained, [np.ones(w.shape, np.float32) for w in trained])
    moments = {}
    for name in optimizer.state:
        arrays = [np.asarray(w.read(), np.float32) * np.float32(factors.get(name, 1)) for w in slots[name]]
        turned = _converted(file, maps, trained, arrays)
        moments[name] = {key: x / np.maximum(counts[key], 1) for key, x in turned.items()}
    return State(step, moments)


def _factors(optimizer: Any, rate: float) -> dict[str, float]:
    """What the moments of Keras are multiplied with: its velocities are steps, ours are gradients."""
    if "velocity" not in optimizer.state:
        return {}
    if not rate > 0:
        raise CheckpointError(f"its learning rate is {rate:g}, which tells no velocity")
    return {"velocity": -1 / rate if optimizer.kind == "sgd" else 1 / rate}


def _counted(optimizer: Optimizer) -> tuple[int, list[Weight]]:
    """The number of steps, and the moments.  Behind the former stands the learning rate, where it is kept."""
    variables = [*optimizer.weights]
    leading = 0
    while leading < min(2, len(variables)) and not variables[leading].shape:
        leading += 1
    return int(variables[0].read()) if leading else 0, variables[leading:]


def _fitting(
    optimizer: Any, variables: Sequence[Weight], file: File
) -> tuple[list[Weight], dict[str, list[Weight]]]:
    """The trained weights in the order of the optimiser, and the variables of each moment; none where these
    do not fit.
    """
    trained = list(_trained(file.model, True))
    sorted_ = sorted(trained, key=lambda weight: weight.name)
    orders = (sorted_, trained) if release(file.version) < UNSORTED else (trained,)
    together = release(file.version) >= TOGETHER
    found = ((order, _slots(optimizer, variables, order, together)) for order in orders)
    return next(((order, slots) for order, slots in found if slots), (trained, {}))


def _slots(
    optimizer: Any, variables: Sequence[Weight], trained: Sequence[Weight], together: bool
) -> dict[str, list[Weight]]:
    """The variables of each moment, in the order of the weights; none where their shapes do not fit."""
    for order in (together, not together):
        found: dict[str, list[Weight]] = {}
        rest = [*variables]
        for block in _blocks(optimizer, order):
            taken, rest = rest[: len(block) * len(trained)], rest[len(block) * len(trained) :]
            found |= {name: taken[i :: len(block)] for i, name in enumerate(block)}
        if all([w.shape for w in ws] == [w.shape for w in trained] for ws in found.values()):
            return found
    return {}


def _blocks(optimizer: Any, together: bool) -> Iterator[tuple[str, ...]]:
    for block in BLOCKS[optimizer.kind]:
        kept = tuple(name for name in block if name in optimizer.state)
        yield from ([kept] if together else [(name,) for name in kept]) if kept else ()


def _trained(model: Model, trainable: bool) -> Iterator[Weight]:
    """The trained weights in the order of the model's layers."""
    for layer in model.layers:
        own = trainable and layer.config.get("trainable", True) is not False
        if layer.model is not None:
            yield from _trained(layer.model, own)
        elif own:
            yield from layer.weights[: len(layer.weights) - _untrained(layer)]


def _untrained(layer: Layer) -> int:
    inner = layer.config.get("layer")
    kind = (
        inner.get("class_name") if isinstance(inner, Mapping) and layer.kind not in UNTRAINED else layer.kind
    )
    return min(UNTRAINED.get(str(kind), 0), len(layer.weights))


def _converted(
    file: File,
    maps: Mapping[str, Translator] | None,
    trained: Sequence[Weight],
    arrays: Sequence[np.ndarray],
) -> dict[str, np.ndarray]:
    """Arrays in the places of the trained weights, as they become parameters here."""
    given = dict(zip(map(id, trained), arrays))

    def swapped(weight: Weight) -> Weight:
        return replace(weight, read=_giving(given[id(weight)])) if id(weight) in given else weight

    return convert(replace(file, model=_with(file.model, swapped)), maps).builder.weights


def _giving(array: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: array


def _with(model: Model, swapped: Callable[[Weight], Weight]) -> Model:
    layers = (
        replace(
            layer,
            weights=tuple(map(swapped, layer.weights)),
            model=None if layer.model is None else _with(layer.model, swapped),
        )
        for layer in model.layers
    )
    return replace(model, layers=tuple(layers))
