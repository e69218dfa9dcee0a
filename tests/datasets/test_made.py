"""The made sets: what they hold is what their tasks say, and never changes."""

from __future__ import annotations

import itertools
from datetime import datetime
from functools import cache

import numpy as np
import pytest

from cortex_datasets import named
from cortex_datasets.made import MadeSet
from cortex_datasets.made_boxes import SHAPES, SIDE, boxed_shapes


@cache
def texts(name: str, split: str) -> dict[str, list[str]]:
    """All examples of a part as texts; what is blank or padding is a dot."""
    data: MadeSet = getattr(named, name)
    source = data.load(split)
    out = {name: np.empty((len(source), *s.shape), np.int64) for name, s in source.streams.items()}
    source.gather(np.arange(len(source)), out)
    return {
        name: ["".join((data.streams[name].classes or ())[i] or "." for i in row) for row in rows]
        for name, rows in out.items()
    }


@pytest.mark.parametrize("data", [named.copy, named.dates], ids=lambda data: data.name)
def test_parts_have_nothing_in_common(data: MadeSet) -> None:
    first = next(iter(data.streams))
    train, test = (texts(data.name, split)[first] for split in ("train", "test"))
    assert (len(train), len(test)) == (data.lengths["train"], data.lengths["test"])
    assert len({*train, *test}) == len(train) + len(test)
    assert data.load("test").streams == data.streams


def test_copy_asks_for_what_was_given() -> None:
    found = texts("copy", "test")
    for given, asked in zip(found["symbols"], found["copied"]):
        assert given == given[:8] + 20 * "." + ">" + 7 * "."
        assert asked == 28 * "." + given[:8]
        assert set(given[:8]) <= set("abcdefgh")
    assert {text[0] for text in found["symbols"]} == set("abcdefgh")


def test_dates_are_the_same_day_in_both_forms() -> None:
    """Read by the standard library's own patterns."""
    patterns = ("%d %B %Y", "%d-%b-%Y", "%B %d, %Y", "%A, %d %B %Y", "%d.%m.%Y", "%Y/%m/%d")
    found = texts("dates", "test")
    used = set()
    for source, before, target in zip(found["source"], found["target_in"], found["target"]):
        text = source.rstrip(".")
        (pattern,) = {p for p in patterns if _reads(text, p)}
        day = datetime.strptime(text, pattern)
        assert target == f"{day:%Y-%m-%d}"
        assert before == "^" + target[:-1]
        if "%A" in pattern:
            assert text.startswith(f"{day:%A},")
        used.add(pattern)
    assert used == set(patterns)


def test_made_sets_do_not_change() -> None:
    """Written down from Philox4x64-10 with key 0; a change here changes what the examples state."""
    assert texts("copy", "train")["symbols"][1].startswith("cggcebcf")
    assert texts("dates", "train")["source"][1] == "July 26, 1935".ljust(28, ".")


def _reads(text: str, pattern: str) -> bool:
    try:
        datetime.strptime(text, pattern)
    except ValueError:
        return False
    return True


def test_boxes_are_around_what_is_painted() -> None:
    """The bright pixels of a picture with one shape begin and end where its box does."""
    found = boxed_shapes(200)
    alone = np.flatnonzero((found["boxes"][:, :, 0] >= 0).sum(1) == 1)
    assert len(alone) > 40
    for i in alone:
        ((kind, *box),) = found["boxes"][i][found["boxes"][i][:, 0] >= 0]
        bright = found["image"][i].max(-1) > 60
        rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
        x, y, width, height = np.array(box) * SIDE
        edges = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        inner = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        tolerance = 0.01 if SHAPES[int(kind)] == "rectangle" else 3  # the tip of a triangle is thin
        np.testing.assert_allclose(inner, edges, atol=tolerance)
        share = bright.sum() / (width * height)
        assert share == pytest.approx(
            {"rectangle": 1, "ellipse": np.pi / 4, "triangle": 0.5}[SHAPES[int(kind)]], abs=0.06
        )


def test_shapes_keep_apart_and_do_not_change() -> None:
    boxes = named.boxes.make(300)["boxes"]
    assert np.array_equal(boxes, named.boxes.make(400)["boxes"][:300])
    assert set(np.unique(boxes[..., 0])) == {-1, 0, 1, 2}
    for picture in boxes:
        real = picture[picture[:, 0] >= 0, 1:] * SIDE
        for a, b in itertools.combinations(real, 2):
            gaps = np.abs(a[:2] - b[:2]) - (a[2:] + b[2:]) / 2
            assert gaps.max() >= 2 - 1e-3
    source = named.boxes.load("test")
    assert source.streams == named.boxes.streams
    assert len(source) == 1_000
