"""Which steps of a sequence count.

In Keras masks travel unseen with values; here they are values, which a layer names that takes them.  So an
exported model computes them by functions, and gives them to layers by name too.
"""

from __future__ import annotations

from cortex_core.exchange.to_keras.at import At, Result, exports
from cortex_core.exchange.to_keras.graph import Tensor


@exports("masking", to="the functions `not_equal`, `any` and `where`; a mask that travels unseen it has none")
def masking(at: At) -> Result:
    x, value = at.x, at.layer.value
    told = at.op("NotEqual", x, value, part="told", shape=x.shape, gives="bool")
    seen, wide = (
        at.op("Any", told, part=part, shape=shape, gives="bool", axis=[-1], keepdims=keeps)
        for part, shape, keeps in (("mask", x.shape[:-1], False), ("steps", (*x.shape[:-1], 1), True))
    )
    return {"": at.op("Where", wide, x, 0.0), "mask": seen}


@exports(
    "masked_mean", to="`GlobalAveragePooling1D` with a mask; where no step counts it gives NaN, and here 0"
)
def masked_mean(at: At) -> Tensor:
    if len(at.x.shape) != 2:
        at.fail(
            f"Keras has it for sequences of vectors, not of {[*at.x.shape]}; reshape what is at each step"
        )
    keywords = {"mask": at.named["mask"]}
    return at.put("GlobalAveragePooling1D", at.x, keywords=keywords, keepdims=at.layer.keepdims)


@exports("compare", to="the functions `equal`, `less` and so on")
def compare(at: At) -> Tensor:
    value = at.layer.value
    kind = "".join(word.capitalize() for word in at.layer.operation.split("_"))
    whole = value is not None and value.is_integer() and "int" in at.inputs[0].dtype
    return at.op(kind, *at.inputs, *(() if value is None else (int(value) if whole else value,)))


@exports("logical_not", to="the function `logical_not`")
def opposite(at: At) -> Tensor:
    return at.op("LogicalNot", at.x)


@exports("any", to="the function `any`")
def some(at: At) -> Tensor:
    return at.op("Any", at.x, axis=[at.layer.axis], keepdims=at.layer.keepdims)


@exports("logical_and", "logical_or", to="the functions `logical_and`, `logical_or`, of two at a time")
def logical(at: At) -> Tensor:
    kind = "LogicalAnd" if at.kind == "logical_and" else "LogicalOr"
    y, *others = at.inputs
    for number, x in enumerate(others, 1):
        y = at.op(kind, y, x, part="" if number == len(others) else f"first_{number + 1}")
    return y


def truths(at: At, mask: Tensor | None, name: str = "mask") -> Tensor | None:
    """A mask as truths: here it may be of whole numbers too."""
    if mask is None or mask.dtype == "bool":
        return mask
    return at.op("NotEqual", mask, 0, part=f"{name}_truths", shape=mask.shape, gives="bool")
