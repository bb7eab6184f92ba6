"""Guards of a run, asked from another process: the side of the worker.

A budget, a ledger or a rate limit stays where the run was started. A worker asks before each of its
calls to a model and says what it used: so one budget holds for all workers, whatever it is made of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Any

from tta_notebook.core.protocols import PlannedCall
from tta_notebook.core.usage import Usage
from tta_notebook.scale.messages import Answer, Ask, Message, Settle, as_message


class Channel:
    """A worker's line to whoever dealt out the work.

    Args:
        post: sends a message; from any thread, in order, and without waiting.
        loop: the loop that waits for answers.
    """

    def __init__(self, post: Callable[[Message], None], loop: asyncio.AbstractEventLoop) -> None:
        self.post = post
        self._loop = loop
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}

    async def ask(self, chunk: int, call: PlannedCall) -> tuple[int, int]:
        """Return the number of what the guards have set aside, and the tokens it pays for.

        Raises:
            BaseException: what a guard raised.
        """
        number = next(self._numbers)
        answer = self._waiting[number] = self._loop.create_future()
        self.post(Ask(chunk, number, as_message(call)))
        try:
            said = await answer
        except BaseException:
            # It may have been granted by now, and nobody here would ever settle it.
            self.post(Settle(chunk, number, None))
            raise
        finally:
            del self._waiting[number]
        if said.refusal is not None:
            raise said.refusal
        return number, said.max_output_tokens

    def answered(self, answer: Answer) -> None:
        """Take an answer, in the loop's thread."""
        waiting = self._waiting.get(answer.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)


class RemoteGuard:
    """Stands for all guards of a run in another process.

    Args:
        channel: the line to them.
        chunk: which chunk asks.
        needs_input_bound: whether one of them wants to know the size of an input.
        counts_replays: whether one of them counts replays.
    """

    def __init__(
        self, channel: Channel, chunk: int, *, needs_input_bound: bool, counts_replays: bool
    ) -> None:
        self.needs_input_bound = needs_input_bound
        self.counts_replays = counts_replays
        self._channel = channel
        self._chunk = chunk

    async def reserve(self, call: PlannedCall) -> RemoteHold:
        """Set aside what the call may cost, there.

        Raises:
            BaseException: what a guard raised.
        """
        number, tokens = await self._channel.ask(self._chunk, call)
        return RemoteHold(self._channel, self._chunk, number, tokens)


class RemoteHold:
    """What guards in another process have set aside for a call.

    Attributes:
        max_output_tokens: the most tokens of output that it pays for.
    """

    max_output_tokens: int | None

    def __init__(self, channel: Channel, chunk: int, number: int, max_output_tokens: int) -> None:
        self.max_output_tokens = max_output_tokens
        self._channel = channel
        self._chunk = chunk
        self._number: int | None = number

    def settle(self, usage: Any) -> None:
        """Say what the call used; saying it again changes nothing."""
        number, self._number = self._number, None
        if number is not None:
            self._channel.post(Settle(self._chunk, number, Usage.read(usage) or Usage()))

    def release(self) -> None:
        """Give everything back: nothing was sent."""
        number, self._number = self._number, None
        if number is not None:
            self._channel.post(Settle(self._chunk, number, None))
