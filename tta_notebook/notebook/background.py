"""Runs that go on beside the cells: begun in one, watched there, awaited in any other."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from html import escape
from types import TracebackType
from typing import Any, TypeVar

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.guarding import within_budget
from tta_notebook.core.observe import run_recorded
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.protocols import Guard
from tta_notebook.core.run import Run
from tta_notebook.notebook.display import error_text, run_text
from tta_notebook.notebook.picture import run_html
from tta_notebook.notebook.prompt import Prompt
from tta_notebook.notebook.slot import Slot

T = TypeVar("T")

# What a kernel that shuts down has for the clean-up of runs: Jupyter kills it after five seconds.
_LAST_MOMENTS_S = 3.0


class BackgroundRun(Run[T]):
    """A run beside the cells.

    Who awaits it waits for its end and no more: an interrupt of the cell that waits leaves it
    alone. Its error is the one that its own cell would have raised.

    Attributes:
        goes_on: whether its loop also turns while no cell runs.
    """

    goes_on: bool = True
    _work: asyncio.Task[BaseException | None]
    _traceback: TracebackType | None = None

    @classmethod
    def of(
        cls,
        workflow: WorkflowPrimitive[Any, Any],
        input_data: Any,
        context: WorkflowContext,
        budget: Guard | None,
    ) -> BackgroundRun[Any]:
        """Start a workflow as `workflow.start` does."""
        if budget is not None:
            context = within_budget(context, budget)
        loop = asyncio.get_running_loop()
        run: BackgroundRun[Any] = cls(context.workflow_id or workflow.name)
        run.start_in(loop, run_recorded(workflow, input_data, context, run))
        return run

    def attend(self, work: Coroutine[Any, Any, BaseException | None]) -> asyncio.Task[Any]:
        """Begin what awaits the run and gives the error that a cell should raise, or None."""
        self._work = asyncio.create_task(work, name="tta-background")
        self._work.add_done_callback(self._keep_traceback)
        return self._work

    def _keep_traceback(self, work: asyncio.Task[BaseException | None]) -> None:
        if not work.cancelled() and work.exception() is None and (error := work.result()):
            self._traceback = error.__traceback__

    def __await__(self) -> Generator[Any, None, T]:
        if self._work.done():
            return self._told().__await__()
        # Its own steps and other loops cannot wait for it; the run itself says so.
        is_its_own = asyncio.current_task() is self._work or self._is_around()
        if is_its_own or asyncio.get_running_loop() is not self._loop:
            return super().__await__()
        return self._told().__await__()

    def _told(self) -> asyncio.Future[T]:
        """Return a future of the end: one for each who waits, which alone is cancelled with it."""
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if self._work.done():
            self._tell(waiter)
        else:
            self._work.add_done_callback(lambda _: self._tell(waiter))
        return waiter

    def _tell(self, waiter: asyncio.Future[T]) -> None:
        if waiter.done():
            return
        if self._work.cancelled():
            waiter.cancel()
        elif (error := self._work.exception() or self._work.result()) is not None:
            # Raised once more, and not with the lines of the cell that has awaited it before.
            waiter.set_exception(error.with_traceback(self._traceback))
            waiter.exception()  # who waited may be gone: nobody needs a report of that
        else:
            waiter.set_result(self.output)  # type: ignore[arg-type]  # an ended run without an error has its output

    @property
    def is_new(self) -> bool:
        """Whether it has only been started: nothing of it has happened yet."""
        return self.status == "running" and not self.spans

    @property
    def announcement(self) -> str:
        """What the cell that started it says; the same every time, and true ever after."""
        where = "" if self.goes_on else ", where it goes on only while a cell awaits"
        return (
            f"{self.workflow_name} was started in the background{where}. Await the run for its "
            "output; its cancel() stops it."
        )


class Background:
    """The background runs of a kernel or a terminal."""

    def __init__(self, prompt: Prompt) -> None:
        self._prompt = prompt
        self._works: dict[asyncio.Task[Any], Run[Any]] = {}
        self._farewell: Callable[[], object] | None = None

    def add(self, run: BackgroundRun[Any], work: asyncio.Task[Any]) -> None:
        """Keep hold of a run until it has ended."""
        if not self._works:
            atexit.register(self._see_to_the_end)
            self._prompt.before_exit(self._see_to_the_end)
        self._works[work] = run
        run.goes_on = self._prompt.turn()
        work.add_done_callback(self._forget)

    def _forget(self, work: asyncio.Task[Any]) -> None:
        self._works.pop(work, None)
        if not self._works:
            atexit.unregister(self._see_to_the_end)
            self._prompt.rest()
            self._leave()

    def stop(self, farewell: Callable[[], object]) -> None:
        """Cancel what still runs, and call `farewell` once all of it has cleaned up.

        A cell that unloads the extension stands in the loop on which the runs clean up: it cannot
        wait for them.
        """
        self._farewell = farewell
        self._cancel()
        if not self._works:
            self._leave()

    def _leave(self) -> None:
        farewell, self._farewell = self._farewell, None
        if farewell is not None:
            farewell()

    def _cancel(self) -> None:
        for run in list(self._works.values()):
            run.cancel("the kernel needs them no more")

    def _see_to_the_end(self) -> None:
        """Let runs clean up while the interpreter goes down, if their loop can still be turned."""
        self._cancel()
        for loop in {work.get_loop() for work in self._works}:
            if not loop.is_running() and not loop.is_closed():
                with suppress(TimeoutError, RuntimeError):
                    loop.run_until_complete(self._ended(loop))

    async def _ended(self, loop: asyncio.AbstractEventLoop) -> None:
        works = [work for work in self._works if work.get_loop() is loop]
        await asyncio.wait(works, timeout=_LAST_MOMENTS_S)


def announcement_text(run: BackgroundRun[Any]) -> str:
    """Return a run as text: what its cell says of it at first, and its tree later."""
    return run.announcement if run.is_new else run_text(run)


def announcement_html(run: BackgroundRun[Any]) -> str:
    """Return the same as HTML."""
    return f"<p>{escape(run.announcement)}</p>" if run.is_new else run_html(run)


class Record:
    """The place in the starting cell's output where the record of the run will stand.

    It is taken while the cell runs: what is shown later finds it by its name, also where a kernel
    (ipykernel 6) would put it under the cell that runs then.
    """

    def __init__(self, run: BackgroundRun[Any]) -> None:
        self.slot = Slot()
        self._run = run
        said = f"{run.workflow_name} is under way."
        self.slot.show({"text/plain": said, "text/html": f"<p>{escape(said)}</p>"})

    def finish(self, error: BaseException | None) -> None:
        """Show the record, and an error that is not the run's own beside it."""
        text, html = run_text(self._run), run_html(self._run)
        if error is not None and self._run.status == "ok":
            said = error_text(error)
            text, html = f"{text}\n✗ {said}", f"{html}<p>✗ {escape(said)}</p>"
        self.slot.show({"text/plain": text, "text/html": html})
