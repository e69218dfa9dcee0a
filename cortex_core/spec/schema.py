"""The JSON schema (draft 2020-12) of a description, from the same dataclasses that validate it.

Editors complete and check with it while one types.  It knows each layer by itself; what depends on other
parts (ids, shapes, the names of blocks and of their parameters) is for ``cortex check``.
"""

from __future__ import annotations

import copy
from typing import Any

from cortex_compute.types import DTYPES
from cortex_core.registry import (
    AUGMENTATIONS,
    CONSTRAINTS,
    INITIALIZERS,
    LAYERS,
    LOSSES,
    METRICS,
    OPTIMIZERS,
    READERS,
    SCHEDULES,
    SPLITS,
    STREAMS,
    Named,
    Registry,
    fields_of,
    fields_schema,
)
from cortex_core.registry.named import load_plugins
from cortex_core.registry.sources import StreamKind
from cortex_core.spec.blocks import COMMON
from cortex_core.spec.expand import Identifier
from cortex_core.spec.sections import LOSS_FIELDS, METRIC_FIELDS, VERSION, InputShape, NameKind
from cortex_core.spec.train import TrainOptions

Schema = dict[str, Any]

_ID = Identifier().schema()
_PARAMETER = {"type": "string", "pattern": r"^\$"}
_REAL = {"type": "number", "minimum": 0}
_PENALTY = {"type": "object", "properties": {"l1": _REAL, "l2": _REAL}, "additionalProperties": False}


def schema() -> Schema:
    """The JSON schema of a description, with all that is registered here or by installed packages."""
    for group in dict.fromkeys(registry.group for registry in (LAYERS, READERS, AUGMENTATIONS)):
        load_plugins(group)
    layers = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/layer"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Cortex description",
        "type": "object",
        "properties": {
            "cortex": {"const": VERSION, "description": "version of the format"},
            "name": NameKind().schema(),
            "inputs": _inputs(),
            "blocks": {"type": "object", "additionalProperties": _block()},
            "layers": {**layers, "description": "each takes the one before it, unless 'from' says otherwise"},
            "loss": _several("loss"),
            "outputs": {"anyOf": [_ID, {"type": "array", "minItems": 1, "items": _ID}]},
            "train": _train(),
        },
        "required": ["inputs", "layers"],
        "additionalProperties": False,
        "$defs": _definitions(),
    }


def _inputs() -> Schema:
    shape = InputShape().schema()
    full = {
        "type": "object",
        "properties": {"shape": shape, "dtype": {"enum": list(DTYPES)}},
        "required": ["shape"],
        "additionalProperties": False,
    }
    about = "names and shapes, without the batch axis"
    return {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"anyOf": [shape, full]},
        "description": about,
    }


def _block() -> Schema:
    layers = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/block_layer"}}
    names = {"type": "array", "items": {"type": "string"}}
    return {
        "type": "object",
        "properties": {"parameters": {"type": "object"}, "optional": names, "layers": layers},
        "required": ["layers"],
        "additionalProperties": False,
    }


def _train() -> Schema:
    return {"anyOf": [fields_schema(TrainOptions), {"type": "null"}]}


def _several(name: str) -> Schema:
    one = {"$ref": f"#/$defs/{name}"}
    many = {"type": "object", "minProperties": 1}
    return {"anyOf": [one, {"type": "array", "items": one}, many]}


