"""Pooling, softmax, activations, local response and batch norm: checks, and NumPy's results in float64."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.gpu.standin.cudnn.core import NOT_SUPPORTED, Core, Tensor, expect, same, scaling

MODES = {0: "max", 1: "average, padding counts", 2: "average", 3: "max"}


def windows(facts: dict[str, Any], x: Tensor, y: Tensor) -> Iterator[tuple[Any, Any, int]]:
    """For each place of y: its index, what of x it covers, and how many elements its window has."""
    size, padding, stride = facts["size"], facts["padding"], facts["stride"]
    for at in np.ndindex(*y.dims[2:]):
        starts = [i * s - p for i, s, p in zip(at, stride, padding)]
        parts = tuple(slice(max(a, 0), min(a + k, n)) for a, k, n in zip(starts, size, x.dims[2:]))
        yield (..., *at), (..., *parts), int(np.prod(size))


def mean(mode: str, part: np.ndarray, count: int) -> float:
    """What a sum over a window is divided by."""
    return float(count if mode == "average, padding counts" else np.prod(part.shape[2:]))


class Layers(Core):
    # Pooling.

    def SetPoolingNdDescriptor(
        self, number: int, mode: int, nan: int, rank: int, size: Any, padding: Any, stride: Any
    ) -> None:
        expect(mode in MODES and nan in (0, 1) and 2 <= rank <= 3, "mode")
        told = {"size": tuple(size[:rank]), "padding": tuple(padding[:rank]), "stride": tuple(stride[:rank])}
        expect(min(told["size"]) > 0 and min(told["stride"]) > 0 and min(told["padding"]) >= 0, str(told))
        expect(all(p < k for p, k in zip(told["padding"], told["size"])), "padding of a whole window")
        self.find("Pooling", number).facts.update(told, mode=MODES[mode], nan=nan)

    def _pooled(self, how: int, x: Tensor, y: Tensor) -> dict[str, Any]:
        facts = self.find("Pooling", how, told=True).facts
        same((x.dtype, y.dtype), "data types")
        axes = zip(x.dims[2:], facts["size"], facts["padding"], facts["stride"])
        same((y.dims, (*x.dims[:2], *((n + 2 * p - k) // s + 1 for n, k, p, s in axes))), "sizes of y")
        expect(x.lies(True) == y.lies(True) or x.lies(False) == y.lies(False), "orders", NOT_SUPPORTED)
        return facts

    def PoolingForward(
        self, handle: int, how: int, alpha: int, one: int, x: int, beta: int, two: int, y: int
    ) -> None:
        of_x, of_y = self.tensor(one), self.tensor(two)
        facts = self._pooled(how, of_x, of_y)
        scaling(alpha, beta, of_x.dtype)

        def compute() -> None:
            values, result = of_x.read(x), np.zeros(of_y.dims)
            for at, parts, count in windows(facts, of_x, of_y):
                part, axes = values[parts], tuple(range(2, values.ndim))
                if facts["mode"] == "max":
                    result[at] = part.max(axes)
                else:
                    result[at] = part.sum(axes) / mean(facts["mode"], part, count)
            of_y.write(y, result)

        self.enqueue(handle, compute, (x, of_x.nbytes), (y, of_y.nbytes))

    def PoolingBackward(
        self, handle: int, how: int, alpha: int, one: int, y: int, two: int, dy: int, three: int, x: int,
        beta: int, four: int, dx: int,
    ) -> None:  # fmt: skip
        of_y, of_dy, of_x, of_dx = map(self.tensor, (one, two, three, four))
        same((of_y, of_dy), "y and dy")
        same((of_x, of_dx), "x and dx")
        facts = self._pooled(how, of_x, of_y)
        scaling(alpha, beta, of_x.dtype)

        def compute() -> None:
            g, result = of_dy.read(dy), np.zeros(of_x.dims)
            values = of_x.read(x) if facts["mode"] == "max" else result
            for at, parts, count in windows(facts, of_x, of_y):
                part = values[parts]
                if facts["mode"] == "max":
                    flat = part.reshape(*part.shape[:2], -1)
                    last = flat.shape[2] - 1 - flat[..., ::-1].argmax(2)  # which of equal ones is not told
                    chosen = np.arange(flat.shape[2]) == last[..., None]
                    result[parts] += (chosen * g[at][..., None]).reshape(part.shape)
                else:
                    share = g[at] / mean(facts["mode"], part, count)
                    result[parts] += share.reshape(*share.shape, *(1 for _ in part.shape[2:]))
            of_dx.write(dx, result)

        memory = (y, of_y.nbytes), (dy, of_y.nbytes), (x, of_x.nbytes), (dx, of_x.nbytes)
        self.enqueue(handle, compute, *memory)

    # Softmax.

    def _softmax(self, values: np.ndarray, algorithm: int) -> np.ndarray:
        with np.errstate(all="ignore"):
            shifted = values - values.max(1, keepdims=True)
            total = np.exp(shifted).sum(1, keepdims=True)
            return shifted - np.log(total) if algorithm == 2 else np.exp(shifted) / total

    def SoftmaxForward(
        self,
        handle: int,
        algorithm: int,
        mode: int,
        alpha: int,
        one: int,
        x: int,
        beta: int,
        two: int,
        y: int,
    ) -> None:
        of_x, of_y = self.tensor(one), self.tensor(two)
        expect(algorithm in (1, 2) and mode == 1, "algorithm and mode")
        same((of_x, of_y), "x and y")
        scaling(alpha, beta, of_x.dtype)

        def compute() -> None:
            of_y.write(y, self._softmax(of_x.read(x), algorithm))

        self.enqueue(handle, compute, (x, of_x.nbytes), (y, of_y.nbytes))

    def SoftmaxBackward(
        self, handle: int, algorithm: int, mode: int, alpha: int, one: int, y: int, two: int, dy: int,
        beta: int, three: int, dx: int,
    ) -> None:  # fmt: skip
        of_y, of_dy, of_dx = map(self.tensor, (one, two, three))
        expect(algorithm in (1, 2) and mode == 1, "algorithm and mode")
        same((of_y, of_dy, of_dx), "y, dy and dx")
        scaling(alpha, beta, of_y.dtype)

        def compute() -> None:
            p, g = of_y.read(y), of_dy.read(dy)
            if algorithm == 2:
                of_dx.write(dx, g - np.exp(p) * g.sum(1, keepdims=True))
            else:
                of_dx.write(dx, p * (g - (p * g).sum(1, keepdims=True)))

        self.enqueue(handle, compute, *((a, of_y.nbytes) for a in (y, dy, dx)))

    # Activations.

    def SetActivationDescriptor(self, number: int, mode: int, nan: int, coefficient: float) -> None:
        expect(0 <= mode <= 6 and nan in (0, 1), f"mode {mode}")
        self.find("Activation", number).facts.update(mode=mode, coefficient=coefficient)

    def _activation(self, how: int) -> Callable[[np.ndarray], np.ndarray]:
        facts = self.find("Activation", how, told=True).facts
        bound = facts["coefficient"]
        functions: dict[int, Callable[[np.ndarray], np.ndarray]] = {
            0: lambda x: 1 / (1 + np.exp(-x)),
            1: lambda x: np.maximum(x, 0),
            2: np.tanh,
            3: lambda x: np.minimum(np.maximum(x, 0), bound),
            4: lambda x: np.where(x > 0, x, bound * np.expm1(np.minimum(x, 0))),
            6: lambda x: x / (1 + np.exp(-x)),
        }
        return functions[facts["mode"]]

    def ActivationForward(
        self, handle: int, how: int, alpha: int, one: int, x: int, beta: int, two: int, y: int
    ) -> None:
        function, of_x, of_y = self._activation(how), self.tensor(one), self.tensor(two)
        same((of_x, of_y), "x and y")
        scaling(alpha, beta, of_x.dtype)
        run = lambda: of_y.write(y, function(of_x.read(x)))  # noqa: E731
        self.enqueue(handle, run, (x, of_x.nbytes), (y, of_y.nbytes))

    def ActivationBackward(
        self, handle: int, how: int, alpha: int, one: int, y: int, two: int, dy: int, three: int, x: int,
        beta: int, four: int, dx: int,
    ) -> None:  # fmt: skip
        function = self._activation(how)
        arrays = [self.tensor(n) for n in (one, two, three, four)]
        same(arrays, "y, dy, x and dx")
        scaling(alpha, beta, arrays[0].dtype)

        def compute() -> None:
            of_y, of_dy, of_x, of_dx = arrays
            at, step = of_x.read(x), 1e-6
            np.testing.assert_allclose(function(at), of_y.read(y), rtol=1e-2, atol=1e-2)
            slope = (function(at + step) - function(at - step)) / (2 * step)  # a formula of no one's
            of_dx.write(dx, of_dy.read(dy) * slope)

        self.enqueue(handle, compute, *((a, arrays[0].nbytes) for a in (y, dy, x, dx)))

    # Local response.

    def SetLRNDescriptor(self, number: int, size: int, alpha: float, beta: float, k: float) -> None:
        expect(1 <= size <= 16 and beta >= 0.01 and k >= 1e-5, "n < 1 || n > 16 || beta < 0.01 || k < 1e-5")
        self.find("LRN", number).facts.update(size=size, alpha=alpha, beta=beta, k=k)

    @staticmethod
    def _response(facts: dict[str, Any], x: np.ndarray) -> np.ndarray:
        size, channels = facts["size"], x.shape[1]
        total = np.zeros(x.shape)
        for c in range(channels):
            low = max(0, c - (size - 1) // 2)
            total[:, c] = (x[:, low : c + size // 2 + 1] ** 2).sum(1)
        y: np.ndarray = x / (facts["k"] + facts["alpha"] / size * total) ** facts["beta"]
        return y

    def LRNCrossChannelForward(
        self, handle: int, how: int, mode: int, alpha: int, one: int, x: int, beta: int, two: int, y: int
    ) -> None:
        facts, of_x, of_y = self.find("LRN", how, told=True).facts, self.tensor(one), self.tensor(two)
        same((of_x, of_y), "x and y")
        expect(mode == 0, "mode")
        scaling(alpha, beta, of_x.dtype)
        run = lambda: of_y.write(y, self._response(facts, of_x.read(x)))  # noqa: E731
        self.enqueue(handle, run, (x, of_x.nbytes), (y, of_y.nbytes))

    def LRNCrossChannelBackward(
        self, handle: int, how: int, mode: int, alpha: int, one: int, y: int, two: int, dy: int, three: int,
        x: int, beta: int, four: int, dx: int,
    ) -> None:  # fmt: skip
        facts = self.find("LRN", how, told=True).facts
        arrays = [self.tensor(n) for n in (one, two, three, four)]
        same(arrays, "y, dy, x and dx")
        scaling(alpha, beta, arrays[0].dtype)

        def compute() -> None:
            at, g = arrays[2].read(x), arrays[1].read(dy)
            arrays[3].write(dx, slopes(lambda v: float((self._response(facts, v) * g).sum()), at))

        self.enqueue(handle, compute, *((a, arrays[0].nbytes) for a in (y, dy, x, dx)))

    # Batch norm.

    def _batch(self, mode: int, one: int, two: int) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        """The image, what there is per channel, and the axes of the sums."""
        x, vector = self.tensor(one), self.tensor(two)
        expect(mode == 1, "mode", NOT_SUPPORTED)
        same((vector.dims, (1, x.dims[1], *(1 for _ in x.dims[2:]))), "sizes per channel")
        same((vector.dtype.name, "float64" if x.dtype.name == "float64" else "float32"), "type per channel")
        return x, vector, (0, *range(2, len(x.dims)))

    def BatchNormalizationForwardInference(
        self, handle: int, mode: int, alpha: int, beta: int, one: int, x: int, two: int, y: int, three: int,
        scale: int, shift: int, mean: int, variance: int, epsilon: float,
    ) -> None:  # fmt: skip
        image, vector, _ = self._batch(mode, one, three)
        same((image, self.tensor(two)), "x and y")
        scaling(alpha, beta, image.dtype)

        def compute() -> None:
            a, b, m, v = map(vector.read, (scale, shift, mean, variance))
            image.write(y, (image.read(x) - m) / np.sqrt(v + epsilon) * a + b)

        memory = ((x, image.nbytes), (y, image.nbytes))
        self.enqueue(handle, compute, *memory, *((p, vector.nbytes) for p in (scale, shift, mean, variance)))

    def BatchNormalizationForwardTraining(
        self, handle: int, mode: int, alpha: int, beta: int, one: int, x: int, two: int, y: int, three: int,
        scale: int, shift: int, factor: float, running_mean: int, running_variance: int, epsilon: float,
        saved_mean: int, saved_deviation: int,
    ) -> None:  # fmt: skip
        image, vector, axes = self._batch(mode, one, three)
        same((image, self.tensor(two)), "x and y")
        expect(running_mean is None and running_variance is None, "running statistics, which nobody keeps")
        scaling(alpha, beta, image.dtype)

        def compute() -> None:
            values = image.read(x)
            m, v = values.mean(axes, keepdims=True), values.var(axes, keepdims=True)
            r = 1 / np.sqrt(v + epsilon)
            image.write(y, (values - m) * r * vector.read(scale) + vector.read(shift))
            vector.write(saved_mean, m)
            vector.write(saved_deviation, r)

        memory = (x, image.nbytes), (y, image.nbytes)
        vectors = scale, shift, saved_mean, saved_deviation
        self.enqueue(handle, compute, *memory, *((p, vector.nbytes) for p in vectors))

    def BatchNormalizationBackward(
        self, handle: int, mode: int, alpha: int, beta: int, gamma: int, delta: int, one: int, x: int,
        two: int, dy: int, three: int, dx: int, four: int, scale: int, dscale: int, dshift: int,
        epsilon: float, saved_mean: int, saved_deviation: int,
    ) -> None:  # fmt: skip
        image, vector, axes = self._batch(mode, one, four)
        same((image, self.tensor(two), self.tensor(three)), "x, dy and dx")
        scaling(alpha, beta, image.dtype)
        scaling(gamma, delta, image.dtype)

        def compute() -> None:
            r, g = vector.read(saved_deviation), image.read(dy)
            h = (image.read(x) - vector.read(saved_mean)) * r
            total, product = g.mean(axes, keepdims=True), (g * h).mean(axes, keepdims=True)
            n = g.size / total.size
            image.write(dx, vector.read(scale) * r * (g - total - h * product))
            vector.write(dscale, product * n)
            vector.write(dshift, total * n)

        vectors = scale, dscale, dshift, saved_mean, saved_deviation
        memory = ((p, image.nbytes) for p in (x, dy, dx))
        self.enqueue(handle, compute, *memory, *((p, vector.nbytes) for p in vectors))


def slopes(f: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The gradient of f by central differences."""
    result = np.zeros(at.shape)
    for k in itertools.product(*map(range, at.shape)):
        around = []
        for sign in (1, -1):
            moved = at.copy()
            moved[k] += sign * step
            around.append(f(moved))
        result[k] = (around[0] - around[1]) / (2 * step)
    return result
