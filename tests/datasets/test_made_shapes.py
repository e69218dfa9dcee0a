"""The pictures of discs and squares: geometry, what noise may hide, and that they never change."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from cortex_datasets import named
from cortex_datasets.made_shapes import CLASSES, SHAPES, SIDE, TURNS, inside, shapes_on_noise

# How many points with whole numbers lie in a circle around one of them (Gauss; OEIS A000328).
POINTS = {5: 81, 6: 113, 7: 149, 8: 197, 9: 253, 10: 317}


def one(square: bool, half: int, y: int = 24, x: int = 24, turn: int = 0) -> np.ndarray:
    given = [np.full((1, 1, 1), v, np.int32) for v in (square, half, y, x, turn)]
    return np.asarray(inside(*given)[0])


@pytest.mark.parametrize(("radius", "points"), POINTS.items())
def test_a_disc_has_the_points_of_a_circle(radius: int, points: int) -> None:
    assert one(False, radius).sum() == points


@pytest.mark.parametrize("turn", range(len(TURNS)))
def test_a_square_is_a_square_however_it_is_turned(turn: int) -> None:
    """Its own quarter turn leaves it as it is; its pixels are its area, up to those on its edge."""
    found = one(True, 8, turn=turn)
    around = found[24 - 12 : 24 + 13, 24 - 12 : 24 + 13]
    assert around.sum() == found.sum()
    assert (np.rot90(around) == around).all()
    assert 16 * 16 - 16 <= found.sum() <= 17 * 17
    a, b, c = TURNS[turn]
    assert a * a + b * b == c * c


def test_what_hangs_over_the_edge_is_cut() -> None:
    assert one(True, 5, y=0, x=SIDE - 1).sum() == 6 * 6


def test_mask_and_picture_are_of_one_place() -> None:
    """Grey under noise of 64 levels; the shapes are brighter or darker than any background on the mean."""
    made = shapes_on_noise(300)
    image, mask = made["image"][..., 0].astype(int), made["mask"]
    for picture, classes in zip(image, mask):
        ground = picture[classes == 0]
        assert ground.max() - ground.min() < 64
        assert 32 <= ground.min() <= ground.max() < 160
        figure = picture[classes > 0]
        assert ((figure < 64) | (figure >= 128)).all()  # the darkest 0..23, the brightest 160..207, each +-32
    counts = np.bincount(mask.ravel(), minlength=len(CLASSES)) / mask.size
    assert 0.7 < counts[0] < 0.85
    assert counts[1:].min() > 0.08
    assert SHAPES == 3


def test_parts_are_served_as_the_streams_say() -> None:
    sources = {split: named.shapes.load(split) for split in ("train", "test")}
    for split, source in sources.items():
        assert len(source) == named.shapes.lengths[split]
        assert source.streams == named.shapes.streams
    out = {"image": np.empty((2, SIDE, SIDE, 1), np.float32), "mask": np.empty((2, SIDE, SIDE), np.int64)}
    sources["test"].gather(np.array([0, 499]), out)
    made = shapes_on_noise(2_500)
    assert (out["mask"] == made["mask"][[2_000, 2_499]]).all()
    np.testing.assert_array_equal(out["image"], made["image"][[2_000, 2_499]] / np.float32(255))


def test_the_pictures_do_not_change() -> None:
    """A change here changes what examples/unet.yaml states."""
    made = shapes_on_noise(100)
    digest = hashlib.sha256(made["image"].tobytes() + made["mask"].tobytes()).hexdigest()
    assert digest == "80df54f5451a15dd515a86a9dda95dd781e6b887603e7ec6ee85844a20ff8c8d"
    more = shapes_on_noise(120)
    assert all((more[name][:100] == made[name]).all() for name in made)
