"""The varied source as a whole: what draws may depend on, select, streams, refusals."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cortex_compute.errors import DataError
from cortex_datasets.augment import augmented
from cortex_datasets.augment import sources as sources_module
from cortex_datasets.source import ArraySource, Stream
from cortex_datasets.text.padded import PaddedSource, Ragged
from tests.datasets.augment.examples import CLASSES, made, pictures, table, take, vary

ALL: dict[str, dict[str, Any]] = {
    "flip": {},
    "crop": {"padding": 2},
    "shift": {"pixels": 2},
    "rotate": {"degrees": 20},
    "scale": {"amount": 0.2},
    "shear": {"degrees": 10},
    "brightness": {"amount": 0.2},
    "contrast": {"amount": 0.2},
    "noise": {"deviation": 0.1},
    "erase": {},
    "mixup": {"alpha": 1.0},
    "cutmix": {},
}
LONG = [made(kind, **ALL[kind]) for kind in ("noise", "flip", "crop", "rotate", "erase", "mixup", "shift")]


@pytest.mark.parametrize("kind", ALL)
def test_each_changes_examples_and_only_in_its_streams(kind: str) -> None:
    source = pictures()
    varied = vary(source, made(kind, **ALL[kind]))
    after, before = take(varied), take(source)
    assert len(varied) == len(source)
    assert not varied.fixed
    assert (after["image"] != before["image"]).any()
    if kind not in ("mixup", "cutmix"):
        np.testing.assert_array_equal(after["label"], before["label"])
        assert varied.streams["label"].classes == CLASSES


@pytest.mark.parametrize("augmentations", [*([made(k, **f)] for k, f in ALL.items()), LONG])
def test_rows_one_by_one_in_any_order_are_rows_together(
    augmentations: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = take(vary(pictures(), *augmentations, seed=9), epoch=4)
    monkeypatch.setattr(sources_module, "BLOCK_BYTES", 8 * 8 * 3 * 4 * 7)  # seven pictures at a time
    varied = vary(pictures(), *augmentations, seed=9)
    order = np.random.default_rng(0).permutation(40)
    shuffled = take(varied, order, epoch=4)
    for name in together:
        np.testing.assert_array_equal(shuffled[name], together[name][order])
        for row in (0, 39):
            np.testing.assert_array_equal(take(varied, [row], epoch=4)[name][0], together[name][row])


@pytest.mark.parametrize("kind", ALL)
def test_epochs_and_seeds_differ_and_come_back(kind: str) -> None:
    augmentations = [made(kind, **ALL[kind])]
    varied = vary(pictures(), *augmentations)
    first, second = take(varied)["image"], take(varied, epoch=1)["image"]
    other = take(vary(pictures(), *augmentations, seed=1))["image"]
    assert (first != second).any()
    assert (first != other).any()
    np.testing.assert_array_equal(take(vary(pictures(), *augmentations), epoch=1)["image"], second)  # resumed


def test_a_part_sees_what_the_whole_sees() -> None:
    varied = vary(pictures(), *LONG[:5])
    rows = np.array([31, 3, 3, 17])
    part = varied.select(rows)
    assert len(part) == 4
    whole = take(varied, epoch=2)["image"]
    np.testing.assert_array_equal(take(part, epoch=2)["image"], whole[rows])
    np.testing.assert_array_equal(take(part.select(np.array([3, 0])), epoch=2)["image"], whole[[17, 31]])


def test_a_row_that_does_not_exist() -> None:
    with pytest.raises(IndexError):
        take(vary(pictures(), *LONG), [40])


def test_more_room_than_rows() -> None:
    """What stands behind the rows in ``out`` is not touched."""
    for augmentations in (LONG, [made("flip")], [made("noise", deviation=0.1)], [made("mixup")]):
        varied = vary(pictures(), *augmentations)
        out = {n: np.full((9, *s.shape), 7, s.dtype) for n, s in varied.streams.items()}
        varied.gather(np.arange(5), out)
        for name, array in take(varied, np.arange(5)).items():
            np.testing.assert_array_equal(out[name][:5], array)
            assert (out[name][5:] == 7).all()


def test_no_rows() -> None:
    assert take(vary(pictures(), *LONG), [])["image"].shape == (0, 8, 8, 3)


def test_several_pictures_of_an_example_move_alike() -> None:
    image = np.random.default_rng(0).random((20, 6, 6, 3), dtype=np.float32)
    source = ArraySource({"left": image, "right": image[..., :1], "label": np.zeros(20, np.int64)})
    varied = augmented(
        source, [made("flip"), made("rotate", degrees=30), made("erase")], 0, ["left", "right"]
    )
    after = take(varied)
    np.testing.assert_array_equal(after["left"][..., :1], after["right"])
    np.testing.assert_array_equal(take(varied, names=["right"])["right"], after["right"])


def test_the_target_of_an_autoencoder_is_the_varied_input() -> None:
    source = pictures()
    varied = augmented(source, [made("flip"), made("mixup")], 0, ["image"], ["image"])
    assert varied.streams["image"].shape == (8, 8, 3)
    assert (take(varied)["image"] != take(source)["image"]).any()


def test_pixels_stay_bytes_until_they_are_gathered() -> None:
    image = np.random.default_rng(0).integers(0, 256, (10, 6, 6, 1), dtype=np.uint8)
    source = ArraySource({"image": image, "label": np.zeros(10, np.int64)})
    after = take(vary(source, made("flip", probability=1)))["image"]
    np.testing.assert_array_equal(after, image[:, :, ::-1].astype(np.float32) / np.float32(255))


def test_lengths_and_notes_are_those_of_the_source() -> None:
    source = padded([3, 2, 3, 2], edges=[2, 3])
    varied = augmented(source, [made("noise", deviation=0.1)], 0, ["more"])
    assert varied.notes == ("a note",)
    assert varied.select(np.array([0, 3])).lengths.tolist() == [3, 2]
    with pytest.raises(DataError, match="different lengths"):
        augmented(source, [made("mixup")], 0, ["more"])


def test_sequences_take_noise_where_nothing_is_padded() -> None:
    """A source of sequences has ``lengths``, None where it pads to one length."""
    for kind in ("noise", "mixup"):
        varied = augmented(padded([3, 3, 3, 3], [3]), [made(kind, **ALL[kind])], 0, ["values"])
        after = take(varied)["values"]
        assert (after != 1).all() if kind == "noise" else (abs(after - 1) < 1e-6).all()
        assert varied.lengths is None
        with pytest.raises(DataError, match="'values' is padded with zeros"):
            augmented(padded([3, 2, 3, 1], [3]), [made(kind, **ALL[kind])], 0, ["values"])
    assert padded([3, 2, 3, 1], [3]).select(np.array([0, 2])).padded == set()


def padded(counts: list[int], edges: list[int]) -> PaddedSource:
    """Sequences of ones, and a vector for each."""
    lengths = np.array(counts)
    values = Ragged(np.ones(lengths.sum(), np.float32), lengths.cumsum() - lengths, lengths)
    shape = (edges[0] if len(edges) == 1 else None,)
    streams = {"values": Stream(shape, "float32"), "more": Stream((2,), "float32")}
    more = np.zeros((len(counts), 2), np.float32)
    return PaddedSource(streams, {"values": values}, {"more": more}, lengths, edges, ["a note"])


def test_noise_of_each_input_is_its_own_and_reaches_all_of_them() -> None:
    """Beside a picture, too, which alone is flipped."""
    picture, vector = np.full((20, 4, 4, 1), 0.5, np.float32), np.full((20, 16), 0.5, np.float32)
    source = ArraySource({"a": picture, "b": picture, "c": vector, "n": np.zeros(20, np.int64)})
    chain = [made("noise", deviation=0.01), made("flip", probability=1), made("brightness", amount=0.1)]
    after = take(augmented(source, chain[:1], 0, ["a", "b", "c", "n"]))
    noise = [after[name].reshape(-1) - 0.5 for name in "abc"]
    assert all(n.std() == pytest.approx(0.01, rel=0.15) for n in noise)
    assert abs(np.corrcoef(noise) - np.eye(3)).max() < 0.25
    varied = augmented(source, chain, 0, ["a", "b", "c", "n"])
    np.testing.assert_array_equal(take(varied)["c"], after["c"])
    np.testing.assert_array_equal(take(varied, names=["c"])["c"], after["c"])
    np.testing.assert_array_equal(take(varied, names=["b"])["b"], take(varied)["b"])
    brighter = take(augmented(source, chain[2:], 0, ["a", "b", "c", "n"]))
    np.testing.assert_array_equal(brighter["c"], vector)
    np.testing.assert_array_equal(brighter["a"], brighter["b"])


@pytest.mark.parametrize("behind", ["brightness", "contrast", "noise"])
def test_a_value_that_a_later_step_could_not_take(behind: str) -> None:
    later = made(behind, **ALL[behind])
    with pytest.raises(DataError, match=rf"augment\[1\]: erase: value -1 is outside of 0..1, which {behind}"):
        vary(pictures(), made("flip"), made("erase", value=-1.0), made("flip"), later)
    assert take(vary(pictures(), later, made("erase", value=-1.0)))["image"].min() == -1


@pytest.mark.parametrize("kinds", [["flip", "crop", "erase"], ["rotate", "noise"], ["mixup"]])
def test_memory_does_not_grow_with_the_batch(kinds: list[str]) -> None:
    varied = vary(pictures(2000, (32, 32, 3)), *(made(kind, **ALL[kind]) for kind in kinds))
    rows = np.arange(2000)
    out = {n: np.empty((2000, *s.shape), s.dtype) for n, s in varied.streams.items()}
    tracemalloc.start()
    varied.gather(rows, out)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < out["image"].nbytes / 5


def test_an_augmentation_of_somebody_else() -> None:
    """What ``--use FILE.py`` registers needs no more than ``apply(draw, examples)``."""

    class Dim:
        kind = "dim"

        def apply(self, draw: Any, examples: Any) -> None:
            examples *= draw.uniform().astype(np.float32).reshape(-1, 1, 1, 1)

    source = pictures()
    after, before = take(vary(source, Dim()))["image"], take(source)["image"]
    ratio = (after / before).reshape(40, -1)
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), rtol=1e-5)
    assert len(set(ratio[:, 0].round(4))) > 35


def test_no_augmentations_are_the_source_itself() -> None:
    source = pictures()
    assert vary(source) is source


@settings(max_examples=30, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(sorted(ALL)), min_size=1, max_size=5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    channels=st.integers(1, 4),
    count=st.integers(1, 9),
    seed=st.integers(0, 2**63 - 1),
)
def test_any_list_of_augmentations_on_pictures_of_any_shape(
    kinds: list[str], height: int, width: int, channels: int, count: int, seed: int
) -> None:
    varied = vary(pictures(count, (height, width, channels)), *(made(k, **ALL[k]) for k in kinds), seed=seed)
    after = take(varied, epoch=3)
    assert np.isfinite(after["image"]).all()
    assert after["image"].min() > -1e-3
    assert after["image"].max() < 1.001
    np.testing.assert_array_equal(take(varied, [count - 1], epoch=3)["image"][0], after["image"][-1])


def image_and(**others: Any) -> ArraySource:
    return ArraySource({"image": np.zeros((4, 4, 4, 1), np.float32), **others})


@pytest.mark.parametrize(
    ("source", "inputs", "targets", "kind", "told"),
    [
        (
            table(),
            ["features"],
            [],
            "flip",
            r"augment\[0\]: flip: needs a picture .* 'features' is float32 \[5\]",
        ),
        (table(), ["features"], [], "cutmix", "needs a picture"),
        (ArraySource({"ids": np.zeros((4, 7), np.int64)}), ["ids"], [], "noise", "needs an input of float32"),
        (image_and(label=np.zeros(4, np.int64)), ["image"], ["label"], "mixup", "without names of classes"),
        (
            image_and(mask=np.zeros((4, 4, 4), np.int64)),
            ["image"],
            ["mask"],
            "rotate",
            "would not be moved along",
        ),
        (
            image_and(ids=np.zeros((4, 3), np.int64)),
            ["image", "ids"],
            [],
            "mixup",
            "input 'ids' cannot be mixed",
        ),
        (
            image_and(other=np.zeros((4, 5, 4, 1), np.float32)),
            ["image", "other"],
            [],
            "flip",
            "need equal height and width",
        ),
        (
            image_and(more=np.zeros((4, 3), np.float32)),
            ["image", "more"],
            [],
            "cutmix",
            "'more' cannot be mixed",
        ),
    ],
)
def test_refusals(source: ArraySource, inputs: list[str], targets: list[str], kind: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        augmented(source, [made(kind, **ALL[kind])], 0, inputs, targets, ["label"])
