"""Pointwise code as C: one statement for each instruction, typed as `Code.types` says.

A kernel that holds a piece of code declares its literals as parameters, brings the operands into registers,
and goes on with the results::

    given, values = parameters(literals)                         # ["double l0"], (np.float64(0.5),)
    lines, (y,) = statements(code, literals, [float32, bfloat16], ["a", "b"])

Integers wrap around; float16 and bfloat16 are computed in float, and casts to them do not round: only what is
written to memory does, once, also where it was a double.  NaN passes through min, max and relu.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from cortex_compute.expression import COMPARISONS, Code, Literal, Ref
from cortex_compute.types import DType, bfloat16, bool_, float16, promote
from cortex_gpu.prelude import compute

# By op: the C of an instruction over arguments {0} and {1}, all of the type {T}.
COMMON = {
    "lt": "{0} < {1}", "le": "{0} <= {1}", "gt": "{0} > {1}", "ge": "{0} >= {1}", "eq": "{0} == {1}",
    "ne": "{0} != {1}", "min": "smaller({0}, {1})", "max": "larger({0}, {1})",
    "relu": "{0} <= 0 ? ({T})0 : {0}",
}  # fmt: skip
FLOATS = COMMON | {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "div": "{0} / {1}", "neg": "-{0}",
    "abs": "fabs({0})", "floor": "floor({0})", "pow": "pow({0}, {1})", "exp": "exp({0})", "log": "log({0})",
    "log1p": "log1p({0})", "expm1": "expm1({0})", "sqrt": "sqrt({0})", "rsqrt": "1 / sqrt({0})",
    "sigmoid": "1 / (1 + exp(-{0}))", "tanh": "tanh({0})", "erf": "erf({0})", "sin": "sin({0})",
    "cos": "cos({0})",
}  # fmt: skip
# {U} is an unsigned type: in it C's arithmetic wraps around.
INTEGERS = COMMON | {
    "add": "({T})(({U}){0} + ({U}){1})", "sub": "({T})(({U}){0} - ({U}){1})",
    "mul": "({T})(({U}){0} * ({U}){1})", "neg": "({T})(0 - ({U}){0})",
    "abs": "{0} < 0 ? ({T})(0 - ({U}){0}) : {0}", "pow": "whole_power<{T}, {U}>({0}, {1})", "floor": "{0}",
}  # fmt: skip


def parameters(literals: Sequence[Literal], name: str = "l") -> tuple[list[str], tuple[np.generic, ...]]:
    """The declarations of a kernel's parameters for the literals, and their values.

    A literal comes as double or as the integer type that holds it; each instruction casts it to its own type.
    """
    values = tuple(_number(x.value) for x in literals)
    kinds = {"f": "double", "i": "i64", "u": "u64"}
    return [f"{kinds[x.dtype.kind]} {name}{k}" for k, x in enumerate(values)], values


def _number(value: bool | int | float) -> np.generic:
    if isinstance(value, float) or not -(1 << 63) <= value < 1 << 64:
        return np.float64(value)
    return np.int64(value) if value < 1 << 63 else np.uint64(value)


def statements(
    code: Code,
    literals: Sequence[Literal],
    dtypes: Sequence[DType],
    operands: Sequence[str],
    names: tuple[str, str] = ("t", "l"),
) -> tuple[list[str], list[str]]:
    """C lines that evaluate ``code``, and the expressions of its results.

    ``operands`` are C expressions in the types that `prelude.compute` names for ``dtypes``; names are best,
    for each may be read several times.  The results are in the compute types of `Code.result_types`.
    ``names``: what the names of instructions and of literals begin with.
    """
    return _Writer(code, literals, dtypes, operands, names).write()


class _Writer:
    """Knows the expression and the data type of everything that an instruction may refer to."""

    def __init__(
        self,
        code: Code,
        literals: Sequence[Literal],
        dtypes: Sequence[DType],
        operands: Sequence[str],
        names: tuple[str, str],
    ) -> None:
        self.code, self.literals = code, literals
        self.types = {"a": tuple(dtypes), "t": tuple(code.types(dtypes, literals))}
        self.results = code.result_types(dtypes, literals)
        instruction, literal = names
        self.texts = {
            "a": [x if x.isidentifier() else f"({x})" for x in operands],
            "t": [f"{instruction}{i}" for i in range(len(code.instructions))],
            "l": [f"{literal}{k}" for k in range(len(literals))],
        }

    def write(self) -> tuple[list[str], list[str]]:
        lines = []
        for i, (op, *refs) in enumerate(self.code.instructions):
            d = self.types["t"][i]
            lines.append(f"const {compute(d)} {self.texts['t'][i]} = {self._instruction(op, refs, d)};")
        return lines, [self._value(ref, d) for ref, d in zip(self.code.results, self.results)]

    def _value(self, ref: Ref, d: DType) -> str:
        """What ``ref`` names, in the compute type of ``d``."""
        where, k = ref
        text, wanted = self.texts[where][k], compute(d)
        given = None if where == "l" else compute(self.types[where][k])
        if given == "double" and d in (float16, bfloat16):
            return f"rounded_to_odd({text})"
        return text if given == wanted else _converted(text, given, wanted)

    def _truth(self, ref: Ref) -> str:
        where, k = ref
        text = self.texts[where][k]
        return text if where != "l" and self.types[where][k] is bool_ else f"({text} != 0)"

    def _instruction(self, op: str, refs: Sequence[Ref], d: DType) -> str:
        if op.startswith("cast:"):
            return self._value(refs[0], d)
        if op == "not":
            return "!" + self._truth(refs[0])
        if op in ("and", "or"):
            return {"and": " && ", "or": " || "}[op].join(map(self._truth, refs))
        if op == "select":
            return f"{self._truth(refs[0])} ? {self._value(refs[1], d)} : {self._value(refs[2], d)}"
        arrays = [self.types[where][k] for where, k in refs if where != "l"]
        if op == "isfinite":
            return f"isfinite({self._value(refs[0], arrays[0])})" if arrays[0].kind == "float" else "true"
        if op in COMPARISONS:
            d = promote(arrays, [self.literals[k].kind for where, k in refs if where == "l"], widen=True)
        table = FLOATS if d.kind == "float" else INTEGERS
        unsigned = "u64" if d.itemsize == 8 else "u32"
        return table[op].format(*(self._value(ref, d) for ref in refs), T=compute(d), U=unsigned)


def _converted(text: str, given: str | None, wanted: str) -> str:
    """A C conversion: NaN is true, and what a small integer cannot hold wraps around.

    A float beyond the 32 or 64 bits of the integer that it goes through is undefined, as it is in NumPy.
    """
    if wanted == "bool":
        return f"({text} != 0)"
    if given in ("float", "double", None):
        through = {"signed char": "int", "short": "int", "unsigned char": "int", "unsigned short": "int",
                   "unsigned int": "i64"}.get(wanted)  # fmt: skip
        text = f"({through}){text}" if through else text
    return f"({wanted}){text}"


def title(code: Code | None, first: str) -> str:
    """A name for an entry that says what it does: ``first`` and the first instructions."""
    ops = [re.sub(r"\W", "_", op) for op, *_ in (code.instructions if code else ())]
    return "_".join([first, *ops[:4], *(["etc"] if len(ops) > 4 else [])])
