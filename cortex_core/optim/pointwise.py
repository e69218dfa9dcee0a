"""The optimisers that move each number of a parameter by itself, under PyTorch's names.

Their formulas are those of the descriptions (`cortex_core.optimizers`), Adamax's but for its epsilon; here
each becomes one kernel per parameter, which writes the new numbers into the memory of the parameter and of
its moments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from cortex_compute.errors import ArgumentError, CheckpointError, ShapeError, SpecError
from cortex_compute.expression import Code, E, Ref, build
from cortex_compute.primitives.elementwise import Elementwise
from cortex_core import changes
from cortex_core import optimizers as formulas
from cortex_core.modes import user_line
from cortex_core.ops.pointwise import maximum
from cortex_core.optim.optimizer import Closure, Optimizer, evaluate
from cortex_core.rows import Rows, update
from cortex_core.tensor import Tensor


class Rule:
    """A formula with all its options, as one primitive.

    ``primitive`` takes the parameter, its gradient, the moments and the scalars (0-d, of the parameter's data
    type), and gives the new parameter and the new moments.  ``moments`` are the names of these in an
    optimiser's state.  Options are scalars too, and no part of the primitive: one kernel serves them all,
    also where a schedule changes the momentum at every step.  In ``fixed`` they are literals, which is faster
    where they stay as they are; it takes the scalars ``names`` alone.
    """

    def __init__(self, formula: Any, moments: Sequence[str], maximize: bool) -> None:
        self.formula, self.moments, self.maximize = formula, tuple(moments), maximize
        self.names = tuple(formula.scalars(1, 0.0))
        built = build(self._update, 2 + len(self.moments) + len(self.names))
        self.constants = {f"constant{k}": float(x.value) for k, x in enumerate(built.literals)}
        self.primitive = _open(built.code, len(built.literals))
        self.fixed = Elementwise(built.code, built.literals)

    def _update(self, p: E, g: E, *rest: E) -> Sequence[E]:
        n = len(self.moments)
        scalars = dict(zip(self.names, rest[n:]))
        new: Sequence[E] = self.formula.update(p, -g if self.maximize else g, *rest[:n], **scalars)
        return new

    def scalars(self, counts: Mapping[str, Any], lr: float) -> dict[str, float]:
        """The numbers of a step, in the order in which the primitive takes them.

        ``counts`` holds ``step``, counted from 1, and what else the formula counts.
        """
        return {**self.formula.scalars(**counts, learning_rate=lr), **self.constants}


@lru_cache(maxsize=256)
def _open(code: Code, literals: int) -> Elementwise:
    """The code with its literals as further operands; one object for the same code."""

    def ref(where: str, k: int) -> Ref:
        return ("a", code.arity + k) if where == "l" else (where, k)

    lines = [(op, *(ref(*x) for x in refs)) for op, *refs in code.instructions]
    return Elementwise(Code(code.arity + literals, lines, [ref(*x) for x in code.results]))


class Bound:
    """A rule over the memory of one parameter and its moments, bound once: binding takes longer than the
    update of a small parameter.  What differs from step to step, gradient and scalars, is copied in.
    """

    def __init__(self, rule: Rule, p: Tensor, state: Mapping[str, Any]) -> None:
        self.primitive = rule.primitive
        self.memory = [p.data, *(state[name].data for name in rule.moments)]
        self.gradient = np.empty_like(p.data)
        self.scalars = [np.empty((), p.data.dtype) for _ in (*rule.names, *rule.constants)]
        operands = [p.data, self.gradient, *self.memory[1:], *self.scalars]
        self._update = p.machine.bind(rule.primitive, operands, self.memory)

    def holds(self, rule: Rule, p: Tensor, state: Mapping[str, Any]) -> bool:
        """Whether kernel and memory are still those of the parameter."""
        if self.primitive is not rule.primitive or self.memory[0] is not p.data:
            return False
        return all(state[name].data is array for name, array in zip(rule.moments, self.memory[1:]))

    def run(self, g: Tensor, scalars: Sequence[float]) -> None:
        """Makes one step."""
        if g.shape != self.gradient.shape or g.data.dtype != self.gradient.dtype:
            p = Tensor(self.gradient).type
            raise ShapeError(f"the gradient of a parameter {p} is {g.type}: they must be alike")
        np.copyto(self.gradient, g.data)
        for memory, x in zip(self.scalars, scalars):
            memory[...] = x
        self._update()


FIELDS = {"eps": "epsilon", "alpha": "rho", "lr_decay": "learning_rate_decay"}
"""What the fields of a formula are called where PyTorch's name for the option is another."""


