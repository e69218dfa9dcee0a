"""Pointwise code as steps over registers: data types, where each result goes, how much scratch that takes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from cortex_compute.expression import COMPARISONS, Code, Literal, Ref
from cortex_compute.types import DType, promote

# Where a step's scratch lies beyond the registers: two casts; select's condition, bits and difference; or
# four for erf.
CAST, CONDITION, BITS, DIFFERENCE, ERF = 0, 2, 3, 4, 2


class Step:
    """One instruction with its data types: what it computes in, what it gives, and into which register.

    ``over`` is the instruction whose register it takes over: an argument that dies here.
    """

    __slots__ = ("compute", "op", "out", "over", "refs", "result")

    def __init__(self, op: str, refs: Sequence[Ref], compute: DType, result: DType) -> None:
        self.op, self.refs, self.compute, self.result = op, tuple(refs), compute, result
        self.over: int | None = None
        self.out = 0


class Plan:
    """The steps of a piece of code for operands of given data types, with registers by last use."""

    def __init__(self, code: Code, dtypes: tuple[DType, ...], kinds: tuple[str, ...]) -> None:
        self.code, self.dtypes = code, dtypes
        literals = [Literal({"bool": False, "int": 0, "float": 0.0}[k]) for k in kinds]
        types = code.types(dtypes, literals)
        self.last_read: dict[Ref, int] = {}
        for i, (_, *refs) in enumerate(code.instructions):
            self.last_read.update(dict.fromkeys(refs, i))
        self.last_read.update(dict.fromkeys(code.results, len(code.instructions)))
        self.steps: list[Step] = []
        for (op, *refs), result in zip(code.instructions, types):
            arrays = [dtypes[k] if where == "a" else types[k] for where, k in refs if where != "l"]
            weak = [kinds[k] for where, k in refs if where == "l"]
            compute = result
            if op in COMPARISONS or op in ("isfinite", "not"):
                compute = promote(arrays, weak, widen=True)
            self.steps.append(Step(op, refs, compute, result))
        self.registers = self._allocate()
        self.scratch = max((self._scratch(s) for s in self.steps), default=0)
        used = [*dtypes, *(d for s in self.steps for d in (s.compute, s.result))]
        self.itemsize = max(4 if self.scratch else 1, *(d.itemsize for d in used))

    def _scratch(self, step: Step) -> int:
        """How many pieces of scratch a step needs; erf works in float32 at least."""
        types = [self.dtypes[k] if w == "a" else self.steps[k].result for w, k in step.refs if w != "l"]
        casts = any(d is not step.compute for d in types) and not step.op.startswith("cast:")
        return {"erf": ERF + 4, "select": DIFFERENCE + 1}.get(step.op, 2 * casts)

    def _allocate(self) -> int:
        """Gives each step its register, where it can that of an argument that dies, which is in the cache."""
        free: list[int] = []
        count = 0
        for i, step in enumerate(self.steps):
            dying = [k for w, k in dict.fromkeys(step.refs) if w == "t" and self.last_read[w, k] == i]
            same = [k for k in dying if self.steps[k].result is step.compute is step.result]
            if same and step.op != "erf":
                step.over = same[0]
                step.out = self.steps[same[0]].out
                dying.remove(same[0])
            elif free:
                step.out = free.pop()
            else:
                step.out = count
                count += 1
            free += [self.steps[k].out for k in dying]
            if ("t", i) not in self.last_read:
                free.append(step.out)
        return count


@lru_cache(maxsize=4096)
def plan(code: Code, dtypes: tuple[DType, ...], kinds: tuple[str, ...]) -> Plan:
    """The plan for a piece of code; literals count by kind only."""
    return Plan(code, dtypes, kinds)
