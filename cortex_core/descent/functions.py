"""The test functions of the literature, over the last axis: (..., n) -> (...), so that one call does a grid.

Sources: [SB] Surjanovic and Bingham, Virtual Library of Simulation Experiments, 2013; [MS] Molga and
Smutnicki, Test functions for optimization needs, 2005; [JY] Jamil and Yang, A literature survey of benchmark
functions, 2013.  Minima without a closed form were refined from the published digits by Newton's method.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cortex_core.descent.known import FUNCTIONS, TestFunction, get, named_function
from cortex_core.ops.indexing import cumsum
from cortex_core.ops.pointwise import absolute, cos, equal, exp, select, sin, sqrt
from cortex_core.ops.reduce import mean, prod, sum

__all__ = ["FUNCTIONS", "TestFunction", "get", "named_function"]

PI = math.pi


def zeros(n: int) -> list[list[float]]:
    return [[0.0] * n]


def ones(n: int) -> list[list[float]]:
    return [[1.0] * n]


def places(x: Any) -> np.ndarray:
    """1, 2, ... n beside the numbers of x."""
    return np.arange(1, x.shape[-1] + 1, dtype=x.dtype.storage)


def root(x: Any) -> Any:
    """The square root of x >= 0, with a gradient of 0 at 0, where it has none: the middle of a kink."""
    zero = equal(x, 0.0)
    return select(zero, 0.0, sqrt(select(zero, 1.0, x)))


@named_function((-5.12, 5.12), minima=zeros, source="[MS] 2.1; De Jong, 1975")
def sphere(x: Any) -> Any:
    """Sum of x_i²."""
    return sum(x * x, -1)


@named_function((-5.12, 5.12), minima=zeros, source="[MS] 2.2")
def ellipsoid(x: Any) -> Any:
    """Sum of i x_i²: its axes are those of x."""
    return sum(places(x) * x * x, -1)


@named_function((-65.536, 65.536), minima=zeros, source="Schwefel, 1981, problem 1.2; [JY] 118")
def rotated_ellipsoid(x: Any) -> Any:
    """Sum over i of (x_1 + ... + x_i)²: its axes are none of those of x."""
    sums = cumsum(x, -1)
    return sum(sums * sums, -1)


@named_function((-1.0, 1.0), minima=zeros, source="[MS] 2.9")
def sum_of_powers(x: Any) -> Any:
    """Sum of |x_i|^(i + 1)."""
    return sum(absolute(x) ** (places(x) + 1), -1)


@named_function((-2.048, 2.048), minima=ones, fewest=2, source="Rosenbrock, 1960; [MS] 2.4")
def rosenbrock(x: Any) -> Any:
    """Sum of 100 (x_{i+1} - x_i²)² + (1 - x_i)²: a bent valley."""
    a, b = x[..., :-1], x[..., 1:]
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2, -1)


@named_function((-5.12, 5.12), minima=zeros, source="Rastrigin, 1974; [MS] 2.5")
def rastrigin(x: Any) -> Any:
    """10 n + sum of x_i² - 10 cos(2 pi x_i): a bowl of egg cups."""
    return sum(x * x - 10 * cos(2 * PI * x) + 10, -1)


SCHWEFEL, SCHWEFEL_LEAST = 420.968746359982, 418.9828872724337


@named_function(
    (-500.0, 500.0), minima=lambda n: [[SCHWEFEL] * n], source="Schwefel, 1981; [MS] 2.6; [SB] schwef"
)
def schwefel(x: Any) -> Any:
    """418.9829 n - sum of x_i sin(sqrt|x_i|): the second lowest valley is far from the lowest."""
    return sum(SCHWEFEL_LEAST - x * sin(root(absolute(x))), -1)


@named_function((-600.0, 600.0), minima=zeros, source="Griewank, 1981; [MS] 2.7")
def griewank(x: Any) -> Any:
    """1 + sum of x_i² / 4000 - product of cos(x_i / sqrt i)."""
    return 1 + sum(x * x, -1) / 4000 - prod(cos(x / np.sqrt(places(x))), -1)


@named_function((-32.768, 32.768), minima=zeros, source="Ackley, 1987; [MS] 2.10")
def ackley(x: Any) -> Any:
    """20 + e - 20 exp(-sqrt(mean of x_i²) / 5) - exp(mean of cos(2 pi x_i)).

    The minimum is a kink: the gradient there is 0 by convention, the middle of those around it.
    """
    bowl = 20 * exp(-0.2 * root(mean(x * x, -1)))
    return 20 + math.e - bowl - exp(mean(cos(2 * PI * x), -1))


# A sum of functions of one number each: where each is least, and minus its value there.
MICHALEWICZ = [
    *(2.2029055201726093, PI / 2, 1.2849915705529244, 1.9230584698663628, 1.7204697725658413),
    *(PI / 2, 1.454413971362379, 1.7560865209450264, 1.655717416821029, PI / 2),
]
MICHALEWICZ_LEAST = [
    *(0.8013034100985526, 1.0, 0.959091269896006, 0.9384624184720834, 0.9888010806215044),
    *(1.0, 0.9932271353558816, 0.9828720362722106, 0.996394364925103, 1.0),
]


@named_function(
    (0.0, PI),
    minima=lambda n: [MICHALEWICZ[:n]],
    minimum=lambda n: -math.fsum(MICHALEWICZ_LEAST[:n]),
    most=10,
    source="Michalewicz, 1992; [MS] 2.11, m = 10",
)
def michalewicz(x: Any) -> Any:
    """-sum of sin(x_i) sin(i x_i² / pi)^20: valleys with flat ground between them."""
    return -sum(sin(x) * sin(places(x) * x * x / PI) ** 20, -1)


@named_function(
    *[(-5.0, 10.0), (0.0, 15.0)],
    minima=[[-PI, 12.275], [PI, 2.275], [3 * PI, 2.475]],
    minimum=1.25 / PI,
    source="Branin, 1972; [MS] 2.12",
)
def branin(x: Any) -> Any:
    """(y - 5.1 x² / (4 pi²) + 5 x / pi - 6)² + 10 (1 - 1 / (8 pi)) cos x + 10."""
    x, y = x[..., 0], x[..., 1]
    bend = y - 5.1 / (4 * PI**2) * x * x + 5 / PI * x - 6
    return bend**2 + 10 * (1 - 1 / (8 * PI)) * cos(x) + 10


@named_function(*[(-100.0, 100.0)] * 2, minima=[[PI, PI]], minimum=-1.0, source="Easom, 1990; [MS] 2.13")
def easom(x: Any) -> Any:
    """-cos x cos y exp(-(x - pi)² - (y - pi)²): a hole in a plain."""
    x, y = x[..., 0], x[..., 1]
    return -cos(x) * cos(y) * exp(-((x - PI) ** 2) - (y - PI) ** 2)


@named_function(
    *[(-2.0, 2.0)] * 2, minima=[[0, -1]], minimum=3.0, source="Goldstein and Price, 1971; [MS] 2.14"
)
def goldstein_price(x: Any) -> Any:
    """(1 + (x + y + 1)² (19 - 14 x + 3 x² - 14 y + 6 x y + 3 y²))
    (30 + (2 x - 3 y)² (18 - 32 x + 12 x² + 48 y - 36 x y + 27 y²))."""
    x, y = x[..., 0], x[..., 1]
    a = 19 - 14 * x + 3 * x * x - 14 * y + 6 * x * y + 3 * y * y
    b = 18 - 32 * x + 12 * x * x + 48 * y - 36 * x * y + 27 * y * y
    return (1 + (x + y + 1) ** 2 * a) * (30 + (2 * x - 3 * y) ** 2 * b)


CAMEL = [0.08984201310031806, -0.7126564030207396]


@named_function(
    *[(-3.0, 3.0), (-2.0, 2.0)],
    minima=[CAMEL, [-z for z in CAMEL]],
    minimum=-1.0316284534898774,
    source="Dixon and Szegö, 1978; [MS] 2.15",
)
def six_hump_camel(x: Any) -> Any:
    """(4 - 2.1 x² + x⁴ / 3) x² + x y + (4 y² - 4) y²."""
    x, y = x[..., 0], x[..., 1]
    return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2


@named_function(*[(-4.5, 4.5)] * 2, minima=[[3, 0.5]], source="Beale, 1958; [SB] beale")
def beale(x: Any) -> Any:
    """(1.5 - x + x y)² + (2.25 - x + x y²)² + (2.625 - x + x y³)²."""
    x, y = x[..., 0], x[..., 1]
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


@named_function(
    *[(-6.0, 6.0)] * 2,
    minima=[
        [3, 2],
        [-2.805118086952745, 3.131312518250573],
        [-3.779310253377747, -3.2831859912861694],
        [3.5844283403304917, -1.8481265269644036],
    ],
    source="Himmelblau, 1972; [JY] 65",
)
def himmelblau(x: Any) -> Any:
    """(x² + y - 11)² + (x + y² - 7)²: four minima, all 0."""
    x, y = x[..., 0], x[..., 1]
    return (x * x + y - 11) ** 2 + (x + y * y - 7) ** 2


@named_function(*[(-10.0, 10.0)] * 2, minima=[[1, 3]], source="[SB] booth; [JY] 17")
def booth(x: Any) -> Any:
    """(x + 2 y - 7)² + (2 x + y - 5)²."""
    x, y = x[..., 0], x[..., 1]
    return (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2


@named_function(*[(-10.0, 10.0)] * 2, minima=[[0, 0]], source="[SB] matya; [JY] 71")
def matyas(x: Any) -> Any:
    """0.26 (x² + y²) - 0.48 x y."""
    x, y = x[..., 0], x[..., 1]
    return 0.26 * (x * x + y * y) - 0.48 * x * y