class Pointwise(Optimizer):
    """An optimiser with a formula; ``moments`` maps the names of the formula's moments to PyTorch's."""

    formula: ClassVar[Any]
    moments: ClassVar[Mapping[str, str]]

    def __init__(self, params: Iterable[Any], **options: Any) -> None:
        self._bound: dict[Tensor, Bound] = {}
        super().__init__(params, options)

    def rule(self, group: Mapping[str, Any]) -> Rule:
        """The rule of a group: another one only where an option other than the rate has changed."""
        options = tuple([(name, group[name]) for name in self.defaults if name != "lr"])
        return _rule(self.formula, tuple(self.moments.items()), options)

    def expect_options(self, group: Mapping[str, Any]) -> None:
        super().expect_options(group)
        try:
            self.rule(group)
        except SpecError as error:
            told = str(error).removeprefix(f"{self.formula.__name__}.")
            raise ArgumentError(f"{self._name}: {told}") from None

    def state_of(self, p: Tensor, rule: Rule) -> dict[str, Any]:
        """The state of a parameter; moments that are not there yet are 0, steps are counted from 0.

        After `Module.to` they follow the parameter to its new data type.
        """
        state = self.state[p]
        state.setdefault("step", 0)
        for name in rule.moments:
            if name not in state:
                state[name] = Tensor(np.zeros_like(p.data))
            elif state[name].dtype is not p.dtype:
                state[name] = state[name].to(p.dtype)
        return state

    def step(self, closure: Closure | None = None) -> Any:
        loss, line = evaluate(closure), user_line()
        for group in self.param_groups:
            rule, lr = self.rule(group), group["lr"]
            known: dict[tuple[float, ...], list[float]] = {}  # most parameters share the number of the step
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state_of(p, rule)
                counts = self.counted(rule, state)
                key = tuple(counts.values())
                if key not in known:
                    known[key] = list(rule.scalars(counts, lr).values())
                if isinstance(p.grad, Rows) and self.by_rows(group):
                    arrays = [p.data, *(state[name].data for name in rule.moments)]
                    update(rule.primitive, p.grad, arrays, known[key])
                else:
                    self._bound_to(rule, p, state).run(p.grad, known[key])
                changes.note(p.data, line)
                state.update(counts)
        return loss

    def counted(self, rule: Rule, state: Mapping[str, Any]) -> dict[str, Any]:
        """What a parameter's state counts, after one more step."""
        return {"step": state.get("step", 0) + 1}

    def by_rows(self, group: Mapping[str, Any]) -> bool:
        """Whether rows without a gradient stay as they are, so that a gradient of rows need touch no more."""
        return False

    def _bound_to(self, rule: Rule, p: Tensor, state: Mapping[str, Any]) -> Bound:
        bound = self._bound.get(p)
        if bound is None or not bound.holds(rule, p, state):
            bound = self._bound[p] = Bound(rule, p, state)
        return bound

    def read_state(
        self, where: str, p: Tensor, kept: Mapping[str, Any], group: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Step and moments; without a step, as PyTorch's SGD keeps it, there was at least one."""
        moments = {k: v for k, v in kept.items() if k != "step" and v is not None}
        needed = self.rule(group).moments
        if set(moments) != set(needed):
            raise CheckpointError(f"{where} has {sorted(moments)}, the options need {sorted(needed)}")
        return {"step": int(kept.get("step", 1)), **super().read_state(where, p, moments, group)}


@lru_cache(maxsize=256)
def _rule(formula: Any, names: tuple[tuple[str, str], ...], options: tuple[tuple[str, Any], ...]) -> Rule:
    fields: dict[str, Any] = {}
    for name, value in options:
        if name == "betas":
            fields["beta1"], fields["beta2"] = _two(value)
        elif name not in ("maximize", "lazy"):
            fields[FIELDS.get(name, name)] = value
    made = formula(**fields)
    return Rule(made, [dict(names)[name] for name in made.state], dict(options)["maximize"])


def _two(betas: Any) -> tuple[float, float]:
    if not isinstance(betas, tuple) or len(betas) != 2:
        raise SpecError(f"betas is {betas!r:.60}, expected two numbers")
    return betas


class SGD(Pointwise):
    """Stochastic gradient descent with momentum; `cortex_core.optimizers.SGD` is the formula."""

    formula = formulas.SGD
    moments = {"velocity": "momentum_buffer"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            dampening=dampening,
            weight_decay=weight_decay,
            nesterov=nesterov,
            maximize=maximize,
        )

    def by_rows(self, group: Mapping[str, Any]) -> bool:
        return not (group["momentum"] or group["weight_decay"])


class Adam(Pointwise):
    """Steps scaled by moving means of the gradient and of its square.  Kingma and Ba, 2015.

    With ``lazy`` the rows of an embedding that a batch does not touch stay as they are, moments and all;
    PyTorch has that as SparseAdam.  With ``amsgrad`` the root is of the largest mean so far.
    """

    formula: ClassVar[Any] = formulas.Adam
    moments = {"m": "exp_avg", "v": "exp_avg_sq", "largest": "max_exp_avg_sq"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        lazy: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            lazy=lazy,
            maximize=maximize,
        )

    def by_rows(self, group: Mapping[str, Any]) -> bool:
        return bool(group["lazy"])


class AdamW(Adam):
    """Adam with the decay beside the gradient.  Loshchilov and Hutter, 2019."""

    formula = formulas.AdamW
    implied = frozenset({"decoupled_weight_decay"})

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        lazy: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, lazy=lazy, maximize=maximize)


