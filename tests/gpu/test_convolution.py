"""Generated convolutions: places of windows, sums in parts, and PyTorch's results at larger sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cortex_compute.primitives.convolution import Conv, ConvInputGrad, ConvKernelGrad
from cortex_compute.protocol import Layout, Offer, Operand, Refusal
from cortex_compute.types import TensorType, float32
from cortex_gpu.backend import CupyBackend, Gpu
from cortex_gpu.convolution import conv, conv_kernel_grad
from cortex_gpu.geometry import Geometry, split
from tests.gpu.running import computed
from tests.gpu.standin import installed


def fields(stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1) -> dict[str, Any]:
    pads = ((padding, padding),) * 2
    return {"stride": (stride,) * 2, "padding": pads, "dilation": (dilation,) * 2, "groups": groups}


def test_a_number_is_split_into_coordinates() -> None:
    assert split("i", (7, 5, 3), ["n", "y", "x"]) == (
        "const u32 x_rest = (u32)(i) / 3u, x = (u32)(i) - x_rest * 3u; "
        "const u32 y_rest = x_rest / 5u, y = x_rest - y_rest * 5u; const u32 n = y_rest;"
    )


def test_windows_that_stay_inside_are_not_asked() -> None:
    def seen(**values: Any) -> str:
        x, w = TensorType((2, 8, 8, 3)), TensorType((3, 3, 3, 4))
        return Geometry.of(Conv(**fields(**values)), x, w).seen()[1]

    assert seen() == "true"
    assert seen(padding=1) == "(u32)y1 < 8u && (u32)y2 < 8u"


def test_large_arrays_are_counted_in_64_bits() -> None:
    def integer(images: int) -> str:
        return Geometry.of(
            Conv(**fields()), TensorType((images, 64, 64, 64)), TensorType((1, 1, 64, 64))
        ).integer

    assert integer(1 << 12) == "int"
    assert integer(1 << 13) == "i64"


def test_what_32_bits_cannot_count_is_refused() -> None:
    x, w = TensorType((1 << 19, 64, 64, 1)), TensorType((1, 1, 1, 1))
    answer = conv(Conv(**fields()), [Operand(x), Operand(w)], Gpu())
    assert isinstance(answer, Refusal)
    assert "32 bits" in answer.reason


def test_operands_that_lie_otherwise_are_refused_for_a_copy() -> None:
    x, w = TensorType((2, 4, 4, 3)), TensorType((1, 1, 3, 5))
    answer = conv(Conv(**fields()), [Operand(x, Layout((48, 1, 4, 16))), Operand(w)], Gpu())
    assert isinstance(answer, Refusal)
    assert "row-major" in answer.reason


@pytest.mark.parametrize(("groups", "filters"), [(1, 4), (6, 6)])
def test_equal_runs_give_equal_bits_in_any_order_of_blocks(groups: int, filters: int) -> None:
    rng = np.random.default_rng(0)
    x, g = (
        rng.standard_normal((9, 20, 20, 6), np.float32),
        rng.standard_normal((9, 18, 18, filters), np.float32),
    )
    p, found = ConvKernelGrad(**fields(groups=groups), kernel=(3, 3), bias=True), []
    for seed in (0, 5):
        with installed(seed=seed):
            from tests.gpu.standin.backend import cupy_backend

            backend = cupy_backend()
            offer = backend.offer(p, [Operand(TensorType(x.shape)), Operand(TensorType(g.shape))])
            assert isinstance(offer, Offer)
            assert offer.workspace > 3 * 3 * 6 // groups * filters * 4  # more than one part
            found.append(computed(backend, p, x, g))
    assert [a.tobytes() for a in found[0]] == [a.tobytes() for a in found[1]]


@pytest.mark.peers
@pytest.mark.parametrize(
    ("x", "w", "values"),
    [
        ((4, 30, 31, 16), (3, 3, 16, 24), {"padding": 1}),
        ((2, 33, 29, 12), (5, 3, 12, 40), {"stride": 2, "padding": 2, "dilation": 2}),
        ((3, 20, 20, 24), (3, 3, 4, 36), {"groups": 6, "padding": 1, "stride": 2}),
        ((3, 25, 24, 40), (3, 3, 1, 80), {"groups": 40, "padding": 1, "stride": 2}),
        ((5, 14, 14, 96), (1, 1, 96, 70), {}),
    ],
)
def test_convolution_and_gradients_are_pytorchs(
    backend: CupyBackend, x: tuple[int, ...], w: tuple[int, ...], values: dict[str, int]
) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    image, kernel = rng.standard_normal(x, np.float32), rng.standard_normal(w, np.float32)
    given = fields(**values)

    def exact(image: Any, kernel: Any, g: Any = None) -> list[Any]:
        """y, dx, dw and the bias's gradient in float64; with g = None, where that is drawn, y alone."""
        there, weights = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (image, kernel))
        y = torch.conv2d(there.permute(0, 3, 1, 2), weights.permute(3, 2, 0, 1), **values).permute(0, 2, 3, 1)
        if g is None:
            return [y.detach().numpy()]
        y.backward(torch.tensor(g, dtype=torch.float64))
        sums = g.astype(np.float64).sum((0, 1, 2))
        return [y.detach().numpy(), there.grad.numpy(), weights.grad.numpy(), sums]

    g = rng.standard_normal(exact(image, kernel)[0].shape, np.float32)
    found = [
        *computed(backend, Conv(**given), image, kernel),
        *computed(backend, ConvInputGrad(**given, shape=x), g, kernel),
        *computed(backend, ConvKernelGrad(**given, kernel=w[:2], bias=True), image, g),
    ]
    sizes = exact(np.abs(image), np.abs(kernel), np.abs(g))
    for actual, wanted, size in zip(found, exact(image, kernel, g), sizes):
        assert (np.abs(actual - wanted) <= 16 * float32.eps * size).all()


