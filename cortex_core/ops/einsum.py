"""Einstein's summation: products of arrays, written by the names of their axes.

Two operands at a time become one matrix product: the axes that both have and that stay are its batch, the
ones that both have and that go are summed by it.  All of it is views, sums and `matmul`, so that its gradient
is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from cortex_compute.errors import ShapeError
from cortex_core.ops.lift import as_array
from cortex_core.ops.linear import matmul
from cortex_core.ops.reduce import sum as total
from cortex_core.ops.table import normal, op, sample
from cortex_core.ops.views import diagonal, moveaxis, permute, reshape

Names = list[str]
DOTS = "..."
MOST = 16  # operands
MOST_PRODUCTS = 2**27
"""Of whole numbers, which stand in memory before they are summed."""


@op(
    sample("ij,jk->ik", normal(2, 3), normal(3, 4)),
    sample("ij,kj", normal(2, 3), normal(4, 3)),
    sample("...ij,...jk->...ik", normal(2, 1, 2, 3), normal(3, 3, 2)),
    sample("ii->i", normal(3, 3)),
    sample("ii", normal(3, 3)),
    sample("bi,bj,bk->ijk", normal(2, 3), normal(2, 2), normal(2, 4)),
    sample("i,j->", normal(2), normal(3)),
    sample("ijk->kj", normal(2, 3, 4)),
    sample("bhqd,bhkd->bhqk", normal(2, 2, 3, 4), normal(2, 2, 5, 4)),
    sample("a,ab,bc,c->", normal(2), normal(2, 3), normal(3, 2), normal(2)),
    sample("i...,i->...", normal(2, 3, 4), normal(2)),
    method=False,
)
def einsum(equation: str, *operands: Any) -> Any:
    """The products of all elements whose axes have equal names, summed over the names that the result lacks.

    ``"ij,jk->ik"`` is a matrix product, ``"ii->i"`` a diagonal, ``"...ij->...ji"`` swaps two axes whatever
    stands before them.  Without ``->`` the result has the names that occur once, in order, behind
    the dots.  y = sum of x1 x2 ...:  dx1 = g times the other operands, summed over the names that x1 lacks.
    """
    arrays = [as_array(x) for x in operands]
    inputs, output = _parsed(equation, arrays)
    sizes = _sizes(equation, inputs, arrays)
    terms = []
    for names, x in zip(inputs, arrays):
        names, x = _without_repeats(names, x)
        stretched = [a for a, name in enumerate(names) if x.shape[a] != sizes[name]]  # of size 1: broadcast
        x = reshape(x, [n for a, n in enumerate(x.shape) if a not in stretched])
        terms.append(([name for a, name in enumerate(names) if a not in stretched], x))
    later = [set(output)]  # from the last: the names that are still needed behind each product
    for rest, _ in reversed(terms[2:]):
        later.append(later[-1] | set(rest))
    names, x = terms[0]
    for other, y in terms[1:]:
        names, x = _product(names, x, other, y, later.pop())
    x = _summed(names, x, output)
    return permute(x, [[n for n in names if n in output].index(name) for name in output])


def _parsed(equation: str, arrays: Sequence[Any]) -> tuple[list[Names], Names]:
    """The names of each operand's axes and of the result's; what the dots stand for gets names of its own."""
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if not len(terms) == len(arrays) <= MOST:
        told = f"einsum: {equation!r:.80} names {len(terms)} operands, {len(arrays)} are given"
        raise ShapeError(f"{told}; expected as many, {MOST} at most")
    inputs = [_names(equation, term, x.shape) for term, x in zip(terms, arrays)]
    dots = max((sum(len(name) > 1 for name in names) for names in inputs), default=0)
    every = [name for names in inputs for name in names]
    hidden = [f".{i}" for i in reversed(range(dots))]
    if not arrow:
        return inputs, hidden + sorted(
            name for name in set(every) if len(name) == 1 and every.count(name) == 1
        )
    before, found, after = right.partition(DOTS)
    output = [*before, *(hidden if found else []), *after]
    unknown = [name for name in output if name not in every and name not in hidden]
    if unknown or len(set(output)) != len(output):
        raise ShapeError(f"einsum: the result of {equation!r:.80} must name axes of the operands, each once")
    return inputs, output


def _names(equation: str, term: str, shape: tuple[int, ...]) -> Names:
    before, found, after = term.partition(DOTS)
    if not all(c.isalpha() for c in before + after):
        raise ShapeError(f"einsum: {term!r:.80} in {equation!r:.80} must be letters and at most one '...'")
    dots = len(shape) - len(before) - len(after)
    if dots < 0 or (dots and not found):
        raise ShapeError(f"einsum: {term!r:.80} in {equation!r:.80} does not name the axes of shape {shape}")
    return [*before, *(f".{i}" for i in reversed(range(dots))), *after]


def _sizes(equation: str, inputs: Sequence[Names], arrays: Sequence[Any]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for names, x in zip(inputs, arrays):
        for name, n in zip(names, x.shape):
            known = sizes.setdefault(name, n)
            if 1 not in (known, n) and known != n:
                raise ShapeError(
                    f"einsum: axis {name!r} of {equation!r:.80} has size {known}, and {n} in {x.shape}"
                )
            sizes[name] = n if known == 1 else known
    return sizes


def _without_repeats(names: Names, x: Any) -> tuple[Names, Any]:
    """Names that stand twice in one operand: its diagonal."""
    for name in dict.fromkeys(names):
        while names.count(name) > 1:
            first = names.index(name)
            second = names.index(name, first + 1)
            if x.shape[first] != x.shape[second]:
                raise ShapeError(
                    f"einsum: axes {first} and {second} of {x.shape} are both {name!r}, but differ"
                )
            x = moveaxis(diagonal(x, 0, first, second), -1, first)
            names = names[:second] + names[second + 1 :]
    return names, x


def _summed(names: Names, x: Any, kept: Sequence[str] | set[str]) -> Any:
    axes = tuple(a for a, name in enumerate(names) if name not in kept)
    return total(x, axes) if axes else x


def _product(a_names: Names, a: Any, b_names: Names, b: Any, kept: set[str]) -> tuple[Names, Any]:
    """The product of two operands, summed over the names that are not kept."""
    a, a_names = _summed(a_names, a, kept | set(b_names)), [n for n in a_names if n in kept or n in b_names]
    b, b_names = _summed(b_names, b, kept | set(a_names)), [n for n in b_names if n in kept or n in a_names]
    batch = [n for n in a_names if n in b_names and n in kept]
    inner = [n for n in a_names if n in b_names and n not in kept]
    rows = [n for n in a_names if n not in b_names]
    columns = [n for n in b_names if n not in a_names]
    size = dict(zip([*a_names, *b_names], [*a.shape, *b.shape]))

    def ordered(x: Any, names: Names, *groups: Names) -> Any:
        return permute(x, [names.index(n) for group in groups for n in group])

    lead = [size[n] for n in batch]
    shape = [*lead, *(size[n] for n in rows), *(size[n] for n in columns)]
    left, right = ordered(a, a_names, batch, rows, inner), ordered(b, b_names, batch, inner, columns)
    m, k, n = (math.prod(size[name] for name in group) for group in (rows, inner, columns))
    left, right = reshape(left, (*lead, m, k)), reshape(right, (*lead, k, n))
    if not inner:
        y = left * right  # (..., m, 1) and (..., 1, n)
    elif a.dtype.kind == b.dtype.kind == "float":
        y = matmul(left, right)
    else:  # of integers there are no matrix products
        if math.prod(lead) * m * k * n > MOST_PRODUCTS:
            told = f"einsum: whole numbers of shapes {a.shape} and {b.shape} make too many products at once"
            raise ShapeError(f"{told}: expected {MOST_PRODUCTS:,} at most, or floating numbers")
        y = total(reshape(left, (*lead, m, k, 1)) * reshape(right, (*lead, 1, k, n)), len(lead) + 1)
    return [*batch, *rows, *columns], reshape(y, shape)
