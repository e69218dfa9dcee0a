"""Pointwise code after a product or a convolution, as a chain of post-ops.

Only code that keeps NaN, infinity and the sign of zero has a translation: oneDNN's own relu turns NaN into 0,
so relu is a parametric relu of slope 0 (which keeps NaN, and gives -0), then 0 is added.  Of minus infinity
that makes NaN, the slope times it, where max(x, 0) is 0: the one deviation.  What would be exact, elu of
alpha 0, doubles the time of a convolution of one channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Union

import numpy as np

from cortex_compute.expression import Code, Literal, Ref
from cortex_compute.onednn_backend import constants as c
from cortex_compute.onednn_backend.descriptors import MemoryDesc, PostOp
from cortex_compute.onednn_backend.recipe import In, Where

BINARY = {"add": c.ADD, "sub": c.SUB, "mul": c.MUL, "div": c.DIV}
CASTS = ("cast:float32", "cast:bfloat16")
ZERO = np.zeros(1, np.float32)


class Epilogue(NamedTuple):
    """``bias``: the operand that is added first, one number per channel, if there is one."""

    bias: int | None
    post_ops: list[PostOp]
    arguments: dict[int, tuple[Where, MemoryDesc]]


class Untranslatable(Exception):
    """The code has no chain; the message names the instruction."""


Step = tuple[str, Union[Ref, None], bool]


def steps(code: Code) -> list[Step]:
    """Straight-line code as a chain over operand 0: op, other operand, whether the chain is the left one.

    A chain is float32 whatever its operands are, so that a cast between floating types is nothing.
    """
    running: Ref = ("a", 0)
    found: list[Step] = []
    for i, (op, *refs) in enumerate(code.instructions):
        if op in CASTS and refs == [running]:
            running = ("t", i)
            continue
        if refs.count(running) != 1 or len(refs) > 2 or any(r[0] == "t" for r in refs if r != running):
            raise Untranslatable(f"{op} is no link of a chain")
        others = [r for r in refs if r != running]
        found.append((op, others[0] if others else None, refs[0] == running))
        running = ("t", i)
    if code.results != (running,):
        raise Untranslatable("has other results than its last")
    return found


def translate(
    code: Code | None,
    literals: Sequence[Literal],
    operand: Callable[[int], MemoryDesc],
    scalar: MemoryDesc,
    per_channel: Callable[[int], bool],
) -> Epilogue:
    """The chain for an epilogue.  ``operand(k)`` describes the code's operand k, ``scalar`` one number; both
    with as many axes as the result has.  Raises `Untranslatable`.

    The operands of the primitive are the two factors, then the code's from 1 on.
    """
    result = Epilogue(None, [], {})
    if code is None:
        return result
    for n, (op, other, left) in enumerate(steps(code)):
        if n == 0 and op == "add" and other and other[0] == "a" and per_channel(other[1]):
            result = result._replace(bias=other[1])
        elif op in BINARY and other is not None and (left or op in ("add", "mul")):
            where: Where = In(other[1] + 1)
            desc = scalar
            if other[0] == "l":
                where = np.array([literals[other[1]].value], np.float32)
            else:
                desc = operand(other[1])
            result.arguments[c.of_post_op(len(result.post_ops))] = where, desc
            result.post_ops.append(PostOp("binary", BINARY[op], operand=desc))
        elif op == "relu":
            result.arguments[c.of_post_op(len(result.post_ops), c.WEIGHTS)] = ZERO, scalar
            result.post_ops.append(PostOp("prelu", 0))
            result.post_ops.append(PostOp("eltwise", c.LINEAR, 1.0, 0.0))
        elif op == "tanh":
            result.post_ops.append(PostOp("eltwise", c.TANH))
        elif op in BINARY:
            raise Untranslatable(f"{op} has no post-op with the chain on its right")
        else:
            raise Untranslatable(f"{op} has no post-op that keeps NaN")
    return result
