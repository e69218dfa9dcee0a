"""What a file says of the training of a model: losses, the optimiser, penalties and constraints.

What our language cannot say changes no prediction: it is told in a note, and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cortex_core.exchange.keras.model import File, Optimizer

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
OURS = {"DepthwiseConv1D": {"kernel": "depthwise"}, "DepthwiseConv2D": {"kernel": "depthwise"}}
Config = Mapping[str, Any]


# Penalties and constraints


def penalty(at: At, weight: str) -> Any:
    """What a penalty of a description says for the regularizer of a weight; None where there is none."""
    name, config = _said(at, weight, "regularizer")
    if name is None:
        return None
    sizes = {key: config.get(key, 0.01 if key in _short(name) else 0.0) for key in ("l1", "l2")}
    if _short(name) not in ("l1", "l2", "l1l2", "l1l2regularizer", "weightregularizer"):
        at.notes.append(f"{at.path}: the regularizer {name!r:.60} of {weight} is not imported")
        return None
    found = {key: plain(size) for key, size in sizes.items() if size}
    return found or None


def constraint(at: At, weight: str) -> Any:
    """What a constraint of a description says for that of a weight; None where there is none."""
    name, config = _said(at, weight, "constraint")
    if name is None:
        return None
    value = config.get("max_value", config.get("m", 2.0))
    known = {"maxnorm": {"max_norm": plain(value)}, "unitnorm": "unit_norm", "nonneg": "non_negative"}
    found = known.get(_short(name))
    if found is None or (found != "non_negative" and not _over_all(config.get("axis", 0), at, weight)):
        at.notes.append(f"{at.path}: the constraint {name!r:.60} of {weight} is not imported")
        return None
    return found


def _said(at: At, weight: str, what: str) -> tuple[str | None, Config]:
    """The name and the numbers of a regularizer or constraint; a wrapper's layer has them."""
    config: Config = at.layer.config
    kind = at.kind
    while isinstance(inner := config.get("layer"), Mapping) and isinstance(inner.get("config"), Mapping):
        kind, config = str(inner.get("class_name")), inner["config"]
    bare = weight.removeprefix("forward_").removeprefix("backward_")
    said = config.get(f"{OURS.get(kind, {}).get(bare) or ALIASES.get(bare, bare)}_{what}")
    return _named(said)


def _named(said: Any) -> tuple[str | None, Config]:
    """The class and the configuration of what stands in a file as a name, or as both."""
    if not isinstance(said, Mapping):
        return (said if isinstance(said, str) else None), {}
    inner = said.get("config")
    name = said.get("class_name") or said.get("name")
    if isinstance(inner, str):  # a function: {"class_name": "function", "config": its name}
        return inner, {}
    return (str(name) if name else None), inner if isinstance(inner, Mapping) else said


def plain(x: float) -> float:
    """The shortest number that is the same in float32, as which files have many: 0.01 of 0.00999999978."""
    return float(str(np.float32(x))) if float(np.float32(x)) == x else float(x)


def _short(name: str) -> str:
    return name.rpartition(">")[2].replace("_", "").lower()


def _over_all(axis: Any, at: At, weight: str) -> bool:
    """Whether a norm is over all that leads to a unit, as ours: over all axes but the last, or a vector's."""
    axes = [axis] if isinstance(axis, int) else [*(axis or ())]
    spatial = sum(int(c) for c in at.kind if c.isdigit()) if "Conv" in at.kind and "kernel" in weight else 0
    return sorted(axes) == list(range(spatial + 1))


# Losses and optimisers


def train_section(file: File, converted: Converted) -> tuple[list[dict[str, Any]], dict[str, Any]] | None:
    """The entries of ``loss`` and ``train`` of a description; None where the file says neither.

    Targets are called target, or where there are several outputs OUTPUT_target.
    """
    losses = list(_losses(file, converted)) if file.training else []
    train = _train(file.optimizer, converted.notes) if file.optimizer else {}
    return (losses, train) if losses or train else None


def _losses(file: File, converted: Converted) -> Iterator[dict[str, Any]]:
    assert file.training is not None
    names = [out.layer for out in file.model.outputs]
    given = _of_each(file.training.get("loss"), names)
    weights = _of_each(file.training.get("loss_weights"), names)
    for name, value, said, weight in zip(names, converted.outputs, given, weights):
        if said is None:
            continue
        found = None if value.moved else _loss(said, _ending(converted, value.source))
        if found is None:
            converted.notes.append(f"the loss {_named(said)[0] or said!r:.60} of {name} is not imported")
            continue
        kind, fields = found
        target = "target" if len(names) == 1 else f"{value.source}_target"
        also = {} if weight is None else {"weight": float(weight)}
        yield {kind: {"of": value.source, "target": target, **fields, **also}}


def _of_each(said: Any, names: Sequence[str]) -> list[Any]:
    """What is said of each output: by name, in order, or of all."""
    if isinstance(said, Mapping) and "class_name" not in said:
        return [said.get(name) for name in names]
    if isinstance(said, (list, tuple)):
        return [*said, *[None] * len(names)][: len(names)]
    return [said] * len(names)


def _ending(converted: Converted, source: str) -> str:
    """The activation that a value of the description ends in: its name, or the kind of its layer."""
    for entry in reversed(converted.builder.layers):
        ((kind, fields),) = entry.items()
        if fields["id"] == source:
            last = fields.get("activation")
            return str(next(iter(last)) if isinstance(last, Mapping) else last or kind)
    return ""


Loss = tuple[str, dict[str, Any]]


