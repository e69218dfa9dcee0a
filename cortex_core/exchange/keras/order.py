"""The order in which the layers of a model are called."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import Any

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.classes import text
from cortex_core.exchange.keras.model import Call, Layer, Model, Out

INPUT = "InputLayer"
Step = tuple[int, int]  # the place of a layer in its model, and which of its calls


def steps(model: Model) -> list[tuple[Layer, int]]:
    """Each call of each layer, behind what it takes; else as the file lists the layers.

    A layer is called in the order of its calls.  Raises `SpecError` where calls take each other's values.
    """
    waits, followers = _edges(model)
    ready = [step for step, count in waits.items() if not count]
    heapq.heapify(ready)
    found: list[tuple[Layer, int]] = []
    while ready:
        step = heapq.heappop(ready)
        found.append((model.layers[step[0]], step[1]))
        for other in followers.get(step, ()):
            waits[other] -= 1
            if not waits[other]:
                heapq.heappush(ready, other)
    if len(found) < len(waits):
        left = dict.fromkeys(model.layers[place].name for (place, _), count in waits.items() if count)
        raise SpecError(f"{model.name}: the layers {', '.join(left)} take each other's values in a circle")
    return found


def outs(x: Any) -> Iterator[Out]:
    """The values that arguments name."""
    if isinstance(x, Out):
        yield x
    elif isinstance(x, Mapping):
        for inner in x.values():
            yield from outs(inner)
    elif isinstance(x, (list, tuple)):
        for inner in x:
            yield from outs(inner)


def taken(call: Call) -> Iterator[Out]:
    """The values that a call takes."""
    yield from outs(call.args)
    yield from outs(call.keywords)


def _edges(model: Model) -> tuple[dict[Step, int], dict[Step, list[Step]]]:
    """Of how many others each call waits, and which calls wait for it."""
    places = _places(model)
    waits: dict[Step, int] = {}
    followers: dict[Step, list[Step]] = {}
    for place, layer in enumerate(model.layers):
        for number, call in enumerate(layer.calls):
            needed = {(places[o.layer], o.call) for o in taken(call) if _is_called(model, places, o)}
            needed |= {(place, number - 1)} if number else set()
            waits[place, number] = len(needed)
            for step in needed:
                followers.setdefault(step, []).append((place, number))
    return waits, followers


def _is_called(model: Model, places: Mapping[str, int], out: Out) -> bool:
    """Whether a call makes the value: an input is there already."""
    return out.layer in places and out.call < len(model.layers[places[out.layer]].calls)


def _places(model: Model) -> dict[str, int]:
    return {layer.name: place for place, layer in enumerate(model.layers)}


def check(model: Model, place: str) -> None:
    """Raises `SpecError` for a graph that cannot be: names of no layer, values of no call, circles."""
    places = _places(model)
    if len(places) < len(model.layers):
        twice = next(x.name for i, x in enumerate(model.layers) if places[x.name] != i)
        raise SpecError(f"{place}: two layers have the name '{twice}'")
    for out in model.inputs:
        if out.layer in places and model.layers[places[out.layer]].kind != INPUT:
            raise SpecError(f"{place}: its input '{out.layer}' is no {INPUT}")
    if not model.inputs or not model.outputs:
        raise SpecError(f"{place}: the model has no {'outputs' if model.inputs else 'inputs'}")
    if len(set(model.inputs)) < len(model.inputs):
        raise SpecError(f"{place}: an input is there twice")
    inputs = frozenset(model.inputs)
    for out in (*model.inputs, *model.outputs):
        if out not in inputs or out.layer not in places:
            _check_out(model, places, out, place)
    for layer in model.layers:
        for call in layer.calls:
            for out in taken(call):
                if out not in inputs:
                    _check_out(model, places, out, f"{place}/{layer.name}")
    steps(model)


def _check_out(model: Model, places: Mapping[str, int], out: Out, place: str) -> None:
    if out.layer not in places:
        raise SpecError(f"{place}: there is no layer '{text(out.layer)}'")
    if out.call < 0 or not _is_called(model, places, out):
        calls = len(model.layers[places[out.layer]].calls)
        raise SpecError(f"{place}: takes call {out.call} of '{out.layer}', which has {calls}")


def count(model: Model) -> int:
    """How many layers are called, nested models and what they hold each time."""
    return sum(len(x.calls) * (1 + (count(x.model) if x.model is not None else 0)) for x in model.layers)
