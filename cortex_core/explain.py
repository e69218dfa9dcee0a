"""What an op computes and why its gradient is what it is: the docstrings, which derive it, for reading."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from cortex_compute.primitives.elementwise import Elementwise
from cortex_compute.primitives.matrix import Gemm
from cortex_compute.primitives.reduce import Reduce
from cortex_core.ops.array import Array
from cortex_core.ops.differentiate import RULES
from cortex_core.ops.table import OPS, Op, face
from cortex_core.registry.nearest import nearest
from cortex_core.tensor import Tensor

# Scalar functions of a kernel whose op has another name.
NAMES = {"select": "where", "max": "maximum", "min": "minimum", "not": "logical_not", "and": "logical_and"}
NAMES |= {"or": "logical_or"}


def explain(op: str | Callable[..., Any] | Tensor) -> None:
    """Prints what an op computes, and how its gradient follows.

    Args:
        op: its name, as "logsumexp"; the function; or a Tensor, which stands for the op that made it.
    """
    print(explanation(op))


def explanation(op: str | Callable[..., Any] | Array) -> str:
    """What `explain` prints."""
    if isinstance(op, Array):
        return _of_array(op)
    if isinstance(op, str):
        known = face()
        if op not in known:
            raise ValueError(f"explain: there is no op {op!r}. {nearest(op, known)}".rstrip())
        op = known[op]
    row = next((row for row in OPS.values() if row.function is op), None)
    if row is not None:
        return _of_row(row)
    if not (callable(op) and inspect.getdoc(op)):
        raise ValueError(f"explain: {op!r:.60} is no op and has no docstring")
    return f"{op.__name__}{inspect.signature(op)}\n\n{inspect.getdoc(op)}"


def _of_row(row: Op) -> str:
    text = f"{row.name}{_signature(row.function)}\n\n{inspect.getdoc(row.function)}"
    return text + (f"\n\nAlso called {', '.join(row.aliases)}." if row.aliases else "")


def _signature(f: Callable[..., Any]) -> str:
    """The arguments without their annotations."""
    signature = inspect.signature(f)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))


def _of_array(x: Array) -> str:
    """The op that made x; of a formula in one kernel, its scalar functions one by one."""
    if x.node is None:
        return "A leaf: no op made it."
    p = x.node.primitive
    if isinstance(p, Elementwise):
        names = list(dict.fromkeys(instruction[0].partition(":")[0] for instruction in p.code.instructions))
        rows = [OPS[NAMES.get(name, name)] for name in names]
        if len(p.code.instructions) == 1:
            return _of_row(rows[0])
        listed = "\n".join(f"  {row.name}: {inspect.getdoc(row.function)}" for row in rows)
        return f"A formula in one kernel: {p.code}\n\nby the chain rule through\n\n{listed}"
    if isinstance(p, (Reduce, Gemm)):
        return _of_row(OPS[p.kind if isinstance(p, Reduce) else "matmul"])
    rule = inspect.getdoc(RULES[type(p)]) if type(p) in RULES else "that of its decomposition."
    return f"{p}\n\n{inspect.getdoc(type(p))}" + (f"\n\nGradient: {rule}" if rule else "")
