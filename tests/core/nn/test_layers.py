"""What needs no PyTorch: gradients by central differences, worked examples, what is refused."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import ArgumentError, CortexError, DTypeError, PlaceError, ShapeError
from cortex_core import nn
from cortex_core.generator import manual_seed
from cortex_core.nn import functional as F
from cortex_core.tensor import Tensor, no_grad
from tests.core.nn.rows import LOSSES, MODULES, Row, inputs_of, target_of

STEP = 1e-6


def of(numbers: Any) -> Tensor:
    return Tensor(np.array(numbers, np.float64))


def zeros(*shape: int) -> Tensor:
    return Tensor(np.zeros(shape, np.float32))


@pytest.mark.parametrize("name", [*MODULES, *LOSSES])
def test_the_gradient_along_a_direction(name: str) -> None:
    """Of a weighted sum of the outputs, for all inputs and parameters at once, by central differences."""
    rng = np.random.default_rng(11)
    row: Row = {**MODULES, **LOSSES}[name]
    manual_seed(3)
    module = row.make(nn, of).double()
    inputs = [Tensor(x, requires_grad=x.dtype.kind == "f") for x in inputs_of(row, rng)]
    targets = [Tensor(target_of(row, rng))] if row.target else []
    y = module(*inputs, *targets)
    weights = Tensor(rng.standard_normal(y.shape))
    (y * weights).sum().backward()
    leaves = [x for x in (*inputs, *module.parameters()) if x.requires_grad]
    ways = [rng.standard_normal(x.shape) for x in leaves]
    if getattr(module, "padding_idx", None) is not None:
        ways[0][module.padding_idx] = 0  # PyTorch's rule: this row gets no gradient
    slope = sum((d * x.grad.numpy()).sum() for d, x in zip(ways, leaves) if x.grad is not None)

    def value(step: float) -> float:
        with no_grad():
            for x, d in zip(leaves, ways):
                x.data[...] += step * d
            found = (module(*inputs, *targets) * weights).sum().item()
            for x, d in zip(leaves, ways):
                x.data[...] -= step * d
        return float(found)

    expected = (value(STEP) - value(-STEP)) / (2 * STEP)
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-7)


def test_the_padding_row_gets_no_gradient() -> None:
    layer = nn.Embedding(4, 2, padding_idx=1)
    assert not layer.weight.numpy()[1].any()
    layer(Tensor(np.array([1, 2, 1]))).sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[0, 0], [0, 0], [1, 1], [0, 0]]


def test_losses_of_margins() -> None:
    x, t = Tensor([0.5, -2.0, 3.0]), Tensor([1.0, 1.0, -1.0])
    assert F.hinge_loss(x, t, "none").tolist() == [0.5, 3, 4]
    assert nn.HingeLoss(reduction="sum")(x, t).item() == 7.5


def test_exponential() -> None:
    np.testing.assert_allclose(nn.Exponential()(of([0.0, 1.0, -2.0])).numpy(), np.exp([0, 1, -2]), rtol=1e-14)


def test_cross_entropy_of_probabilities_is_finite_where_one_is_zero() -> None:
    p, labels = Tensor([[0.25, 0.75], [1.0, 0.0]], requires_grad=True), Tensor(np.array([0, 1]))
    loss = F.sparse_cross_entropy(p, labels, reduction="none")
    np.testing.assert_allclose(loss.numpy(), [np.log(4), -np.log(np.finfo(np.float32).tiny)], rtol=1e-6)
    F.sparse_cross_entropy(p, labels).backward()
    assert p.grad is not None
    assert np.isfinite(p.grad.numpy()).all()
    assert p.grad.numpy()[0].tolist() == [-2, 0]


def test_a_batch_of_ignored_targets_has_no_mean_and_sum_zero() -> None:
    x, t = zeros(2, 3), Tensor(np.array([-100, -100]))
    assert np.isnan(F.cross_entropy(x, t).item())
    assert F.cross_entropy(x, t, reduction="sum").item() == 0


def test_paddings() -> None:
    x = Tensor([[1.0, 2.0, 3.0]])
    assert F.pad(x, (1, 2)).tolist() == [[0, 1, 2, 3, 0, 0]]
    assert F.pad(x, (-1, 1), value=9).tolist() == [[2, 3, 9]]
    assert F.pad(x, (2, 1), "reflect").tolist() == [[3, 2, 1, 2, 3, 2]]
    assert F.pad(x, (2, 1), "replicate").tolist() == [[1, 1, 1, 2, 3, 3]]
    assert F.pad(x, (2, 1), "circular").tolist() == [[2, 3, 1, 2, 3, 1]]
    assert F.pad(x, (0, 0, 1, 0), "replicate").tolist() == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize(
    "make", [lambda: nn.GroupNorm(2, 4), lambda: nn.LayerNorm(3), lambda: nn.Conv1d(4, 2, 2)]
)
def test_an_empty_batch(make: Any) -> None:
    module, x = make(), Tensor(np.zeros((0, 4, 3), np.float32), requires_grad=True)
    module(x).sum().backward()
    assert x.grad.shape == x.shape
    assert all(not p.grad.numpy().any() for p in module.parameters())


def test_functions_change_given_statistics_in_place() -> None:
    x = Tensor([[1.0], [3.0]])
    mean, variance = Tensor([10.0]), Tensor([10.0])
    F.batch_norm(x, mean, variance, training=True, momentum=0.5)
    assert (mean.item(), variance.item()) == (6, 6)
    F.instance_norm(Tensor([[[1.0, 3.0]]]), mean, variance, momentum=0.5)
    assert (mean.item(), variance.item()) == (4, 4)


def test_running_statistics_have_no_history() -> None:
    layer = nn.BatchNorm1d(2)
    for _ in range(3):
        layer(Tensor(np.ones((2, 2), np.float32), requires_grad=True))
    assert not layer.running_mean.requires_grad
    assert layer.num_batches_tracked.item() == 3
    layer.reset_running_stats()
    assert layer.num_batches_tracked.item() == 0


def test_what_is_dropped() -> None:
    """Of a million draws of probability 0.3 the share is within five standard deviations, 0.0023."""
    manual_seed(8)
    x = Tensor(np.ones((1000, 1000), np.float32), requires_grad=True)
    y = F.dropout(x, 0.3)
    fell = (y.numpy() == 0).mean()
    assert abs(fell - 0.3) < 0.0023
    np.testing.assert_allclose(y.numpy()[y.numpy() > 0], 1 / 0.7, rtol=1e-4)
    y.sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())
    both = (F.dropout(x, 0.3).numpy() == y.numpy()).mean()
    assert abs(both - (0.7**2 + 0.3**2)) < 0.0025  # another draw
    manual_seed(8)
    np.testing.assert_array_equal(F.dropout(x, 0.3).numpy(), y.numpy())


def test_whole_channels_are_dropped() -> None:
    manual_seed(1)
    y = nn.Dropout2d(0.5)(Tensor(np.ones((20, 10, 3, 4), np.float32))).numpy()
    assert set(y.mean((2, 3)).ravel().tolist()) == {0.0, 2.0}
    y = nn.Dropout1d(0.5)(Tensor(np.ones((20, 10, 3), np.float32))).numpy()
    assert set(y.mean(2).ravel().tolist()) == {0.0, 2.0}


def test_dropout_in_evaluation_is_the_input_itself() -> None:
    x = zeros(2)
    assert nn.Dropout(0.9).eval()(x) is x


REFUSED: dict[str, tuple[Any, type[CortexError], str]] = {
    "channels": (
        lambda: nn.Conv2d(3, 8, 5)(zeros(2, 4, 8, 8)),
        ShapeError,
        "Conv2d(3, 8, kernel_size=(5, 5), stride=(1, 1)): the input has shape (2, 4, 8, 8); "
        "its channels, the axis before the last 2, must be 3",
    ),
    "channels of a function": (
        lambda: F.conv1d(zeros(2, 4, 8), zeros(2, 1, 3), groups=2),
        ShapeError,
        "conv1d: the input has 4 channels, the weight (2, 1, 3) in 2 groups needs 2",
    ),
    "channels transposed": (
        lambda: F.conv_transpose1d(zeros(2, 4, 8), zeros(2, 1, 3)),
        ShapeError,
        "conv_transpose1d: the input has 4 channels, the weight (2, 1, 3) needs 2",
    ),
    "features": (
        lambda: nn.Linear(4, 2)(zeros(5, 3)),
        ShapeError,
        "Linear(in_features=4, out_features=2, bias=True): the input has shape (5, 3); "
        "its last axis must be 4",
    ),
    "bilinear": (
        lambda: nn.Bilinear(2, 3, 4)(zeros(5, 2), zeros(4, 3)),
        ShapeError,
        "needs (..., 2) and (..., 3)",
    ),
    "axes of a convolution": (
        lambda: F.conv2d(zeros(4, 8), zeros(2, 4, 3, 3)),
        ShapeError,
        "conv2d: the input has shape (4, 8); needs (N, C, H, W) or (C, H, W)",
    ),
    "axes of a weight": (
        lambda: F.conv2d(zeros(1, 1, 4, 4), zeros(2, 4)),
        ShapeError,
        "the weight has shape (2, 4)",
    ),
    "kernel": (lambda: nn.Conv2d(1, 1, (1, 2, 3)), ShapeError, "Conv2d: kernel_size (1, 2, 3) is for 3"),
    "padding word": (lambda: nn.Conv1d(1, 1, 3, padding="sam"), ArgumentError, "'valid' or 'same'"),
    "padding and stride": (lambda: nn.Conv1d(1, 1, 3, 2, "same"), ArgumentError, "needs stride 1, not (2,)"),
    "padding mode": (
        lambda: nn.Conv1d(1, 1, 3, padding_mode="mirror"),
        ArgumentError,
        "padding_mode='mirror'; choose zeros, reflect, replicate, circular",
    ),
    "groups": (
        lambda: nn.Conv2d(3, 4, 1, groups=2),
        ArgumentError,
        "3 and 4 channels do not split into groups=2",
    ),
    "reflection": (
        lambda: F.pad(zeros(1, 3), (3, 0), "reflect"),
        ShapeError,
        "pad: (3, 0) around axis 1 of shape (1, 3); reflect takes 0 to 2",
    ),
    "pad mode": (
        lambda: F.pad(zeros(3), (1, 1), "mirror"),
        ArgumentError,
        "choose constant, reflect, replicate",
    ),
    "pad list": (lambda: F.pad(zeros(3), (1, 1, 1)), ShapeError, "is not (before, after)"),
    "pooling margin": (
        lambda: F.max_pool1d(zeros(1, 1, 9), 3, padding=2),
        ShapeError,
        "half of kernel_size (3,)",
    ),
    "adaptive mean of nothing": (
        lambda: F.adaptive_avg_pool2d(zeros(1, 3, 0, 4), 2),
        ShapeError,
        "x has shape (1, 0, 4, 3): there is no mean of nothing",
    ),
    "channels of a vector": (
        lambda: F.dropout3d(zeros(3, 4)),
        ShapeError,
        "dropout3d: the input has shape (3, 4); needs (N, C) and 3 more axes",
    ),
    "channels of a line": (
        lambda: F.dropout1d(zeros(4)),
        ShapeError,
        "dropout1d: the input has shape (4,); needs (N, C) and 1 more axes",
    ),
    "adaptive": (
        lambda: F.adaptive_avg_pool2d(zeros(3, 3), 1),
        ShapeError,
        "does not fit an input of shape (3, 3)",
    ),
    "batch norm": (
        lambda: nn.BatchNorm2d(3)(zeros(2, 4, 5, 5)),
        ShapeError,
        "the input has shape (2, 4, 5, 5); needs (N, C, H, W) with C = 3",
    ),
    "axes of batch norm": (
        lambda: nn.BatchNorm1d(3)(zeros(2, 3, 5, 5)),
        ShapeError,
        "needs (N, C) or (N, C, L) with C = 3",
    ),
    "a batch of one": (
        lambda: nn.BatchNorm1d(3)(zeros(1, 3)),
        ShapeError,
        "one value per channel has no variance",
    ),
    "layer norm": (
        lambda: nn.LayerNorm(4)(zeros(2, 3)),
        ShapeError,
        "layer_norm: the last axes of shape (2, 3) are not normalized_shape=(4,)",
    ),
    "group norm": (lambda: nn.GroupNorm(2, 4)(zeros(2, 6)), ShapeError, "axis 1 must be 4"),
    "groups of channels": (
        lambda: nn.GroupNorm(3, 4),
        ArgumentError,
        "4 channels do not split into num_groups=3",
    ),
    "flatten": (
        lambda: nn.Flatten(2)(zeros(3, 4)),
        ShapeError,
        "Flatten(start_dim=2, end_dim=-1): the input",
    ),
    "unflatten": (lambda: nn.Unflatten(1, (2, 3))(zeros(3, 4)), ShapeError, "the input has shape (3, 4)"),
    "tokens": (lambda: nn.Embedding(3, 2)(zeros(2)), DTypeError, "Embedding(3, 2): the input is float32"),
    "padding row": (lambda: nn.Embedding(3, 2, padding_idx=3), ArgumentError, "padding_idx=3 is no row of 3"),
    "dropout": (lambda: nn.Dropout(1.5), ArgumentError, "Dropout: p=1.5; needs a probability"),
    "gelu": (lambda: F.gelu(zeros(1), "tan"), ArgumentError, "choose 'none' or 'tanh'"),
    "prelu": (lambda: nn.PReLU(3)(zeros(2, 4)), ShapeError, "input (2, 4) needs (1,) or (4,)"),
    "reduction": (
        lambda: nn.MSELoss(reduction="men"),
        ArgumentError,
        "MSELoss: reduction='men'; choose 'mean', 'sum', 'none'",
    ),
    "reduction of a function": (
        lambda: F.kl_div(zeros(2), zeros(2), reduction="men"),
        ArgumentError,
        "'sum', 'none', 'batchmean'",
    ),
    "shapes": (
        lambda: nn.MSELoss()(zeros(4, 1), zeros(4)),
        ShapeError,
        "mse_loss: the input has shape (4, 1), the target (4,); they must be equal",
    ),
    "labels": (
        lambda: F.cross_entropy(zeros(4, 3), Tensor(np.zeros((4, 1), int))),
        ShapeError,
        "cross_entropy: the input has shape (4, 3), the target (4, 1); class indices need shape (4,)",
    ),
    "class above": (
        lambda: F.cross_entropy(zeros(2, 3), Tensor(np.array([0, 3]))),
        PlaceError,
        "cross_entropy: there is no class 3; needs 0 to 2, or ignore_index=-100",
    ),
    "class below": (
        lambda: nn.NLLLoss(weight=zeros(3), ignore_index=1)(zeros(2, 3), Tensor(np.array([1, -1]))),
        PlaceError,
        "nll_loss: there is no class -1; needs 0 to 2, or ignore_index=1",
    ),
    "class of a probability": (
        lambda: F.sparse_cross_entropy(zeros(2, 3), Tensor(np.array([0, 3]))),
        PlaceError,
        "there is no class 3; needs 0 to 2",
    ),
    "row of a table": (
        lambda: nn.Embedding(3, 2)(Tensor(np.array([2, 3]))),
        PlaceError,
        "embedding: there is no place 3 on an axis of 3; needs 0 to 2",
    ),
    "class weights": (
        lambda: nn.NLLLoss(zeros(2))(zeros(4, 3), Tensor(np.zeros(4, int))),
        ShapeError,
        "nll_loss: weight has shape (2,); 3 classes need (3,)",
    ),
    "smoothing": (
        lambda: F.cross_entropy(zeros(1, 2), Tensor(np.zeros(1, int)), label_smoothing=2),
        ArgumentError,
        "label_smoothing=2; needs a number from 0 to 1",
    ),
    "delta": (lambda: F.huber_loss(zeros(1), zeros(1), delta=0), ArgumentError, "needs a number above 0"),
    "beta": (
        lambda: F.smooth_l1_loss(zeros(1), zeros(1), beta=-1),
        ArgumentError,
        "needs a number from 0 on",
    ),
    "gain": (
        lambda: nn.init.calculate_gain("gelu"),
        ArgumentError,
        "nonlinearity='gelu'; choose leaky_relu, linear",
    ),
    "mode": (
        lambda: nn.init.kaiming_normal_(zeros(2, 2), mode="in"),
        ArgumentError,
        "choose 'fan_in' or 'fan_out'",
    ),
    "fans": (lambda: nn.init.xavier_normal_(zeros(2)), ShapeError, "needs at least two axes, (out, in, ...)"),
    "eye": (lambda: nn.init.eye_(zeros(2)), ShapeError, "needs a matrix, not shape (2,)"),
    "orthogonal": (lambda: nn.init.orthogonal_(zeros(2)), ShapeError, "needs at least two axes"),
    "truncation": (
        lambda: nn.init.trunc_normal_(zeros(2), a=9, b=10),
        ArgumentError,
        "from a=9 to b=10 there is",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_says_what_is_right(name: str) -> None:
    call, kind, message = REFUSED[name]
    with pytest.raises(kind, match=re.escape(message)):
        call()


def test_unknown_keywords() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'biass'"):
        nn.Linear(1, 1, biass=False)  # type: ignore[call-arg]


@pytest.mark.parametrize("size", [4, 40])
def test_images_stay_channels_last_from_layer_to_layer(size: int) -> None:
    """Small and large ones: what is seen channels first is never copied into that order."""
    x = Tensor(np.ones((2, 3, size, size), np.float32), requires_grad=True)
    for layer in (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.SiLU(), nn.MaxPool2d(2)):
        x = layer(x)
        assert x.numpy().transpose(0, 2, 3, 1).flags.c_contiguous


def test_in_place_is_only_a_hint() -> None:
    x = of([-1.0, 2.0])
    assert nn.ReLU(inplace=True)(x).tolist() == [0.0, 2.0]
    assert x.tolist() == [-1.0, 2.0]
    assert repr(nn.LeakyReLU(0.2, inplace=True)) == "LeakyReLU(negative_slope=0.2, inplace=True)"
    assert repr(nn.ReLU()) == "ReLU()"


def test_activations_refuse_what_has_no_meaning() -> None:
    with pytest.raises(ArgumentError, match="min_val=1"):
        F.hardtanh(zeros(2), 1.0, 1.0)
    with pytest.raises(ArgumentError, match="alpha=0"):
        F.celu(zeros(2), 0.0)
    with pytest.raises(ShapeError, match="no two halves"):
        F.glu(zeros(2, 3))


def test_binary_cross_entropy_refuses_what_is_no_probability() -> None:
    with pytest.raises(ArgumentError, match=r"holds 1.5.*with_logits"):
        nn.BCELoss()(of([0.5, 1.5]), of([0.0, 1.0]))
    with pytest.raises(ArgumentError, match="holds nan"):
        nn.BCELoss()(of([0.5, np.nan]), of([0.0, 1.0]))
    assert np.isfinite(nn.BCELoss()(of([0.0, 1.0]), of([0.0, 1.0])).item())


def test_losses_refuse_arguments_without_meaning() -> None:
    with pytest.raises(ArgumentError, match="margin=0"):
        nn.TripletMarginLoss(margin=0)(zeros(2, 3), zeros(2, 3), zeros(2, 3))
    with pytest.raises(ShapeError, match=r"it must be \(2,\)"):
        nn.CosineEmbeddingLoss()(zeros(2, 3), zeros(2, 3), zeros(2, 1))
    with pytest.raises(ShapeError, match="1 on the last axis"):
        nn.GaussianNLLLoss()(zeros(2, 3), zeros(2, 3), zeros(2))
    with pytest.raises(ArgumentError, match="below 0"):
        nn.GaussianNLLLoss()(zeros(2, 3), zeros(2, 3), of([[-1.0], [1.0]]))


def test_lengths_of_nothing() -> None:
    assert F.normalize(zeros(1, 3)).tolist() == [[0.0, 0.0, 0.0]]
    assert F.normalize(of([[3.0, 4.0]])).tolist() == [[0.6, 0.8]]
    assert F.cosine_similarity(zeros(1, 3), zeros(1, 3)).tolist() == [0.0]
