"""Where the elements lie: shapes and strides as few axes, and the C that finds an element from its number.

Kernels number the elements of a shape row by row.  A `Walk` says how several arrays are walked in that
order::

    walk = Walk.over((8, 28, 28, 16), [x_strides, bias_strides])
    lines, (x, bias) = walk.offsets("i")

gives C lines that read the number ``i``, and for each array the C expression of the element's offset, from
the address of its first element.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cortex_compute.frozen import frozen
from cortex_compute.protocol import Operand
from cortex_compute.types import contiguous_strides

NARROW = 1 << 31  # offsets and numbers below this are found in 32 bits, where a division is much faster

Strides = tuple[int, ...]


def broadcast_strides(shape: tuple[int, ...], strides: Sequence[int], space: tuple[int, ...]) -> Strides:
    """The strides with which an array of ``shape`` is walked over the shape ``space``: 0 where it repeats."""
    added = len(space) - len(shape)
    own = (0 if n == 1 else s for n, s in zip(shape, strides))
    return (0,) * added + tuple(own)


def spread(operand: Operand, space: tuple[int, ...]) -> Strides:
    """The strides, in elements, with which an operand is walked over the shape ``space``."""
    return broadcast_strides(operand.type.shape, operand.strides, space)


@frozen
class Walk:
    """Arrays walked together: the axes that remain, and for each array its strides along them, in elements.

    Axes of size 1 are gone, and neighbours that every array walks as one are one.
    """

    shape: tuple[int, ...]
    strides: tuple[Strides, ...]

    @classmethod
    def over(cls, shape: Sequence[int], strides: Sequence[Sequence[int]]) -> Walk:
        """The walk over a shape, of arrays with these strides along its axes (0 where an array repeats)."""
        if 0 in shape:  # nothing to find, and nothing to divide by
            return cls((0,), ((1,),) * len(strides))
        sizes: list[int] = []
        steps: list[tuple[int, ...]] = []  # for each axis, of each array
        for n, step in zip(shape, zip(*strides) if strides else [()] * len(shape)):
            if n == 1:
                continue
            if steps and all(outer == n * inner for outer, inner in zip(steps[-1], step)):
                sizes[-1] *= n
                steps[-1] = step
            else:
                sizes.append(n)
                steps.append(step)
        return cls(tuple(sizes), tuple(zip(*steps)) if steps else ((),) * len(strides))

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def narrow(self) -> bool:
        """Whether all numbers and offsets fit into 32 bits."""
        reach = [sum((n - 1) * abs(s) for n, s in zip(self.shape, strides)) for strides in self.strides]
        return max(self.size, *reach, 0) < NARROW

    def offsets(self, index: str, name: str = "at") -> tuple[list[str], list[str]]:
        """C lines, and for each array the expression of the offset of element number ``index``.

        ``index`` is an expression of any integer type.  The lines declare ``{name}_...``; divisions are by
        literals, and are shared by the arrays.
        """
        signed, unsigned, suffix = ("int", "u32", "u") if self.narrow else ("i64", "u64", "ull")
        dense, last = contiguous_strides(self.shape), len(self.shape) - 1
        other = [s for s in self.strides if s != dense]
        wanted = [i for i in range(last + 1) if any(s[i] for s in other)]
        names = [f"{name}_{i}" for i in range(last + 1)] if last else [f"({signed})({index})"]
        lines = []
        if last > 0 and wanted:
            lines.append(f"const {unsigned} {name}_n{last} = ({unsigned})({index});")
            for i in range(last, max(wanted[0], 1) - 1, -1):
                n, left = f"{self.shape[i]}{suffix}", f"{name}_n{i - 1}"
                lines.append(f"const {unsigned} {left} = {name}_n{i} / {n};")
                if i in wanted:
                    lines.append(f"const {signed} {names[i]} = ({signed})({name}_n{i} - {left} * {n});")
            if wanted[0] == 0:
                lines.append(f"const {signed} {names[0]} = ({signed}){name}_n0;")
        number = index if index.isidentifier() else f"({index})"
        return lines, [
            number if s and s == dense else _sum(list(zip(names, s)), signed) for s in self.strides
        ]


def _sum(terms: Sequence[tuple[str, int]], signed: str) -> str:
    """The C sum of coordinates times strides."""
    long = "ll" if signed == "i64" else ""
    parts = [x if s == 1 else f"{x} * {s}{long}" for x, s in terms if s]
    return " + ".join(parts) if parts else "0"
