"""The library of the oneDNN backend: where it is looked for, what is wrong with it, and what it is told."""

from __future__ import annotations

import gc
import json
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortex_compute.errors import BackendError
from cortex_compute.expression import build
from cortex_compute.numpy_backend.streams import InlineStream
from cortex_compute.onednn_backend import constants, descriptors, library
from cortex_compute.onednn_backend.backend import OneDnnBackend
from cortex_compute.onednn_backend.descriptors import PrimitiveDesc, strided
from cortex_compute.primitives.convolution import Conv
from cortex_compute.protocol import Offer, Operand
from cortex_compute.types import TensorType

STUB = """
struct {{ int major, minor, patch; const char *hash; unsigned cpu_runtime, gpu_runtime; }}
    version = {{ {version}, "stub", {runtime}, 0 }};
void *dnnl_version(void) {{ return &version; }}
unsigned dnnl_get_effective_cpu_isa(void) {{ return {isa}; }}
"""
OTHERS = ("primitive_desc_query_md", "memory_desc_get_size", "reorder_primitive_desc_create")


@pytest.fixture
def stub(tmp_path: Path) -> Callable[..., str]:
    """Makes a libdnnl whose functions do nothing."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no C compiler here")

    def make(version: str = "3, 2, 0", runtime: int = 1, isa: int = 1) -> str:
        names = [*library.PROTOTYPES, *(f"{n}_primitive_desc_create" for n in library.PRIMITIVES), *OTHERS]
        functions = "".join(f"int dnnl_{n}(void) {{ return 0; }}\n" for n in names)
        source, target = tmp_path / "stub.c", tmp_path / "libdnnl.so.3"
        source.write_text(STUB.format(version=version, runtime=runtime, isa=isa) + functions)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", target, source], check=True)
        return str(target)

    return make


@pytest.fixture
def loaded() -> library.Library:
    try:
        return library.load()
    except BackendError as error:
        pytest.skip(str(error))


class TestLooking:
    def test_a_named_file_is_the_only_place(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(library.VARIABLE, "/no/such/libdnnl.so")
        assert [path for path, _ in library.candidates()] == ["/no/such/libdnnl.so"]
        with pytest.raises(BackendError, match=r"CORTEX_ONEDNN_LIBRARY=/no/such/libdnnl\.so: .*cannot open"):
            library.load.__wrapped__()

    def test_nothing_stands_in_for_a_named_file(self) -> None:
        code = "from cortex_compute import backends; backends.get()"
        named = {**os.environ, library.VARIABLE: "/no/such/libdnnl.so"}
        done = subprocess.run([sys.executable, "-c", code], env=named, capture_output=True, text=True)
        last = done.stderr.strip().splitlines()[-1]
        assert "AskedForError: CORTEX_ONEDNN_LIBRARY=/no/such/libdnnl.so" in last
        assert last.endswith("name another file, or unset it")

    def test_a_file_that_is_cut_short(self, loaded: library.Library, tmp_path: Path) -> None:
        part = tmp_path / "libdnnl.so.3"
        with open(loaded.path, "rb") as whole:
            part.write_bytes(whole.read(1_000_000))
        with pytest.raises(BackendError, match=r"libdnnl\.so\.3 is cut short"):
            library.Library(str(part))

    def test_else_the_wheel_and_the_system(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(library.VARIABLE, raising=False)
        monkeypatch.setattr(library, "_of_the_wheel", lambda: iter([Path("/wheel/libdnnl.so.3")]))
        assert [path for path, _ in library.candidates()] == ["/wheel/libdnnl.so.3", "libdnnl.so.3"]

    def test_where_there_is_none_all_places_are_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(library.VARIABLE, raising=False)
        monkeypatch.setattr(library, "DISTRIBUTION", "onednn-of-nobody")
        monkeypatch.setattr(library, "SYSTEM", "libdnnl-of-nobody.so.3")
        with pytest.raises(BackendError) as caught:
            library.load.__wrapped__()
        said = str(caught.value)
        assert "the wheel onednn-of-nobody is not installed" in said
        assert "the system's libdnnl-of-nobody.so.3" in said
        assert "Install the extra onednn, or name a file in CORTEX_ONEDNN_LIBRARY" in said


class TestUnfit:
    def test_a_broken_file(self, tmp_path: Path) -> None:
        broken = tmp_path / "libdnnl.so.3"
        broken.write_bytes(b"\x7fELF and nothing more")
        with pytest.raises(BackendError, match=r"libdnnl\.so\.3 is no usable oneDNN library"):
            library.Library(str(broken))

    @pytest.mark.skipif(platform.system() != "Linux", reason="names Linux' C library")
    def test_another_library(self) -> None:
        with pytest.raises(BackendError, match=r"libc\.so\.6 is no usable oneDNN library: .*dnnl_version"):
            library.Library("libc.so.6")

    @pytest.mark.parametrize("version", ["3, 0, 1", "2, 7, 0", "4, 0, 0"])
    def test_another_version(self, stub: Any, version: str) -> None:
        found = ".".join(version.split(", ")[:2])
        with pytest.raises(BackendError, match=rf"is oneDNN {found}; needs 3\.2 or a later 3\.x"):
            library.Library(stub(version))

    def test_other_threads(self, stub: Any) -> None:
        with pytest.raises(BackendError, match="was built for other threads than OpenMP's"):
            library.Library(stub(runtime=4))

    @pytest.mark.parametrize(("machine", "fits"), [("x86_64", False), ("aarch64", True)])
    def test_a_cpu_without_the_instructions(
        self, stub: Any, monkeypatch: pytest.MonkeyPatch, machine: str, fits: bool
    ) -> None:
        monkeypatch.setattr(platform, "machine", lambda: machine)
        path = stub(isa=0)
        if fits:
            assert library.Library(path).instructions == 0
        else:
            with pytest.raises(BackendError, match=r"need a CPU with SSE4\.1"):
                library.Library(path)

    def test_a_library_without_threads_has_one(self, stub: Any) -> None:
        made = library.Library(stub("3, 9, 0"))
        made.set_threads(5)
        assert made.threads() == 1
        assert repr(made).startswith("oneDNN 3.9.0 (")


FEWER = """
import json
from cortex_compute.backends import get
from cortex_compute.verify.run import run
backend = get("onednn")
names = ("Conv/image/float32", "Grad/image/float32", "Gemm/larger/float32", "Norm/images/float32")
cases = [r for only in names for r in run(backend, only)]
print(json.dumps([backend.describe()["instructions"], len(cases), [r.name for r in cases if not r.passed]]))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names instructions of x86")
@pytest.mark.parametrize(("most", "name"), [("SSE41", "SSE4.1"), ("AVX2", "AVX2")])
def test_a_cpu_with_fewer_instructions(loaded: library.Library, most: str, name: str) -> None:
    env = {**os.environ, "ONEDNN_MAX_CPU_ISA": most}
    done = subprocess.run([sys.executable, "-c", FEWER], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found, cases, failed = json.loads(done.stdout)
    if loaded.instructions.bit_length() < {"SSE41": 1, "AVX2": 3}[most]:
        pytest.skip(f"this CPU has no {name}")
    assert (found, failed) == (name, [])
    assert cases >= 4


def forget() -> None:
    strided.cache_clear()
    descriptors.chosen.cache_clear()
    gc.collect()


class Counted:
    """Stands between the backend and the library: counts what is made and destroyed, and fails on demand."""

    KINDS = ("memory", "primitive", "primitive_desc", "primitive_attr", "post_ops", "memory_desc")
    OUT_OF_MEMORY = 1

    def __init__(self, loaded: library.Library, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alive: Counter[str] = Counter()
        self.made: Counter[str] = Counter()
        self.failing = ("", 0)
        makers = {f"{kind}_create": kind for kind in self.KINDS if f"{kind}_create" in library.PROTOTYPES}
        makers |= {f"{n}_primitive_desc_create": "primitive_desc" for n in (*library.PRIMITIVES, "reorder")}
        makers |= {f"memory_desc_{n}": "memory_desc" for n in ("clone", "create_with_strides")}
        makers |= {"memory_desc_create_with_tag": "memory_desc"}
        for name, kind in makers.items():
            self._wrap(loaded, monkeypatch, name, kind, 1)
        for kind in self.KINDS:
            self._wrap(loaded, monkeypatch, f"{kind}_destroy", kind, -1)

    def _wrap(
        self, loaded: library.Library, monkeypatch: pytest.MonkeyPatch, name: str, kind: str, sign: int
    ) -> None:
        function = getattr(loaded.c, f"dnnl_{name}")

        def counting(*arguments: Any) -> int:
            if sign > 0:
                self.made[kind] += 1
                if self.failing == (kind, self.made[kind]):
                    return self.OUT_OF_MEMORY
            status: int = function(*arguments)
            self.alive[kind] += sign * (not status)
            return status

        monkeypatch.setattr(loaded.c, f"dnnl_{name}", counting)

    def left(self) -> dict[str, int]:
        """What is alive, the caches of descriptions apart."""
        forget()
        return {kind: n for kind, n in self.alive.items() if n}


@pytest.fixture
def counted(loaded: library.Library, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counted]:
    forget()
    yield Counted(loaded, monkeypatch)
    forget()


RELU = build(lambda y: y.builder.make("relu", y), 1)


def bind() -> Callable[..., None]:
    """Offers, builds and binds a convolution of several primitives, in a backend of its own."""
    x, kernel, y = (TensorType(shape) for shape in ((2, 9, 9, 16), (3, 3, 16, 32), (2, 7, 7, 32)))
    conv = Conv((1, 1), ((0, 0), (0, 0)), (1, 1), 1, epilogue=RELU.code, literals=RELU.literals)
    offer = OneDnnBackend(threads=1).offer(conv, [Operand(x), Operand(kernel)])
    assert isinstance(offer, Offer), offer
    arrays = [np.ones(t.shape, np.float32) for t in (x, kernel, y)]
    return offer.build().bind(arrays[:2], arrays[2:], np.empty(offer.workspace, np.uint8))


class TestMemory:
    def test_what_is_bound_is_freed(self, counted: Counted) -> None:
        launch = bind()
        assert set(counted.left()) >= {"memory", "primitive", "primitive_desc", "memory_desc"}
        assert not {"primitive_attr", "post_ops"} & set(counted.left())
        del launch
        assert counted.left() == {}

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", Counted.KINDS)
    def test_an_end_of_memory_in_the_middle_leaves_nothing(self, counted: Counted, kind: str) -> None:
        bind()
        times = counted.made[kind]
        assert counted.left() == {}
        assert times > 0
        for k in range(1, times + 1):
            counted.made[kind], counted.failing = 0, (kind, k)
            with pytest.raises(BackendError, match=r"out of memory \(status 1\)"):
                bind()
            assert counted.left() == {}, f"{kind} {k} of {times}"


def test_a_primitive_that_fails_is_named_with_its_operands(
    loaded: library.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded.c, "dnnl_primitive_execute", lambda *arguments: 2)
    said = r"oneDNN: (reorder|convolution_forward) \(.+\) of \[float32\[\d+, 16, .*\]: invalid arguments"
    with pytest.raises(BackendError, match=said + r" \(status 2\)"):
        bind()(InlineStream())


def test_what_oneDNN_refuses_is_named_with_its_operands(loaded: library.Library) -> None:
    a, b = strided((2, 3), (3, 1)), strided((4, 5), (5, 1))
    added = descriptors.PostOp("binary", constants.ADD, operand=strided((7, 3), (3, 1)))
    said = r"matmul of float32\[2, 3\], float32\[4, 5\], float32\[2, 3\], float32\[7, 3\]: "
    with pytest.raises(descriptors.Unimplemented, match=said):
        PrimitiveDesc("matmul", a, b, None, a, post_ops=[added])


def test_threads_that_want_one_primitive_make_it_once(counted: Counted) -> None:
    a = strided((64, 64), (64, 1))
    described = PrimitiveDesc("matmul", a, a, None, a)
    with ThreadPoolExecutor(4) as pool:
        handles = {h.value for h in pool.map(lambda _: described.create(), range(16))}
    assert len(handles) == counted.made["primitive"] == 1
