"""Which names of classes and modules are Keras's own.  They are compared; nothing is ever imported."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

PACKAGES = r"(?:keras|tf_keras|keras_core|tensorflow\.keras|tensorflow\.python\.keras)(?:\.src)?"
WITH_LAYERS = r"layers|models|engine|ops|activations|applications|legacy"
WITH_VALUES = (
    r"constraints|dtype_policies|initializers|losses|metrics|mixed_precision|optimizers|quantizers"
    r"|random|regularizers"
)
LAYERS = re.compile(rf"{PACKAGES}(?:\.(?:{WITH_LAYERS})(?:\.\w+)*)?", re.ASCII)
OF_TENSORFLOW = r"tensorflow\.python\.ops\.init_ops_v2"  # of initializers, in the EfficientNetV2 of tf.keras
VALUES = re.compile(rf"{PACKAGES}(?:\.(?:{WITH_LAYERS}|{WITH_VALUES})(?:\.\w+)*)?|{OF_TENSORFLOW}", re.ASCII)
OPERATIONS = re.compile(rf"{PACKAGES}\.(?:ops|activations)(?:\.\w+)*", re.ASCII)

CODE = "Lambda"
UNTOLD = re.compile(r"SpatialDropout[123]D")
"""Layers whose configuration does not say whether they are trainable, as those of all others do."""
IS_CODE = "it holds code of Python, which is never run"
OPERATION = "ops."
"""Stands before the class of an operation: `Add` is a layer, `ops.Add` what ``x + 3.0`` makes."""


def judged(data: Mapping[str, Any]) -> tuple[str, str]:
    """The kind of a layer, and why it is refused: empty where its class is one of Keras's, or may be.

    Files of Keras 1 and 2 name a class alone.  One that is not known is for those who look it up.
    """
    kind = text(data.get("class_name"))
    if kind == CODE:
        return kind, IS_CODE
    if "module" not in data:
        return (OPERATION + kind if _is_operation(data) else kind), ""
    module, registered = data["module"], data.get("registered_name")
    if registered not in (None, kind):
        return text(registered), f"it is of a custom class, registered as '{text(registered)}'"
    if module is None:
        return kind, "it is of a custom class"
    if not (isinstance(module, str) and LAYERS.fullmatch(module)):
        return kind, foreign(module)
    return (OPERATION + kind if OPERATIONS.fullmatch(module) else kind), ""


def of_value(data: Mapping[str, Any]) -> str:
    """Why an object in a configuration is refused, such as an initializer; empty where it is not."""
    kind, module, registered = text(data.get("class_name")), data.get("module"), data.get("registered_name")
    if registered not in (None, kind):
        return f"it holds a custom object, registered as '{text(registered)}'"
    if "module" in data and not (isinstance(module, str) and VALUES.fullmatch(module)):
        return f"its {kind} is not Keras's: {foreign(module)}"
    return ""


def foreign(module: Any) -> str:
    return f"its module '{text(module)}' is none of Keras's, and is not imported"


def text(x: Any) -> str:
    """A name out of a file, fit to be shown: on one line, and of 200 characters at most."""
    shown = x if isinstance(x, str) else repr(x)
    shown = shown if shown.isprintable() else ascii(shown)
    return shown if len(shown) <= 200 else f"{shown[:197]}..."


def _is_operation(data: Mapping[str, Any]) -> bool:
    """HDF5 files of Keras 3 name no module; but a layer says whether it is trainable."""
    nodes, config = data.get("inbound_nodes"), data.get("config")
    called = isinstance(nodes, list) and bool(nodes) and isinstance(nodes[0], Mapping)
    untold = isinstance(config, Mapping) and "trainable" not in config and "layers" not in config
    return called and untold and not UNTOLD.fullmatch(text(data.get("class_name")))
