"""What resolving decides: ``auto`` initialisers, and cross entropy on what ends in softmax."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from cortex_core.initializers import Auto
from cortex_core.layers.activations import Softmax
from cortex_core.registry import INITIALIZERS, LAYERS
from cortex_core.spec.description import ALL, LayerNode, LossNode, MetricNode, owner
from cortex_core.spec.tree import Problems

_PREFERENCE = ("he_normal", "lecun_normal", "glorot_uniform")


def choose_initializers(layers: Sequence[LayerNode]) -> list[LayerNode]:
    """The layers with each ``auto`` initialiser replaced by what suits the activation that follows.  Those of
    a layer inside another are replaced alike.

    What follows is searched through layers that are transparent (pooling, dropout, flatten, norms, reshape,
    add, concatenate).  Where several branches follow, one like relu wins over selu, and selu over others.
    """
    consumers: dict[str, list[LayerNode]] = {}
    ids = {node.id for node in layers}
    for node in layers:
        for source in node.sources:
            consumers.setdefault(owner(source, ids), []).append(node)
    suits: dict[str, str | None] = {}  # what suits before the activation that follows a layer
    chosen: dict[str, LayerNode] = {}
    for node in reversed(layers):
        suits[node.id] = _best(_seen_from_before(after, suits) for after in consumers.get(node.id, ()))
        own = _own_activation(getattr(node.layer, "layer", node.layer))
        best = own or suits[node.id] or _PREFERENCE[-1]
        chosen[node.id] = _with_initializer(node, best)
    return [chosen[node.id] for node in layers]


def _own_activation(layer: Any) -> str | None:
    """What suits the activation in the layer's own field."""
    activation = getattr(layer, "activation", None)
    if activation is None or activation.transparent:
        return None
    return str(activation.suits)


def _seen_from_before(node: LayerNode, suits: Mapping[str, str | None]) -> str | None:
    cls = LAYERS.get(node.kind)
    if cls is None:
        return None
    if getattr(cls, "transparent", False):
        return suits[node.id]
    return getattr(cls, "suits", None)


def _best(found: Any) -> str | None:
    names = {name for name in found if name}
    return next((name for name in _PREFERENCE if name in names), next(iter(sorted(names)), None))


def _with_initializer(node: LayerNode, name: str) -> LayerNode:
    return node if node.layer is None else dataclasses.replace(node, layer=_chosen(node.layer, name))


def _chosen(layer: Any, name: str) -> Any:
    changed = {}
    for key, value in layer.__dict__.items():
        if isinstance(value, Auto):
            changed[key] = INITIALIZERS[name]()
        elif LAYERS.get(getattr(value, "kind", "")) is type(value):
            changed[key] = _chosen(value, name)
    return dataclasses.replace(layer, **changed) if changed else layer


def use_logits(
    layers: list[LayerNode], losses: tuple[LossNode, ...]
) -> tuple[list[LayerNode], tuple[LossNode, ...], list[str]]:
    """Losses of logits, as softmax cross entropy, take of a node that ends in softmax what goes into it.

    A softmax in an ``activation`` field becomes a layer of its own: the layer without it is ID/logits, so
    that ID stays what it was; who named its parameters names those of ID/logits.  The notes say what was
    done.  Where the layer works at each step of a sequence, so does the one without the softmax.
    """
    notes = []
    moved: dict[str, str] = {}
    split: dict[str, str] = {}
    for loss in losses:
        index = next((i for i, node in enumerate(layers) if node.id == loss.of), None)
        if not loss.loss.logits or index is None or loss.of in moved:
            continue
        node = layers[index]
        if _is_softmax(_of_each_step(node.layer)):
            moved[node.id] = node.sources[0]
        elif _is_softmax(_last_activation(node.layer)) and not _is_recurrence(node.layer):
            layers[index : index + 1] = _split(node, {other.id for other in layers})
            moved[node.id] = split[node.id] = layers[index].id
        else:
            continue
        notes.append(f"{node.place}: '{node.id}' ends in softmax: {loss.kind} takes its logits")
    return [_sharing_with(node, split) for node in layers], tuple(_of(x, moved, split) for x in losses), notes


