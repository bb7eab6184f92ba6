"""What transformed cells call: `__tta__`, the notebook's side of defining and running workflows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, closing, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

from tta_notebook.core import last_run
from tta_notebook.core.algebra import as_primitive
from tta_notebook.core.context import WorkflowContext, current_context
from tta_notebook.core.errors import (
    BudgetExceededError,
    CompositionError,
    ConfigurationError,
    Names,
)
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.protocols import Guard
from tta_notebook.core.run import Run
from tta_notebook.core.standing import standing
from tta_notebook.core.threads import run_blocking
from tta_notebook.notebook import stopped
from tta_notebook.notebook.follow import following
from tta_notebook.notebook.ipython import Shell, UsageError, display
from tta_notebook.notebook.loop import interrupt_cancels
from tta_notebook.notebook.primitive_cell import Wrapping
from tta_notebook.notebook.recorded import Recorded, literal_of
from tta_notebook.notebook.rows import is_run
from tta_notebook.notebook.tables import MAGICS
from tta_notebook.notebook.tables.primitives import PRIMITIVE
from tta_notebook.notebook.tables.runs import WORKFLOW

if TYPE_CHECKING:
    from tta_notebook.llm.cassettes.cassette import Cassette

_KEPT_RUNS = 50

Workflow: TypeAlias = WorkflowPrimitive[Any, Any]
# A run, and what its cell is to raise for it.
Outcome: TypeAlias = tuple[Run[Any], BaseException | None]


class Runtime:
    """The names that transformed cells use.

    Attributes:
        workflow: where a cell without a name puts its workflow.
        runs: the last runs of magics, newest last.
        recorded: the same with what they were run on.
        at_unload: closed when the extension is unloaded.
    """

    def __init__(self, shell: Shell) -> None:
        self.workflow: Any = None
        self.runs: deque[Run[Any]] = deque(maxlen=_KEPT_RUNS)
        self.recorded: deque[Recorded] = deque(maxlen=_KEPT_RUNS)
        self.at_unload = ExitStack()
        self._shell = shell

    # What cells call

    def show(self, workflow: Any, name: str | None = None) -> Workflow:
        """Take a cell's workflow; as the cell's value it is shown as a picture."""
        return self.define(workflow, name)

    def primitive(self, function: Any, name: str, **wrapping: Any) -> Workflow:
        """Make a primitive of a cell's function; as the cell's value it is shown as a picture."""
        try:
            return Wrapping(**wrapping).wrapped(function, name)
        except (CompositionError, ConfigurationError) as error:
            raise UsageError(f"{PRIMITIVE.title}: {error}") from None

    def run(self, workflow: Any, input_data: Any, **options: Any) -> asyncio.Future[Run[Any]]:
        """Run a cell's workflow; await it for the Run. Cancelling the cell cancels the run."""
        return _RunOfCell(self._outcome(workflow, input_data, **options))

    def run_named(
        self, name: str, find: Callable[[], Any], input_data: Any, **options: Any
    ) -> asyncio.Future[Run[Any]]:
        """Run the workflow that `find` gives, which is what `name` means in the cell."""
        return self.run(self.named(name, find), input_data, name=name, **options)

    def run_blocking(self, workflow: Any, input_data: Any, **options: Any) -> Run[Any]:
        """Run where the cell cannot await; the kernel's loop stands still meanwhile."""
        options["live"] = "off"  # a live view lives on the loop
        run, error = run_blocking(lambda: self._outcome(workflow, input_data, **options))
        if error is not None:
            raise error
        return run

    def help(self, magic: str) -> None:
        """Print a magic's help."""
        print(MAGICS[magic].help())  # noqa: T201 - a magic prints

    # What they are made of

    async def _outcome(
        self,
        workflow: Any,
        input_data: Any,
        *,
        name: str | None = None,
        live: str = "auto",
        budget: str | None = None,
        cassette: str | None = None,
        timeout_s: float | None = None,
        quiet: bool = False,
    ) -> Outcome:
        """Run a workflow and return the run with what the cell is to raise for it."""
        workflow = self.define(workflow, name)
        guard = None if budget is None else _budget(budget, workflow.name)
        player = None if cassette is None else _cassette(cassette)
        run = self._start(workflow, input_data, name, timeout_s, guard, player)
        try:
            with nullcontext() if player is None else closing(player):
                async with following(run, "off" if quiet else live, self._shell):
                    with interrupt_cancels():
                        async with asyncio.timeout(timeout_s):
                            await run
        except BaseException as error:  # noqa: BLE001 - it is raised in the cell
            if not quiet:
                display(run)
            return run, _reason(error, run, timeout_s)
        return run, None

    def _start(
        self,
        workflow: Workflow,
        input_data: Any,
        name: str | None,
        timeout_s: float | None,
        budget: Guard | None,
        cassette: Cassette | None,
    ) -> Run[Any]:
        context = current_context() or WorkflowContext(workflow_id=name)
        if cassette is not None:
            context.using(backends=cassette.backends)
        if timeout_s is not None:
            context = context.within(timeout_s)
        literal = literal_of(input_data)  # now: the run may change it
        run = workflow.start(input_data, context, budget=budget)
        self.runs.append(run)
        self.recorded.append(Recorded(run, literal, context.backend("*") or standing.backends))
        return run

    def define(self, workflow: Any, name: str | None) -> Workflow:
        """Return a cell's value as a workflow; rebind its name where that made a new object.

        Raises:
            UsageError: it is none.
        """
        try:
            primitive = as_primitive(workflow)
        except CompositionError as error:
            what = name or "the cell"
            raise UsageError(
                f"{WORKFLOW.title}: {what} gives {type(workflow).__name__}, which is no workflow; "
                "it may be a primitive, a function, a list or a mapping of them."
            ) from error
        if name is not None and "." not in name:
            primitive = primitive if primitive.is_named else primitive.named(name)
            if primitive is not workflow and self._shell.user_ns.get(name) is workflow:
                self._shell.user_ns[name] = primitive
        return primitive

    def named(self, name: str, find: Callable[[], Any]) -> Any:
        """Return what `find` finds under a name.

        Raises:
            UsageError: there is nothing; the message suggests a workflow that is.
        """
        try:
            return find()
        except NameError as error:
            if error.name != name.partition(".")[0]:
                raise
            known = Names(self.workflow_names()).instead_of(name)
            raise UsageError(f"no workflow is called {name!r}; there is {known}.") from None

    def workflow_names(self) -> list[str]:
        """Return the names of the notebook's workflows."""
        return sorted(
            name
            for name, value in self._shell.user_ns.items()
            if isinstance(value, WorkflowPrimitive) and not name.startswith("_")
        )

    def recent_runs(self) -> list[Run[Any]]:
        """Return the runs that can be named by their ids, newest first."""
        values = [*reversed(self._shell.user_ns.values()), *reversed(self.runs), last_run()]
        runs = {value.id: value for value in values if is_run(value)}
        return sorted(runs.values(), key=lambda run: run.start_ns, reverse=True)


