"""A cassette's file: a line that says what it is, then a line of JSON for every call.

Lines are appended whole, under a lock of the operating system, so that threads and processes can
record on one file. A process that is killed leaves at most its last line torn: reading ignores it,
and the next one to append takes it away.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, TypeVar, cast

from tta_notebook.core.errors import StorageError

T = TypeVar("T")

VERSION = 1
_HEADER = f'{{"format": "tta-cassette", "version": {VERSION}}}'

# A text that UTF-8 cannot hold (lone surrogates, of which JSON would join two to one character)
# stands as {"$utf8": "<hexadecimal>"}.
_ODD_TEXT = "$utf8"

if sys.platform == "win32":
    import msvcrt

    # Beyond what is ever written: a locked byte can be read by nobody else.
    _LOCKED_BYTE = 2**31 - 2

    def _lock(file: FileIO, *, shared: bool) -> None:  # noqa: ARG001 - there is one kind only
        while True:
            file.seek(_LOCKED_BYTE)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
            except OSError:
                continue  # it gives up after ten seconds, we do not
            return

    def _unlock(file: FileIO) -> None:
        file.seek(_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: FileIO, *, shared: bool) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_SH if shared else fcntl.LOCK_EX)

    def _unlock(file: FileIO) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_UN)


def line_of(record: dict[str, Any]) -> bytes:
    """Return a record as a line, without its end."""
    try:
        return _dumped(record)
    except UnicodeEncodeError:
        return _dumped(_packed(record))


def append(path: Path, lines: Sequence[bytes]) -> None:
    """Add lines to the file, or make it with them.

    Raises:
        OSError: it cannot be written; then none of the lines is in it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open_locked(path) as file:
        size = _end_of_last_whole_line(file)
        head = [_HEADER.encode()] if size == 0 else []
        file.truncate(size)
        file.seek(size)
        try:
            _write(file, b"".join(line + b"\n" for line in (*head, *lines)))
        except OSError:
            file.truncate(size)
            raise


def read(path: Path, parse: Callable[[dict[str, Any]], T]) -> list[T]:
    """Return what `parse` makes of the file's records; nothing if there is no file.

    Raises:
        StorageError: it cannot be read, or is damaged, or was written by a newer version; the
            message names the line.
    """
    lines = _lines(path)
    if not lines:
        return []
    _check_header(path, lines[0])
    return [_parsed(path, number, line, parse) for number, line in lines[1:]]


def _lines(path: Path) -> list[tuple[int, bytes]]:
    try:
        with FileIO(path) as file:
            _lock(file, shared=True)
            try:
                file.seek(0)
                data = file.read()
            finally:
                _unlock(file)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(
            f"{path}: the cassette cannot be read ({error}). Give the path of a file that this "
            "user may read.",
            path=str(path),
        ) from error
    # Not splitlines(): a text may hold other ends of lines, which JSON leaves as they are.
    lines = data.split(b"\n")
    whole = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if lines[-1].strip() and not _is_json(lines[-1]):
        warnings.warn(
            f"{path}, line {len(lines)}: the last recording is torn, as a killed process leaves "
            "it. It is left out; the calls before it are replayed.",
            RuntimeWarning,
            stacklevel=2,
        )
        whole.pop()
    return whole


def _check_header(path: Path, line: tuple[int, bytes]) -> None:
    number, text = line
    header = json.loads(text) if _is_json(text) else None
    if not isinstance(header, dict) or cast("Any", header).get("format") != "tta-cassette":
        raise _damaged(path, number, "it does not begin as cassettes do")
    version = cast("Any", header).get("version")
    if version != VERSION:
        raise StorageError(
            f"{path}, line {number}: the cassette has the format version {version!r}, and this "
            f"version of tta_notebook reads {VERSION}. Update tta_notebook, or record again with "
            "mode='all'.",
            path=str(path),
        )


def _parsed(path: Path, number: int, line: bytes, parse: Callable[[dict[str, Any]], T]) -> T:
    try:
        return parse(json.loads(line, object_hook=_unpacked))
    except KeyError as error:
        raise _damaged(path, number, f"{error} is missing") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, number, f"{type(error).__name__}: {error}") from error


def _damaged(path: Path, number: int, found: str) -> StorageError:
    return StorageError(
        f"{path}, line {number}: the cassette is damaged, or something else than one ({found}). "
        "Restore it from a copy, remove the line, or record again with mode='all'.",
        path=str(path),
    )


@contextmanager
def _open_locked(path: Path) -> Generator[FileIO]:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        # Without a buffer: after a failed write, closing would try to write the rest of it again.
        with FileIO(descriptor, "r+") as file:
            _lock(file, shared=False)
            try:
                if not _is_still_at(path, file):
                    continue  # replaced while we waited for it
                yield file
            finally:
                _unlock(file)
            return


def _write(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _is_still_at(path: Path, file: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _end_of_last_whole_line(file: FileIO) -> int:
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return 0
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return size
    file.seek(0)
    data = file.read()
    start = data.rfind(b"\n") + 1
    if not _is_json(data[start:]):
        return start
    file.write(b"\n")  # an editor has taken it away
    return size + 1


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _dumped(record: Any) -> bytes:
    return json.dumps(record, ensure_ascii=False, allow_nan=False).encode()


def _packed(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return {_ODD_TEXT: value.encode("utf-8", "surrogatepass").hex()}
        return value
    if isinstance(value, dict):
        return {key: _packed(each) for key, each in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_packed(each) for each in cast("Sequence[Any]", value)]
    return value


def _unpacked(entries: dict[str, Any]) -> Any:
    if entries.keys() == {_ODD_TEXT}:
        return bytes.fromhex(entries[_ODD_TEXT]).decode("utf-8", "surrogatepass")
    return entries
