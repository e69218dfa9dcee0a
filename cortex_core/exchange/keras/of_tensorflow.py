"""What `x + 3.0` and calls of single functions become in a file of tf.keras: operations without weights.

It writes them as TFOpLambda with the name of a function, its first versions as TensorFlowOpLayer with a node
of TensorFlow's graph.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from cortex_core.exchange.build import Unfit
from cortex_core.exchange.keras import products, rearranging, reductions, repeating, slicing, truths
from cortex_core.exchange.keras.arithmetic import Operation, translated
from cortex_core.exchange.keras.at import At, Result, translates
from cortex_core.exchange.keras.functions import operands, options

FILLED_BY = (products, rearranging, reductions, repeating, slicing, truths)
"""These register what becomes of functions, beside `arithmetic`: a layer here may be any of them."""

OF_TYPES = (
    *("T", "Tidx", "SrcT", "N", "Tmultiples", "Tpaddings", "Tparams", "Tindices", "Taxis", "Tshift", "Tlen"),
    *("Tdim", "Tshape", "Tperm"),
)
"""Attributes of nodes that tell of the types and of the number of operands."""

NAMED: dict[str, tuple[str, ...]] = {
    "GatherV2": ("", "indices", "axis"),
    "PadV2": ("", "paddings", "constant_values"),
    "Roll": ("", "shift", "axis"),
    "Split": ("axis", ""),
    "SplitV": ("", "num_or_size_splits", "axis"),
}
"""Operands of nodes that a function has under a name; the empty one is that of the value."""


@translates("TFOpLambda")
def function_of_tensorflow(at: At) -> Result:
    return translated(Operation(at, str(at.get("function")), operands(at), options(at)))


@translates("TensorFlowOpLayer")
def node_of_tensorflow(at: At) -> Result:
    """``constants`` are operands by their places among all."""
    node = at.get("node_def")
    if not isinstance(node, Mapping) or "op" not in node:
        raise Unfit("its node_def is text, which is not read")
    values, constants = operands(at), at.get("constants", None) or {}
    places = [str(place) for place in range(len(values) + len(constants))]
    if not isinstance(constants, Mapping) or not {str(key) for key in constants} <= {*places}:
        raise Unfit(f"its constants are {constants!r:.60}; expected operands by their places: {places}")
    told = {str(key): value for key, value in constants.items()}
    ordered = [told[place] if place in told else values.pop(0) for place in places]
    names = NAMED.get(str(node["op"]), ("",) * len(ordered))
    if len(names) != len(ordered):
        raise Unfit(f"{node['op']} of {len(ordered)} operands; expected {len(names)}")
    by_name = {name: x for name, x in zip(names, ordered) if name}
    unnamed = [x for name, x in zip(names, ordered) if not name]
    return translated(Operation(at, str(node["op"]), unnamed, by_name | _of_node(node.get("attr") or {})))


def _of_node(attributes: Any) -> dict[str, Any]:
    """The attributes of a node, which stand as ``{"keep_dims": {"b": true}}``."""
    if not isinstance(attributes, Mapping):
        raise Unfit(f"its attributes are {attributes!r:.60}; expected a mapping")
    told = {key: x for key, x in attributes.items() if key not in OF_TYPES and not key.startswith("_")}
    return {key: _attribute(x) for key, x in told.items()}


def _attribute(said: Mapping[str, Any]) -> Any:
    """A flag, a number, a name, or a list of them; text is in base64, and whole numbers are text."""
    ((kind, value),) = said.items()
    if kind == "list":
        return [_attribute({inner: x}) for inner, items in value.items() for x in items]
    if kind == "s":
        return base64.b64decode(value).decode()
    return int(value) if kind == "i" else value
