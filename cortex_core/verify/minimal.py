"""The minimal description in the docstring of each layer and loss: read, completed, and fed with numbers.

A docstring ends with a block of YAML, of two or three lines::

    Example:
        inputs: {image: [8, 8, 3]}
        layers: [conv2d: {filters: 4, kernel: 3}]

`description` reads it; where it has no loss, an `mse` stands on each output.  The block is shown in the
documentation, trained for a step by a test on every backend, and differentiated by the gradient suite.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from cortex_compute.errors import SpecError
from cortex_compute.types import TensorType, dtype
from cortex_core.declared import KEY
from cortex_core.layers.scope import Parameter
from cortex_core.network import Network
from cortex_core.ops.indexing import concatenate
from cortex_core.ops.lift import as_array
from cortex_core.ops.pointwise import select
from cortex_core.ops.views import flatten
from cortex_core.spec import Description, read
from cortex_core.spec.read import parse
from cortex_core.spec.tree import Problems
from cortex_core.step import types_of
from cortex_core.terms import samples_of
from cortex_core.trace import trace
from cortex_core.verify.case import Case, rng_of

BATCH = 3
BLOCK = re.compile(r"^Example:\n((?:    .*\n?|\n)+)\Z", re.MULTILINE)
WIDEST, SPREAD = 0.1, 4.0  # of neighbouring numbers of an input, and of all of them


def parts(cls: type[Any]) -> tuple[str, str]:
    """The docstring of a layer or loss without its example, and the YAML of that.

    Raises `SpecError` with the name of the class where there is none.
    """
    doc = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    found = BLOCK.search(doc)
    if found is None:
        raise SpecError(f"{cls.__module__}.{cls.__qualname__}: its docstring does not end with an Example:")
    return doc[: found.start()].strip(), inspect.cleandoc("\n" + found[1]).strip() + "\n"


def has_example(cls: type[Any]) -> bool:
    """Whether the docstring ends with an example."""
    return bool(BLOCK.search(inspect.cleandoc(cls.__dict__.get("__doc__") or "")))


def written(cls: type[Any]) -> dict[str, Any]:
    """The example as plain data.  Raises `SpecError` where that is no YAML of a description."""
    problems = Problems()
    tree = parse(parts(cls)[1], f"{cls.__qualname__}'s example", problems)
    data = None if problems else tree.plain()
    if not isinstance(data, Mapping):
        told = "; ".join(map(str, problems.sorted())) or "it is no mapping"
        raise SpecError(f"{cls.__module__}.{cls.__qualname__}: its example cannot be read: {told}")
    return dict(data)


def description(cls: type[Any]) -> Description:
    """The example as a description that can be trained; `SpecError` where it is none of this class."""
    data, name = written(cls), f"{cls.__module__}.{cls.__qualname__}"
    try:
        made = read(data)
        if not made.losses:
            losses = [{"mse": {"of": of, "target": f"target of {of}"}} for of in made.outputs]
            made = read({**data, "loss": losses})
    except SpecError as error:
        raise SpecError(f"{name}: its example is wrong: {error}") from None
    if not any(type(x) is cls for x in (*_layers(made), *(node.loss for node in made.losses))):
        raise SpecError(f"{name}: its example is one of something else")
    return made


def _layers(made: Description) -> list[Any]:
    """All layers, and the activations in their fields."""
    found = [node.layer for node in made.layers]
    return [*found, *(getattr(x, "activation", None) for x in found)]


def spread(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers around 0 of which no two are near each other, nor one near a whole number."""
    n = int(np.prod(shape))
    step = min(WIDEST, SPREAD / max(1, n))
    return step * (rng.permutation(n) - n // 2 + 0.5).reshape(shape)


def drawn(t: TensorType, rng: np.random.Generator) -> np.ndarray:
    """Numbers for an input of this type: spread ones, or 1 and 0 by turns."""
    if t.dtype.kind == "float":
        return spread(rng, t.shape)
    return by_turns(t.shape).astype(dtype(t.dtype).storage)


def by_turns(shape: tuple[int, ...]) -> np.ndarray:
    """1 and 0 by turns along each axis, so that examples and steps differ."""
    found: np.ndarray = 1 - np.indices(shape).sum(0) % 2
    return found


def target(loss: Any, x: TensorType, rng: np.random.Generator) -> np.ndarray:
    """A target for a node of type ``x``: what the loss gives by ``example_target``, or else 1 and 0 by turns
    for whole numbers (2 and 1 where it says that these are wrong), and numbers between 0 and 1 for others."""
    found: np.ndarray
    if hasattr(loss, "example_target"):
        found = loss.example_target(x, rng)
        return found
    wanted = loss.target_type(x)
    if wanted.dtype.kind == "float":
        found = rng.uniform(0.2, 0.8, wanted.shape)
        return found
    found = by_turns(wanted.shape)
    wrong = getattr(loss, "wrong", None)
    return found + 1 if wrong is not None and wrong(x, found) is not None else found


def numbers(network: Network, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Inputs and targets of a batch for the network of an example, by the names of their streams."""
    types = types_of(network, BATCH)
    found = {x.name: drawn(types[x.name], rng) for x in network.description.inputs}
    for node in network.description.losses:
        if node.target and node.target not in found:
            plain = node.derive is None
            of = TensorType((BATCH, *network.types[node.of].shape[1:]), network.types[node.of].dtype)
            found[node.target] = target(node.loss, of, rng) if plain else drawn(types[node.target], rng)
    for name in types.keys() - found.keys():  # lengths and weights
        found[name] = rng.integers(1, 3, types[name].shape).astype(types[name].dtype.storage)
    return found


def case(kind: str, name: str, cls: type[Any]) -> Case:
    """The example as a case of the gradient suite: of a layer the outputs, of a loss its samples, by the
    floating inputs and all parameters."""
    made = description(cls)
    network, rng = Network.outline(made), rng_of(kind, name)
    arrays = numbers(network, rng)
    inputs = {x.name: arrays[x.name] for x in made.inputs}
    fixed: dict[str, Any] = {KEY: np.array([7, 0], np.uint64)}
    moved: dict[str, np.ndarray] = {}
    for own, declared in network.declared.items():
        home = moved if isinstance(declared.declaration, Parameter) else fixed
        home[own] = rng.uniform(0.5, 1.5, declared.type.shape)
    for own, array in moved.items():
        moved[own] = array * rng.choice([-1.0, 1.0], array.shape)
    for own, array in inputs.items():
        (moved if array.dtype.kind == "f" else fixed)[own] = array
    targets = {own: array for own, array in arrays.items() if own not in inputs}

    def function(*values: Any) -> Any:
        named = {own: as_array(_wide(array)) for own, array in fixed.items()} | dict(zip(moved, values))
        given = {own: named[own] for own in inputs}
        traced = trace(made, given, lambda own, *_: named[own], named[KEY], True)
        if traced.problems:
            raise SpecError("; ".join(map(str, traced.problems)))
        if kind == "layer":
            return _one([traced.values[own] for own in made.outputs])
        streams = named | {own: as_array(_wide(array)) for own, array in targets.items()}
        return _one([_weighted(*samples_of(node, traced, streams)) for node in made.losses])

    return Case("example", function, tuple(map(_wide, moved.values())))


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _weighted(values: Any, weights: Any | None) -> Any:
    return values if weights is None else select(weights > 0, values * weights, 0.0)


def _one(values: list[Any]) -> Any:
    return values[0] if len(values) == 1 else concatenate([flatten(v) for v in values])
