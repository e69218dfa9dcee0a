"""What a description declares: the parameters and variables of a network, by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from cortex_compute.errors import ShapeError
from cortex_compute.frozen import frozen
from cortex_compute.types import TensorType, float32, uint64
from cortex_core.graph.value import Value, state_value
from cortex_core.initializers import fans
from cortex_core.layers.scope import Parameter, Variable
from cortex_core.place import Problem
from cortex_core.spec.description import ALL
from cortex_core.store import SegmentKey
from cortex_core.trace import FREE, Declaration, Traced, has_free_axes, input_values, lacking, trace

LENGTHS, OTHER = (FREE, 64, 512), 1000
"""Lengths of an axis of any length: the shortest that all layers take is counted with, and what differs from
one to the other depends on it."""
KEY = "random_key"
KEY_TYPE = TensorType((2,), uint64)
CHECK_BATCH = 2


@frozen
class Declared:
    """A parameter or variable of a network: where it belongs and how it starts."""

    name: str
    declaration: Declaration
    layer: Any

    @property
    def type(self) -> TensorType:
        return TensorType(self.declaration.shape, float32)

    @property
    def segment(self) -> SegmentKey:
        """Parameters with equal learning rate and trainability are updated together; one with a constraint
        alone."""
        if not self.layer.trainable:
            return SegmentKey(trainable=False)
        alone = self.name if self.rules else ""
        return SegmentKey(True, float(self.layer.learning_rate), alone)

    @property
    def rules(self) -> tuple[Any, ...]:
        """What holds for the parameter after each update."""
        own = self.name.rpartition("/")[2]
        return tuple(c.rule for c in self.layer.constraints if c.parameter == own)


def declare(description: Any) -> tuple[dict[str, Declared], Traced]:
    """Every parameter and variable of a description, by a trace; problems are in the trace."""
    found, traced = traced_declarations(description, free_length(description))
    traced.problems += [*_ill_shared(description, traced), *_losses_of_nothing(description, traced)]
    traced.problems += _names_of_layers(description, traced)
    if has_free_axes(description):
        other, _ = traced_declarations(description, OTHER)
        depends = [name for name, d in found.items() if name in other and other[name].type != d.type]
        if depends:
            place = found[depends[0]].layer.place
            told = f"the shape of '{depends[0]}' depends on an axis of any length"
            hint = "expected a fixed size in inputs, or a layer before it that takes the axis away"
            traced.problems.append(Problem(place.path, told, hint, "", place))
    return found, traced


def free_length(description: Any) -> int:
    """A length for axes of any length that every layer takes.

    Learned positions are only so many; pictures that are halved many times, or cropped, need to be larger.
    """
    known: list[int | None] = [getattr(node.layer, "positions", None) for node in description.layers]
    longest = min((n for n in known if n is not None), default=LENGTHS[-1])
    lengths = [min(n, longest) for n in LENGTHS]
    tried = lengths if has_free_axes(description) else ()
    fits = (n for n in tried if not traced_declarations(description, n)[1].problems)
    return next(fits, lengths[0])


def _ill_shared(description: Any, traced: Traced) -> Iterator[Problem]:
    """Each name under ``share`` that its layer does not have, or the layer that it is shared with."""
    for node in description.layers:
        names = traced.names.get(node.id, {})
        place = replace(node.place, path=f"{node.place.path}.share")
        shared = dict(node.shared) if traced.values.get(node.id) is not None else {}
        for parameter, name in shared.items() if ALL not in shared else ():
            if parameter not in names:
                yield lacking(node.id, parameter, f"{{NAME: {name}}}", place, traced)
        for own, name in names.items() if shared else ():
            owner, _, given = name.rpartition("/")
            if traced.values.get(owner) is None or name in traced.names.get(owner, {}).values():
                continue
            if ALL not in shared:
                yield lacking(owner, given, "NAME", place, traced)
            else:
                told = f"'{node.id}' has a {own}, '{owner}' has none"
                yield Problem(place.path, told, "expected layers with the same parameters", "", place)


def _losses_of_nothing(description: Any, traced: Traced) -> Iterator[Problem]:
    """Each loss on a parameter that its layer does not have."""
    for node in description.losses:
        names = traced.names.get(node.of, {})
        known = traced.values.get(node.of) is not None
        if node.parameter and known and names.get(node.parameter) not in traced.parameters:
            yield lacking(node.of, node.parameter, f"of: {node.of}/NAME", node.place, traced)


def _names_of_layers(description: Any, traced: Traced) -> Iterator[Problem]:
    """Each loss that keeps values under the name of a layer: theirs would be the same."""
    for node in description.losses:
        if node.name in traced.kept and node.name in traced.names:
            told = f"the loss '{node.name}' keeps values, and a layer has this id"
            yield Problem(node.place.path, told, "expected another name", "", node.place)


def is_carried(declared: Declared) -> bool:
    """Whether a variable holds what each example of a batch leaves for the next batch."""
    return getattr(declared.declaration, "carried", False)


def traced_declarations(
    description: Any, free: int, training: bool = True
) -> tuple[dict[str, Declared], Traced]:
    """As `declare`, where an axis of any length is ``free`` long."""
    found: dict[str, Declared] = {}

    def fetch(name: str, declaration: Declaration, layer: Any) -> Value:
        first = found.get(name)
        made = Declared(name, declaration, layer)
        if first is not None and first.type != made.type:
            both = f"{first.type.shape} for '{first.layer.id}', {made.type.shape} for '{layer.id}'"
            raise ShapeError(f"{name} is {both}: layers that share it need one shape")
        if first is not None and type(first.declaration) is not type(declaration):
            learned, kept = sorted((first, made), key=lambda d: isinstance(d.declaration, Variable))
            told = f"'{learned.layer.id}' learns {name}, '{kept.layer.id}' keeps a statistic in it"
            raise ShapeError(f"{told}: expected parameters to be shared with parameters")
        if first is None or layer.name_of(declaration.name) == f"{layer.id}/{declaration.name}":
            found[name] = made  # as its owner declares it
        return state_value(name, made.type)

    inputs = input_values(description, CHECK_BATCH, free)
    return found, trace(description, inputs, fetch, state_value(KEY, KEY_TYPE), training)


def drawn(parameter: Parameter, generator: np.random.Generator) -> np.ndarray:
    """Initial numbers; each part of a parameter is drawn by itself.  float32"""
    count = len(parameter.parts) or 1
    shape = (*parameter.shape[:-1], parameter.shape[-1] // count) if parameter.parts else parameter.shape
    chosen = parameter.initializer
    each = chosen if isinstance(chosen, tuple) else (chosen,) * count
    fan = parameter.fan or fans(shape)
    made = [np.asarray(one.draw(shape, generator, fan), np.float32) for one in each]
    return np.concatenate(made, -1) if parameter.parts else made[0]
