"""Index maps and affine maps of pictures, against NumPy's own ways and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cortex_datasets.augment.draw import Array
from cortex_datasets.augment.resample import (
    Bank,
    Taps,
    chained,
    copy_pixels,
    identity,
    inside,
    pixel_index,
    rotation,
    scaling,
    shearing,
    translation,
)

MODES = {"edge": "nearest", "zero": "grid-constant", "reflect": "mirror"}  # SciPy's names


def noise(*shape: int) -> Array:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def resampled(pictures: Array, maps: Array, fill: str = "edge", spare: int = 0) -> Array:
    taps = Taps(len(pictures) + spare, *pictures.shape[1:3])
    taps.aim(maps, fill)
    out = np.full_like(pictures, np.nan)
    taps.read(pictures, out)
    return out


def by_scipy(picture: Array, map_: Array, fill: str) -> Array:
    """scipy.ndimage.affine_transform in float64, channel by channel."""
    centre = (np.array(picture.shape[:2]) - 1) / 2
    offset = centre + map_[:2, 2] - map_[:2, :2] @ centre
    return np.stack(
        [
            ndimage.affine_transform(
                plane.astype(np.float64), map_[:2, :2], offset, order=1, mode=MODES[fill]
            )
            for plane in np.moveaxis(picture, -1, 0)
        ],
        axis=-1,
    )


def random_maps(count: int, seed: int, reach: float = 1.0) -> Array:
    random = np.random.default_rng(seed)
    maps = identity(count)
    maps[:, :2] += random.uniform(-reach, reach, (count, 2, 3)) * [1, 1, 4]
    return maps


@pytest.mark.parametrize("fill", MODES)
@pytest.mark.parametrize("shape", [(7, 9, 1), (8, 8, 3), (5, 12, 2), (2, 3, 1)])
def test_affine_maps_as_scipy(shape: tuple[int, int, int], fill: str) -> None:
    pictures, maps = noise(6, *shape), random_maps(6, 1)
    expected = np.stack([by_scipy(p, m, fill) for p, m in zip(pictures, maps)])
    np.testing.assert_allclose(resampled(pictures, maps, fill, spare=3), expected, atol=2e-5)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.integers(1, 4),
    fill=st.sampled_from(sorted(MODES)),
    seed=st.integers(0, 1000),
    reach=st.floats(0, 3),
)
def test_any_shape_and_map(
    height: int, width: int, channels: int, fill: str, seed: int, reach: float
) -> None:
    pictures, maps = noise(2, height, width, channels), random_maps(2, seed, reach)
    out = resampled(pictures, maps, fill)
    assert out.min() >= -1e-5
    assert out.max() <= 1 + 1e-5
    if min(height, width) > 1:  # SciPy's mirror of a single pixel reads outside of it
        expected = np.stack([by_scipy(p, m, fill) for p, m in zip(pictures, maps)])
        np.testing.assert_allclose(out, expected, atol=1e-4)


@pytest.mark.parametrize("fill", MODES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 6, 2), (6, 1, 1), (8, 8, 3)])
def test_the_identity_copies_every_bit(shape: tuple[int, int, int], fill: str) -> None:
    pictures = noise(3, *shape)
    np.testing.assert_array_equal(resampled(pictures, identity(3), fill), pictures)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_right_angles_as_rot90(turns: int) -> None:
    pictures = noise(2, 9, 9, 3)
    out = resampled(pictures, rotation(np.full(2, turns * np.pi / 2)))
    np.testing.assert_allclose(out, np.rot90(pictures, turns, axes=(1, 2)), atol=1e-5)


def test_a_whole_translation_is_a_roll_within() -> None:
    pictures = noise(1, 6, 8, 1)
    out = resampled(pictures, translation(np.array([2.0]), np.array([-3.0])), "zero")
    np.testing.assert_array_equal(out[:, 2:, :-3], pictures[:, :-2, 3:])
    assert not out[:, :2].any()
    assert not out[:, :, -3:].any()


def test_half_a_pixel_is_the_mean_of_two() -> None:
    pictures = np.array([0, 1, 3, 7], np.float32).reshape(1, 1, 4, 1)
    out = resampled(pictures, translation(np.array([0.0]), np.array([-0.5])))
    np.testing.assert_allclose(out.ravel(), [0.5, 2, 5, 7])


def test_twice_as_large() -> None:
    ramp = np.arange(5, dtype=np.float32).reshape(1, 1, 5, 1)
    np.testing.assert_allclose(resampled(ramp, scaling(np.array([2.0]))).ravel(), [1, 1.5, 2, 2.5, 3])


def test_shear_moves_lines_sideways() -> None:
    picture = np.zeros((1, 3, 5, 1), np.float32)
    picture[0, :, 2] = 1
    out = resampled(picture, shearing(np.array([np.pi / 4])), "zero")
    np.testing.assert_allclose(out[0, ..., 0], np.eye(5)[[3, 2, 1]], atol=1e-6)


def test_a_product_of_maps_is_one_after_the_other() -> None:
    """On a plane, which bilinear reading gives back exactly, well inside of the picture."""
    y, x = np.mgrid[:21, :21].astype(np.float32)
    plane = (0.02 * x + 0.01 * y)[None, :, :, None]
    first, second = rotation(np.array([0.3])), scaling(np.array([1.2])) @ shearing(np.array([0.2]))
    one_by_one = resampled(resampled(plane, first), second)
    np.testing.assert_allclose(
        resampled(plane, first @ second)[0, 6:15, 6:15], one_by_one[0, 6:15, 6:15], atol=1e-5
    )


@pytest.mark.parametrize("fill", MODES)
def test_lines_outside_as_numpy_pads(fill: str) -> None:
    line = np.array([5, 6, 7, 8])
    mode = {"zero": "constant"}.get(fill, fill)
    index = inside(np.arange(-3, 7), 4, fill)
    found = np.where(index < 0, 0, line[index])
    np.testing.assert_array_equal(found, np.pad(line, 3, mode=mode))  # type: ignore[call-overload]


def copied(pictures: Array, rows: Array, columns: Array) -> Array:
    bank = Bank(len(pictures) + 2, pictures.shape[1:])  # type: ignore[arg-type]
    bank.pictures[...] = np.nan
    bank.pictures[: len(pictures)] = pictures
    out = np.full_like(pictures, np.nan)
    copy_pixels(bank, pixel_index(rows, columns, bank), out)
    return out


def test_pixels_are_copied_from_where_the_maps_say() -> None:
    pictures = noise(3, 4, 5, 2)
    rows = np.array([[3, 2, 1, 0], [-1, 0, 1, 2], [0, 0, 0, -1]])
    columns = np.array([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [1, 2, 3, 4, -1]])
    expected = np.zeros_like(pictures)
    expected[0] = pictures[0, ::-1]
    expected[1, 1:] = pictures[1, :3, ::-1]
    expected[2, :3, :4] = pictures[2, 0, 1:]
    np.testing.assert_array_equal(copied(pictures, rows, columns), expected)


def test_chained_maps_are_one_copy_after_the_other() -> None:
    random = np.random.default_rng(2)
    pictures = noise(4, 6, 6, 1)
    a, b, c, d = (random.integers(-1, 6, (4, 6)) for _ in range(4))
    once = copied(pictures, chained(a, c), chained(b, d))
    np.testing.assert_array_equal(once, copied(copied(pictures, a, b), c, d))
