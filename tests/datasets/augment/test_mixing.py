"""Mixup and cutmix: shares, partners, labels."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cortex_compute.errors import SpecError
from cortex_datasets.augment import augmented
from cortex_datasets.augment.mixing import beta
from cortex_datasets.source import ArraySource
from tests.datasets.augment.examples import CLASSES, draws_of, made, pictures, table, take, vary

COUNT = 40


@pytest.mark.parametrize("alpha", [0.1, 0.2, 0.5, 1.0, 2.0, 8.0, 100.0])
def test_beta_as_scipy(alpha: float) -> None:
    uniform = np.linspace(0.0005, 0.9995, 2001)
    np.testing.assert_allclose(beta(uniform, alpha), stats.beta.ppf(uniform, alpha, alpha), atol=2e-4)


def share_and_partner(kind: str, alpha: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    draws = draws_of(kind, count)
    partner = draws.below(count)
    draws.happens(1)
    return beta(draws.uniform(), alpha), partner


def test_mixup_mixes_pictures_and_labels_by_the_same_share() -> None:
    source = pictures()
    mixed = vary(source, made("mixup", alpha=0.7))
    assert mixed.streams["label"].shape == (4,)
    assert mixed.streams["label"].dtype == "float32"
    after, before = take(mixed), take(source)
    share, partner = share_and_partner("mixup", 0.7, COUNT)
    keep = share.reshape(-1, 1, 1, 1)
    expected = keep * before["image"] + (1 - keep) * before["image"][partner]
    np.testing.assert_allclose(after["image"], expected, atol=1e-6)
    one_hot = np.eye(4)[before["label"]]
    labels = share[:, None] * one_hot + (1 - share[:, None]) * one_hot[partner]
    np.testing.assert_allclose(after["label"], labels, atol=1e-6)
    np.testing.assert_allclose(after["label"].sum(axis=1), 1, atol=1e-6)
    assert len(set(partner)) > 20


def test_mixup_of_a_table_and_of_a_number_to_predict() -> None:
    x = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    source = ArraySource({"x": x, "y": x.sum(axis=1), "city": np.arange(30)})
    after = take(augmented(source, [made("mixup", alpha=1.0)], 0, ["x"], ["y"]))
    np.testing.assert_allclose(after["y"], after["x"].sum(axis=1), atol=1e-5)  # it is linear: so is its mix
    np.testing.assert_array_equal(after["city"], np.arange(30))
    assert abs(after["x"] - x).max() > 0.1


def test_an_index_that_is_no_label_is_mixed_as_a_number() -> None:
    """As binary cross entropy reads 0 and 1."""
    source = ArraySource(
        {"x": np.zeros((COUNT, 3), np.float32), "sick": np.arange(COUNT) % 2}, {"sick": ("no", "yes")}
    )
    mixed = augmented(source, [made("mixup", alpha=0.7)], 0, ["x"], ["sick"])
    assert mixed.streams["sick"].shape == ()
    share, partner = share_and_partner("mixup", 0.7, COUNT)
    expected = share * (np.arange(COUNT) % 2) + (1 - share) * (partner % 2)
    np.testing.assert_allclose(take(mixed)["sick"], expected, atol=1e-6)


def test_cutmix_pastes_a_box_and_mixes_labels_by_its_area() -> None:
    image = np.empty((400, 9, 12, 1), np.float32)
    image[...] = (np.arange(400) / 400).reshape(-1, 1, 1, 1)
    source = ArraySource({"image": image, "label": np.arange(400) % 4}, {"label": CLASSES})
    after = take(vary(source, made("cutmix")))
    _, partner = share_and_partner("cutmix", 1.0, 400)
    foreign = after["image"][..., 0] != image[..., 0]
    for i, mask in enumerate(foreign):
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            assert mask.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
            assert (after["image"][i][mask] == image[partner[i], 0, 0]).all()
    own = partner == np.arange(400)
    share = 1 - foreign.mean(axis=(1, 2))[:, None]
    one_hot = np.eye(4)[np.arange(400) % 4]
    expected = share * one_hot + (1 - share) * one_hot[partner]
    np.testing.assert_allclose(after["label"][~own], expected[~own], atol=1e-6)
    assert 0.25 < foreign.mean() < 0.5  # half of the area, less what is cut at the border
    assert foreign.mean(axis=0).min() > 0.05


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_mixing_happens_as_often_as_asked(kind: str) -> None:
    after = take(vary(pictures(count=1000), made(kind, alpha=1.0, probability=0.4)))["label"]
    mixed = (after.max(axis=1) < 1).sum()
    assert 200 < mixed < 330  # 400, less a quarter with a partner of the same class, less empty boxes


def test_the_partner_is_varied_as_itself() -> None:
    """Flipped first, then mixed: each of the two as the flip alone gives it."""
    source = pictures()
    flips = take(vary(source, made("flip")))["image"]
    mixed = take(vary(source, made("flip"), made("mixup", alpha=1.0)))["image"]
    draws = draws_of("mixup", COUNT, position=1)
    partner = draws.below(COUNT)
    draws.happens(1)
    share = beta(draws.uniform(), 1.0).reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(mixed, share * flips + (1 - share) * flips[partner], atol=1e-6)


def test_mixing_twice_keeps_labels_a_distribution() -> None:
    after = take(vary(pictures(), made("mixup", alpha=1.0), made("cutmix"), made("flip")))
    np.testing.assert_allclose(after["label"].sum(axis=1), 1, atol=1e-5)
    assert (after["label"] > 0).sum(axis=1).max() > 2


def test_partners_come_from_the_part_alone() -> None:
    """Rows outside of the part are never seen: here they would carry class 3."""
    mixed = vary(pictures(count=200), made("mixup", alpha=1.0))
    part = mixed.select(np.flatnonzero(np.arange(200) % 4 != 3))
    assert take(part)["label"][:, 3].max() == 0
    assert take(mixed)["label"][:, 3].max() > 0


def test_partners_of_every_mixing_come_from_the_part() -> None:
    mixed = vary(pictures(count=200), made("mixup", alpha=1.0), made("flip"), made("cutmix"))
    part = mixed.select(np.flatnonzero(np.arange(200) % 4 != 3))
    assert take(part)["label"][:, 3].max() == 0


def test_cutmix_pastes_into_a_mask_what_it_pastes_into_the_picture() -> None:
    image = np.random.default_rng(0).random((COUNT, 8, 9, 1), dtype=np.float32)
    classes = (image[..., 0] > 0.5).astype(np.int64)
    source = ArraySource({"image": image, "mask": image[..., 0].copy(), "kind": classes})
    after = take(augmented(source, [made("cutmix")], 0, ["image"], ["mask", "kind"]))
    assert (after["image"] != image).any()
    np.testing.assert_array_equal(after["mask"], after["image"][..., 0])
    np.testing.assert_array_equal(after["kind"], after["image"][..., 0] > 0.5)


def test_labels_alone_are_mixed_like_labels_with_pictures() -> None:
    for kind in ("mixup", "cutmix"):
        mixed = vary(pictures(), made(kind, alpha=1.0))
        np.testing.assert_array_equal(take(mixed, names=["label"])["label"], take(mixed)["label"])


def test_mixup_of_a_table() -> None:
    after = take(vary(table(), made("mixup", alpha=1.0)))
    assert after["label"].shape == (40, 4)
    assert (after["features"] != take(table())["features"]).any()


@pytest.mark.parametrize("fields", [{"alpha": 0}, {"alpha": 1000}, {"probability": -1}])
def test_bad_fields(fields: dict[str, float]) -> None:
    with pytest.raises(SpecError):
        made("mixup", **fields)
