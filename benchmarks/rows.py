"""The rows of the table: what is measured, on which libraries, and what is asked of the ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EAGER = ("torch", "torch_channels_last")
PEERS = (*EAGER, "torch_compile", "jax")
FLAT = ("mlp", "lstm", "char_gpt")
FLAT_PEERS = ("torch", "torch_compile", "jax")  # a network without images has no layouts
PRODUCTS = ("product_numpy", "product_torch", "product_onednn", "product_jax")

LABELS = {
    "cortex": "Cortex",
    "cortex_float32": "Cortex, float32",
    "torch": "PyTorch",
    "torch_channels_last": "PyTorch, channels last",
    "torch_compile": "torch.compile",
    "torch_reduce_overhead": "torch.compile, reduce-overhead",
    "torch_autotune": "torch.compile, autotuned",
    "jax": "JAX",
    "sklearn": "scikit-learn",
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
    ``batch``: where it is not the workload's.  On a GPU, ``data`` says where the examples lie before a step,
    and ``tf32`` whether products of float32 may round their factors; PyTorch's convolutions do by default.
    Who fits names a data set of scikit-learn as its workload.
    """

    name: str
    title: str
    workload: str
    peers: tuple[str, ...] = PEERS
    purpose: Literal["train", "predict", "cold", "fit"] = "train"
    against: tuple[str, ...] = ()
    bar: float | None = None
    goal: float | None = None
    of_peak: tuple[float, float] | None = None
    precision: str = "float32"
    neighbour: bool = False
    batch: int | None = None
    device: Literal["cpu", "gpu"] = "cpu"
    data: Literal["host", "device"] = "host"
    tf32: bool = False

    @property
    def rivals(self) -> tuple[str, ...]:
        return self.against or self.peers

    @property
    def contestants(self) -> tuple[str, ...]:
        """Cortex first: it writes the parameters that the others start from."""
        return ("cortex", *self.peers, *(PRODUCTS if self.of_peak else ()))


MLP, CNN, RESNET = "MLP 784-256-128-10", "CNN 32-64-128-10, 28 x 28", "ResNet-20, 32 x 32 x 3"
FIT = "100 hidden units: fit of a classifier to four of five folds"

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
        Row(
            "lstm",
            "LSTM 28 x 28, 128 units: step, batch 64",
            "lstm",
            FLAT_PEERS,
            against=("torch", "jax"),
            bar=1.3,
            goal=1.5,
        ),
        Row(
            "char_gpt",
            "GPT 4 x 128, 64 characters: step, batch 64",
            "char_gpt",
            FLAT_PEERS,
            bar=1.0,
            goal=1.0,
        ),
        Row("digits_fit", f"digits, {FIT}", "digits", ("sklearn",), "fit", bar=3.0, goal=3.0),
        Row("wine_fit", f"wine, {FIT}", "wine", ("sklearn",), "fit", bar=3.0, goal=3.0),
        Row("mlp_busy", f"{MLP}: step, batch 128, beside a busy process", "mlp", FLAT_PEERS, neighbour=True),
        Row("cnn_busy", f"{CNN}: step, batch 64, beside a busy process", "cnn", neighbour=True),
    )
}


# On a GPU: title, workload, batch, precision, and the bars: over PyTorch eager, over the best compiled peer.
ON_GPU = {
    "gpu_mlp": (MLP, "mlp", 128, "float32", 4.0, 1.2),
    "gpu_cnn": (CNN, "cnn", 64, "float32", 4.0, 1.2),
    "gpu_resnet20_bf16": (RESNET, "resnet20", 128, "bfloat16", 2.0, 1.1),
    "gpu_resnet50_bf16": ("ResNet-50, 224 x 224 x 3", "resnet50", 64, "bfloat16", 1.0, 1.0),
    "gpu_lenet": ("LeNet 20-50-500-10, 28 x 28", "lenet", 64, "float32", 4.0, 1.2),
    "gpu_resnet20": (RESNET, "resnet20", 128, "float32", None, None),
    "gpu_lstm": ("LSTM 28 x 28, 128 units", "lstm", 64, "float32", None, None),
    "gpu_char_gpt": ("GPT 4 x 128, 64 characters", "char_gpt", 64, "float32", None, None),
    "gpu_char_gpt_bf16": ("GPT 4 x 128, 64 characters", "char_gpt", 64, "bfloat16", None, None),
}


def on_gpu(name: str, end: str, peers: tuple[str, ...], data: Literal["host", "device"] = "host") -> Row:
    """A training step; it is asked for one number alone, which is bar and goal."""
    title, workload, batch, precision, eager, compiled = ON_GPU[name]
    bar = eager if peers[0] in EAGER else compiled
    half = ", bfloat16" if precision == "bfloat16" else ""
    where = "" if data == "host" else ", data on the device"
    return Row(
        name + end,
        f"{title}: step, batch {batch}{half}{where}",
        workload,
        peers,
        bar=bar,
        goal=bar,
        precision=precision,
        batch=batch,
        device="gpu",
        data=data,
        tf32=workload != "mlp",
    )


def eager_on_gpu(name: str, end: str, data: Literal["host", "device"]) -> Row:
    """Beside PyTorch eager, with images as it computes them fastest there."""
    flat = ON_GPU[name][1] in FLAT
    return on_gpu(name, end, ("torch",) if flat else ("torch_channels_last",), data)


# In the order in which they matter: a run may end before all are measured.
SPEED = (
    *(eager_on_gpu(name, "", "host") for name in ON_GPU),
    *(eager_on_gpu(name, "_resident", "device") for name in ON_GPU),
)
COMPILED = (
    *(on_gpu(name, "_compiled", ("torch_reduce_overhead", "jax")) for name in ON_GPU),
    *(on_gpu(name, "_compiled_resident", ("torch_reduce_overhead", "jax"), "device") for name in ON_GPU),
    *(on_gpu(name, "_autotuned", ("torch_autotune",)) for name in ON_GPU),
)
ROWS |= {row.name: row for row in (*SPEED, *COMPILED)}
