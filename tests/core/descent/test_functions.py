"""The test functions: every minimum is one, where it was published, and no point near it is lower."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import optimize

from cortex_compute.errors import ArgumentError, ShapeError
from cortex_core.descent import FUNCTIONS, TestFunction, check_gradient, get, named_function
from cortex_core.descent.objective import Objective
from cortex_core.tensor import Tensor


def cases() -> list[tuple[TestFunction, int]]:
    """Each function in the dimensions that it takes, of those that are tried."""
    return [
        (f, n) for f in FUNCTIONS.values() for n in ([f.dimensions] if f.dimensions else [f.fewest, 2, 5, 10])
    ]


# As published: value at a place, both at the precision of the source (Surjanovic and Bingham, 2013).
PUBLISHED: list[tuple[str, list[float], float, float]] = [
    ("schwefel", [420.9687, 420.9687], 0.0, 1e-4),
    ("michalewicz", [2.20, 1.57], -1.8013, 1e-2),
    ("branin", [-3.14159265, 12.275], 0.397887, 1e-6),
    ("branin", [3.14159265, 2.275], 0.397887, 1e-6),
    ("branin", [9.42478, 2.475], 0.397887, 1e-5),
    ("easom", [3.14159265, 3.14159265], -1.0, 1e-8),
    ("goldstein_price", [0.0, -1.0], 3.0, 1e-12),
    ("six_hump_camel", [0.0898, -0.7126], -1.0316, 1e-4),
    ("six_hump_camel", [-0.0898, 0.7126], -1.0316, 1e-4),
    ("beale", [3.0, 0.5], 0.0, 1e-12),
    ("himmelblau", [3.0, 2.0], 0.0, 1e-12),
    ("himmelblau", [-2.805118, 3.131312], 0.0, 1e-6),
    ("himmelblau", [-3.779310, -3.283186], 0.0, 1e-6),
    ("himmelblau", [3.584428, -1.848126], 0.0, 1e-6),
    ("booth", [1.0, 3.0], 0.0, 1e-12),
    ("matyas", [0.0, 0.0], 0.0, 1e-12),
    ("rosenbrock", [1.0, 1.0, 1.0], 0.0, 1e-12),
    *((name, [0.0] * 3, 0.0, 1e-12) for name in ("sphere", "ellipsoid", "rotated_ellipsoid", "rastrigin")),
    *((name, [0.0] * 3, 0.0, 1e-12) for name in ("griewank", "sum_of_powers", "ackley")),
]

# Values away from the minima, computed by hand or by plain NumPy below.
ELSEWHERE: list[tuple[str, list[float], float]] = [
    ("sphere", [1, -2, 3], 14.0),
    ("ellipsoid", [1, -2, 3], 1 + 8 + 27),
    ("rotated_ellipsoid", [1, -2, 3], 1 + 1 + 4),
    ("sum_of_powers", [-1, 2, -3], 1 + 8 + 81),
    ("rosenbrock", [-1.2, 1.0], 24.2),
    ("rosenbrock", [2, 3, 5], 100 + 1 + 100 * 16 + 4),
    ("rastrigin", [0.5, 1.0], 20 + 0.25 + 10 + 1 - 10),
    ("schwefel", [np.pi**2 / 4, -(np.pi**2) / 4], 2 * 418.9828872724337),
    ("griewank", [np.pi, 0.0], 1 + np.pi**2 / 4000 + 1),
    ("ackley", [1.0, 1.0], 20 + np.e - 20 * np.exp(-0.2) - np.e),
    ("michalewicz", [np.pi / 2, np.pi / 2], -(np.sin(np.pi / 4) ** 20) - 1),
    ("branin", [0.0, 0.0], 36 + 10 * (1 - 1 / (8 * np.pi)) + 10),
    ("easom", [0.0, np.pi], np.exp(-(np.pi**2))),
    ("goldstein_price", [0.0, 0.0], (1 + 19) * 30),
    ("six_hump_camel", [1.0, 1.0], 4 - 2.1 + 1 / 3 + 1),
    ("beale", [0.0, 0.0], 1.5**2 + 2.25**2 + 2.625**2),
    ("himmelblau", [0.0, 0.0], 121 + 49),
    ("booth", [0.0, 0.0], 49 + 25),
    ("matyas", [1.0, 2.0], 0.26 * 5 - 0.96),
]


def test_those_of_the_issue_are_there() -> None:
    assert set(FUNCTIONS) == {name for name, *_ in PUBLISHED} == {name for name, *_ in ELSEWHERE}


@pytest.mark.parametrize(("f", "n"), cases(), ids=lambda x: getattr(x, "name", x))
def test_every_minimum_is_one(f: TestFunction, n: int) -> None:
    random = np.random.default_rng(0)
    low, high = f.domain(n).T
    assert f.minima(n)
    for x in f.minima(n):
        assert ((low <= x) & (x <= high)).all()
        assert f(x) == pytest.approx(f.minimum(n), abs=1e-12 * n)
        assert np.abs(Objective(f).gradient(x)).max() < 1e-8
        for size in (1e-3, 1e-2, 1e-1, 1):
            near = np.clip(x + size * random.normal(size=(100, n)), low, high)
            assert (f(near) > f.minimum(n)).all()
    assert (f(random.uniform(low, high, (5000, n))) > f.minimum(n)).all()


@pytest.mark.parametrize(("name", "x", "value", "precision"), PUBLISHED)
def test_minima_are_where_they_were_published(
    name: str, x: list[float], value: float, precision: float
) -> None:
    f, n = get(name), len(x)
    assert f(x) == pytest.approx(value, abs=10 * precision)
    assert f.minimum(n) == pytest.approx(value, abs=max(precision, 1e-4 if value else 0))
    assert min(np.abs(m - x).max() for m in f.minima(n)) <= precision


def test_the_least_values_of_michalewicz() -> None:
    published = {2: -1.8013, 5: -4.687658, 10: -9.66015}
    for n, value in published.items():
        assert get("michalewicz").minimum(n) == pytest.approx(value, abs=5e-5)


@pytest.mark.parametrize(("name", "x", "value"), ELSEWHERE)
def test_values_elsewhere(name: str, x: list[float], value: float) -> None:
    assert get(name)(x) == pytest.approx(value, rel=1e-14)


@pytest.mark.parametrize(("f", "n"), cases(), ids=lambda x: getattr(x, "name", x))
def test_scipy_finds_no_lower_point_in_the_domain(f: TestFunction, n: int) -> None:
    """From many starts, without a gradient of ours."""
    random = np.random.default_rng(n)
    bounds = f.domain(n)
    points = random.uniform(*bounds.T, size=(2000, n))
    for start in points[np.argsort(f(points))[:5]]:
        found = optimize.minimize(f, start, method="L-BFGS-B", bounds=bounds)
        assert found.fun >= f.minimum(n) - 1e-9


@pytest.mark.parametrize(("f", "n"), cases(), ids=lambda x: getattr(x, "name", x))
def test_gradients_are_those_of_differences(f: TestFunction, n: int) -> None:
    random = np.random.default_rng(n)
    for x in random.uniform(*f.domain(n).T, size=(3, n)):
        assert check_gradient(f, x).word in ("excellent", "good")


@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=lambda f: f.name)
def test_one_call_computes_a_grid(f: TestFunction) -> None:
    n = f.dimensions or 3
    grid = np.random.default_rng(0).uniform(-1, 1, (4, 5, n))
    found = f(grid)
    assert found.shape == (4, 5)
    assert found[2, 3] == pytest.approx(f(grid[2, 3]), rel=1e-14)
    assert isinstance(f(grid[2, 3]), float)
    assert f(Tensor(grid)).shape == (4, 5)
    assert f(Tensor(grid.astype(np.float32))).dtype.name == "float32"


@pytest.mark.parametrize(("name", "at"), [("ackley", [0.0, 0.0]), ("schwefel", [0.0, 4.0])])
def test_kinks_have_a_finite_gradient(name: str, at: list[float]) -> None:
    assert Objective(get(name)).gradient(np.array(at))[0] == 0


def test_what_there_is_not() -> None:
    with pytest.raises(ArgumentError, match=r"no test function 'rosenbrok'\. Did you mean 'rosenbrock'"):
        get("rosenbrok")
    with pytest.raises(ArgumentError, match="Known are sphere, ellipsoid"):
        get("zzzzzz")
    with pytest.raises(ShapeError, match="branin takes 2 numbers, got 3"):
        get("branin", 3)
    with pytest.raises(ShapeError, match="rosenbrock takes at least 2 numbers, got 1"):
        get("rosenbrock")([1.0])
    with pytest.raises(ShapeError, match="michalewicz takes 1 to 10 numbers, got 11"):
        get("michalewicz").minima(11)
    with pytest.raises(ShapeError, match="sphere takes at least 1 numbers, got 0"):
        get("sphere")(3.0)


def test_a_function_of_ones_own(own_registry: None) -> None:
    @named_function((-2, 2), (-3, 3), minima=[[1, 2]], minimum=5.0, source="me")
    def mine(x: Any) -> Any:
        """A bowl."""
        return (x[..., 0] - 1) ** 2 + (x[..., 1] - 2) ** 2 + 5

    assert get("mine", 2) is mine
    assert mine([1, 2]) == 5.0
    assert mine.doc == "A bowl."
    np.testing.assert_array_equal(mine.domain(2), [[-2, 2], [-3, 3]])
    with pytest.raises(ArgumentError, match="there is a test function 'sphere' already"):

        @named_function((-1, 1), minima=[[0]])
        def sphere(x: Any) -> Any:
            return x


def test_points_say_how_many_numbers_there_are(own_registry: None) -> None:
    @named_function((-2, 2), minima=[[1, 1]])
    def mine(x: Any) -> Any:
        return ((x - 1) ** 2).sum(-1)

    assert mine.dimensions == 2
    np.testing.assert_array_equal(mine.domain(2), [[-2, 2], [-2, 2]])
    np.testing.assert_array_equal(mine.minima(2), [[1, 1]])
    with pytest.raises(ShapeError, match="mine takes 2 numbers, got 3"):
        mine.minima(3)


def test_minima_of_another_dimension(own_registry: None) -> None:
    @named_function((-2, 2), minima=lambda n: [[1, 1]])
    def mine(x: Any) -> Any:
        return ((x - 1) ** 2).sum(-1)

    assert mine.dimensions is None
    with pytest.raises(ShapeError, match=r"minima\(3\) of mine gave a point of shape \(2,\)"):
        mine.minima(3)


@pytest.mark.parametrize(
    ("box", "minima", "said"),
    [
        ((-2, 2), [[0]], r"\(-2, 2\), expected pairs \(lowest, highest\)"),
        (((2, -2),), [[0]], "expected pairs"),
        (((-2, 2, 3),), [[0]], "expected pairs"),
        (((-2, np.inf),), [[0]], "expected pairs"),
        ((("a", "b"),), [[0]], "expected pairs"),
        ((), [[0]], "expected pairs"),
        (((-2, 2), (-2, 2)), [[0]], r"minima are \[\[0\]\], expected points, 2 numbers each"),
        (((-2, 2),), [[0], [0, 0]], r"expected points, as \[\[0, 0\]\]"),
        (((-2, 2),), [0, 0], "expected points"),
        (((-2, 2),), [[0, 3]], "not within the boxes"),
    ],
)
def test_impossible_declarations(box: Any, minima: Any, said: str, own_registry: None) -> None:
    with pytest.raises(ArgumentError, match=said):
        named_function(*box, minima=minima)


def test_a_function_whose_minimum_is_unknown(own_registry: None) -> None:
    @named_function((-2, 2), (-1, 3))
    def mine(x: Any) -> Any:
        """A bowl."""
        return (x * x).sum(-1)

    assert mine.minima(2) == []
    assert mine.minimum(2) is None
    assert mine.dimensions == 2
    assert repr(mine) == "<test function mine: A bowl.>"


def test_a_name_that_is_none_of_the_functions() -> None:
    with pytest.raises(ArgumentError, match=r"Did you mean 'branin'\?"):
        FUNCTIONS["brannin"]
    assert FUNCTIONS.get("brannin") is None
