"""The cases of the gradient suite for losses, beside those of cross entropies and distances in `cases`."""

from __future__ import annotations

import numpy as np

from cortex_core.verify.case import away, cases, of_loss
from cortex_core.verify.cases import Made, Rng, loss

LABELS = np.array([0, 2, 1, 2, 0])


def near_and_far(rng: Rng, shape: tuple[int, ...], edge: float) -> np.ndarray:
    """Numbers of both signs that keep away from 0 and from the edge on both sides."""
    return away(rng, shape, -edge, 0.0, edge)


@cases("loss", "huber")
def huber(rng: Rng) -> Made:
    t, difference = rng.normal(size=(3, 4)), near_and_far(rng, (3, 4), 0.7)
    yield of_loss("both sides of delta", loss("huber", delta=0.7), t + difference, t)


@cases("loss", "hinge")
def hinge(rng: Rng) -> Made:
    signs = rng.choice([-1, 1], (3, 4))
    yield of_loss("signs", loss("hinge"), signs * away(rng, (3, 4), 1.0), signs)
    truths = np.array([0, 1, 1, 0])
    yield of_loss("truths", loss("hinge"), away(rng, (4, 1), -1.0, 1.0), truths)


@cases("loss", "kl_divergence")
def kl_divergence(rng: Rng) -> Made:
    t = rng.dirichlet(np.full(3, 5.0), 4)
    yield of_loss("logits", loss("kl_divergence"), 2 * rng.normal(size=(4, 3)), t)
    places = rng.dirichlet(np.full(3, 5.0), (2, 2))
    yield of_loss("places", loss("kl_divergence"), rng.normal(size=(2, 2, 3)), places)
    whole = np.array([[0, 1, 0], [1, 0, 0]])
    # (Whole numbers, by which nothing is differentiated: t log t has no slope at 0.)
    yield of_loss("certain", loss("kl_divergence"), rng.normal(size=(2, 3)), whole)


@cases("loss", "focal")
def focal(rng: Rng) -> Made:
    x, t = 2 * rng.normal(size=(5, 3)), rng.dirichlet(np.ones(3), 5)
    weighted = loss("focal", gamma=1.5, alpha=[0.5, 2, 1])
    yield of_loss("index, weighted", weighted, x, LABELS)
    yield of_loss("probabilities, weighted", weighted, x, t)
    yield of_loss("gamma below 1", loss("focal", gamma=0.5), x, LABELS)
    yield of_loss("sequence", loss("focal"), rng.normal(size=(2, 2, 3)), np.array([[0, 1], [2, 2]]))


@cases("loss", "binary_focal")
def binary_focal(rng: Rng) -> Made:
    x, p, t = 3 * rng.normal(size=(4, 2)), rng.uniform(0.1, 0.9, (4, 2)), rng.uniform(size=(4, 2))
    yield of_loss("probabilities", loss("binary_focal"), p, t)
    yield of_loss("logits", loss("binary_focal", from_logits=True), x, t)
    plain = loss("binary_focal", from_logits=True, gamma=0.5, alpha=None)
    yield of_loss("logits, gamma below 1", plain, x, t)


@cases("loss", "dice")
def dice(rng: Rng) -> Made:
    p, truths = rng.uniform(0.1, 0.9, (2, 3, 2, 1)), rng.integers(0, 2, (2, 3, 2))
    yield of_loss("probabilities", loss("dice"), p, truths)
    yield of_loss("squares", loss("dice", squared=True, smooth=0.1), p, rng.uniform(size=(2, 3, 2, 1)))
    classes = rng.integers(0, 3, (2, 3, 2))
    yield of_loss("logits", loss("dice", from_logits=True), rng.normal(size=(2, 3, 2, 3)), classes)
    one = rng.normal(size=(2, 5, 1))
    yield of_loss("logits of one channel", loss("dice", from_logits=True), one, rng.uniform(size=(2, 5)))


@cases("loss", "contrastive")
def contrastive(rng: Rng) -> Made:
    x = rng.normal(size=(4, 3))
    steps = np.array([0.5, 1.5, 0.5, 1.5])[:, None] * np.array([2, -1, 2]) / 3
    yield of_loss("", loss("contrastive", other="b"), x, np.array([1, 1, 0, 0]), other=x + steps)


@cases("loss", "triplet")
def triplet(rng: Rng) -> Made:
    x, near, far = rng.normal(size=(3, 4, 3))
    made = loss("triplet", positive="p", negative="n", margin=0.4)
    yield of_loss("", made, x, positive=near, negative=far)


@cases("loss", "batch_hard_triplet")
def batch_hard_triplet(rng: Rng) -> Made:
    x, labels = rng.normal(size=(5, 3)), np.array([0, 1, 0, 1, 2])
    yield of_loss("one is alone", loss("batch_hard_triplet"), x, labels)


@cases("loss", "center_loss")
def center_loss(rng: Rng) -> Made:
    x = rng.normal(size=(5, 2))
    yield of_loss("", loss("center_loss", classes=3), x, LABELS, rng=rng)


@cases("loss", "censor_loss")
def censor_loss(rng: Rng) -> Made:
    x, t = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    hidden = np.where(rng.uniform(size=(4, 3)) < 0.4, np.nan, t)
    hidden[0], hidden[1] = np.nan, t[1]
    yield of_loss("all there", loss("censor_loss"), x, t)
    yield of_loss("some missing", loss("censor_loss"), x, hidden)
    yield of_loss("one unit", loss("censor_loss"), x[:, :1], hidden[:, 0])


@cases("loss", "l1")
def l1(rng: Rng) -> Made:
    yield of_loss("activity", loss("l1"), away(rng, (3, 2, 2), 0), None)


@cases("loss", "l2")
def l2(rng: Rng) -> Made:
    yield of_loss("activity", loss("l2"), rng.normal(size=(3, 2, 2)), None)
    yield of_loss("numbers", loss("l2"), rng.normal(size=3), None)


@cases("loss", "gaussian_kl")
def gaussian_kl(rng: Rng) -> Made:
    mean, log_variance = rng.normal(size=(2, 3, 2))
    made = loss("gaussian_kl", log_variance="v")
    yield of_loss("", made, mean, log_variance=log_variance)
