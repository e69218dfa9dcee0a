"""The rows of the table: what is measured, on which libraries, and what is asked of the ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EAGER = ("torch", "torch_channels_last")
PEERS = (*EAGER, "torch_compile", "jax")
FLAT_PEERS = ("torch", "torch_compile", "jax")  # a network without images has no layouts
PRODUCTS = ("product_numpy", "product_torch", "product_onednn", "product_jax")

LABELS = {
    "cortex": "Cortex",
    "cortex_float32": "Cortex, float32",
    "torch": "PyTorch",
    "torch_channels_last": "PyTorch, channels last",
    "torch_compile": "torch.compile",
    "jax": "JAX",
    "product_numpy": "product in NumPy",
    "product_torch": "product in PyTorch",
    "product_onednn": "product in PyTorch's oneDNN",
    "product_jax": "product in JAX",
}


@dataclass(frozen=True)
class Row:
    """One line of the table.

    The ratio is the time of the fastest of ``against``, or of all ``peers``, over Cortex's, in each round.
    ``bar`` and ``goal`` are what it is asked to be; ``of_peak`` asks a fraction of the machine's peak.
    """

    name: str
    title: str
    workload: str
    peers: tuple[str, ...] = PEERS
    purpose: Literal["train", "predict", "cold"] = "train"
    against: tuple[str, ...] = ()
    bar: float | None = None
    goal: float | None = None
    of_peak: tuple[float, float] | None = None
    precision: str = "float32"
    neighbour: bool = False

    @property
    def rivals(self) -> tuple[str, ...]:
        return self.against or self.peers

    @property
    def contestants(self) -> tuple[str, ...]:
        """Cortex first: it writes the parameters that the others start from."""
        return ("cortex", *self.peers, *(PRODUCTS if self.of_peak else ()))


MLP, CNN, RESNET = "MLP 784-256-128-10", "CNN 32-64-128-10, 28 x 28", "ResNet-20, 32 x 32 x 3"

ROWS = {
    row.name: row
    for row in (
        Row("mlp", f"{MLP}: step, batch 128", "mlp", FLAT_PEERS, bar=1.1, goal=1.3),
        Row("cnn", f"{CNN}: step, batch 64", "cnn", bar=2.0, goal=2.6),
        Row("resnet20", f"{RESNET}: step, batch 64", "resnet20", bar=1.25, goal=1.4, of_peak=(0.5, 0.6)),
        Row(
            "resnet20_bf16",
            f"{RESNET}: step, batch 64, bfloat16",
            "resnet20",
            peers=("cortex_float32", *EAGER, "torch_compile"),
            against=("cortex_float32",),
            bar=1.5,
            goal=1.75,
            precision="bfloat16",
        ),
        Row("mlp_predict", f"{MLP}: prediction, batch 1", "mlp", FLAT_PEERS, "predict", ("torch",), 1.5, 3.0),
        Row("cnn_predict", f"{CNN}: prediction, batch 1", "cnn", PEERS, "predict", EAGER, 1.5, 3.0),
        Row("resnet20_predict", f"{RESNET}: prediction, batch 1", "resnet20", PEERS, "predict", EAGER),
        Row(
            "lenet_cold", "LeNet: start to first prediction", "lenet", ("torch", "jax"), "cold", (), 3.0, 6.0
        ),
        Row("mlp_busy", f"{MLP}: step, batch 128, beside a busy process", "mlp", FLAT_PEERS, neighbour=True),
        Row("cnn_busy", f"{CNN}: step, batch 64, beside a busy process", "cnn", neighbour=True),
    )
}