def _definitions() -> Schema:
    """What is referred to: each family of named things, and layers inside blocks."""
    text = {"type": "string", "minLength": 1}
    common = {
        "id": _ID,
        "from": {"anyOf": [_ID, {"type": "array", "minItems": 1, "items": _ID}]},
        "trainable": {"type": "boolean"},
        "learning_rate": {**_REAL, "description": "multiplier of the learning rate"},
        "penalty": {"anyOf": [_PENALTY, {"type": "object", "additionalProperties": _PENALTY}]},
        "constraint": {"type": "object", "additionalProperties": Named(CONSTRAINTS, "constraint").schema()},
        "share": {"anyOf": [_ID, {"type": "object", "additionalProperties": text}]},
        "repeat": {"type": "integer", "minimum": 1},
        "loss": _several("loss"),
        "of": _ID,
        "target": StreamKind().schema(),
        "sample_weight": StreamKind().schema(),
        "weight": _REAL,
        "name": text,
    }
    refer = {name: {"$ref": f"#/$defs/common/{name}"} for name in common}
    of_layer = {name: refer[name] for name in COMMON}
    of_metric = {name: refer[name] for name in METRIC_FIELDS}
    of_loss = {name: refer[name] for name in LOSS_FIELDS}
    activations = [kind for kind, cls in LAYERS.items() if cls.is_activation]
    layer = _named(LAYERS, of_layer, list(LAYERS), others=of_layer)
    return {
        "common": common,
        "layer": layer,
        "block_layer": {"anyOf": [_PARAMETER, _with_parameters(layer)]},
        "is_activation": _named(LAYERS, {}, activations),
        "loss": _named(LOSSES, of_loss, list(LOSSES)),
        "stream": _named(STREAMS, {}, list(STREAMS)),
        "constraint": _named(CONSTRAINTS, {}, list(CONSTRAINTS)),
        "metric": _named(METRICS, of_metric, list(METRICS)),
        "metrics": _several("metric"),
        "optimizer": _named(OPTIMIZERS, {}, list(OPTIMIZERS)),
        "schedule": _named(SCHEDULES, {}, list(SCHEDULES)),
        "split": _named(SPLITS, {}, list(SPLITS)),
        "reader": _named(READERS, {}, list(READERS)),
        "augmentation": _named(AUGMENTATIONS, {}, list(AUGMENTATIONS)),
        "initializer": _named(INITIALIZERS, {}, list(INITIALIZERS)),
    }


def _named(registry: Registry, common: Schema, kinds: list[str], others: Schema | None = None) -> Schema:
    """The four ways to write a thing of a family; ``others`` are what a block, of unknown name, may have."""
    bare = [kind for kind in kinds if not any(f.required for f in fields_of(registry[kind]).values())]
    names: Schema = {"enum": bare} if others is None else {"anyOf": [{"enum": bare}, {"type": "string"}]}
    properties = {kind: _arguments(registry[kind], common) for kind in kinds}
    block: Any = False if others is None else {"type": ["object", "null"], "properties": others}
    mapping = {
        "type": "object",
        "properties": properties,
        "additionalProperties": block,
        "minProperties": 1,
        "maxProperties": 1,
    }
    vector = {"type": "array", "minItems": 1, "maxItems": 3, "prefixItems": [{"type": "string"}]}
    return {"anyOf": [names, mapping, vector]}


def _arguments(cls: type[Any], common: Schema) -> Schema:
    """What stands behind the name: fields, the main argument, or nothing."""
    fields = fields_schema(cls)
    fields["properties"] = {**fields["properties"], **common}
    known = fields_of(cls)
    ways = [fields]
    main = known.get(cls.main) if cls.main else None
    if main is not None:
        ways.append(main.kind.schema())
    elif cls.main in common:
        ways.append(common[cls.main])
    if not any(f.required for f in known.values()):
        ways.append({"type": "null"})
    return {"description": (cls.__doc__ or "").split("\n")[0], "anyOf": ways}


def _with_parameters(layer: Schema) -> Schema:
    """The schema of a layer in a block, where any value may be ``$name``, or what is computed of such."""
    made = copy.deepcopy(layer)
    mapping = made["anyOf"][1]
    for arguments in mapping["properties"].values():
        fields, *others = arguments["anyOf"]
        fields["properties"] = {name: _open(inner) for name, inner in fields["properties"].items()}
        arguments["anyOf"] = [fields, *map(_inside, others), _PARAMETER]
    block = mapping["additionalProperties"]
    block["properties"] = {name: _open(inner) for name, inner in block["properties"].items()}
    return made


def _open(value: Schema) -> Schema:
    """The schema of a value that may be ``$name``, as may each item where it is a list."""
    return {"anyOf": [_PARAMETER, _inside(value)]}


def _inside(value: Schema) -> Schema:
    made = dict(value)
    if "items" in made:
        made["items"] = _open(made["items"])
    if "anyOf" in made:
        made["anyOf"] = [_inside(way) for way in made["anyOf"]]
    return made
