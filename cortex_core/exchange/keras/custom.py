"""Layers of classes that are not Keras's, or that hold code, as blocks that the user writes.

A block, in a file or as a dict, has the ``parameters`` and ``layers`` of a block of a description, and maybe
``weights``: which parameters the arrays of the Keras layer are, in its order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cortex_compute.errors import ArgumentError, CortexError, SpecError
from cortex_compute.frozen import frozen
from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras.at import At, Translator
from cortex_core.exchange.keras.classes import text
from cortex_core.exchange.keras.value import Value
from cortex_core.registry import data_of, sources_of

WEIGHTS = "weights"
FIELDS = ("layers", "parameters", "optional", WEIGHTS)
BLOCK, RESULT = "mapped", "result"
EXPECTED = "expected the YAML file of a block, such as one with the line 'layers: [silu]'"

Given = str | os.PathLike[str] | Mapping[str, Any]
"""A block as the user gives it: a file, or what would stand in it."""


@frozen
class Block:
    """What a block says, and for errors where it stands."""

    where: str
    data: Mapping[str, Any]


def translator(block: Block) -> Translator:
    """What puts a block in place of a layer.

    A parameter of the block has the value of the layer's field of the same name (of the ``arguments`` of a
    Lambda), else its default.  Without ``weights`` the arrays of the layer are the block's parameters as they
    stand in it.

    Example: ``{"layers": ["silu"]}`` stands for ``Lambda(lambda x: x * sigmoid(x))``.
    """
    wanted = block.data.get(WEIGHTS)
    body = {key: value for key, value in block.data.items() if key != WEIGHTS}

    def put(at: At) -> Value:
        given = at.several()
        if at.keyword("mask") is not None:
            at.notes.append(f"{at.path}: its mask is not handed to the block")
        try:
            description = _expanded(body, at, given)
            names = _declared(description) if wanted is None else wanted
            found = _put(at, description, given, dict(zip(names, at.arrays(*names))))
            at.finish()
        except (CortexError, Unfit) as error:
            raise Unfit(f"{block.where}: {error}") from None
        return found

    return put


def blocks(maps: Any) -> dict[str, Block]:
    """The blocks of `from_keras(maps=)`, by the names of layers.  Raises `ArgumentError` for what is no dict
    of them, and `SpecError` for a file or a dict that holds no block."""
    if not isinstance(maps, Mapping):
        raise ArgumentError(f"maps is {maps!r:.60}; expected a dict of blocks by the names of layers")
    return {name: block_of(name, given) for name, given in maps.items()}


def block_of(name: Any, given: Any) -> Block:
    """One block; ``given`` should be a `Given`."""
    if not isinstance(name, str):
        raise ArgumentError(f"maps has the name {name!r:.60}; expected the name or the class of a layer")
    if isinstance(given, Mapping):
        where = f"maps[{text(name)!r}]"
        data = _plain(where, given)
    elif isinstance(given, (str, os.PathLike)):
        where = os.fspath(given)
        data = _parsed(where)
    else:
        told = "expected the file of a block, or a dict such as {'layers': ['silu']}"
        raise ArgumentError(f"maps[{text(name)!r}] is {given!r:.60}; {told}")
    if not isinstance(data, dict) or "layers" not in data or data.keys() - set(FIELDS):
        raise SpecError(f"{where}: expected 'layers', and maybe {', '.join(FIELDS[1:])}")
    names = data.get(WEIGHTS, [])
    if not (isinstance(names, list) and all(isinstance(name, str) and "/" in name for name in names)):
        raise SpecError(f"{where}: {WEIGHTS}: expected a list of names such as dense/kernel")
    return Block(where, data)


def _parsed(path: str) -> Any:
    """What a YAML file says."""
    from cortex_core.spec.read import MAX_BYTES, parse
    from cortex_core.spec.tree import Problems

    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SpecError(f"{path}: {error.strerror or error}; {EXPECTED}") from None
    if b"\0" in content:
        raise SpecError(f"{path}: this is no text, but a binary file; {EXPECTED}")
    problems = Problems()
    node = parse(content, path, problems)
    if problems:
        raise SpecError("\n".join(map(str, problems.sorted())))
    return node.plain()


def _plain(where: str, given: Mapping[str, Any]) -> Any:
    """What a dict says, as it would stand in a file."""
    from cortex_core.spec.tree import Problems, from_python

    problems = Problems()
    data = from_python(given, problems).plain()
    if problems:
        raise SpecError("\n".join(f"{where}: {problem}" for problem in problems.sorted()))
    try:
        json.dumps(data)
    except TypeError as error:
        raise SpecError(f"{where}: {error}; expected numbers, text, lists and dicts") from None
    return data


def _expanded(block: Mapping[str, Any], at: At, given: Sequence[Value]) -> Any:
    """The description of the block alone, for a layer that is called with these values."""
    from cortex_core.spec import read

    inputs = {f"x{i}": {"shape": [*x.shape], "dtype": x.dtype} for i, x in enumerate(given)}
    use = {**_arguments(at, block.get("parameters") or {}), "id": BLOCK, "from": [*inputs]}
    layers = [{BLOCK: use}, {"linear": {"id": RESULT, "from": BLOCK}}]
    return read({"cortex": 1, "name": BLOCK, "inputs": inputs, "blocks": {BLOCK: block}, "layers": layers})


def _arguments(at: At, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the block that the configuration knows.  All of it counts as read: what else there
    is matters to the block's author alone."""
    fields = {key: at.get(key) for key in at.layer.config}
    arguments = fields.get("arguments")
    known = {**fields, **(arguments if isinstance(arguments, Mapping) else {})}
    return {name: known[name] for name in parameters if known.get(name) is not None}


