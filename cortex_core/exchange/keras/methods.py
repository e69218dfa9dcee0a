"""The optimiser of a file, as the section ``train`` of a description."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from reprlib import repr as shown
from typing import Any

from cortex_compute.frozen import frozen
from cortex_core.exchange.keras.model import Optimizer
from cortex_core.exchange.keras.said import Config, Unsaid, flag, named, number, short
from cortex_core.exchange.keras.schedules import base_of, like
from cortex_core.registry import OPTIMIZERS, fields_of


@frozen
class Method:
    """Our optimiser for one of Keras: its kind, Keras's rate where a file says none, and by Keras's name of a
    field ours, with Keras's default."""

    kind: str
    rate: float
    fields: Mapping[str, tuple[str, Any]]


EPSILON = {"epsilon": ("epsilon", 1e-7)}
BETAS = {"beta_1": ("beta1", 0.9), "beta_2": ("beta2", 0.999)}
ADAM = BETAS | EPSILON | {"amsgrad": ("amsgrad", False)}
METHODS = {
    "sgd": Method("sgd", 0.01, {"momentum": ("momentum", 0.0), "nesterov": ("nesterov", False)}),
    "adam": Method("adam", 0.001, ADAM),
    "adamw": Method("adamw", 0.001, ADAM | {"weight_decay": ("weight_decay", 0.004)}),
    "adamax": Method("adamax", 0.001, BETAS | EPSILON),
    "nadam": Method("nadam", 0.001, BETAS | EPSILON | {"schedule_decay": ("momentum_decay", 1.0)}),
    "rmsprop": Method(
        "rmsprop",
        0.001,
        EPSILON | {"rho": ("rho", 0.9), "momentum": ("momentum", 0.0), "centered": ("centered", False)},
    ),
    "adagrad": Method(
        "adagrad", 0.001, EPSILON | {"initial_accumulator_value": ("initial_accumulator_value", 0.1)}
    ),
    "adadelta": Method("adadelta", 0.001, EPSILON | {"rho": ("rho", 0.95)}),
    "lion": Method(
        "lion",
        0.001,
        {"beta_1": ("beta1", 0.9), "beta_2": ("beta2", 0.99), "weight_decay": ("weight_decay", 0.0)},
    ),
}
NEAREST = {
    "ftrl": "adagrad",
    "adafactor": "adam",
    "lamb": "adamw",
    "muon": "adamw",
    "schedulefreeadamw": "adamw",
}
"""What stands for those that we do not have."""
BESIDE = ("adamw", "lion")
"""Whose decay of weights is beside the gradient here, as that of all optimisers of Keras is."""


def method_name(kind: str) -> str:
    """Our name of one of Keras's optimisers; empty where there is none."""
    found = METHODS.get(short(kind))
    return found.kind if found else ""


def train_of(optimizer: Optimizer, notes: list[str]) -> dict[str, Any]:
    """The section ``train``; what cannot be said is told in a note."""
    kind, config = short(optimizer.kind), optimizer.config
    if kind == "lossscaleoptimizer":
        notes.append("the optimizer's scale of the loss is not imported: in float32 there is no need for one")
        kind, config = _inner(config)
    method = METHODS.get(kind)
    if method is None:
        method = METHODS.get(NEAREST.get(kind, ""))
        stands = f": {method.kind} stands in its place, with its rate" if method else ""
        notes.append(f"the optimizer {shown(optimizer.kind)} is not imported{stands}")
        if method is None:
            return {}
        return {"optimizer": {method.kind: {"learning_rate": _rate(config, method.rate, notes)}}}
    notes += (f"the optimizer's {unsaid} is not imported" for unsaid in _unsaid(config, method.kind))
    fields = _fields(method, config, notes)
    known = fields_of(OPTIMIZERS[method.kind])
    told = {key: x for key, x in fields.items() if x != known[key].default}
    clips = {"clip_norm": "global_clipnorm", "clip_value": "clipvalue"}
    found = {ours: _read(number, config, theirs, None, notes, above=0) for ours, theirs in clips.items()}
    return {
        "optimizer": {method.kind: {"learning_rate": _rate(config, method.rate, notes), **told}},
        **{key: limit for key, limit in found.items() if limit is not None},
    }


def _inner(config: Config) -> tuple[str, Config]:
    """The optimiser that one wraps."""
    name, inner = named(config.get("inner_optimizer") or config.get("optimizer"))
    return short(name or ""), inner


def _fields(method: Method, config: Config, notes: list[str]) -> dict[str, Any]:
    found = {}
    for theirs, (ours, default) in method.fields.items():
        read = flag if isinstance(default, bool) else number
        found[ours] = _read(read, config, theirs, default, notes)
    if method.kind == "sgd" and not found["momentum"]:
        found.pop("nesterov")
    if method.kind == "nadam" and "schedule_decay" not in config and is_old(config):
        found["momentum_decay"] = _read(number, config, "decay", 0.004, notes)
    if method.kind == "adagrad" and "initial_accumulator_value" not in config and is_old(config):
        found["initial_accumulator_value"] = 0.0
    return found | _place_of_epsilon(found, method.kind, is_old(config))


def _place_of_epsilon(fields: Mapping[str, Any], kind: str, old: bool) -> dict[str, bool]:
    """Where epsilon stands where that is not our default: old RMSprop had it inside with a momentum alone."""
    if kind in ("adam", "adamw"):
        return {"epsilon_hat": True}
    inside = (kind == "adagrad" and not old) or (kind == "rmsprop" and (not old or fields["momentum"] != 0))
    return {"epsilon_inside": True} if inside else {}


def _read(
    read: Callable[..., Any], config: Config, key: str, default: Any, notes: list[str], **limits: float
) -> Any:
    """A field of the configuration; where it cannot be read, a note, and the default."""
    said = config.get(key)
    if said is None:
        return default
    try:
        return read(said, "it", **limits)
    except Unsaid as why:
        notes.append(f"the optimizer's {key} is not imported: {why}")
        return default


def is_old(config: Config) -> bool:
    """Whether it is of an optimiser as Keras had them before 2.11: those have a decay of the rate."""
    return "decay" in config or "lr" in config


def rate(optimizer: Optimizer) -> float:
    """The learning rate, that which a schedule starts from where it follows one."""
    method = METHODS.get(short(optimizer.kind))
    return _rate(optimizer.config, method.rate if method else 0.001, [])


def _rate(config: Config, default: float, notes: list[str]) -> float:
    key = "learning_rate" if "learning_rate" in config else "lr"
    said = config.get(key)
    if isinstance(said, Mapping):
        config = {key: base_of(said)}
    rate = float(_read(number, config, key, default, notes))
    if isinstance(said, Mapping):
        told = f"the optimizer's schedule {shown(named(said)[0] or said)} is not imported"
        notes.append(f"{told}: the rate is {rate:g} at all steps here; {like(said)}")
    return rate


def _unsaid(config: Config, kind: str) -> Iterator[str]:
    if config.get("decay") and kind != "nadam":
        yield f"decay of the learning rate ({shown(config['decay'])} a step)"
    if config.get("clipnorm"):
        yield "clipnorm, of each weight by itself,"
    if config.get("weight_decay") and kind not in BESIDE:
        yield "decay of weights beside the gradient"
    if config.get("use_ema"):
        yield "moving average of weights"
    if config.get("gradient_accumulation_steps"):
        yield f"sum of the gradients of {shown(config['gradient_accumulation_steps'])} batches"
