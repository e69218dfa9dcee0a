"""Brightness, contrast, noise, erase."""

from __future__ import annotations

import numpy as np
import pytest

from cortex_compute.errors import DataError, SpecError
from cortex_datasets.source import ArraySource
from tests.datasets.augment.examples import draws_of, made, pictures, table, take, vary

COUNT = 40


def test_brightness_adds_what_was_drawn_and_clips() -> None:
    source = pictures()
    after = take(vary(source, made("brightness", amount=0.6)))["image"]
    draws = draws_of("brightness", COUNT)
    draws.happens(1)
    change = draws.uniform(-0.6, 0.6).reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(after, (take(source)["image"] + change).clip(0, 1), atol=1e-6)


def test_contrast_stretches_about_the_mean_and_clips() -> None:
    source = pictures()
    after = take(vary(source, made("contrast", amount=0.9)))["image"]
    draws = draws_of("contrast", COUNT)
    draws.happens(1)
    factor = draws.uniform(0.1, 1.9).reshape(-1, 1, 1, 1)
    before = take(source)["image"].astype(np.float64)
    mean = before.mean(axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(after, (mean + factor * (before - mean)).clip(0, 1), atol=1e-5)


def test_noise_has_its_deviation_and_is_clipped() -> None:
    source = pictures(count=100, shape=(16, 16, 1))
    source._arrays["image"][...] = 0.5
    after = take(vary(source, made("noise", deviation=0.05)))["image"]
    assert after.std() == pytest.approx(0.05, rel=0.03)
    assert after.mean() == pytest.approx(0.5, abs=0.002)
    strong = take(vary(source, made("noise", deviation=2)))["image"]
    assert strong.min() == 0
    assert strong.max() == 1


def test_noise_on_a_table_is_not_clipped() -> None:
    source = table(count=2000)
    change = take(vary(source, made("noise", deviation=0.1)))["features"] - take(source)["features"]
    assert change.std() == pytest.approx(0.1, rel=0.03)
    np.testing.assert_array_equal(
        take(vary(source, made("noise", deviation=0.1)))["label"], np.arange(2000) % 4
    )


@pytest.mark.parametrize("kind", ["brightness", "contrast", "noise"])
def test_what_does_not_happen_changes_nothing(kind: str) -> None:
    source = pictures(count=200)
    main = {"deviation": 0.3} if kind == "noise" else {"amount": 0.3}
    after = take(vary(source, made(kind, probability=0.5, **main)))["image"]
    same = (abs(after - take(source)["image"]) < 1e-6).all(axis=(1, 2, 3))
    assert 60 < same.sum() < 140


def test_erase_overwrites_one_rectangle_of_the_stated_size() -> None:
    source = pictures(count=600, shape=(20, 30, 2))
    erase = made("erase", area=[0.1, 0.2], aspect=[0.5, 2.0], value=7.0)
    after, before = take(vary(source, erase))["image"], take(source)["image"]
    erased = (after == 7).all(axis=3)
    np.testing.assert_array_equal(after[~erased], before[~erased])
    happened = erased.any(axis=(1, 2))
    assert 240 < happened.sum() < 360
    for mask in erased[happened]:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert mask.sum() == tall * wide  # a full rectangle
        assert 0.08 < tall * wide / 600 < 0.22  # whole pixels
        assert 0.4 < tall / wide < 2.5
    assert erased.any(axis=(0, 2)).all()  # at any height
    assert erased.any(axis=(0, 1)).all()  # and anywhere in the width


def test_a_rectangle_that_is_too_long_is_cut() -> None:
    source = pictures(shape=(2, 40, 1))
    after = take(vary(source, made("erase", probability=1, area=[0.5, 0.5], aspect=[1.0, 1.0], value=9.0)))[
        "image"
    ]
    assert ((after == 9).sum(axis=(1, 2, 3)) == 2 * 6).all()  # sqrt(40) = 6.3 wide, 2 high


@pytest.mark.parametrize("kind", ["brightness", "contrast", "noise"])
def test_pictures_that_are_not_in_0_to_1_are_refused(kind: str) -> None:
    image = np.zeros((30, 4, 4, 1), np.float32)
    image[17, 2, 2] = 3
    source = ArraySource({"image": image, "label": np.zeros(30, np.int64)}, {"label": ("a", "b")})
    varied = vary(source, made(kind, **({"deviation": 0.1} if kind == "noise" else {"amount": 0.1})))
    with pytest.raises(DataError, match=r"in example 17 'image' reaches from 0 to 3; scale it"):
        take(varied)


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        ("brightness", {"amount": 0}, "above 0"),
        ("contrast", {"amount": 2}, "at most 1"),
        ("noise", {}, "deviation"),
        ("erase", {"area": [0.4, 0.2]}, "no range"),
        ("erase", {"area": [0.4]}, "no range"),
        ("erase", {"aspect": [0, 1]}, "above 0"),
    ],
)
def test_bad_fields(kind: str, fields: dict[str, object], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        made(kind, **fields)
