"""Frozen dataclasses that share their methods, beside those of the standard library."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from typing import Any, ClassVar

import pytest

from cortex_compute.frozen import frozen
from cortex_compute.primitives.softmax import Softmax


def classes(decorator: Any) -> tuple[Any, Any]:
    """A class, and one that inherits it."""

    class Point:
        x: int
        y: int = 2
        kind: ClassVar[str] = "point"

    class Named(decorator(Point)):  # type: ignore[misc]
        name: str = "p"

    return Named.__base__, decorator(Named)


OURS, THEIRS = classes(frozen), classes(dataclass(frozen=True))


@pytest.mark.parametrize("i", [0, 1])
def test_they_are_what_dataclass_makes(i: int) -> None:
    ours, theirs = OURS[i], THEIRS[i]
    assert [f.name for f in fields(ours)] == [f.name for f in fields(theirs)]
    for arguments, named in (((1,), {}), ((1, 5), {}), ((), {"x": 3}), ((1,), {"y": 7})):
        a, b = ours(*arguments, **named), theirs(*arguments, **named)
        assert vars(a) == vars(b)
        assert list(vars(a)) == list(vars(b))
        assert repr(a) == repr(b).replace("classes.<locals>.", "")
        assert vars(replace(a, y=9)) == vars(replace(b, y=9))


def test_what_a_class_checks_it_checks_always() -> None:
    @frozen
    class Even:
        n: int

        def __post_init__(self) -> None:
            if self.n % 2:
                raise ValueError(f"{self.n} is odd")

    assert replace(Even(2), n=4) == Even(n=4)
    for make in (lambda: Even(3), lambda: Even(n=3), lambda: replace(Even(2), n=3)):
        with pytest.raises(ValueError, match="3 is odd"):
            make()


def test_a_hash_stays_in_its_process() -> None:
    p = Softmax()
    hash(p)
    there = pickle.loads(pickle.dumps(p))
    assert there == p
    assert "_hashed" not in vars(there)
    assert copy.deepcopy(p) == p


@pytest.mark.parametrize("i", [0, 1])
def test_equal_where_class_and_fields_are(i: int) -> None:
    ours = OURS[i]
    assert ours(1) == ours(1, 2)
    assert hash(ours(1)) == hash(ours(1, 2))
    assert ours(1) != ours(2)
    assert OURS[0](1) != OURS[1](1)
    assert len({ours(1), ours(x=1), ours(2)}) == 2


@pytest.mark.parametrize(
    ("arguments", "named", "words"),
    [
        ((), {}, "needs x"),
        ((1, 2, 3), {}, "takes x, y"),
        ((1,), {"x": 1}, "'x' is unknown or given twice"),
        ((1,), {"z": 1}, "'z' is unknown or given twice"),
    ],
)
def test_wrong_arguments(arguments: Any, named: Any, words: str) -> None:
    for made in (OURS[0], THEIRS[0]):
        with pytest.raises(TypeError):
            made(*arguments, **named)
    with pytest.raises(TypeError, match=words):
        OURS[0](*arguments, **named)


def test_nothing_is_assigned_or_deleted() -> None:
    point = OURS[0](1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'y'"):
        del point.y
