"""The state of an optimiser: what training had learned of the gradients goes on here.

A moment has the shape of its weight, and is turned as that is: it is put in the place of the weight, and the
layers take their weights again.  Where one number of ours is the sum of several of Keras, as a bias that
Keras has twice, its moment is their mean: all have the same gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_compute.errors import CheckpointError, CortexError
from cortex_compute.frozen import frozen
from cortex_core.exchange.build import Builder
from cortex_core.exchange.keras.convert import Converted, convert
from cortex_core.exchange.keras.counts import untrained
from cortex_core.exchange.keras.methods import is_old, method_name, rate
from cortex_core.exchange.keras.model import Config, File, Model, Optimizer, Weight, release

if TYPE_CHECKING:
    from cortex_core.exchange.keras.at import Translator
    from cortex_core.network import Network
    from cortex_core.spec.description import LayerNode

BLOCKS: dict[str, tuple[tuple[str, ...], ...]] = {
    "sgd": (("velocity",),),
    "adam": (("m", "v"), ("largest",)),
    "adamw": (("m", "v"), ("largest",)),
    "adamax": (("m", "largest"),),
    "nadam": (("m", "v"),),
    "rmsprop": (("v",), ("velocity",), ("m",)),
    "adagrad": (("squares",),),
    "adadelta": (("squares", "moves"),),
    "lion": (("m",),),
}
"""Our moments in the order of Keras's variables."""
COUNTING = ("adam", "adamw", "adamax", "nadam")
"""Whose next step depends on the number of those before."""
TOGETHER = (2, 11)
"""The release since which the moments of a block stand together for each weight."""
PRODUCT_BEHIND = (3, 10)
"""The release since which the product that Nadam keeps, which the steps tell, stands behind the moments; in
Keras 3 it stood before them."""
UNSORTED = (2, 1)
"""The release since which weights are trained in the order of the model, not of their names."""
MOST_STEPS = 2**53

Arrays = dict[str, np.ndarray]


@frozen
class State:
    """How many steps training took, and the moments of our parameters: ``moments["m"]["id/kernel"]``.

    ``sums`` are the parameters that hold a number which is the sum of several of Keras.
    """

    step: int
    moments: Mapping[str, Mapping[str, np.ndarray]]
    sums: tuple[str, ...] = ()


def resume(
    network: Network, file: File, converted: Converted, maps: Mapping[str, Translator] | None = None
) -> str:
    """Gives a network the state of the file's optimiser, which the description names; and what a user should
    know: what was not possible, or is otherwise here.

    The next training of the network goes on from there.
    """
    from cortex_core.exchange.keras.imported import placed

    try:
        state = read_state(file, converted, network.training.optimizer, maps)
    except CortexError as error:
        return f"the optimizer's state is not imported: {error}"
    if state is None:
        return ""
    for moment, arrays in state.moments.items():
        for name, array in arrays.items():
            if (own := placed(network, name)) in network.slots:
                network.store.write(own, array, moment)
    network.step, network.goes_on = state.step, network.training.optimizer.kind
    told = (
        "Keras has several numbers, and trains each, where one is here, their sum, which follows more slowly"
    )
    return f"{', '.join(state.sums)}: {told}" if state.sums else ""


def read_state(
    file: File, converted: Converted, optimizer: Any, maps: Mapping[str, Translator] | None = None
) -> State | None:
    """The state of the file's optimiser, for ours; None where there is none.

    Raises `CheckpointError` where its variables are not those of the trained weights, in an order that is
    known.
    """
    found = file.optimizer
    if found is None or not found.weights:
        return None
    if method_name(found.kind) != optimizer.kind:
        raise CheckpointError(f"that of {found.kind:.60} is not known here")
    if release(file.version) < (2,):
        raise CheckpointError("that of Keras 1 is for weights in another form")
    step, variables = _counted(found, optimizer.kind in COUNTING)
    if optimizer.kind == "nadam" and (3,) <= release(file.version) < PRODUCT_BEHIND:
        variables = variables[1:]
    if step == 0:
        return None
    if not optimizer.state:
        return State(step or 0, {})
    trained, slots = _fitting(optimizer, found.config, variables, file)
    if not slots:
        told = f"it has {len(variables)} arrays for {len(trained)} trained weights"
        raise CheckpointError(f"{told}, which do not fit each other")
    factors = _factors(optimizer, rate(found))
    turn = _Turn(file, converted, maps, trained)
    moments = {name: turn(_read(ws, trained), factors.get(name, 1.0)) for name, ws in slots.items()}
    return State(step or 0, {name: moments[name] for name in optimizer.state}, turn.sums)


def _read(weights: Sequence[Weight], trained: Sequence[Weight]) -> Iterator[np.ndarray]:
    """A moment of each trained weight, in the order of that."""
    for weight, own in zip(weights, trained):
        array = np.asarray(weight.read(), np.float32)
        if not np.isfinite(array).all():
            raise CheckpointError(f"{weight.name or 'an array'} of it holds numbers that are not finite")
        yield own.turn(array)


def _factors(optimizer: Any, rate: float) -> dict[str, float]:
    """What the moments of Keras are multiplied with: its velocities are steps, ours are gradients."""
    if "velocity" not in optimizer.state:
        return {}
    if not rate > 0:
        raise CheckpointError(f"its learning rate is {rate:g}, which tells no velocity")
    return {"velocity": -1 / rate if optimizer.kind == "sgd" else 1 / rate}


# Which variable is the moment of which weight


