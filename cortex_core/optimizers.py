"""Optimisers: what a description may name under ``train.optimizer``.

``update(p, g, *state, **scalars)`` is a scalar formula for the new parameter and the new moments, which
``state`` names; it becomes one kernel over all parameters that are updated alike.  What changes from step
to step is a scalar: ``scalars(step, learning_rate)`` computes them on the host, in float64 (1 - 0.999 **
step is wrong by 1e-5 in float32), for a step counted from 1 and the rate that the schedule says.  The rest
are literals of the formula.

Every moment starts at 0.  What a method does differently on its first step is a scalar too, as where
``arriving`` is 1 on the first step of a dampened momentum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, ClassVar

from cortex_core.ops.pointwise import maximum, select, sqrt
from cortex_core.registry import Fault, field, optimizer

FLOAT64_VANISHES = 1e-18
"""What 1 is not changed by."""
HAT = "adds epsilon to the root before its bias is corrected"
INSIDE = "adds epsilon inside the root"


def decayed(g: Any, p: Any, decay: float) -> Any:
    """The gradient with that of decay / 2 p^2 added."""
    return g + decay * p if decay else g


def mean(old: Any, new: Any, keep: float) -> Any:
    """A moving mean."""
    return keep * old + (1 - keep) * new


def adam_scalars(step: int, learning_rate: float, beta1: float, beta2: float) -> dict[str, float]:
    """The rate with the correction of the first moment's bias, and the correction of the second's root."""
    return {"rate": learning_rate / (1 - beta1**step), "correction": 1 / math.sqrt(1 - beta2**step)}


def adam_root(method: Any, v: Any, correction: Any) -> Any:
    """What a step of Adam is divided by: the root with its bias corrected, and epsilon."""
    if method.epsilon_hat:
        return (sqrt(v) + method.epsilon) * correction
    return sqrt(v) * correction + method.epsilon


def root(method: Any, v: Any) -> Any:
    """The root of a mean or sum of squares, and epsilon beside or inside."""
    return sqrt(v + method.epsilon) if method.epsilon_inside else sqrt(v) + method.epsilon


@optimizer("sgd")
class SGD:
    """v = momentum v + g;  p -= learning_rate v  (with nesterov: p -= learning_rate (g + momentum v))

    With a dampening v = momentum v + (1 - dampening) g from the second step on; the first is v = g.
    """

    learning_rate: float = field(default=0.01, doc="step size", minimum=0)
    momentum: float = field(default=0.0, doc="part of the last step that is kept", minimum=0, below=1)
    dampening: float = field(default=0.0, doc="part of the gradient that the momentum leaves out", maximum=1)
    nesterov: bool = field(default=False, doc="looks ahead along the momentum")
    weight_decay: float = field(default=0.0, doc="added to the gradient, times the parameter", minimum=0)

    def check(self) -> Iterator[Fault]:
        """Nesterov looks ahead along a momentum, which must be there and whole."""
        if self.nesterov and self.momentum == 0:
            yield Fault(("nesterov",), "nesterov without momentum", "expected a momentum above 0")
        if self.nesterov and self.dampening != 0:
            yield Fault(("nesterov",), "nesterov with dampening", "expected a dampening of 0")

    @property
    def state(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def scalars(self, step: int, learning_rate: float) -> dict[str, float]:
        rate = {"rate": learning_rate}
        if not self.momentum or not self.dampening:
            return rate
        return rate | {"arriving": 1.0 if step == 1 else 1 - self.dampening}

    def update(self, p: Any, g: Any, *state: Any, rate: Any, arriving: Any = 1) -> Any:
        g = decayed(g, p, self.weight_decay)
        if not state:
            return (p - rate * g,)
        v = self.momentum * state[0] + (arriving * g if self.dampening else g)
        return p - rate * (g + self.momentum * v if self.nesterov else v), v


@optimizer("adam")
class Adam:
    """m, v = moving means of g and g²;  p -= learning_rate m̂ / (sqrt(v̂) + epsilon).  Kingma and Ba, 2015.

    With ``amsgrad`` the root is of the largest v so far.  Reddi, Kale and Kumar, 2018.  With ``epsilon_hat``
    epsilon is what the end of section 2 of Adam's paper calls so: added to sqrt(v), as Keras does.
    """

    learning_rate: float = field(default=0.001, doc="step size", minimum=0)
    beta1: float = field(default=0.9, doc="decay of the mean of gradients", minimum=0, below=1)
    beta2: float = field(default=0.999, doc="decay of the mean of squared gradients", minimum=0, below=1)
    epsilon: float = field(default=1e-8, doc="added to the root", above=0)
    weight_decay: float = field(default=0.0, doc="added to the gradient, times the parameter", minimum=0)
    amsgrad: bool = field(default=False, doc="divides by the root of the largest v so far")
    epsilon_hat: bool = field(default=False, doc=HAT)

    @property
    def state(self) -> tuple[str, ...]:
        return ("m", "v", "largest") if self.amsgrad else ("m", "v")

    def scalars(self, step: int, learning_rate: float) -> dict[str, float]:
        return adam_scalars(step, learning_rate, self.beta1, self.beta2)

    def update(self, p: Any, g: Any, m: Any, v: Any, *largest: Any, rate: Any, correction: Any) -> Any:
        g = decayed(g, p, self.weight_decay)
        m, v = mean(m, g, self.beta1), mean(v, g * g, self.beta2)
        largest = tuple(maximum(x, v) for x in largest)
        scale = adam_root(self, largest[0] if largest else v, correction)
        return p - rate * m / scale, m, v, *largest


@optimizer("adamw")
class AdamW:
    """Adam, and p -= learning_rate weight_decay p beside the gradient.  Loshchilov and Hutter, 2019."""

    learning_rate: float = field(default=0.001, doc="step size", minimum=0)
    beta1: float = field(default=0.9, doc="decay of the mean of gradients", minimum=0, below=1)
    beta2: float = field(default=0.999, doc="decay of the mean of squared gradients", minimum=0, below=1)
    epsilon: float = field(default=1e-8, doc="added to the root", above=0)
    weight_decay: float = field(
        default=0.01, doc="part of the parameter that falls, times the rate", minimum=0
    )
    amsgrad: bool = field(default=False, doc="divides by the root of the largest v so far")
    epsilon_hat: bool = field(default=False, doc=HAT)

    @property
    def state(self) -> tuple[str, ...]:
        return ("m", "v", "largest") if self.amsgrad else ("m", "v")

    def scalars(self, step: int, learning_rate: float) -> dict[str, float]:
        scalars = adam_scalars(step, learning_rate, self.beta1, self.beta2)
        return scalars | {"keep": 1 - learning_rate * self.weight_decay}

    def update(
        self, p: Any, g: Any, m: Any, v: Any, *largest: Any, rate: Any, correction: Any, keep: Any
    ) -> Any:
        m, v = mean(m, g, self.beta1), mean(v, g * g, self.beta2)
        largest = tuple(maximum(x, v) for x in largest)
        scale = adam_root(self, largest[0] if largest else v, correction)
        return keep * p - rate * m / scale, m, v, *largest


@optimizer("radam")
class RAdam:
    """Adam whose step waits until the variance of its scale is known.  Liu et al., 2020.

    With r = 2 / (1 - beta2) - 1 and r_t = r - 2 t beta2^t / (1 - beta2^t), the steps with r_t <= 5 are p -=
    learning_rate m̂, the others Adam's times sqrt((r_t - 4)(r_t - 2) r / ((r - 4)(r - 2) r_t)), with epsilon
    beside sqrt(v) before its bias is corrected.
    """

    learning_rate: float = field(default=0.001, doc="step size", minimum=0)
    beta1: float = field(default=0.9, doc="decay of the mean of gradients", minimum=0, below=1)
    beta2: float = field(default=0.999, doc="decay of the mean of squared gradients", minimum=0, below=1)
    epsilon: float = field(default=1e-8, doc="added to the root", above=0)
    weight_decay: float = field(default=0.0, doc="added to the gradient, times the parameter", minimum=0)

    state: ClassVar[tuple[str, ...]] = ("m", "v")

    def scalars(self, step: int, learning_rate: float) -> dict[str, float]:
        """The rate of the adaptive step, or that of the plain one; the other is 0."""
        rate = learning_rate / (1 - self.beta1**step)
        unbiased = 1 - self.beta2**step
        longest = 2 / (1 - self.beta2) - 1
        length = longest - 2 * step * self.beta2**step / unbiased
        if length <= 5:
            return {"adaptive": 0.0, "plain": rate}
        known = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        return {"adaptive": rate * math.sqrt(known * unbiased), "plain": 0.0}

    def update(self, p: Any, g: Any, m: Any, v: Any, adaptive: Any, plain: Any) -> Any:
        g = decayed(g, p, self.weight_decay)
        m, v = mean(m, g, self.beta1), mean(v, g * g, self.beta2)
        return p - m * (adaptive / (sqrt(v) + self.epsilon) + plain), m, v


@optimizer("adamax")
class Adamax:
    """Adam with the largest gradient so far for the root: u = max(beta2 u, |g|);  p -= learning_rate m̂ / (u +
    epsilon).  Kingma and Ba, 2015, section 7.
    """

    learning_rate: float = field(default=0.002, doc="step size", minimum=0)
    beta1: float = field(default=0.9, doc="decay of the mean of gradients", minimum=0, below=1)
    beta2: float = field(default=0.999, doc="decay of the largest gradient", minimum=0, below=1)
    epsilon: float = field(default=1e-8, doc="added to the largest gradient", above=0)
    weight_decay: float = field(default=0.0, doc="added to the gradient, times the parameter", minimum=0)

    state: ClassVar[tuple[str, ...]] = ("m", "largest")

    def scalars(self, step: int, learning_rate: float) -> dict[str, float]:
        return {"rate": learning_rate / (1 - self.beta1**step)}

    def update(self, p: Any, g: Any, m: Any, largest: Any, rate: Any) -> Any:
        g = decayed(g, p, self.weight_decay)
        m, largest = mean(m, g, self.beta1), maximum(self.beta2 * largest, abs(g))
        return p - rate * m / (largest + self.epsilon), m, largest


class Momenta:
    """The momenta of Nadam, and their product, which goes on from the step that was asked for last."""

    def __init__(self, beta1: float, decay: float) -> None:
        self._beta1, self._decay = beta1, decay
        self._last = 0, 1.0  # a step and its product, replaced as one: threads may share it

    @staticmethod
    @lru_cache(maxsize=64)
    def of(beta1: float, decay: float) -> Momenta:
        """The same ones for equal settings."""
        return Momenta(beta1, decay)

    def at(self, step: int) -> float:
        return self._beta1 * (1 - 0.5 * math.pow(0.96, step * self._decay))

    def product(self, step: int) -> float:
        """That of the steps 1 to ``step``, with the same bits from wherever it goes on."""
        last, product = self._last
        if step < last:
            last, product = 0, 1.0
        for t in range(last + 1, step + 1):
            if product < FLOAT64_VANISHES:  # as all that follow: each momentum is below 1
                break
            product *= self.at(t)
        self._last = step, product
        return product


@optimizer("nadam")
class Nadam:
    """Adam that looks ahead along its mean, as Nesterov's momentum does.  Dozat, 2016.

    The momentum of step t is mu_t = beta1 (1 - 0.96^(t momentum_decay) / 2), and with M_t = mu_1 ... mu_t
    p -= learning_rate (mu_t+1 m / (1 - M_t+1) + (1 - mu_t) g / (1 - M_t)) / (sqrt(v̂) + epsilon).
    """

    learning_rate: float = field(default=0.002, doc="step size", minimum=0)
    beta1: float = field(default=0.9, doc="decay of the mean of gradients", minimum=0, below=1)
    beta2: float = field(default=0.999, doc="decay of the mean of squared gradients", minimum=0, below=1)
    momentum_decay: float = field(
        default=0.004, doc="how fast the momentum rises from beta1 / 2 to beta1", minimum=0
    )
    epsilon: float = field(default=1e-8, doc="added to the root", above=0)
    weight_decay: float = field(default=0.0, doc="added to the gradient, times the parameter", minimum=0)

    state: ClassVar[tuple[str, ...]] = ("m", "v")

    @property
    def momenta(self) -> Momenta:
        return Momenta.of(self.beta1, self.momentum_decay)

    def scalars(self, step: int, learning_rate: float, mu_product: float | None = None) -> dict[str, float]:
        """``mu_product`` is that of the momenta so far, where these changed on the way."""
        now, ahead = self.momenta.at(step), self.momenta.at(step + 1)
        product = self.momenta.product(step) if mu_product is None else mu_product
        return {
            "of_mean": learning_rate * ahead / (1 - product * ahead),
            "of_gradient": learning_rate * (1 - now) / (1 - product),
            "correction": 1 / math.sqrt(1 - self.beta2**step),
        }

    def update(self, p: Any, g: Any, m: Any, v: Any, of_mean: Any, of_gradient: Any, correction: Any) -> Any:
        g = decayed(g, p, self.weight_decay)
        m, v = mean(m, g, self.beta1), mean(v, g * g, self.beta2)
        return p - (of_mean * m + of_gradient * g) / (sqrt(v) * correction + self.epsilon), m, v


@optimizer("rmsprop")
class RMSprop:
    """v = moving mean of g²;  p -= learning_rate g / (sqrt(v) + epsilon).  Tieleman and Hinton, 2012.

    Centered, the root is that of the variance, v - (moving mean of g)².  Graves, 2013.
    """

    learning_rate: float = field(default=0.001, doc="step size", minimum=0)
    rho: float = field(default=0.9, doc="decay of the mean of squared gradients", minimum=0, below=1)
    momentum: float = field(default=0.0, doc="part of the last step that is kept", minimum=0, below=1)
    centered: bool = field(default=False, doc="divides by the deviation of the gradient, not its size")
    epsilon: float = field(default=1e-8, doc="added to the root", above=0)
    epsilon_inside: bool = field(default=False, doc=INSIDE)
    weight_decay: float = field(default=0.0, doc="added to the gradient, times the parameter", minimum=0)

    @property
    def state(self) -> tuple[str, ...]:
        return ("v", *(("m",) if self.centered else ()), *(("velocity",) if self.momentum else ()))

    def scalars(self, step: int, learning_rate: float) -> dict[str, float]:
        return {"rate": learning_rate}

    def update(self, p: Any, g: Any, v: Any, *state: Any, rate: Any) -> Any:
        g = decayed(g, p, self.weight_decay)
        v = spread = mean(v, g * g, self.rho)
        new = [v]
        if self.centered:
            m = mean(state[0], g, self.rho)
            spread = maximum(v - m * m, 0.0)  # rounding may take it below 0 where g hardly changes
            new.append(m)
        move = g / root(self, spread)
        if self.momentum:
            move = self.momentum * state[-1] + move
            new.append(move)
        return p - rate * move, *new


@optimizer("adagrad")
class Adagrad:
    """s = sum of g²;  p -= learning_rate g / (sqrt(s) + epsilon).  Duchi, Hazan and Singer, 2011."""

    learning_rate: float = field(default=0.01, doc="step size", minimum=0)
    learning_rate_decay: float = field(
        default=0.0, doc="the rate of step t is divided by 1 + (t - 1) times this", minimum=0
    )
    initial_accumulator_value: float = field(default=0.0, doc="what the sum starts with", minimum=0)
    epsilon: float = field(default=1e-10, doc="added to the root", above=0)
    epsilon_inside: bool = field(default=False, doc=INSIDE)
    weight_decay: float = field(default=0.0, doc="added to the gradient, times the parameter", minimum=0)

    state: ClassVar[tuple[str, ...]] = ("squares",)

    def scalars(self, step: int, learning_rate: float) -> dict[str, float]:
        rate = {"rate": learning_rate / (1 + (step - 1) * self.learning_rate_decay)}
        initial = self.initial_accumulator_value
        return rate | {"initial": initial if step == 1 else 0.0} if initial else rate

    def update(self, p: Any, g: Any, squares: Any, rate: Any, initial: Any = None) -> Any:
        g = decayed(g, p, self.weight_decay)
        squares = (squares if initial is None else squares + initial) + g * g
        return p - rate * g / root(self, squares), squares


@optimizer("adadelta")
class Adadelta:
    """Steps scaled by the root of the mean of past squared steps.  Zeiler, 2012."""

    learning_rate: float = field(default=1.0, doc="factor of the step", minimum=0)
    rho: float = field(default=0.95, doc="decay of both means", minimum=0, below=1)
    epsilon: float = field(default=1e-6, doc="added inside both roots", above=0)
    weight_decay: float = field(default=0.0, doc="added to the gradient, times the parameter", minimum=0)

    state: ClassVar[tuple[str, ...]] = ("squares", "moves")

    def scalars(self, step: int, learning_rate: float) -> dict[str, float]:
        return {"rate": learning_rate}

    def update(self, p: Any, g: Any, squares: Any, moves: Any, rate: Any) -> Any:
        g = decayed(g, p, self.weight_decay)
        squares = mean(squares, g * g, self.rho)
        move = sqrt(moves + self.epsilon) / sqrt(squares + self.epsilon) * g
        return p - rate * move, squares, mean(moves, move * move, self.rho)


@optimizer("lion")
class Lion:
    """p -= learning_rate (sign(beta1 m + (1 - beta1) g) + weight_decay p).  Chen et al., 2023."""

    learning_rate: float = field(default=0.0001, doc="step size", minimum=0)
    beta1: float = field(default=0.9, doc="part of the momentum in the step", minimum=0, below=1)
    beta2: float = field(default=0.99, doc="decay of the momentum", minimum=0, below=1)
    weight_decay: float = field(
        default=0.0, doc="part of the parameter that falls, times the rate", minimum=0
    )

    state: ClassVar[tuple[str, ...]] = ("m",)

    def scalars(self, step: int, learning_rate: float) -> dict[str, float]:
        return {"rate": learning_rate, "keep": 1 - learning_rate * self.weight_decay}

    def update(self, p: Any, g: Any, m: Any, rate: Any, keep: Any) -> Any:
        direction = mean(m, g, self.beta1)
        move = select(direction > 0, rate, select(direction < 0, -rate, direction))  # 0 stays 0, NaN NaN
        return keep * p - move, mean(m, g, self.beta2)
