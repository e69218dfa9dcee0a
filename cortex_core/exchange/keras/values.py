"""What Keras writes as JSON objects becomes plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cortex_compute.errors import SpecError
from cortex_core.exchange.keras.classes import IS_CODE, VALUES, of_value, text
from cortex_core.exchange.keras.model import Out

MAX_DEPTH = 64
SLICE = ("start", "stop", "step")


def decoded(x: Any, faults: list[str], depth: int = 0) -> Any:
    """The value of a part of a configuration: lists for tuples and tensors, names for functions and types.

    What would be code is None, and ``faults`` says so; other objects stay as ``class_name`` and ``config``.
    """
    if depth > MAX_DEPTH:
        raise SpecError(f"the configuration nests deeper than {MAX_DEPTH} levels")
    if isinstance(x, (list, tuple)):
        return [decoded(item, faults, depth + 1) for item in x]
    if not isinstance(x, Mapping):
        return x
    if isinstance(x.get("class_name"), str):
        return _object(x, faults, depth + 1)
    inner = {str(key): decoded(value, faults, depth + 1) for key, value in x.items()}
    return slice(*(inner[part] for part in SLICE)) if inner.keys() == set(SLICE) else inner


def _object(x: Mapping[str, Any], faults: list[str], depth: int) -> Any:
    kind = x["class_name"]
    if kind in ("__tuple__", "TensorShape"):
        return decoded(x.get("items", []), faults, depth)
    if kind == "__lambda__":
        faults.append(IS_CODE)
        return None
    if kind == "function":
        return _function(x, faults)
    config = decoded(x.get("config", {}), faults, depth)
    if kind == "__ellipsis__":
        return ...
    if kind in ("__tensor__", "__numpy__", "__bytes__"):
        return _part(config, "value", kind)
    if isinstance(config, slice):
        return config
    if kind == "__keras_tensor__":
        return out(_part(config, "keras_history", kind))
    refused = of_value(x)
    if refused:
        faults.append(refused)
    if kind.removeprefix("Quantized").endswith(("DTypePolicy", "Policy", "PolicyV1")) and not refused:
        return _part(config, "name", kind)
    return {"class_name": kind, "config": config}


def _function(x: Mapping[str, Any], faults: list[str]) -> Any:
    """The name of a function of Keras; any other one is code."""
    name, module = x.get("config"), x.get("module")
    if isinstance(name, str) and isinstance(module, str) and VALUES.fullmatch(module):
        return name
    faults.append(f"it holds the function '{text(name)}' of '{text(module)}': code, which is never run")
    return None


def _part(config: Any, key: str, kind: str) -> Any:
    if not isinstance(config, Mapping) or key not in config:
        raise SpecError(f"a {kind} of the configuration has no '{key}'")
    return config[key]


def out(x: Any) -> Out:
    """What ``[layer, call, index]`` names."""
    if not (isinstance(x, list) and len(x) >= 3 and isinstance(x[0], str) and all(map(_counts, x[1:3]))):
        raise SpecError(f"{text(x)} names no value of a layer: expected a name and two whole numbers")
    return Out(x[0], x[1], x[2])


def _counts(x: Any) -> bool:
    return isinstance(x, int) and not isinstance(x, bool) and x >= 0