def _declared(description: Any) -> list[str]:
    """The parameters of the block, ``ID/PARAMETER``."""
    from cortex_core.declared import declare

    found, traced = declare(description)
    if traced.problems:
        raise Unfit("; ".join(map(str, traced.problems)))
    return [name.removeprefix(f"{BLOCK}/") for name in found]


def _put(at: At, description: Any, given: Sequence[Value], weights: Mapping[str, np.ndarray]) -> Value:
    values = {f"x{i}": x for i, x in enumerate(given)}
    result = next(node.sources[0] for node in description.layers if node.id == RESULT)
    used: set[str] = set()
    for node in description.layers:
        if node.id == RESULT:
            continue
        if node.shared or node.penalties or node.constraints or not node.trainable:
            raise Unfit(f"{node.id}: a mapped block shares nothing, and has no penalties or constraints")
        inner = node.id.removeprefix(f"{BLOCK}/")
        own = {name.rpartition("/")[2]: x for name, x in weights.items() if name.rpartition("/")[0] == inner}
        used |= {f"{inner}/{name}" for name in own}
        part = "" if node.id == result else inner.replace("/", "_")
        sources = [_value(at, values, source) for source in node.positional]
        fields = _fields(node.layer, lambda source: _value(at, values, source).source)
        values[node.id] = at.put(node.kind, sources, part=part, weights=own, **fields)
    if weights.keys() - used:
        raise Unfit(f"the block has no parameters {', '.join(sorted(weights.keys() - used))}")
    return _value(at, values, result)


def _value(at: At, values: Mapping[str, Value], source: str) -> Value:
    """What a source of the block is: a value, or another result of a layer, such as ``embedding.mask``."""
    if source in values:
        return values[source]
    owner, _, output = source.rpartition(".")
    return at.beside(values[owner], output)


def _fields(layer: Any, called: Callable[[str], str]) -> dict[str, Any]:
    """The fields of a layer, with other names for the values that they name."""
    data: dict[str, Any] = data_of(layer)
    for path, found in sources_of(layer):
        holder = data
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = called(found) if isinstance(found, str) else [*map(called, found)]
    return data
