"""``cortex profile``: the arithmetic of its figures, on times that were made up here, and its table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import cortex_core.profile
from cortex_compute.backends import get
from cortex_core.profile import family, implementations, peak, short
from cortex_core.program import Program
from tests.command.conftest import EXAMPLES
from tests.conftest import Cli

ROW_KEYS = {
    "primitive", "operands", "seconds", "fastest", "flops", "bytes", "gflops", "of_peak", "place",
    "implementation", "prologue",
}  # fmt: skip


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak of these tests is that of small matrices: fast to measure."""
    monkeypatch.setattr(cortex_core.profile, "SIZES", (16, 32))


def row(primitive: str, seconds: float, implementation: str, **facts: Any) -> dict[str, Any]:
    plain = {"operands": ["float32[64, 3]", "float32[]"], "flops": 0, "bytes": 1000, "place": ""}
    made = {"primitive": primitive, "seconds": seconds, "fastest": seconds, "prologue": False}
    return plain | made | {"implementation": implementation} | facts


FIRST = {"flops": 6_000_000, "place": "net.yaml:8:5: layers[0].conv2d"}
MADE = [
    row("Elementwise(mul)", 5e-3, "numpy", prologue=True),
    row("Conv(stride=(1, 1))", 3e-3, "onednn jit:avx512_core", **FIRST),
    row("Gemm()", 1e-3, "onednn brg:avx512_core", flops=500_000),
    row("Conv(stride=(2, 2))", 0.5e-3, "onednn jit:avx2"),
    row("Reduce(kind=sum, axes=(0,))", 0.5e-3, "numpy"),
]


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs take the times of ``MADE``, and the peak is 4 GFLOP/s."""
    monkeypatch.setattr(Program, "profile", lambda program, runs: MADE)
    monkeypatch.setattr(cortex_core.profile, "peak", lambda backend: 4e9)


def test_what_runs_is_told_with_its_rates_and_its_place(cli: Cli, spec: Path) -> None:
    said = cli("profile", spec, "--runs", 2, "--json", "-")
    data = json.loads(said.out)
    assert (said.code, data["batch_size"], data["purpose"]) == (0, 16, "train")
    rows = data["instructions"]
    for x in rows:
        assert set(x) == ROW_KEYS
        assert x["seconds"] >= x["fastest"] > 0
        assert x["gflops"] == pytest.approx(x["flops"] / x["seconds"] / 1e9)
        assert x["of_peak"] == pytest.approx(x["gflops"] / data["peak_gflops"])
    gemm = next(x for x in rows if x["primitive"].startswith("Gemm"))
    assert gemm["flops"] >= 2 * 16 * 4 * 8
    assert gemm["operands"][:2] == ["float32[16, 4]", "float32[4, 8]"]
    assert gemm["place"].startswith(f"{spec}:6:5: layers[0].dense")
    assert sum(x["calls"] for x in data["implementations"]) == len(rows)
    assert data["seconds"] == pytest.approx(sum(x["seconds"] for x in rows))


@pytest.mark.usefixtures("made_up")
def test_the_prologue_is_marked_and_not_counted(cli: Cli, spec: Path) -> None:
    said = cli("profile", spec, "--json", "-")
    data = json.loads(said.out)
    assert data["seconds"] == pytest.approx(5e-3)
    assert data["prologue_seconds"] == pytest.approx(5e-3)
    assert (data["gflops"], data["of_peak"]) == (pytest.approx(1.3), pytest.approx(1.3 / 4))
    assert data["slowest"] == 1
    shares = [line.split()[1] for line in said.err.splitlines()[2:7]]
    assert shares == ["once", "60.0", "20.0", "10.0", "10.0"]
    assert "4 instructions in 5.000 ms: 1.3 GFLOP/s, 32 % of the peak" in said.err
    assert "1 more run once for each version of the weights, and are not counted: 5.000 ms" in said.err


@pytest.mark.usefixtures("made_up")
def test_the_slowest_and_the_kernels_are_named(cli: Cli, spec: Path) -> None:
    said = cli("profile", spec)
    assert (
        "the slowest takes 60 % of the time: Conv 64x3, by onednn jit:avx512_core,\n"
        "  from net.yaml:8:5: layers[0].conv2d\n"
    ) in said.out
    assert "by          calls   share\n" in said.out
    assert "onednn jit      2  70.0 %\nonednn brg      1  20.0 %\nnumpy           1  10.0 %\n" in said.out
    assert "the peak is 4.0 GFLOP/s" in said.out


def test_a_convolution_that_takes_batch_norm_in_has_a_prologue(cli: Cli) -> None:
    options = ("--purpose", "predict", "--batch-size", 1, "--runs", 1, "--backend", "numpy")
    said = cli("profile", EXAMPLES / "residual.yaml", *options)
    once = [line for line in said.out.splitlines() if " once " in line and "batch_norm" in line]
    assert len(once) == 14  # of seven layers: scale and shift, and the kernel times the scale
    assert max(map(len, said.out.splitlines())) <= 140


NUMBERS = r" *[\d,.]+ +(once|[\d.]+ %)( +[\d,.]+ +\d+ %)? +[\d,.]+ +[\d.]+"
INSTRUCTION = re.compile(NUMBERS + r"  \w+.*  (numpy|onednn [\w:+.]+)( +\d+:\d+: [\w.\[\]]+)?")
FAMILY = re.compile(r"(numpy|onednn [\w:+]+) +\d+ +[\d.]+ %")


def shape(text: str) -> list[str]:
    """The lines of a profile without what was measured; lines that are alike are one."""
    lines = []
    for line in text.splitlines():
        kind = "instruction" if INSTRUCTION.fullmatch(line) else "family" if FAMILY.fullmatch(line) else ""
        words = re.sub(r"-+", "-", " ".join(line.split()))
        plain = re.sub(r"(?<=time: ).*|(?<=from ).*|(?<=on )\w+(?=, threads)|[\d.]+", "#", words)
        if (kind or plain) not in lines[-1:]:
            lines.append(kind or plain)
    return lines


def test_the_page_shows_what_is_printed(cli: Cli) -> None:
    page = (EXAMPLES.parent / "docs" / "profile.md").read_text(encoding="utf-8")
    found = re.search(r"```console\n\$ cortex (.*)\n((?:.*\n)*?)```", page)
    assert found
    options = found[1].replace("examples", str(EXAMPLES)).split()
    assert shape(cli(*options, "--runs", 1).out) == shape(found[2])
    assert shape(found[2]).count("instruction") == shape(found[2]).count("family") == 1


def test_nothing_to_run(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "flat.yaml"
    path.write_text("inputs: {x: [2, 3]}\nlayers: [flatten]\n")
    said = cli("profile", path, "--purpose", "predict", "--json", "-")
    assert (said.code, json.loads(said.out)["slowest"]) == (0, None)
    assert said.err.startswith("0 instructions in 0.000 ms")


def test_the_peak_is_the_fastest_of_the_products(monkeypatch: pytest.MonkeyPatch) -> None:
    timed = {16: 1e-6, 32: 1e-5}

    def profile(program: Program, runs: int) -> list[dict[str, Any]]:
        (x,) = program.plan.instructions
        n = x.types[0].shape[0]
        return [{"flops": x.primitive.flops(*x.types), "seconds": 1.0, "fastest": timed[n]}]

    monkeypatch.setattr(Program, "profile", profile)
    assert peak(get("numpy")) == pytest.approx(2 * 16**3 / 1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("onednn brgconv:avx512_core", "onednn brgconv"),
        ("onednn brg_fwd:avx512_core+brgconv:avx512_core_bf16", "onednn brg_fwd+brgconv"),
        ("onednn jit:uni", "onednn jit"),
        ("onednn x64:gemm:jit", "onednn x64:gemm:jit"),
        ("numpy", "numpy"),
    ],
)
def test_families(name: str, expected: str) -> None:
    assert family(name) == expected


def test_implementations() -> None:
    found = implementations(MADE[1:])
    assert [(x["implementation"], x["calls"]) for x in found] == [
        ("onednn jit", 2), ("onednn brg", 1), ("numpy", 1),
    ]  # fmt: skip
    assert [x["share"] for x in found] == pytest.approx([0.7, 0.2, 0.1])
    assert found[0]["seconds"] == pytest.approx(3.5e-3)


@pytest.mark.parametrize(
    ("primitive", "expected"),
    [
        ("Conv(stride=(1, 1), padding=((0, 0), (0, 0)))", "Conv"),
        ("Reduce(kind=sum, axes=(0,))", "Reduce(sum)"),
        ("Elementwise(gt, select)", "Elementwise(gt, select)"),
        ("Softmax()", "Softmax"),
    ],
)
def test_short_names(primitive: str, expected: str) -> None:
    assert short(primitive) == expected


def test_a_mask_is_made_up_as_true(cli: Cli, tmp_path: Path) -> None:
    spec = tmp_path / "masked.yaml"
    spec.write_text(
        "inputs: {x: [6, 3], m: {shape: [6], dtype: bool}}\n"
        "layers: [{gru: {units: 4, mask: m, from: x}}, {dense: {units: 1, id: y}}]\n"
        "loss: {mse: {of: y, target: t}}\n"
    )
    assert "Gru 2x6x3" in cli("profile", str(spec), "--batch-size", "2", "--backend", "numpy").out
