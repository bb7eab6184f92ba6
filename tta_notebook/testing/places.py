"""Where a suspended coroutine waits, in words for error messages."""

import asyncio
import contextlib
from pathlib import Path
from types import FrameType
from typing import NamedTuple

# Frames in here say how a wait is built, not who waits.
_MACHINERY = (str(Path(asyncio.__file__).parent), str(Path(contextlib.__file__)))


class Place(NamedTuple):
    """A line of code at which a coroutine is suspended.

    Attributes:
        file: the source file.
        line: the line of the `await`, from 1.
        function: the qualified name of the function around it.

    >>> print(Place("pipeline.py", 12, "fetch"))
    pipeline.py:12 in fetch
    """

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


def trail(waiting: object) -> list[Place]:
    """Return every place a suspended coroutine waits at, from the outermost call to the innermost.

    The trail ends where Python does not tell what is awaited: at futures, and at `async for`.
    """
    places: list[Place] = []
    while (frame := _frame(waiting)) is not None:
        code = frame.f_code
        places.append(Place(code.co_filename, frame.f_lineno, code.co_qualname))
        waiting = _awaited(waiting)
    return places


def await_of(waiting: object) -> Place | None:
    """Return the innermost place outside of asyncio at which a suspended coroutine waits."""
    places = trail(waiting)
    ours = [place for place in places if not place.file.startswith(_MACHINERY)]
    known = ours or places
    return known[-1] if known else None


def describe_task(task: asyncio.Task[object]) -> str:
    """Return one line on what a suspended task is and where it waits."""
    coroutine = task.get_coro()
    places, place = trail(coroutine), await_of(coroutine)
    inside = f" in {places[-1].function}" if places and places[-1] != place else ""
    return f"{task.get_name()!r} waits{inside} at {place or 'an unknown place'}"


def _frame(waiting: object) -> FrameType | None:
    for name in ("cr_frame", "ag_frame", "gi_frame"):
        if isinstance(frame := getattr(waiting, name, None), FrameType):
            return frame
    return None


def _awaited(waiting: object) -> object:
    for name in ("cr_await", "ag_await", "gi_yieldfrom"):
        if (awaited := getattr(waiting, name, None)) is not None:
            return awaited
    return None
