"""What a file says of the training of a model: losses, the optimiser, penalties and constraints.

What our language cannot say changes no prediction: it is told in a note, and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from reprlib import repr as shown
from typing import TYPE_CHECKING, Any

from cortex_core.exchange.keras.losses import losses_of
from cortex_core.exchange.keras.methods import train_of
from cortex_core.exchange.keras.metrics import metrics_of
from cortex_core.exchange.keras.model import File
from cortex_core.exchange.keras.said import Config, Unsaid, named, number, short

if TYPE_CHECKING:
    from cortex_core.exchange.keras.at import At
    from cortex_core.exchange.keras.convert import Converted

ALIASES = {
    "scale": "gamma",
    "shift": "beta",
    "table": "embeddings",
    "slope": "alpha",
    "recurrent_kernel": "recurrent",
    "recurrent_bias": "bias",
    "depthwise_kernel": "depthwise",
    "pointwise_kernel": "pointwise",
}
"""What Keras calls a weight in its configurations, where that is not our name."""
PROJECTED = ("MultiHeadAttention", "GroupQueryAttention", "GroupedQueryAttention")
PROJECTIONS = {f"{part}_{w}": w for part in ("query", "key", "value", "output") for w in ("kernel", "bias")}
OURS = {
    "DepthwiseConv1D": {"kernel": "depthwise"},
    "DepthwiseConv2D": {"kernel": "depthwise"},
    **dict.fromkeys(PROJECTED, PROJECTIONS),
}
REGULARIZERS = ("l1", "l2", "l1l2", "l1l2regularizer", "weightregularizer")


# Penalties and constraints


def penalty(at: At, weight: str) -> Any:
    """What a penalty of a description says for the regularizer of a weight; None where there is none."""
    return _imported(at, weight, "regularizer", _penalty)


def constraint(at: At, weight: str) -> Any:
    """What a constraint of a description says for that of a weight; None where there is none."""
    return _imported(at, weight, "constraint", lambda name, config: _constraint(name, config, at, weight))


def _imported(at: At, weight: str, what: str, made: Callable[[str, Config], Any]) -> Any:
    """What is made of a regularizer or constraint; None, and a note, where nothing can be."""
    said = _said(at, weight, what)
    if not said:
        return None
    name, config = named(said)
    try:
        return made(short(name or ""), config)
    except Unsaid as why:
        told = f"the {what} {shown(name or said)} of {weight} is not imported"
        at.notes.append(f"{at.path}: {told}{f': {why}' if str(why) else ''}")
        return None


def _penalty(name: str, config: Config) -> Any:
    if name not in REGULARIZERS:
        raise Unsaid
    sizes = {key: config.get(key, 0.01 if key in name else 0.0) for key in ("l1", "l2")}
    found = {key: number(size, key) for key, size in sizes.items() if size}
    if min(found.values(), default=0) < 0:
        raise Unsaid("it rewards what is large")
    return found or None


def _constraint(name: str, config: Config, at: At, weight: str) -> Any:
    if name == "nonneg":
        return "non_negative"
    if name not in ("maxnorm", "unitnorm"):
        raise Unsaid
    if not _over_all(config.get("axis", 0), at, weight):
        raise Unsaid("its norm is over other axes than here")
    if name == "unitnorm":
        return "unit_norm"
    return {"max_norm": number(config.get("max_value", config.get("m", 2.0)), "its largest norm", above=0)}


def _said(at: At, weight: str, what: str) -> Any:
    """What the configuration says of a regularizer or constraint; a wrapper's layer has it."""
    config: Config = at.layer.config
    kind = at.kind
    while isinstance(inner := config.get("layer"), Mapping) and isinstance(inner.get("config"), Mapping):
        kind, config = str(inner.get("class_name")), inner["config"]
    bare = weight.removeprefix("forward_").removeprefix("backward_")
    key = f"{OURS.get(kind, {}).get(bare) or ALIASES.get(bare, bare)}_{what}"
    at.penalised.add(key)
    return config.get(key)


def _over_all(axis: Any, at: At, weight: str) -> bool:
    """Whether a norm is over all that leads to a unit, as ours: over all axes but the last, or a vector's.

    Heads have an axis of their own in Keras, and so has each place of a locally connected layer.
    """
    if at.kind in PROJECTED or at.kind.startswith("LocallyConnected"):
        return False
    axes = axis if isinstance(axis, (list, tuple)) else [0 if axis is None else axis]
    spatial = sum(int(c) for c in at.kind if c.isdigit()) if "Conv" in at.kind and "kernel" in weight else 0
    return all(isinstance(n, int) for n in axes) and sorted(axes) == list(range(spatial + 1))


# What `compile` was given


def train_section(file: File, converted: Converted) -> tuple[list[dict[str, Any]], dict[str, Any]] | None:
    """The entries of ``loss`` and ``train`` of a description; None where the file says neither.

    Targets are called target, or where there are several outputs OUTPUT_target.
    """
    losses = list(losses_of(file, converted)) if file.training else []
    train = train_of(file.optimizer, converted.notes) if file.optimizer else {}
    train |= metrics_of(file, losses, converted)
    return (losses, train) if losses or train else None
