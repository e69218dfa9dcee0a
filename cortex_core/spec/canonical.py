"""A resolved description as canonical data: one way to write each thing, every default written out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cortex_core.registry import data_of, named_data
from cortex_core.spec.description import ALL, AUTO, Description, InputNode, LayerNode, LossNode, MetricNode


def canonical(description: Description) -> dict[str, Any]:
    """Plain data that reads back to an equal description."""
    data: dict[str, Any] = {
        "cortex": 1,
        "name": description.name,
        "inputs": inputs_data(description.inputs),
        "layers": [_layer(node) for node in description.layers],
    }
    if description.losses:
        data["loss"] = [_loss(node) for node in description.losses]
    data["outputs"] = list(description.outputs)
    if description.train is not None:
        options = data_of(description.train)
        options["metrics"] = [_metric(node) for node in description.train.metrics]
        data["train"] = options
    return data


def inputs_data(inputs: Iterable[InputNode]) -> dict[str, Any]:
    """The section ``inputs``; ``auto`` is a shape (and a data type) that the data tell."""
    return {i.name: AUTO if i.dtype == AUTO else _input(i) for i in inputs}


def _input(node: InputNode) -> dict[str, Any]:
    return {"shape": AUTO if node.shape is None else list(node.shape), "dtype": node.dtype}


def _layer(node: LayerNode) -> dict[str, Any]:
    fields = {} if node.layer is None else data_of(node.layer)
    fields["id"] = node.id
    fields["from"] = node.positional[0] if len(node.positional) == 1 else list(node.positional)
    if not node.trainable:
        fields["trainable"] = False
    if node.learning_rate != 1.0:
        fields["learning_rate"] = node.learning_rate
    for penalty in node.penalties:
        fields.setdefault("penalty", {}).setdefault(penalty.parameter, {})[penalty.kind] = penalty.value
    for constraint in node.constraints:
        fields.setdefault("constraint", {})[constraint.parameter] = named_data(constraint.rule)
    if node.shared:
        shared = dict(node.shared)
        fields["share"] = shared.get(ALL) or shared
    return {node.kind: fields}


def _loss(node: LossNode) -> dict[str, Any]:
    of = f"{node.of}/{node.parameter}" if node.parameter else node.of
    common = {"of": of, "target": node.target, "weight": node.weight, "name": node.name}
    if node.derive is not None:
        common["target"] = named_data(node.derive)
    if not node.target:
        del common["target"]
    if node.sample_weight is not None:
        weight = node.sample_weight
        common["sample_weight"] = weight if isinstance(weight, str) else named_data(weight)
    return {node.kind: {**common, **data_of(node.loss)}}


def _metric(node: MetricNode) -> dict[str, Any]:
    target = node.target if node.derive is None else named_data(node.derive)
    common = {"of": node.of, "target": target, "name": node.name}
    return {node.kind: {**common, **data_of(node.metric)}}
