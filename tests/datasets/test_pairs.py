"""Pairs of pictures: who is beside whom, and that it never changes."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pytest

from cortex_compute.errors import DataError
from cortex_datasets import named
from cortex_datasets.pairs import Pairs, PairSet, partners
from cortex_datasets.source import ArraySource, DataSet, Stream

CLASSES = ("a", "b", "c")
WRITTEN = [0, 0, 0, 1, 1, 0, 1, 1, 0, 0, 1, 0], [434, 86, 327, 129, 112, 28]


@dataclass(frozen=True, repr=False)
class Numbered(DataSet):
    """Picture i is i everywhere, its class i % 3."""

    def load(self, split: str) -> ArraySource:
        self.check_split(split)
        number = np.arange(self.lengths[split])
        image = np.broadcast_to(number[:, None, None, None], (len(number), 2, 2, 1))
        return ArraySource({"image": image.astype(np.float32), "label": number % 3}, {"label": CLASSES})


numbered = Numbered(
    name="numbered",
    doc="",
    streams={"image": Stream((2, 2, 1), "float32"), "label": Stream((), "int64", CLASSES)},
    lengths={"train": 600, "test": 30},
)
pairs = PairSet(name="pairs", doc="", of=numbered)


def everything(source: Pairs) -> dict[str, np.ndarray]:
    out = {name: np.empty((len(source), *s.shape), s.dtype) for name, s in source.streams.items()}
    source.gather(np.arange(len(source)), out)
    return out


def test_every_picture_has_a_partner_of_its_class_or_of_another() -> None:
    found = everything(pairs.load("train"))
    number, other = found["image"][:, 0, 0, 0], found["other"][:, 0, 0, 0]
    assert number.tolist() == list(range(600))  # in the order of the set below
    assert (found["label"] == number % 3).all()
    assert ((number % 3 == other % 3) == found["same"]).all()
    assert (number != other).all()
    assert (found["other"] == other[:, None, None, None]).all()


def test_half_of_the_pairs_are_of_one_class_and_all_partners_are_as_likely() -> None:
    """10 standard deviations of the binomial; the expected shares are those of the docstring."""
    labels = np.repeat([0, 1, 2], [2, 300, 9698])
    partner, same = partners(labels, 5)
    assert abs(same.mean() - 1 / 2) < 10 * 0.5 / 100
    of_other = np.bincount(labels[partner[(labels == 2) & (same == 0)]], minlength=3)
    assert of_other[2] == 0
    assert of_other[1] / of_other.sum() == pytest.approx(300 / 302, abs=10 * (2 / 302 / 4849) ** 0.5)
    alone = np.flatnonzero((labels == 0) & (same == 1))
    assert (partner[alone] == 1 - alone).all()  # the only other one


def test_parts_are_drawn_apart_and_never_change() -> None:
    """Written down from Philox4x64-10 with keys 0 and 1; a change here changes what the examples state."""
    train, test = (everything(pairs.load(split)) for split in ("train", "test"))
    assert train["same"][:12].tolist() == WRITTEN[0]
    assert train["other"][:6, 0, 0, 0].tolist() == WRITTEN[1]
    assert test["same"][:12].tolist() != train["same"][:12].tolist()


def test_what_the_set_promises() -> None:
    assert dict(pairs.streams) == {
        "image": numbered.streams["image"],
        "label": numbered.streams["label"],
        "other": numbered.streams["image"],
        "same": Stream((), "int64", ("different", "same")),
    }
    source = pairs.load("test")
    assert source.streams == pairs.streams
    assert len(source) == pairs.lengths["test"] == 30
    assert (pairs.fetch(), pairs.where(), pairs.present()) == (None, None, True)
    with pytest.raises(DataError, match="numbered has no split 'all'"):
        pairs.load("all")


def test_a_part_of_the_pairs_keeps_them() -> None:
    source = pairs.load("train")
    part = source.select(np.array([7, 3, 500])).select(np.array([2, 0]))
    whole, found = everything(source), everything(part)
    assert len(part) == 2
    for name in whole:
        np.testing.assert_array_equal(found[name], whole[name][[500, 7]])
    only = {"same": np.full(5, -1)}
    part.gather(np.array([1]), only)
    assert only["same"].tolist() == [whole["same"][7], -1, -1, -1, -1]
    with pytest.raises(IndexError):
        part.gather(np.array([2]), only)


@pytest.mark.parametrize("labels", [[0, 0, 1], [0, 0, 0], []])
def test_who_has_no_partner(labels: list[int]) -> None:
    with pytest.raises(DataError, match="at least two classes, and at least two examples of each"):
        partners(np.array(labels, np.int64), 0)


@pytest.mark.skipif("CORTEX_DATA" not in os.environ, reason="CORTEX_DATA is not set")
def test_mnist_in_pairs() -> None:
    source = named.mnist_pairs.load("test")
    assert source.streams == named.mnist_pairs.streams
    out = {name: np.empty((100, *s.shape), s.dtype) for name, s in source.streams.items()}
    source.gather(np.arange(100), out)
    expected = np.empty((100, 28, 28, 1), np.float32)
    named.mnist.load("test").gather(np.arange(100), {"image": expected})
    np.testing.assert_array_equal(out["image"], expected)
    assert named.mnist_pairs.where() == named.mnist.where()
