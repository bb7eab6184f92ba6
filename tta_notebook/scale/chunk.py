"""Running a chunk: the same code on a worker and in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tta_notebook.core import clock
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import TravelError
from tta_notebook.core.fanout import Work, fan_out
from tta_notebook.core.observe import run_recorded
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.scale import outcomes
from tta_notebook.scale.failures import able_to_travel, tell_where
from tta_notebook.scale.guarding import Channel, RemoteGuard
from tta_notebook.scale.identity import context_like
from tta_notebook.scale.item_run import ItemRun
from tta_notebook.scale.ledgers import posting
from tta_notebook.scale.messages import Chunk, Ended, Outcome, Report
from tta_notebook.scale.packing import said, unpacked
from tta_notebook.scale.places import Places
from tta_notebook.scale.spans import recorded
from tta_notebook.scale.terms import Terms


@dataclass(frozen=True, slots=True)
class Loaded:
    """A workflow as a worker has it.

    Attributes:
        primitive: the workflow.
        terms: what holds for its runs.
        places: where each of its primitives stands.
        where: the worker's name, for errors.
    """

    primitive: WorkflowPrimitive[Any, Any]
    terms: Terms
    places: Places
    where: str

    @classmethod
    def from_bytes(cls, package: bytes, where: str) -> Loaded:
        """Load a workflow.

        Raises:
            TravelError: the worker lacks what it needs.
        """
        try:
            primitive, terms = unpacked(package)
        except Exception as error:
            raise TravelError(
                f"The workflow cannot be loaded on the worker {where}: {said(error)}. Install "
                "there what it imports, in the same release; modules of your own travel with "
                "cloudpickle.register_pickle_by_value(module).",
                part="the workflow",
            ) from error
        return cls(primitive, terms, Places(primitive), where)


async def run_chunk(chunk: Chunk, loaded: Loaded, channel: Channel) -> None:
    """Run every item of a chunk and send a report of each as it ends, and one more at the end.

    Cancelling it cancels every item where it awaits; their reports and the last one are sent all
    the same, after their clean-up. Of one that is cancelled before it begins, nothing is sent:
    whoever has made a task of it says that it has ended.

    Args:
        chunk: what to run.
        loaded: its workflow.
        channel: where reports go and guards are asked.
    """
    try:
        posting.set(channel.post)
        items = _Items(chunk, loaded, channel)
        await fan_out(items.work(), limit=chunk.max_concurrency, mode="collect")
    except BaseException as error:
        failure = able_to_travel(error) if isinstance(error, Exception) else None
        channel.post(Ended(chunk.number, failure))
        raise
    channel.post(Ended(chunk.number))


class _Items:
    """The items of a chunk, each in a run of its own."""

    def __init__(self, chunk: Chunk, loaded: Loaded, channel: Channel) -> None:
        self._chunk = chunk
        self._loaded = loaded
        self._channel = channel
        # One for the chunk: as in one process, its items share what they write to `state`.
        self._identity = self._read_identity(chunk.identity)

    def _read_identity(self, data: bytes) -> Mapping[str, Any]:
        try:
            identity: Mapping[str, Any] = unpacked(data)
        except Exception as error:
            part = "what the run's context says"
            raise self._unreadable(part, error) from error
        return identity

    def work(self) -> Iterator[Work]:
        return (self._reported(index, data) for index, data in self._chunk.items.items())

    async def _reported(self, index: int, data: bytes) -> None:
        outcome = await self._outcome(index, data)
        self._post(index, outcome)
        if isinstance(outcome.error, GeneratorExit):  # nobody goes on with it
            raise outcome.error
        if outcome.error is not None and not isinstance(outcome.error, Exception):
            # As in one process it stops those beside it. Never itself: a KeyboardInterrupt of an
            # item would end the worker's loop.
            raise asyncio.CancelledError

    async def _outcome(self, index: int, data: bytes) -> Outcome:
        try:
            item = unpacked(data)
        except Exception as error:  # noqa: BLE001 - it is raised where the map was called
            return Outcome(error=self._unreadable(f"item {index}", error))
        try:
            if self._chunk.is_recorded:
                return await self._with_record(index, item)
            output = await self._loaded.primitive.execute(item, self._context())
            return outcomes.of_output(index, output)
        except BaseException as error:  # noqa: BLE001 - the same
            return Outcome(error=error)

    async def _with_record(self, index: int, item: Any) -> Outcome:
        primitive = self._loaded.primitive
        run = ItemRun(primitive.name, with_previews=self._chunk.with_previews)
        with suppress(BaseException):  # the run has it
            await run_recorded(primitive, item, self._context(), run)
        if run.error is None:
            outcome = outcomes.of_output(index, run.output, run.reported)
        else:
            outcome = Outcome(error=run.error)
        spans = recorded(run.spans, self._loaded.places)
        return outcome._replace(spans=spans, dropped=run.spans_dropped)

    def _context(self) -> WorkflowContext:
        chunk, terms = self._chunk, self._loaded.terms
        context = context_like(self._identity)
        if terms.is_guarded:
            guard = RemoteGuard(
                self._channel,
                chunk.number,
                needs_input_bound=terms.needs_input_bound,
                counts_replays=terms.counts_replays,
            )
            context.using(guards=[guard])
        context.using(backends=terms.backends, prices=terms.prices)
        return context if chunk.timeout_s is None else context.within(chunk.timeout_s)

    def _post(self, index: int, outcome: Outcome) -> None:
        if outcome.error is not None:
            tell_where(outcome.error, self._loaded.where)
        outcome = outcome._replace(sent_ns=clock.wall_ns(clock.source()))
        data = outcomes.packed_outcome(index, outcome)
        self._channel.post(Report(self._chunk.number, index, data))

    def _unreadable(self, part: str, error: Exception) -> TravelError:
        return TravelError(
            f"{part} cannot be read on the worker {self._loaded.where}: {said(error)}. Install "
            "there what its class comes from, or give plain values.",
            part=part,
        )
