"""Initial weights: what a description may name as an initialiser.

The fans of a kernel of shape (..., in, out) are in and out, each times the product of the axes before them.
"""

from __future__ import annotations

from collections.abc import Iterator

from cortex_core.registry import Fault, field, initializer


@initializer("auto")
class Auto:
    """Chosen when the description is resolved, from the activation that follows the layer:
    he_normal before what is like relu, lecun_normal before selu, glorot_uniform otherwise."""


@initializer("zeros")
class Zeros:
    """All zero."""


@initializer("ones")
class Ones:
    """All one."""


@initializer("constant", main="value")
class Constant:
    """All equal to ``value``."""

    value: float = field(doc="the value of every element")


@initializer("normal", main="std")
class Normal:
    """Normal with mean ``mean`` and standard deviation ``std``."""

    mean: float = field(default=0.0, doc="mean")
    std: float = field(default=0.05, doc="standard deviation", minimum=0)


@initializer("truncated_normal", main="std")
class TruncatedNormal:
    """Normal, drawn again outside two standard deviations of the underlying normal."""

    mean: float = field(default=0.0, doc="mean")
    std: float = field(default=0.05, doc="standard deviation before truncation", minimum=0)


@initializer("uniform")
class Uniform:
    """Uniform between ``low`` and ``high``."""

    low: float = field(default=-0.05, doc="lower end")
    high: float = field(default=0.05, doc="upper end")

    def check(self) -> Iterator[Fault]:
        """The ends must be in order."""
        if self.low > self.high:
            yield Fault(("low",), f"low {self.low:g} is above high {self.high:g}", "expected low <= high")


@initializer("glorot_normal")
class GlorotNormal:
    """Truncated normal of variance 2 / (fan_in + fan_out).  Glorot and Bengio, 2010."""


@initializer("glorot_uniform")
class GlorotUniform:
    """Uniform of variance 2 / (fan_in + fan_out).  Glorot and Bengio, 2010."""


@initializer("he_normal")
class HeNormal:
    """Truncated normal of variance 2 / fan_in, for what is like relu.  He et al., 2015."""


@initializer("he_uniform")
class HeUniform:
    """Uniform of variance 2 / fan_in, for what is like relu.  He et al., 2015."""


@initializer("lecun_normal")
class LecunNormal:
    """Truncated normal of variance 1 / fan_in, for selu.  LeCun et al., 1998; Klambauer et al., 2017."""


@initializer("lecun_uniform")
class LecunUniform:
    """Uniform of variance 1 / fan_in.  LeCun et al., 1998."""


@initializer("orthogonal", main="gain")
class Orthogonal:
    """A (semi-)orthogonal matrix times ``gain``.  Saxe et al., 2014."""

    gain: float = field(default=1.0, doc="factor")


auto = Auto()
zeros = Zeros()
ones = Ones()