def beside(
    metrics: Sequence[MetricNode], before: Sequence[LossNode], after: Sequence[LossNode]
) -> tuple[MetricNode, ...]:
    """The metrics; who measures what a loss compares goes with it, so that its weights count for both."""
    moved = {(old.of, old.target): new.of for old, new in reversed([*zip(before, after)])}
    return tuple(dataclasses.replace(x, of=moved.get((x.of, x.target), x.of)) for x in metrics)


def _of(loss: LossNode, moved: Mapping[str, str], split: Mapping[str, str]) -> LossNode:
    """The loss; of logits it takes what goes into the softmax, of a parameter it knows who has it now."""
    names = split if loss.parameter else moved if loss.loss.logits else {}
    return dataclasses.replace(loss, of=names[loss.of]) if loss.of in names else loss


def _sharing_with(node: LayerNode, names: Mapping[str, str]) -> LayerNode:
    """The layer; it shares with those that have other ``names`` now by these."""
    shared = []
    for parameter, other in node.shared:
        id_, slash, given = (other, "", "") if parameter == ALL else other.rpartition("/")
        shared.append((parameter, f"{names.get(id_, id_)}{slash}{given}"))
    return dataclasses.replace(node, shared=tuple(shared))


_PROBABILITIES = ("sigmoid", "hard_sigmoid", "softmax")


def check_probabilities(layers: list[LayerNode], losses: tuple[LossNode, ...], problems: Problems) -> None:
    """Cross entropy on logits that it takes for probabilities, or the other way round."""
    by_id = {node.id: node for node in layers}
    for loss in losses:
        node = by_id.get(loss.of)
        if node is None:
            continue
        if loss.loss.logits:
            if _gives_softmax(node.layer):
                found = f"'{loss.of}' ends in softmax at each step of its recurrence"
                problems.add(
                    loss.place, found, f"expected another activation there: {loss.kind} takes logits"
                )
            continue
        if not hasattr(loss.loss, "from_logits"):
            continue
        last = _last_activation(node.layer)
        has_none = last is None and hasattr(_of_each_step(node.layer), "activation")
        given = "no activation" if has_none else getattr(last, "kind", None)
        if loss.loss.from_logits and given in _PROBABILITIES:
            found = f"from_logits, but '{loss.of}' ends in {given}, which gives probabilities"
            problems.add(loss.place, found, "expected from_logits: false")
        elif not loss.loss.from_logits and given in (
            "no activation",
            "linear",
            "relu",
            "tanh",
            "log_softmax",
        ):
            found = f"'{loss.of}' ends in {given}, which gives no probabilities"
            problems.add(loss.place, found, "expected activation: sigmoid there, or from_logits: true here")


def _is_at_each_step(layer: Any) -> bool:
    return getattr(layer, "kind", "") == "time_distributed"  # by name: few descriptions need the class


def _of_each_step(layer: Any) -> Any:
    """The layer; that which it puts to each step of a sequence."""
    return _of_each_step(layer.layer) if _is_at_each_step(layer) else layer


def _last_activation(layer: Any) -> Any:
    """What the numbers of a layer come out of; None where that is no activation."""
    layer = _of_each_step(layer)
    return layer if getattr(layer, "is_activation", False) else getattr(layer, "activation", None)


def _is_recurrence(layer: Any) -> bool:
    """Whether what a layer gives goes into its next step: its activation cannot be taken off."""
    return getattr(_of_each_step(layer), "is_recurrence", False)


def _gives_softmax(layer: Any) -> bool:
    """Whether a recurrence gives probabilities, one way or both; an lstm and a gru with a softmax do not."""
    layer = _of_each_step(layer)
    layer = getattr(layer, "layer", layer)
    return getattr(layer, "kind", "") == "simple_rnn" and _is_softmax(layer.activation)


def _is_softmax(layer: Any) -> bool:
    return isinstance(layer, Softmax) and layer.axis == -1


def _split(node: LayerNode, taken: set[str]) -> list[LayerNode]:
    name = f"{node.id}/logits"
    while name in taken:
        name += "_"
    logits = dataclasses.replace(node, id=name, layer=_without_activation(node.layer))
    softmax = LayerNode(node.id, "softmax", _last_activation(node.layer), (name,), True, 1.0, (), node.place)
    return [logits, softmax]


def _without_activation(layer: Any) -> Any:
    inner = {"layer": _without_activation(layer.layer)} if _is_at_each_step(layer) else {}
    return dataclasses.replace(layer, **(inner or {"activation": None}))