class RAdam(Pointwise):
    """Adam that waits until the variance of its scale is known.  Liu et al., 2020.

    ``lazy`` as of `Adam`.
    """

    formula = formulas.RAdam
    moments = {"m": "exp_avg", "v": "exp_avg_sq"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        lazy: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, lazy=lazy, maximize=maximize
        )

    def by_rows(self, group: Mapping[str, Any]) -> bool:
        return bool(group["lazy"])


class AdamaxFormula(formulas.Adamax):
    """PyTorch's, which adds epsilon to each gradient; the descriptions' is added to the largest of them."""

    def update(self, p: Any, g: Any, m: Any, largest: Any, rate: Any) -> Any:
        g = formulas.decayed(g, p, self.weight_decay)
        m = formulas.mean(m, g, self.beta1)
        largest = maximum(self.beta2 * largest, abs(g) + self.epsilon)
        return p - rate * m / largest, m, largest


class Adamax(Pointwise):
    """Adam with the largest gradient so far for the root.  Kingma and Ba, 2015, section 7."""

    formula = AdamaxFormula
    moments = {"m": "exp_avg", "largest": "exp_inf"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize)


PRODUCT = "mu_product"


class NAdam(Pointwise):
    """Adam that looks ahead along its mean, as Nesterov's momentum does.  Dozat, 2016."""

    formula = formulas.Nadam
    moments = {"m": "exp_avg", "v": "exp_avg_sq"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            maximize=maximize,
        )

    def counted(self, rule: Rule, state: Mapping[str, Any]) -> dict[str, Any]:
        """The step, and the product of the momenta so far, which a schedule may have changed on the way."""
        counts = super().counted(rule, state)
        return counts | {PRODUCT: state.get(PRODUCT, 1.0) * rule.formula.momenta.at(counts["step"])}

    def read_state(
        self, where: str, p: Tensor, kept: Mapping[str, Any], group: Mapping[str, Any]
    ) -> dict[str, Any]:
        if PRODUCT not in kept:
            raise CheckpointError(f"{where} has no {PRODUCT}, the product of its momenta")
        moments = {name: value for name, value in kept.items() if name != PRODUCT}
        return {**super().read_state(where, p, moments, group), PRODUCT: float(kept[PRODUCT])}


class RMSprop(Pointwise):
    """Steps scaled by a moving mean of the squared gradient.  Tieleman and Hinton, 2012."""

    formula = formulas.RMSprop
    moments = {"v": "square_avg", "m": "grad_avg", "velocity": "momentum_buffer"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            alpha=alpha,
            eps=eps,
            weight_decay=weight_decay,
            momentum=momentum,
            centered=centered,
            maximize=maximize,
        )


class Adagrad(Pointwise):
    """Steps scaled by the sum of all squared gradients.  Duchi, Hazan and Singer, 2011."""

    formula = formulas.Adagrad
    moments = {"squares": "sum"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            lr_decay=lr_decay,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            eps=eps,
            maximize=maximize,
        )

    def by_rows(self, group: Mapping[str, Any]) -> bool:
        return not (group["weight_decay"] or group["initial_accumulator_value"])


class Adadelta(Pointwise):
    """Steps scaled by the ratio of past steps to past gradients.  Zeiler, 2012."""

    formula = formulas.Adadelta
    moments = {"squares": "square_avg", "moves": "acc_delta"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize)


class Lion(Pointwise):
    """Steps by the sign of a mean of gradients.  Chen et al., 2023; PyTorch has none."""

    formula = formulas.Lion
    moments = {"m": "exp_avg"}

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay, maximize=maximize)