@pytest.mark.parametrize(("groups", "filters"), [(1, 3), (2, 4)])
def test_long_sums_of_equal_numbers_are_exact_enough(groups: int, filters: int) -> None:
    """Each term is rounded the same way: a plain sum of so many is off by hundreds of eps."""
    x, g = np.full((2, 128, 128, 2), 0.1, np.float32), np.full((2, 128, 128, filters), 0.7, np.float32)
    p = ConvKernelGrad(**fields(groups=groups), kernel=(1, 1))
    with installed():
        from tests.gpu.standin.backend import cupy_backend

        offer = conv_kernel_grad(p, [Operand(TensorType(v.shape)) for v in (x, g)], Gpu(processors=1))
        (found,) = computed(cupy_backend(), p, x, g, offer=offer)
    exact = float(x[0, 0, 0, 0]) * float(g[0, 0, 0, 0]) * 2 * 128 * 128
    assert (np.abs(found - exact) <= 16 * float32.eps * exact).all()


def test_a_depthwise_kernel_of_many_taps_is_exact_enough(backend: CupyBackend) -> None:
    x, w = np.full((1, 3000, 2), 0.1, np.float32), np.full((2900, 1, 4), 0.7, np.float32)
    p = Conv((1,), ((0, 0),), (1,), 2)
    (y,) = computed(backend, p, x, w)
    term = float(x[0, 0, 0]) * float(w[0, 0, 0])
    assert (np.abs(y - 2900 * term) <= 16 * float32.eps * 2900 * term).all()
    back = ConvInputGrad((1,), ((0, 0),), (1,), 2, shape=x.shape)
    (dx,) = computed(backend, back, np.full(y.shape, 0.1, np.float32), w)
    counts = np.minimum(np.minimum(np.arange(3000), 2999 - np.arange(3000)), y.shape[1] - 1) + 1
    exact = 2 * term * counts[:, None]
    assert (np.abs(dx[0] - exact) <= 16 * float32.eps * exact).all()
