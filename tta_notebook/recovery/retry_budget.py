"""How many retries a target can be asked for, so that retries do not finish off what is down.

After Finagle's RetryBudget: a share of the calls of the last seconds, and a minimum for targets
that are seldom called.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any
from weakref import WeakValueDictionary

from tta_notebook.core import checked, clock
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.wrapper import WrapperPrimitive

# The clock is read for every so many calls. Calls that were not yet booked count when they are: a
# target may be granted a fifth of these too many, later than it should be.
BATCH = 64
_SLOTS = 10


class RetryBudget:
    """Grants retries as a share of calls, so that a target that is down gets few of them.

    Within any window there are at most `ratio` retries per call, and `minimum_per_s` a second
    besides. It can be shared by everything that calls one target, from any loop and thread. Calls
    counted by two threads in the same instant may count as one.

    Args:
        ratio: retries per call.
        minimum_per_s: retries per second that are granted without any calls.
        window_s: seconds after which calls and retries are forgotten.

    >>> budget = RetryBudget(ratio=0.5, minimum_per_s=0)
    >>> for _ in range(4):
    ...     budget.call()
    >>> [budget.withdraw() for _ in range(3)]
    [True, True, False]
    """

    __slots__ = (
        "__weakref__",
        "_calls",
        "_lock",
        "_retries",
        "_slot",
        "minimum_per_s",
        "pending",
        "ratio",
        "target",
        "window_s",
    )

    def __init__(self, ratio: float = 0.2, minimum_per_s: float = 10, window_s: float = 10) -> None:
        self.ratio = checked.number("RetryBudget", "ratio", ratio, least=0)
        self.minimum_per_s = checked.number("RetryBudget", "minimum_per_s", minimum_per_s, least=0)
        self.window_s = checked.seconds("RetryBudget", "window_s", window_s, zero=False)
        self.pending = 0
        self.target: object = None
        self._slot = 0
        self._calls = [0] * _SLOTS
        self._retries = [0] * _SLOTS
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"<RetryBudget {self.remaining():.3g} of {self.granted():.3g} retries left>"

    def __reduce__(self) -> tuple[Any, ...]:
        # What was counted here and now means nothing elsewhere and later.
        if isinstance(self.target, str):
            return _named, (self.target,)
        # The target is no argument: it may be made of what holds this budget.
        arguments = (self.ratio, self.minimum_per_s, self.window_s)
        return type(self), arguments, (None, {"target": self.target})

    def call(self) -> None:
        """Count a call; every first attempt is one."""
        self.pending += 1
        if self.pending >= BATCH:
            self.book()

    def book(self) -> None:
        """Write down in the window what was counted."""
        with self._lock:
            self._advance()

    def withdraw(self) -> bool:
        """Take one retry out; tell whether there was one."""
        with self._lock:
            self._advance()
            if self._left() < 1:
                return False
            self._retries[self._slot % _SLOTS] += 1
            return True

    def granted(self) -> float:
        """Return how many retries the calls in the window grant."""
        with self._lock:
            self._advance()
            return self._granted()

    def remaining(self) -> float:
        """Return how many retries are left now."""
        with self._lock:
            self._advance()
            return self._left()

    def _left(self) -> float:
        return self._granted() - sum(self._retries)

    def _granted(self) -> float:
        return self.ratio * sum(self._calls) + self.minimum_per_s * self.window_s

    def _advance(self) -> None:
        """Forget what has left the window, and book the calls counted since."""
        slot = int(clock.source() / 1e9 / self.window_s * _SLOTS)
        if slot != self._slot:
            passed = slot - self._slot
            # A clock that goes back is another clock, as in tests: what it counted is over.
            gone = range(_SLOTS) if not 0 < passed < _SLOTS else range(self._slot + 1, slot + 1)
            for old in gone:
                self._calls[old % _SLOTS] = self._retries[old % _SLOTS] = 0
            self._slot = slot
        counted, self.pending = self.pending, 0
        self._calls[slot % _SLOTS] += counted


class RetryBudgets:
    """One budget per target.

    Those of objects live as long as somebody holds them. Those of names are shared by whoever names
    them, also one after the other, so the ones asked for last are kept.
    """

    KEPT = 1000

    def __init__(self) -> None:
        self._budgets: WeakValueDictionary[str | int, RetryBudget] = WeakValueDictionary()
        self._kept: deque[RetryBudget] = deque(maxlen=self.KEPT)
        self._lock = threading.Lock()

    def of(self, target: object) -> RetryBudget:
        """Return the budget of a name or an object."""
        key = target if isinstance(target, str) else id(target)
        with self._lock:
            budget = self._budgets.get(key)
            if budget is None:
                budget = self._budgets[key] = RetryBudget()
                # Held by the budget, an object keeps its id as long as the budget is found by it.
                budget.target = target
            if isinstance(key, str) and (not self._kept or self._kept[-1] is not budget):
                self._kept.append(budget)
            return budget


budgets = RetryBudgets()


def _named(target: str) -> RetryBudget:
    return budgets.of(target)


def target_of(primitive: WorkflowPrimitive[Any, Any]) -> object:
    """Return what a step calls in the end: its model's name, or the step inside its wrappers."""
    while isinstance(primitive, WrapperPrimitive):
        primitive = primitive.primitive
    model = getattr(primitive, "model", None)
    return model if isinstance(model, str) and model else primitive
