"""Optimisers: what a description may name under ``train.optimizer``."""

from __future__ import annotations

from collections.abc import Iterator

from cortex_core.registry import Fault, field, optimizer


@optimizer("sgd")
class SGD:
    """v = momentum v + g;  p -= learning_rate v  (with nesterov: p -= learning_rate (g + momentum v))"""

    learning_rate: float = field(default=0.01, doc="step size", minimum=0)
    momentum: float = field(default=0.0, doc="part of the last step that is kept", minimum=0, below=1)
    nesterov: bool = field(default=False, doc="looks ahead along the momentum")
    weight_decay: float = field(default=0.0, doc="added to the gradient, times the parameter", minimum=0)

    def check(self) -> Iterator[Fault]:
        """Nesterov looks ahead along a momentum, which must be there."""
        if self.nesterov and self.momentum == 0:
            yield Fault(("nesterov",), "nesterov without momentum", "expected a momentum above 0")


@optimizer("adam")
class Adam:
    """m, v = moving means of g and g²;  p -= learning_rate m̂ / (sqrt(v̂) + epsilon).  Kingma and Ba, 2015."""

    learning_rate: float = field(default=0.001, doc="step size", minimum=0)
    beta1: float = field(default=0.9, doc="decay of the mean of gradients", minimum=0, below=1)
    beta2: float = field(default=0.999, doc="decay of the mean of squared gradients", minimum=0, below=1)
    epsilon: float = field(default=1e-8, doc="added to the root", above=0)
    weight_decay: float = field(default=0.0, doc="added to the gradient, times the parameter", minimum=0)


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


@optimizer("rmsprop")
class RMSprop:
    """v = moving mean of g²;  p -= learning_rate g / (sqrt(v) + epsilon).  Tieleman and Hinton, 2012."""

    learning_rate: float = field(default=0.001, doc="step size", minimum=0)
    rho: float = field(default=0.9, doc="decay of the mean of squared gradients", minimum=0, below=1)
    momentum: float = field(default=0.0, doc="part of the last step that is kept", minimum=0, below=1)
    epsilon: float = field(default=1e-8, doc="added to the root", above=0)
    weight_decay: float = field(default=0.0, doc="added to the gradient, times the parameter", minimum=0)


@optimizer("adadelta")
class Adadelta:
    """Steps scaled by the root of the mean of past squared steps.  Zeiler, 2012."""

    learning_rate: float = field(default=1.0, doc="factor of the step", minimum=0)
    rho: float = field(default=0.95, doc="decay of both means", minimum=0, below=1)
    epsilon: float = field(default=1e-6, doc="added inside both roots", above=0)
    weight_decay: float = field(default=0.0, doc="added to the gradient, times the parameter", minimum=0)


@optimizer("lion")
class Lion:
    """p -= learning_rate (sign(beta1 m + (1 - beta1) g) + weight_decay p).  Chen et al., 2023."""

    learning_rate: float = field(default=0.0001, doc="step size", minimum=0)
    beta1: float = field(default=0.9, doc="part of the momentum in the step", minimum=0, below=1)
    beta2: float = field(default=0.99, doc="decay of the momentum", minimum=0, below=1)
    weight_decay: float = field(
        default=0.0, doc="part of the parameter that falls, times the rate", minimum=0
    )
