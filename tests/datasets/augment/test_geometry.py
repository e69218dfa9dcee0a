"""Flip, crop, shift, rotate, scale, shear: worked by hand from what was drawn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from cortex_compute.errors import SpecError
from tests.datasets.augment.examples import draws_of, made, pictures, take, vary

COUNT = 40


@pytest.mark.parametrize(("axis", "turned"), [("horizontal", 2), ("vertical", 1)])
def test_flip_mirrors_one_axis(axis: str, turned: int) -> None:
    source = pictures(shape=(3, 4, 1))
    before = take(source)["image"]
    after = take(vary(source, made("flip", axis=axis, probability=1)))["image"]
    np.testing.assert_array_equal(after, np.flip(before, turned))


def test_flip_happens_to_half_of_them() -> None:
    source = pictures(count=400)
    before, after = take(source)["image"], take(vary(source, made("flip")))["image"]
    same = (after == before).all(axis=(1, 2, 3))
    assert 150 < same.sum() < 250
    np.testing.assert_array_equal(after[~same], before[~same, :, ::-1])


def test_flip_of_both_axes_draws_each() -> None:
    source = pictures(count=400)
    before, after = take(source)["image"], take(vary(source, made("flip", axis="both")))["image"]
    forms = [before, before[:, :, ::-1], before[:, ::-1], before[:, ::-1, ::-1]]
    counts = [(after == form).all(axis=(1, 2, 3)).sum() for form in forms]
    assert sum(counts) == 400
    assert min(counts) > 60


@pytest.mark.parametrize("fill", ["zero", "edge", "reflect"])
def test_crop_is_a_window_of_the_padded_picture(fill: str) -> None:
    source = pictures(shape=(6, 9, 2))
    after = take(vary(source, made("crop", padding=3, fill=fill)))["image"]
    mode = {"zero": "constant"}.get(fill, fill)
    padded = np.pad(take(source)["image"], ((0, 0), (3, 3), (3, 3), (0, 0)), mode=mode)  # type: ignore[call-overload]
    draws = draws_of("crop", COUNT)
    top, left = draws.below(7), draws.below(7)
    assert set(top) == set(range(7))
    for i in range(COUNT):
        window = padded[i, top[i] : top[i] + 6, left[i] : left[i] + 9]
        np.testing.assert_array_equal(after[i], window)


def test_shift_by_whole_pixels_copies() -> None:
    source = pictures(shape=(5, 6, 1))
    after = take(vary(source, made("shift", pixels=2, fill="zero")))["image"]
    before = take(source)["image"]
    seen = set()
    for a, b in zip(after, before):
        found = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if np.array_equal(a, ndimage.shift(b, (dy, dx, 0), order=0, mode="constant"))
        ]
        assert len(found) == 1
        seen |= set(found)
    assert len(seen) > 12


def test_shift_by_parts_of_pixels_interpolates() -> None:
    source = pictures(shape=(7, 7, 1))
    after = take(vary(source, made("shift", pixels=1.5, whole=False)))["image"]
    draws = draws_of("shift", COUNT)
    down, right = draws.uniform(-1.5, 1.5), draws.uniform(-1.5, 1.5)
    for i, before in enumerate(take(source)["image"]):
        expected = ndimage.shift(before.astype(np.float64), (down[i], right[i], 0), order=1, mode="nearest")
        np.testing.assert_allclose(after[i], expected, atol=1e-5)


def test_rotate_by_the_angle_that_was_drawn() -> None:
    source = pictures(shape=(9, 9, 1))
    after = take(vary(source, made("rotate", degrees=45)))["image"]
    angle = draws_of("rotate", COUNT).uniform(-45, 45)
    for i, before in enumerate(take(source)["image"]):
        expected = ndimage.rotate(
            before.astype(np.float64), angle[i], order=1, mode="nearest", reshape=False, axes=(0, 1)
        )
        np.testing.assert_allclose(after[i], expected, atol=1e-4)


def test_scale_keeps_the_centre_and_the_factor() -> None:
    y, x = np.mgrid[:11, :11].astype(np.float32) - 5
    source = pictures(shape=(11, 11, 1))
    source._arrays["image"][...] = (0.5 + 0.02 * x + 0.01 * y)[..., None]
    after = take(vary(source, made("scale", amount=0.4)))["image"][..., 0]
    factor = draws_of("scale", COUNT).uniform(0.6, 1.4)
    np.testing.assert_allclose(after[:, 5, 5], 0.5, atol=1e-6)
    np.testing.assert_allclose(after[:, 5, 6] - after[:, 5, 5], 0.02 / factor, atol=1e-6)


@pytest.mark.parametrize("kind", ["rotate", "scale", "shear"])
def test_what_does_not_happen_changes_nothing(kind: str) -> None:
    source = pictures(count=200)
    main = {"amount": 0.3} if kind == "scale" else {"degrees": 30}
    after = take(vary(source, made(kind, probability=0.5, **main)))["image"]
    same = (after == take(source)["image"]).all(axis=(1, 2, 3))
    assert 60 < same.sum() < 140


def test_affine_neighbours_are_resampled_once() -> None:
    """The mean of a checkerboard, blurred by every resampling, moves towards grey: once, not three times."""
    source = pictures(shape=(16, 16, 1))
    source._arrays["image"][...] = (np.indices((16, 16)).sum(axis=0) % 2)[..., None]
    once = vary(source, made("rotate", degrees=20), made("scale", amount=0.1), made("shear", degrees=5))
    thrice = vary(
        vary(vary(source, made("rotate", degrees=20)), made("scale", amount=0.1)), made("shear", degrees=5)
    )
    assert once.moves == 1
    assert take(once)["image"].std() > 1.2 * take(thrice)["image"].std()


def test_a_chain_that_is_merged_equals_its_parts() -> None:
    """Whole pixels: flip, crop and shift copied at once are flip, then crop, then shift."""
    source = pictures(shape=(8, 6, 3))
    chain = [made("flip"), made("crop", padding=2), made("shift", pixels=1, fill="reflect")]
    merged = vary(source, *chain)
    assert merged.moves == 1
    before = take(source)["image"]
    draws = [draws_of(a.kind, COUNT, position=i) for i, a in enumerate(chain)]
    mirrored = draws[0].happens(0.5)
    dy, dx = draws[1].below(5), draws[1].below(5)
    sy, sx = draws[2].below(3), draws[2].below(3)
    for i, picture in enumerate(take(merged)["image"]):
        expected = before[i, :, ::-1] if mirrored[i] else before[i]
        expected = np.pad(expected, ((2, 2), (2, 2), (0, 0)))[dy[i] : dy[i] + 8, dx[i] : dx[i] + 6]
        expected = np.pad(expected, ((1, 1), (1, 1), (0, 0)), mode="reflect")[
            sy[i] : sy[i] + 8, sx[i] : sx[i] + 6
        ]
        np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        ("flip", {"axis": "sideways"}, "horizontal, vertical or both"),
        ("flip", {"probability": 1.5}, "at most 1"),
        ("crop", {"padding": 0}, "at least 1"),
        ("crop", {}, "padding"),
        ("crop", {"padding": 2, "fill": "mirror"}, "edge, zero or reflect"),
        ("shift", {"pixels": 1.5}, "Write whole: false"),
        ("shift", {"pixels": 0}, "above 0"),
        ("rotate", {"degrees": 200}, "at most 180"),
        ("scale", {"amount": 1}, "below 1"),
        ("shear", {"degrees": -3}, "above 0"),
    ],
)
def test_bad_fields(kind: str, fields: dict[str, object], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        made(kind, **fields)
