"""Where calls set money aside: one at a time, in the order in which they came."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tta_notebook.cost.accounts import Account, Balance, Taken, Verdict
from tta_notebook.cost.windows import Window
from tta_notebook.recovery.places import Places

# How often the first in line looks whether another process has given something back.
_LOOK_AGAIN_S = 0.05


class Desk:
    """An account with the line in front of it.

    Args:
        account: where amounts are set aside.
        window: the time it is for.
        label: whose it is: "user u-1"; empty for everybody's.
        is_shared: whether other processes spend from it, too.

    Attributes:
        warned: how many levels have been told of.
    """

    def __init__(
        self, account: Account, window: Window, label: str, *, is_shared: bool = False
    ) -> None:
        self.account = account
        self.window = window
        self.label = label
        self.warned = 0
        self._look_again_s = _LOOK_AGAIN_S if is_shared else None
        self._turn = Places(1)
        self._first: tuple[asyncio.AbstractEventLoop, asyncio.Event] | None = None

    async def take(self, limit: int, least: int, most: int, wait_s: float) -> Taken:
        """Set an amount aside, waiting in line if there may be enough later."""
        if self._turn.free and not self._turn.waiting:
            taken = await self.account.take(limit, least, most)
            if taken.amount is not Verdict.WAIT or not wait_s:
                return taken
        try:
            async with asyncio.timeout(wait_s):
                await self._turn.take()
                try:
                    return await self._take_as_first(limit, least, most)
                finally:
                    self._turn.give_back()
        except TimeoutError:
            return Taken(None, Verdict.WAIT, self.account.balance())

    async def _take_as_first(self, limit: int, least: int, most: int) -> Taken:
        changed = asyncio.Event()
        self._first = (asyncio.get_running_loop(), changed)
        try:
            while True:
                changed.clear()
                taken = await self.account.take(limit, least, most)
                if taken.amount is not Verdict.WAIT:
                    return taken
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._look_again_s):
                        await changed.wait()
        finally:
            self._first = None

    def settle(self, hold: str | int, cost: int) -> Balance:
        """Spend what was set aside, and wake whoever waits."""
        balance = self.account.settle(hold, cost)
        first = self._first
        if first is not None:
            with suppress(RuntimeError):  # its loop was closed
                first[0].call_soon_threadsafe(first[1].set)
        return balance
