"""Keeping interrupts from processes that are only about to begin."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def held_back() -> Generator[None, None, None]:
    """Begin threads and processes inside that no interrupt reaches, from their first moment on.

    An interrupt goes to the whole group of processes. A worker that is still importing would print
    a traceback of that and end. What a signal mask holds is inherited, by the threads that start
    workers and by the workers, also by those that come later in the place of lost ones.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where there are no such groups
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