def _counted(optimizer: Optimizer, needed: bool) -> tuple[int | None, list[Weight]]:
    """The number of steps, where it is kept, and the moments.  Behind the former may stand the rate."""
    variables = [*optimizer.weights]
    leading = 0
    while leading < min(2, len(variables)) and not variables[leading].shape:
        leading += 1
    if not leading:
        if needed:
            raise CheckpointError("it lacks the number of the steps")
        return None, variables
    said = float(np.asarray(variables[0].read()))
    if not 0 <= said < MOST_STEPS:
        raise CheckpointError(f"its number of steps is {said:g}")
    several = optimizer.config.get("gradient_accumulation_steps")
    batches = several if isinstance(several, int) and several > 0 else 1
    return int(said) // batches, variables[leading:]


def _fitting(
    optimizer: Any, config: Config, variables: Sequence[Weight], file: File
) -> tuple[list[Weight], dict[str, list[Weight]]]:
    """The trained weights in the order of the optimiser, and the variables of each moment; none where these
    do not fit.
    """
    trained = list(_trained(file.model, True))
    sorted_ = sorted(trained, key=lambda weight: weight.name)
    orders = (sorted_, trained) if release(file.version) < UNSORTED else (trained,)
    modern = "jit_compile" in config or (release(file.version) >= TOGETHER and not is_old(config))
    blocks = [*_also(config), *BLOCKS[optimizer.kind]]
    for order in orders:
        for together in (modern, not modern):
            slots, rest = _slots([*_kept(blocks, optimizer, together)], variables, order)
            if slots and not (modern and any(w.shape for w in rest)):
                return order, {name: ws for name, ws in slots.items() if name in optimizer.state}
    return trained, {}


def _also(config: Config) -> Iterator[tuple[str, ...]]:
    """What stands before the moments, where it is asked for."""
    if config.get("use_ema"):
        yield ("average",)
    if config.get("gradient_accumulation_steps"):
        yield ("accumulated",)


def _kept(blocks: Iterable[tuple[str, ...]], optimizer: Any, together: bool) -> Iterator[tuple[str, ...]]:
    """The moments that stand together: those of a block, or each by itself."""
    for block in blocks:
        kept = tuple(n for n in block if n in optimizer.state or n in ("average", "accumulated"))
        yield from ([kept] if together else [(name,) for name in kept]) if kept else ()


def _slots(
    blocks: Sequence[tuple[str, ...]], variables: Sequence[Weight], trained: Sequence[Weight]
) -> tuple[dict[str, list[Weight]], Sequence[Weight]]:
    """The variables of each moment, in the order of the weights, and what is left; none where their shapes
    do not fit.
    """
    found: dict[str, list[Weight]] = {}
    for block in blocks:
        size = len(block) * len(trained)
        taken, variables = variables[:size], variables[size:]
        found |= {name: list(taken[i :: len(block)]) for i, name in enumerate(block)}
    wanted = [w.shape for w in trained]
    return (found if all([w.shape for w in ws] == wanted for ws in found.values()) else {}), variables


def _trained(model: Model, trainable: bool) -> Iterator[Weight]:
    """The trained weights in the order of the model's layers."""
    for layer in model.layers:
        own = trainable and _is_trained(layer.config)
        if layer.model is not None:
            yield from _trained(layer.model, own)
        elif own:
            yield from layer.weights[: len(layer.weights) - untrained(layer)]


def _is_trained(config: Config) -> bool:
    """Whether a layer is, and the one that it wraps."""
    inner = config.get("layer")
    wrapped = inner.get("config") if isinstance(inner, Mapping) else None
    return config.get("trainable", True) is not False and (
        not isinstance(wrapped, Mapping) or wrapped.get("trainable", True) is not False
    )


# Moments in the places of their weights


class _Again(Builder):
    """Takes other arrays for the layers of a builder, which has traced them all."""

    def __init__(self, first: Builder) -> None:
        super().__init__()
        self._traced, self._declared = first._traced, first._declared

    def _trace(self, node: LayerNode) -> None:
        assert self.knows(node.id)


class _Turn:
    """Turns arrays of the trained weights into those of our parameters.

    The translators may put constants, and weights that are not trained, among these: what the parameters are
    where all trained weights are 0.  How many numbers one of ours is the sum of is told by weights of 1.
    """

    def __init__(
        self,
        file: File,
        converted: Converted,
        maps: Mapping[str, Translator] | None,
        trained: Sequence[Weight],
    ) -> None:
        self._file, self._first, self._maps = file, converted, maps
        self._places = {id(weight): i for i, weight in enumerate(trained)}
        self._zero = self._taken([np.zeros(w.shape, np.float32) for w in trained])
        ones = self._taken([np.ones(w.shape, np.float32) for w in trained])
        self._counts = {name: np.maximum(x - self._zero[name], 1) for name, x in ones.items()}
        self.sums = tuple(name for name, x in self._counts.items() if x.max(initial=1) > 1)

    def __call__(self, arrays: Iterable[np.ndarray], factor: float) -> Arrays:
        taken = self._taken(list(arrays))
        return {
            name: (x - self._zero[name]) / self._counts[name] * np.float32(factor)
            for name, x in taken.items()
        }

    def _taken(self, arrays: Sequence[np.ndarray]) -> Arrays:
        def swapped(weight: Weight) -> Weight:
            place = self._places.get(id(weight))
            return weight if place is None else replace(weight, read=_giving(arrays[place]))

        file = replace(self._file, model=_with(self._file.model, swapped))
        return convert(file, self._maps, _Again(self._first.builder)).builder.weights


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
