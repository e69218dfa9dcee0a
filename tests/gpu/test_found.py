"""What is said where a GPU cannot be used, and what is found where it can."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cortex_compute import backends, choices
from cortex_compute.errors import BackendError
from cortex_gpu.found import found
from tests.conftest import Cli
from tests.gpu.standin import Machine
from tests.gpu.standin.cudnn import library as cudnn_standin


@pytest.fixture
def own_choices(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Choices, and backends made for them, are gone after the test."""
    monkeypatch.setattr(choices, "_chosen", {})
    backends._create.cache_clear()
    yield
    backends._create.cache_clear()


def without_cupy(monkeypatch: pytest.MonkeyPatch, error: ImportError) -> None:
    """Importing CuPy fails in this way."""
    real = builtins.__import__

    def fail(name: str, *rest: Any) -> Any:
        if name == "cupy":
            raise error
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(builtins, "__import__", fail)


def test_the_package_imports_without_a_gpu_and_without_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    without_cupy(monkeypatch, ModuleNotFoundError("No module named 'cupy'", name="cupy"))
    import cortex_gpu

    with pytest.raises(
        BackendError, match=r"CuPy is not installed: pip install 'cupy-cuda12x\[ctk\]' nvidia-cudnn-cu12"
    ):
        cortex_gpu.create()


def test_a_wheel_for_another_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "libnvrtc.so.12: cannot open shared object file"
    without_cupy(monkeypatch, ImportError(words))
    with pytest.raises(BackendError, match=r"libnvrtc.*; install one CuPy wheel alone"):
        found()


def test_no_driver_in_the_words_of_the_failing_call(machine: Machine, cli: Cli, own_choices: None) -> None:
    machine.missing = "driver"
    code, out, _ = cli("backends")
    assert code == 0
    (line,) = [x for x in out.splitlines() if x.startswith("cupy")]
    assert "absent: " in line
    assert "cudaError" in line
    assert "install one, or use a CPU backend" in line


def test_no_device(machine: Machine) -> None:
    machine.missing = "device"
    with pytest.raises(BackendError, match="cudaErrorNoDevice: no CUDA-capable device is detected"):
        found()


def test_too_old_a_driver(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    import cupy

    machine.missing = "device"
    monkeypatch.setattr(cupy.cuda.runtime, "driverGetVersion", lambda: 11080)
    with pytest.raises(BackendError, match=r"the driver knows CUDA 11\.8, this CuPy is for 1\d\.\d+: update"):
        found()


def test_too_old_a_cupy(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    import cupy

    monkeypatch.setattr(cupy, "__version__", "13.6.0")
    with pytest.raises(BackendError, match=r"CuPy is 13\.6\.0; 14 or newer is needed"):
        found()


def test_a_gpu_that_is_not_there(machine: Machine) -> None:
    with pytest.raises(BackendError, match="there is no GPU 7; this machine has"):
        found(7)


def test_never_a_silent_run_on_the_cpu(machine: Machine, cli: Cli, own_choices: None) -> None:
    machine.missing = "device"
    code, _, err = cli("train", "examples/digits.yaml", "--backend", "cupy")
    assert code == 2
    assert err.startswith("backend cupy: cudaErrorNoDevice")
    assert "usable here: " in err


def test_cudnn_always_wants_cudnn(
    machine: Machine, own_choices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cortex_gpu.cudnn import library

    library.load.cache_clear()
    monkeypatch.setattr(library, "candidates", lambda: iter(()))
    choices.choose(cudnn="always")
    with pytest.raises(BackendError, match="no cuDNN library"):
        found()
    choices.choose(cudnn="auto")
    assert found().gpu.cudnn is None
    assert found().describe()["cudnn"].startswith("absent: no cuDNN library")
    library.load.cache_clear()


def test_a_cudnn_that_cannot_start_is_absent(
    machine: Machine, own_choices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a library that it loads by itself is missing, or the driver is too old for it."""
    from cortex_gpu.cudnn import library

    broken = cudnn_standin(failing={"Create": 1001})
    monkeypatch.setattr(library, "load", lambda: broken)
    words = "cuDNN: cudnnCreate: CUDNN_STATUS_NOT_INITIALIZED"
    backend = found()
    assert backend.gpu.cudnn is None
    assert backend.describe()["cudnn"].startswith(f"absent: {words}")
    choices.choose(cudnn="always")
    with pytest.raises(BackendError, match=words):
        found()


def test_what_is_found(machine: Machine, own_choices: None) -> None:
    choices.choose(cudnn="never", deterministic=True)
    facts = found().describe()
    assert facts["cudnn"] == "not used: the choice is never"
    assert "compute capability 8.0" in facts["gpu"]
    assert found().gpu.deterministic


def test_choices_are_checked(own_choices: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match="cudnn is 'often'; known are auto, always, never"):
        choices.choose(cudnn="often")
    monkeypatch.setenv("CORTEX_TF32", "perhaps")
    with pytest.raises(
        BackendError, match="CORTEX_TF32 is 'perhaps'; known are 1, true, yes, on and 0, false"
    ):
        choices.choices()
    monkeypatch.setenv("CORTEX_TF32", "yes")
    assert choices.choices().tf32
    monkeypatch.setenv("CORTEX_CUDNN", "often")
    with pytest.raises(BackendError, match="CORTEX_CUDNN is 'often'"):
        choices.choices()


def test_a_choice_that_a_backend_does_not_have_is_refused(own_choices: None, cli: Cli) -> None:
    code, _, err = cli("train", "examples/digits.yaml", "--backend", "numpy", "--tf32")
    assert (code, err.strip()) == (
        2, "tf32 is a choice of the backend cupy; numpy has none such: leave it out, or ask for cupy",
    )  # fmt: skip
    assert not choices.choices().tf32
    backends.expect_choices(backends.get("numpy"), cudnn="auto", deterministic=True, tf32=False)


def test_choices_of_one_training_end_with_it(own_choices: None) -> None:
    with choices.chosen(deterministic=True, cudnn="never"):
        assert choices.choices() == choices.Choices("never", True, False)
    assert choices.choices() == choices.Choices()


@pytest.mark.parametrize("name", ["deterministic", "tf32"])
def test_a_choice_is_true_or_false(own_choices: None, name: str) -> None:
    with pytest.raises(BackendError, match=f"{name} is 'no'; expected True or False"):
        choices.choose(**{name: "no"})  # type: ignore[arg-type]


def test_a_wrong_variable_is_told_by_who_reads_it(
    machine: Machine, own_choices: None, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORTEX_CUDNN", "nonsense")
    code, out, _ = cli("backends")
    assert code == 0
    assert "cupy: absent: CORTEX_CUDNN is 'nonsense'; known are auto, always, never" in out
    assert backends.get("numpy").name == "numpy"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cuda", "Did you mean 'cupy'"), ("CUPY", "Did you mean 'cupy'"), ("auto:0", "name the backend"),
        ("cupy:x", "the number of a device"), ("numpy:1", "it has one device"), (None, "expected a name"),
    ],
)  # fmt: skip
def test_a_wrong_name(name: Any, said: str) -> None:
    with pytest.raises(BackendError, match=said):
        backends.get(name)
