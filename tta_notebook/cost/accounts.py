"""What has been spent and is set aside: the arithmetic of a budget, and accounts in memory."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Protocol


class Verdict(Enum):
    """What becomes of a call that cannot be let through now."""

    WAIT = "what calls under way may give back could pay for it"
    REFUSE = "it could not be paid for even then"


@dataclass(frozen=True, slots=True)
class Balance:
    """The state of an account, in pico-dollars.

    Attributes:
        spent: what settled calls cost.
        held: what is set aside for calls under way.
        lost: what was set aside by processes that are gone: they may have spent it.
    """

    spent: int = 0
    held: int = 0
    lost: int = 0

    @property
    def gone(self) -> int:
        """What will not come back: spent, or lost."""
        return self.spent + self.lost

    def judge(self, limit: int, least: int, most: int) -> int | Verdict:
        """Return how much of `most`, and no less than `least`, a call may set aside.

        A call waits rather than get less than it asked for, as long as calls under way may give
        back what they do not use; it gets what is left once nothing is under way.
        """
        left = limit - self.gone - self.held
        if left >= most:
            return most
        if limit - self.gone < least:
            return Verdict.REFUSE
        return Verdict.WAIT if self.held else left


EMPTY: Final = Balance()


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of asking an account.

    Attributes:
        hold: the name of what was set aside; None when nothing was.
        amount: how much, in pico-dollars; or why not.
        balance: the account afterwards.
    """

    hold: str | int | None
    amount: int | Verdict
    balance: Balance


class Account(Protocol):
    """One sum of money, from which calls set aside and spend."""

    async def take(self, limit: int, least: int, most: int) -> Taken:
        """Set aside up to `most`, no less than `least`; say why not otherwise."""
        ...

    def settle(self, hold: str | int, cost: int) -> Balance:
        """Turn what was set aside into what was spent."""
        ...

    def release(self, hold: str | int) -> Balance:
        """Give back what was set aside."""
        ...

    def balance(self) -> Balance:
        """Return the state of the account."""
        ...


class MemoryAccount:
    """An account of this process, for all its threads.

    Args:
        spent: what has been spent before, in pico-dollars.
    """

    def __init__(self, spent: int = 0) -> None:
        self._balance = Balance(spent)
        self._holds: dict[str | int, int] = {}
        self._next = 0
        self._lock = threading.Lock()

    async def take(self, limit: int, least: int, most: int) -> Taken:
        """Set aside up to `most`, no less than `least`; say why not otherwise."""
        with self._lock:
            amount = self._balance.judge(limit, least, most)
            if isinstance(amount, Verdict):
                return Taken(None, amount, self._balance)
            self._next += 1
            self._holds[self._next] = amount
            self._balance = replace(self._balance, held=self._balance.held + amount)
            return Taken(self._next, amount, self._balance)

    def settle(self, hold: str | int, cost: int) -> Balance:
        """Turn what was set aside into what was spent."""
        with self._lock:
            amount = self._holds.pop(hold, None)
            if amount is not None:
                before = self._balance
                self._balance = Balance(before.spent + cost, before.held - amount)
            return self._balance

    def release(self, hold: str | int) -> Balance:
        """Give back what was set aside."""
        return self.settle(hold, 0)

    def balance(self) -> Balance:
        """Return the state of the account."""
        return self._balance