class _RunOfCell(asyncio.Future[Run[Any]]):
    """What a cell awaits: a future, so that an error reaches the cell without a frame of ours.

    Like the future of `asyncio.gather`, it hands a cancellation on and ends when the work has.
    """

    def __init__(self, work: Coroutine[Any, Any, Outcome]) -> None:
        super().__init__()
        self._work = asyncio.create_task(work, name="tta-run")
        self._work.add_done_callback(self._settle)

    def cancel(self, msg: Any | None = None) -> bool:
        return self._work.cancel(msg)

    def _settle(self, work: asyncio.Task[Outcome]) -> None:
        if work.cancelled():
            super().cancel()
        elif (error := work.exception() or work.result()[1]) is not None:
            self.set_exception(error)
        else:
            self.set_result(work.result()[0])


def _budget(amount: str, workflow: str) -> Guard:
    from tta_notebook.cost.budget import Budget  # noqa: PLC0415 - only who sets one

    return Budget(amount, name=f"of this run of {workflow}")


def _cassette(file: str) -> Cassette:
    from tta_notebook.llm.cassettes.cassette import Cassette  # noqa: PLC0415 - as for budgets

    return Cassette(file, repeat=True)


def _reason(error: BaseException, run: Run[Any], timeout_s: float | None) -> BaseException:
    """Return what the cell should raise for what the run raised."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return stopped.cancelled(run, by_interrupt=task is not None and task.cancelling() > 0)
    if timeout_s is not None and isinstance(error, TimeoutError) and run.status == "cancelled":
        return stopped.timed_out(run, timeout_s)
    if isinstance(error, BudgetExceededError):
        return stopped.over_budget(run, error)
    stopped.point_at_step(error, run)
    stopped.leave_out_our_frames(error)
    return error
