"""How the layers of a graph are called: nodes, as Keras 1 and 2 and as Keras 3 write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.classes import text
from cortex_core.exchange.keras.model import Call, Layer, Out
from cortex_core.exchange.keras.order import taken
from cortex_core.exchange.keras.values import decoded, out

GRAPHS = ("Functional", "Model")
CONSTANT = "_CONSTANT_VALUE"
OF_CALLS = {"args", "kwargs"}
"""What a node of Keras 3 says.  One of tf.keras is a mapping where a layer is called with one."""


def called(node: Any, faults: list[str]) -> Call:
    """One call of a layer.  Raises `SpecError` for what is no node."""
    if isinstance(node, Mapping) and node.keys() <= OF_CALLS:
        args, keywords = decoded(node.get("args", []), faults), decoded(node.get("kwargs", {}), faults)
        if not isinstance(args, list) or not isinstance(keywords, dict):
            raise SpecError(f"{text(node)} is no call: expected a list of arguments and a mapping")
        keywords.pop("training", None)  # in Keras 3 whoever calls the model says whether it trains
    elif isinstance(node, (list, Mapping)):
        args, keywords = _of_list(decoded(node, faults))
    else:
        raise SpecError(f"{text(node)} is no call of a layer")
    if keywords.get("training") is True:
        faults.append("it is called with training=True, and would not predict as it was trained to")
    # What is not given is None: nothing is said by writing it.
    return Call(tuple(args), {key: value for key, value in keywords.items() if value is not None})


def references(x: Any) -> tuple[Out, ...]:
    """The values that ``input_layers`` or ``output_layers`` names, as Keras counts them."""
    return tuple(_references(decoded(x, [])))


def _references(x: Any) -> Iterator[Out]:
    if isinstance(x, Mapping):
        for _, inner in sorted(x.items()):
            yield from _references(inner)
    elif isinstance(x, list) and not (x and isinstance(x[0], str)):
        for inner in x:
            yield from _references(inner)
    else:
        yield out(x)


def from_zero(
    layers: Sequence[Layer], outputs: tuple[Out, ...], old: bool
) -> tuple[tuple[Layer, ...], tuple[Out, ...]]:
    """The same with calls of nested models counted from 0.

    Files of Keras 1 and 2 (``old``) count them from 1 where the model inside begins with an input; those of
    Keras 3 so count those of graphs among the outputs alone.
    """
    if not old:
        graphs = {layer.name for layer in layers if layer.model is not None and layer.kind in GRAPHS}
        return tuple(layers), tuple(_earlier(o, graphs) for o in outputs)
    named = [*outputs, *(o for layer in layers for call in layer.calls for o in taken(call))]
    last = {layer.name: len(layer.calls) for layer in layers if layer.model is not None}
    ahead = {o.layer for o in named if o.call >= last.get(o.layer, o.call + 1)}
    return tuple(_moved(layer, ahead) for layer in layers), tuple(_earlier(o, ahead) for o in outputs)


def _earlier(o: Out, ahead: set[str]) -> Out:
    return replace(o, call=o.call - 1) if o.layer in ahead else o


def _moved(layer: Layer, ahead: set[str]) -> Layer:
    def change(o: Out) -> Out:
        return _earlier(o, ahead)

    calls = (Call(_mapped(c.args, change), _mapped(c.keywords, change)) for c in layer.calls)
    return replace(layer, calls=tuple(calls)) if ahead else layer


def _mapped(x: Any, change: Callable[[Out], Out]) -> Any:
    if isinstance(x, Out):
        return change(x)
    if isinstance(x, Mapping):
        return {key: _mapped(inner, change) for key, inner in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(_mapped(inner, change) for inner in x)
    return x


# Keras 1 and 2


def _of_list(node: list[Any] | dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of ``[[layer, call, index, {keywords}], ...]``, each of which has all keywords.

    tf.keras writes some layers with a single value without the outer list, some values as constants, and
    among the keywords the other values.
    """
    keywords: dict[str, Any] = {}
    for leaf in _leaves(node):
        keywords |= leaf[3] if len(leaf) == 4 and isinstance(leaf[3], dict) else {}
    first = _revived(node)
    if isinstance(first, list) and len(first) == 1:
        first = first[0]
    return [first], {key: _revived(value) for key, value in keywords.items()}


def _is_leaf(x: Any) -> bool:
    if not (isinstance(x, list) and len(x) in (3, 4) and isinstance(x[0], str)):
        return False
    return type(x[1]) is int and (type(x[2]) is int or x[0] == CONSTANT)


def _leaves(x: Any) -> Iterator[list[Any]]:
    if _is_leaf(x):
        yield x
    elif isinstance(x, (list, Mapping)):
        for inner in x.values() if isinstance(x, Mapping) else x:
            yield from _leaves(inner)


def _revived(x: Any) -> Any:
    """The same with `Out`, or the constant, for each leaf."""
    if _is_leaf(x):
        return x[2] if x[0] == CONSTANT else out(x)
    if isinstance(x, Mapping):
        return {key: _revived(inner) for key, inner in x.items()}
    return [_revived(inner) for inner in x] if isinstance(x, list) else x
