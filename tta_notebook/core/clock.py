"""The one place where time is read.

Durations come from a monotonic clock in integer nanoseconds. A wall-clock reading exists once per
process, as an anchor, so that a span can be dated without a second clock read on every step.
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

# Read as `clock.source()` on the hot path: a module attribute that calls straight into C.
source: Callable[[], int] = time.perf_counter_ns

# From the monotonic clock to the Unix epoch: one per process, so that spans stay ordered.
offset_ns: int = time.time_ns() - time.perf_counter_ns()


def monotonic_ns() -> int:
    """Return the monotonic clock in nanoseconds; only differences mean anything."""
    return source()


def monotonic() -> float:
    """Return the monotonic clock in seconds; only differences mean anything."""
    return source() / 1e9


def wall_ns(instant_ns: int) -> int:
    """Return nanoseconds since the Unix epoch for an instant of the monotonic clock."""
    return instant_ns + offset_ns


def now_ns() -> int:
    """Return nanoseconds since the Unix epoch as the wall clock has it: what calendars go by.

    It may be set back, and unlike the monotonic clock it goes on while the machine sleeps. On
    virtual time it is the virtual one.
    """
    return time.time_ns() if source is time.perf_counter_ns else wall_ns(source())


@contextmanager
def use(replacement: Callable[[], int]) -> Generator[None]:
    """Read time from `replacement` (nanoseconds) inside the block; for tests on virtual time.

    The clock belongs to the process, so this is not for code that runs beside other threads' work.
    """
    global source  # noqa: PLW0603 - the hot path reads a module attribute, not an object
    previous = source
    source = replacement
    try:
        yield
    finally:
        source = previous
