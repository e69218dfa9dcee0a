"""What the losses of a description are in a trace: the values and streams that each reads, its samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cortex_compute.errors import ShapeError
from cortex_compute.types import TensorType, float32, int64
from cortex_core.graph.value import Value
from cortex_core.layers.scope import Scope
from cortex_core.losses import of_each_sample
from cortex_core.ops.pointwise import cast
from cortex_core.ops.views import reshape
from cortex_core.registry import name_of_stream, streams_of
from cortex_core.trace import Traced


def known(traced: Traced, name: str) -> Value:
    """A traced value; losses, metrics and outputs are computed from it, and in no less than float32.

    Raises `ShapeError` where a layer does not suit the shapes that are really given.
    """
    value: Any = traced.values[name]
    if value is None:
        raise ShapeError("\n".join(map(str, traced.problems)))
    narrow = value.dtype.kind == "float" and value.dtype.itemsize < 4
    return cast(value, float32) if narrow else value  # type: ignore[no-any-return]


def value_of(node: Any, traced: Traced) -> Value:
    """What a loss is of: the value of a layer, or a parameter, as the only sample."""
    if not node.parameter:
        return known(traced, node.of)
    p = traced.parameters[traced.names[node.of][node.parameter]]
    return reshape(p, (1, *p.shape))  # type: ignore[no-any-return]


def types_of_streams(node: Any, x: TensorType) -> Iterator[tuple[str, TensorType]]:
    """The types of the streams that a loss of a value of type ``x`` reads, where no data tell them."""
    samples = x.shape[:1]
    if node.target:
        wanted = node.loss.target_type(x)
        yield node.target, wanted if node.derive is None else node.derive.given(wanted, x)
    used = [(node.sample_weight, TensorType(samples, float32))] if node.sample_weight is not None else []
    used += [(field, TensorType(samples, int64)) for field in streams_of(node.loss).values()]
    for stream, wanted in used:
        yield name_of_stream(stream), wanted if isinstance(stream, str) else stream.given(wanted, x)


def samples_of(node: Any, traced: Traced, streams: Mapping[str, Value]) -> tuple[Value, Value | None]:
    """The value of a loss for each sample, and their weights, if any.  What its variables become is added to
    the updates of the trace.
    """
    given: dict[str, Any] = {
        name: stream_value(used, streams) for name, used in streams_of(node.loss).items()
    }
    given |= {
        name: known(traced, ids) if isinstance(ids, str) else tuple(known(traced, i) for i in ids)
        for name, ids in node.keywords
    }
    if node.name in traced.kept:
        given["p"] = Scope(
            dict(traced.kept[node.name]), traced.training, node.name, traced.key,
            lambda name, value: traced.updates.update({node.name_of(name): value}),
        )  # fmt: skip
    targets = [stream_value(node.derive or node.target, streams)] if node.target else []
    values, weights = of_each_sample(node.loss, value_of(node, traced), *targets, **given)
    if node.sample_weight is not None:
        factor = cast(stream_value(node.sample_weight, streams), values.dtype)
        if factor.shape != values.shape:
            found = f"'{name_of_stream(node.sample_weight)}' is {factor.shape[1:]}"
            raise ShapeError(f"{found}: expected one weight for each example")
        weights = factor if weights is None else weights * factor
    return values, weights


def stream_value(used: Any, streams: Mapping[str, Value]) -> Value:
    """A stream, or what is made of it."""
    found = streams[name_of_stream(used)]
    return found if isinstance(used, str) else used.derive(found)
