"""The metrics of a file, as entries of a description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from reprlib import repr as shown
from typing import TYPE_CHECKING, Any

from cortex_core.exchange.keras.losses import of_each
from cortex_core.exchange.keras.model import File, release
from cortex_core.exchange.keras.said import Config, named, short
from cortex_core.exchange.keras.value import Value
from cortex_core.registry import METRICS

if TYPE_CHECKING:
    from cortex_core.exchange.keras.convert import Converted

WRAPPER = "meanmetricwrapper"
EXACT = "Accuracy"
"""Keras's class: how many numbers are exactly the target's; the name in small letters is the usual one."""
ACCURACY = ("accuracy", "acc", "categoricalaccuracy", "sparsecategoricalaccuracy")
TOP = ("topkcategoricalaccuracy", "sparsetopkcategoricalaccuracy")
BINARY = {
    **dict.fromkeys(("accuracy", "acc", "binaryaccuracy"), "accuracy"),
    **{"precision": "precision", "recall": "recall"},
}
NUMBERS = {"mae": "mae", "meanabsoluteerror": "mae", "mse": "mse", "meansquarederror": "mse"}
USUAL = {"threshold": (None, 0.5), "thresholds": (None, 0.5, [0.5]), "class_id": (None,), "top_k": (None,)}
"""What a metric of one yes or no is asked for where it is as ours."""


def metrics_of(file: File, losses: Sequence[Mapping[str, Any]], converted: Converted) -> dict[str, Any]:
    """The field ``metrics`` of ``train``: those that are here as in Keras; others are told in a note.

    They measure what the loss of their output compares.
    """
    outputs = [(out.layer, value) for out, value in zip(file.model.outputs, converted.outputs)]
    entries = {fields["of"]: (kind, fields) for loss in losses for kind, fields in loss.items()}
    taken, left = [], []
    for (name, value), metrics in zip(outputs, _metrics_of_each(file, converted.notes)):
        kind, fields = entries.get(value.source, ("", {}))
        place = {key: fields[key] for key in ("of", "target")} if len(outputs) > 1 and fields else {}
        for said in metrics:
            found = _metric(said, kind, fields, value)
            if found is None:
                told = named(said)[0] or shown(said)
                left.append(told if len(outputs) == 1 else f"{told} of {name}")
            else:
                metric, own = found
                entry = {metric: {**own, **place}} if own or place else metric
                taken += [entry] if entry not in taken else []
    if left:
        told = f"train.metrics may name those of here: {', '.join(sorted(METRICS))}"
        converted.notes.append(f"metrics are not imported ({', '.join(dict.fromkeys(left))}); {told}")
    return {"metrics": taken} if taken else {}


def _metrics_of_each(file: File, notes: list[str]) -> list[list[Any]]:
    """The metrics of each output.  A plain list is of all outputs before Keras 3, then with one for each."""
    names = [out.layer for out in file.model.outputs]
    found: list[list[Any]] = [[] for _ in names]
    for key in ("metrics", "weighted_metrics"):
        said = (file.training or {}).get(key)
        plain = isinstance(said, (list, tuple)) and not any(isinstance(x, (list, tuple)) for x in said)
        for_all = len(names) == 1 or (plain and release(file.version) < (3,))
        each = [said] * len(names) if for_all else of_each(said, names, f"list of {key}", notes)
        for metrics, told in zip(found, each):
            metrics += _flat(told)
    return found


def _metric(said: Any, kind: str, fields: Config, value: Value) -> tuple[str, dict[str, Any]] | None:
    """A metric as its kind here and fields, beside a loss of this kind; None where there is none as in Keras.

    Of several numbers that each say yes or no, the accuracy of Keras is another one.
    """
    name, config = named(said)
    if short(name or "") == WRAPPER:  # of a function, as Keras 2 writes them
        name = named(config.get("fn"))[0]
    found = "" if name in (None, EXACT) else short(str(name))
    if kind == "softmax_cross_entropy":
        k = config.get("k", 5)
        if found in TOP and type(k) is int and 1 <= k <= (value.shape[-1] or 0):
            return "top_k", {"k": k}
        return ("accuracy", {}) if found in ACCURACY else None
    if kind == "binary_cross_entropy" and value.shape[-1:] == (1,) and not fields.get("from_logits"):
        usual = all(config.get(key) in default for key, default in USUAL.items())
        return (BINARY[found], {}) if usual and found in BINARY else None
    numbers = kind in ("mse", "mae", "huber") and found in NUMBERS
    return (NUMBERS[found], {}) if numbers else None


def _flat(said: Any) -> Iterator[Any]:
    """The metrics that stand in lists and by outputs, however deep."""
    left = [said]
    while left:
        said = left.pop()
        if isinstance(said, Mapping) and "class_name" not in said:
            left += [*said.values()][::-1]
        elif isinstance(said, (list, tuple)):
            left += said[::-1]
        elif said is not None:
            yield said