def _classes(kind: str) -> Callable[[Config, str], Loss | None]:
    """A loss that takes the logits of a node that ends in softmax."""

    def made(config: Config, ending: str) -> Loss | None:
        if ending != "softmax" and not config.get("from_logits"):
            return None
        smoothing = config.get("label_smoothing") or 0.0
        return kind, {"label_smoothing": float(smoothing)} if smoothing else {}

    return made


def _chances(config: Config, ending: str) -> Loss | None:
    logits = bool(config.get("from_logits"))
    if logits == (ending in ("sigmoid", "hard_sigmoid", "softmax")):
        return None
    smoothing = config.get("label_smoothing") or 0.0
    return "binary_cross_entropy", {
        **({"from_logits": True} if logits else {}),
        **({"label_smoothing": float(smoothing)} if smoothing else {}),
    }


LOSSES: dict[str, Callable[[Config, str], Loss | None]] = {
    "categoricalcrossentropy": _classes("softmax_cross_entropy"),
    "sparsecategoricalcrossentropy": _classes("softmax_cross_entropy"),
    "kullbackleiblerdivergence": lambda config, ending: (
        ("kl_divergence", {}) if ending == "softmax" else None
    ),
    "binarycrossentropy": _chances,
    "meansquarederror": lambda config, ending: ("mse", {}),
    "meanabsoluteerror": lambda config, ending: ("mae", {}),
    "huber": lambda config, ending: ("huber", {"delta": float(config.get("delta", 1.0))}),
    "hinge": lambda config, ending: ("hinge", {}),
}
SHORT = {
    "mse": "meansquarederror",
    "mae": "meanabsoluteerror",
    "kld": "kullbackleiblerdivergence",
    "kldivergence": "kullbackleiblerdivergence",
    "huberloss": "huber",
}


def _loss(said: Any, ending: str) -> Loss | None:
    name, config = _named(said)
    short = _short(name or "")
    made = LOSSES.get(SHORT.get(short, short))
    return made(config, ending) if made else None


OPTIMIZERS: dict[str, tuple[str, dict[str, str]]] = {
    "sgd": ("sgd", {"momentum": "momentum", "nesterov": "nesterov"}),
    "adam": ("adam", {"beta_1": "beta1", "beta_2": "beta2", "epsilon": "epsilon", "amsgrad": "amsgrad"}),
    "adamw": ("adamw", {"beta_1": "beta1", "beta_2": "beta2", "epsilon": "epsilon", "amsgrad": "amsgrad"}),
    "rmsprop": (
        "rmsprop",
        {"rho": "rho", "momentum": "momentum", "centered": "centered", "epsilon": "epsilon"},
    ),
    "adagrad": ("adagrad", {"epsilon": "epsilon", "initial_accumulator_value": "initial_accumulator_value"}),
    "adadelta": ("adadelta", {"rho": "rho", "epsilon": "epsilon"}),
    "lion": ("lion", {"beta_1": "beta1", "beta_2": "beta2"}),
}
"""Our optimiser for one of Keras, and our fields for its."""
DECAYS = ("adamw", "lion")
"""Their decay of weights is beside the gradient, as that of all optimisers of Keras."""


def optimizer_name(kind: str) -> str:
    """Our name of one of Keras's optimisers; empty where there is none."""
    return OPTIMIZERS.get(_short(kind), ("", {}))[0]


def rate(optimizer: Optimizer) -> float:
    """The learning rate, that of the first step where it follows a schedule."""
    said = optimizer.config.get("learning_rate", optimizer.config.get("lr", 0.001))
    config = _named(said)[1] if isinstance(said, Mapping) else {}
    found = config.get("initial_learning_rate", 0.001) if isinstance(said, Mapping) else said
    return plain(found) if isinstance(found, (int, float)) else 0.001


def _train(optimizer: Optimizer, notes: list[str]) -> dict[str, Any]:
    config, short = optimizer.config, _short(optimizer.kind)
    if short not in OPTIMIZERS:
        notes.append(f"the optimizer {optimizer.kind!r:.60} is not imported")
        return {}
    kind, fields = OPTIMIZERS[short]
    given = {ours: config[theirs] for theirs, ours in fields.items() if config.get(theirs) is not None}
    told = {key: plain(x) if isinstance(x, float) else x for key, x in given.items()}
    if kind == "rmsprop" and "epsilon" in told:
        told["epsilon"] = float(told["epsilon"]) ** 0.5
        notes.append("rmsprop: epsilon stands beside the root here, in Keras inside it")
    if kind == "sgd" and not told.get("momentum"):
        told.pop("nesterov", None)
    if config.get("weight_decay") and kind in DECAYS:
        told["weight_decay"] = config["weight_decay"]
    clips = {"clip_norm": config.get("global_clipnorm"), "clip_value": config.get("clipvalue")}
    for unsaid in _unsaid(config, kind):
        notes.append(f"the optimizer's {unsaid} is not imported")
    return {
        "optimizer": {kind: {"learning_rate": rate(optimizer), **told}},
        **{key: float(limit) for key, limit in clips.items() if limit},
    }


def _unsaid(config: Config, kind: str) -> Iterator[str]:
    if isinstance(config.get("learning_rate"), Mapping):
        yield "schedule of the learning rate"
    if config.get("decay"):
        yield f"decay of the learning rate ({config['decay']:g} a step)"
    if config.get("clipnorm"):
        yield "clipnorm, of each weight by itself,"
    if config.get("weight_decay") and kind not in DECAYS:
        yield "decay of weights beside the gradient"
    if config.get("use_ema"):
        yield "moving average of weights"
