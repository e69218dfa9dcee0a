"""The losses of a file, as entries of a description."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from reprlib import repr as shown
from typing import TYPE_CHECKING, Any

from cortex_core.exchange.keras.model import File
from cortex_core.exchange.keras.said import Config, Unsaid, flag, named, number, short
from cortex_core.exchange.keras.value import Value

if TYPE_CHECKING:
    from cortex_core.exchange.keras.convert import Converted

Loss = tuple[str, dict[str, Any]]

MEANS = ("auto", "sum_over_batch_size", "mean", "mean_with_sample_weight")
NEUTRAL = ("name", "dtype", "fn", "reduction", "class_name", "module", "registered_name")
"""What of a configuration says nothing of the numbers, or is read beside the loss."""


def losses_of(file: File, converted: Converted) -> Iterator[dict[str, Any]]:
    """The loss of each output; what cannot be said here is told in a note."""
    training, notes = file.training or {}, converted.notes
    names = [out.layer for out in file.model.outputs]
    given = of_each(training.get("loss"), names, "loss", notes)
    weights = of_each(training.get("loss_weights"), names, "weight of the loss", notes)
    for name, value, said, weight in zip(names, converted.outputs, given, weights):
        if said is None:
            continue
        ending = _ending(converted, value.source)
        try:
            kind, fields = _loss(said, value, ending)
        except Unsaid as why:
            notes.append(f"the loss {shown(named(said)[0] or said)} of {name} is not imported: {why}")
            continue
        notes += (f"the loss of {name}: {told}" for told in _otherwise(named(said)[1], value))
        if fields.get("from_logits") or (kind == "softmax_cross_entropy" and ending != "softmax"):
            told = "predict gives probabilities; predict(x, raw=True) gives what Keras predicts, the logits"
            notes.append(f"{name}: {told}")
        target = "target" if len(names) == 1 else f"{value.source}_target"
        yield {kind: {"of": value.source, "target": target, **fields, **_weight(weight, name, notes)}}


def of_each(said: Any, names: Sequence[str], what: str, notes: list[str]) -> list[Any]:
    """What is said of each output: by name, in order, or of all."""
    nothing = [None] * len(names)
    if isinstance(said, Mapping) and "class_name" not in said:
        notes += (
            f"the {what} of {shown(key)} is not imported: no output has this name"
            for key in said
            if key not in names
        )
        return [said.get(name) for name in names]
    if not isinstance(said, (list, tuple)):
        return [said] * len(names)
    if len(said) != len(names):
        told = f"it is given for {len(said)} outputs, and there are {len(names)}"
        notes += [f"the {what} is not imported: {told}"] if said else []
        return nothing
    return [*said]


def _weight(said: Any, name: str, notes: list[str]) -> dict[str, float]:
    if said is None:
        return {}
    try:
        return {"weight": number(said, "it")}
    except Unsaid as why:
        notes.append(f"the weight of the loss of {name} is not imported: {why}")
        return {}


def _otherwise(config: Config, value: Value) -> Iterator[str]:
    """What Keras does with the loss of each sample, and we do not."""
    reduction = config.get("reduction", MEANS[0])
    if reduction not in MEANS:
        yield f"its reduction is {shown(reduction)}; here the mean of the samples is taken"
    if value.mask is not None:
        yield "Keras leaves out masked steps, which count here"


def _ending(converted: Converted, source: str) -> str:
    """The activation that a value of the description ends in: its name, or the kind of its layer."""
    for entry in reversed(converted.builder.layers):
        ((kind, fields),) = entry.items()
        if fields["id"] == source:
            return _last(kind, fields)
    return ""


def _last(kind: str, fields: Any) -> str:
    """The activation that a layer of the description ends in, or its kind."""
    if not isinstance(fields, Mapping):
        return kind
    inner = fields.get("layer")
    if kind == "time_distributed" and isinstance(inner, Mapping):
        return _last(*next(iter(inner.items())))
    last = fields.get("activation")
    return str(next(iter(last)) if isinstance(last, Mapping) else last or kind)


# One loss


class Options:
    """The configuration of a loss, of which all that is asked for is honoured, and all else refused."""

    def __init__(self, config: Config, rank: int) -> None:
        self._left = {k: v for k, v in config.items() if k not in NEUTRAL}
        self._last = rank  # what Keras calls the last axis, whose first is that of the batch

    def number(self, key: str, above: float = -math.inf) -> float | None:
        """None where the file does not say it."""
        said = self._left.pop(key, None)
        return None if said is None else number(said, f"its {key}", above)

    def flag(self, key: str) -> bool:
        return flag(self._left.pop(key, None), f"its {key}")

    def smoothing(self) -> dict[str, float]:
        found = self.number("label_smoothing")
        return {"label_smoothing": found} if found else {}

    def finish(self) -> None:
        """Raises `Unsaid` for what nobody has asked for."""
        axis = self._left.pop("axis", -1)
        if axis not in (-1, self._last):
            raise Unsaid(f"its axis is {shown(axis)}; here it is the last one")
        for key, said in self._left.items():
            if said not in (None, False):
                raise Unsaid(f"its {key} is {shown(said)}")


Rule = Callable[[Options, str], Loss]


def _expect_ending(logits: bool, ending: str, *endings: str) -> None:
    """Raises `Unsaid` where a loss of logits gets chances, or the other way round."""
    if logits == (ending in endings):
        takes = "logits" if logits else f"what ends in {' or '.join(endings)}"
        raise Unsaid(f"it takes {takes}, and gets what ends in {ending or 'an input'}")


def _classes(options: Options, ending: str) -> Loss:
    """Of logits; a node that ends in softmax has them, too."""
    _expect_ending(options.flag("from_logits"), ending, "softmax")
    return "softmax_cross_entropy", options.smoothing()


def _indices(options: Options, ending: str) -> Loss:
    ignored = options.number("ignore_class")
    kind, fields = _classes(options, ending)
    return kind, fields | ({} if ignored is None else {"ignore_index": int(ignored)})


def _chances(options: Options, ending: str) -> Loss:
    logits = options.flag("from_logits")
    _expect_ending(logits, ending, "sigmoid", "hard_sigmoid", "softmax")
    return "binary_cross_entropy", {**({"from_logits": True} if logits else {}), **options.smoothing()}


def _divergence(options: Options, ending: str) -> Loss:
    _expect_ending(False, ending, "softmax")
    return "kl_divergence", {}


LOSSES: dict[str, Rule] = {
    "categoricalcrossentropy": _classes,
    "sparsecategoricalcrossentropy": _indices,
    "kullbackleiblerdivergence": _divergence,
    "binarycrossentropy": _chances,
    "meansquarederror": lambda options, ending: ("mse", {}),
    "meanabsoluteerror": lambda options, ending: ("mae", {}),
    "huber": lambda options, ending: ("huber", {"delta": options.number("delta", above=0) or 1.0}),
    "hinge": lambda options, ending: ("hinge", {}),
}
SHORT = {
    "mse": "meansquarederror",
    "mae": "meanabsoluteerror",
    "kld": "kullbackleiblerdivergence",
    "kldivergence": "kullbackleiblerdivergence",
    "huberloss": "huber",
}


def _loss(said: Any, value: Value, ending: str) -> Loss:
    name, config = named(said)
    found = short(name or "")
    rule = LOSSES.get(SHORT.get(found, found))
    if rule is None:
        raise Unsaid("there is none of this name here")
    if value.moved:
        raise Unsaid("its channels are first in Keras, and last here")
    options = Options(config, len(value.shape))
    made = rule(options, ending)
    options.finish()
    return made
