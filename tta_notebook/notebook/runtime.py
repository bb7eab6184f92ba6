"""What transformed cells call: `__tta__`, the notebook's side of defining and running workflows."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from tta_notebook.core import last_run
from tta_notebook.core.algebra import as_primitive
from tta_notebook.core.context import FRESH, WorkflowContext, current_context
from tta_notebook.core.errors import (
    CompositionError,
    ConfigurationError,
    Names,
)
from tta_notebook.core.fanout import DEFAULT_LIMIT
from tta_notebook.core.map import MapPrimitive
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.protocols import Guard, StepStore
from tta_notebook.core.run import Run
from tta_notebook.core.standing import standing
from tta_notebook.core.threads import run_blocking
from tta_notebook.notebook.attended import Attended
from tta_notebook.notebook.background import Background, BackgroundRun, Record
from tta_notebook.notebook.cluster import NotebookCluster
from tta_notebook.notebook.follow import view_for
from tta_notebook.notebook.front_end import takes_input
from tta_notebook.notebook.ipython import Shell, UsageError, display
from tta_notebook.notebook.loop import interrupt_cancels
from tta_notebook.notebook.options import Magic
from tta_notebook.notebook.primitive_cell import Wrapping
from tta_notebook.notebook.prompt import Prompt
from tta_notebook.notebook.recorded import Recorded, literal_of
from tta_notebook.notebook.rows import is_run
from tta_notebook.notebook.settings import TTAMagics
from tta_notebook.notebook.tables import MAGICS
from tta_notebook.notebook.tables.cluster import MAP
from tta_notebook.notebook.tables.primitives import PRIMITIVE
from tta_notebook.notebook.tables.runs import WORKFLOW
from tta_notebook.notebook.wishes import Wishes

if TYPE_CHECKING:
    from tta_notebook.performance.memo import Memo

_KEPT_RUNS = 50
# How much later than `--timeout` the deadline of its context is: that one would cancel once more,
# in the middle of the clean-up.
_CLEAN_UP_S = 15.0

Workflow: TypeAlias = WorkflowPrimitive[Any, Any]
# A run, and what its cell is to raise for it.
Outcome: TypeAlias = tuple[Run[Any], BaseException | None]


class Runtime:
    """The names that transformed cells use.

    Attributes:
        workflow: where a cell without a name puts its workflow.
        runs: the last runs of magics, newest last.
        recorded: the same with what they were run on.
        background: those that go on beside the cells.
        cluster: where its maps run that run elsewhere.
        settings: what holds where a magic does not say.
        unkept_cells: the cells that IPython keeps no history of, as under nbval.
        at_unload: closed when the extension is unloaded.
    """

    def __init__(self, shell: Shell, settings: TTAMagics) -> None:
        self.workflow: Any = None
        self.cluster = NotebookCluster()
        self.settings = settings
        self.background = Background(Prompt(shell))
        self._memo: Memo | None = None
        self.runs: deque[Run[Any]] = deque(maxlen=_KEPT_RUNS)
        self.recorded: deque[Recorded] = deque(maxlen=_KEPT_RUNS)
        self.unkept_cells: list[str] = []
        self.at_unload = ExitStack()
        self._shell = shell

    def remember_cell(self, info: Any = None) -> None:
        """Keep a cell that is about to run, where nobody else does: exports are made of cells."""
        if info is not None and not info.store_history and not info.silent:
            self.unkept_cells.append(info.raw_cell)

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

    def run(
        self, workflow: Any, input_data: Any, *, background: bool = False, **options: Any
    ) -> asyncio.Future[Run[Any]]:
        """Run a cell's workflow; await it for the Run. Cancelling the cell cancels the run.

        In the background the Run is there at once, and the cell that has started it may end.
        """
        if background:
            return _there(self._begin(workflow, input_data, Wishes(**options)))
        return _RunOfCell(self._outcome(workflow, input_data, Wishes(**options)))

    def run_named(
        self, name: str, find: Callable[[], Any], input_data: Any, **options: Any
    ) -> asyncio.Future[Run[Any]]:
        """Run the workflow that `find` gives, which is what `name` means in the cell."""
        return self.run(self.named(name, find), input_data, name=name, **options)

    def map_named(
        self,
        name: str,
        find: Callable[[], Any],
        items: Any,
        *,
        chunk_size: int | None = None,
        max_concurrency: int = DEFAULT_LIMIT,
        collect: bool = False,
        **options: Any,
    ) -> asyncio.Future[Run[Any]]:
        """Run the workflow that `find` gives for every item, on the notebook's cluster."""
        mapped = self.mapped(name, find, chunk_size, max_concurrency, collect=collect)
        return self.run(mapped, items, name=mapped.name, **options)

    def run_blocking(self, workflow: Any, input_data: Any, **options: Any) -> Run[Any]:
        """Run where the cell cannot await; the kernel's loop stands still meanwhile."""
        wishes = replace(Wishes(**options), live="off")  # a live view lives on the loop
        run, error = run_blocking(lambda: self._outcome(workflow, input_data, wishes))
        if error is not None:
            raise error
        return run

    def help(self, magic: str) -> None:
        """Print a magic's help."""
        print(MAGICS[magic].help())  # noqa: T201 - a magic prints

    # What they are made of

    async def _outcome(self, workflow: Any, input_data: Any, wishes: Wishes) -> Outcome:
        """Run a workflow and return the run with what the cell is to raise for it."""
        wishes = wishes.filled(self.settings)
        attended = self._start(workflow, input_data, wishes)
        attended.view = view_for(attended.run, wishes.live_mode, self._shell)
        with interrupt_cancels():
            error = await attended.to_its_end(self._shell)
        if error is not None and not wishes.quiet:
            display(attended.run)
        return attended.run, error

    def _begin(self, workflow: Any, input_data: Any, wishes: Wishes) -> BackgroundRun[Any]:
        """Start a run that its cell does not wait for."""
        wishes = wishes.filled(self.settings)
        attended = self._start(workflow, input_data, wishes, is_beside=True)
        run = attended.run
        assert isinstance(run, BackgroundRun)
        is_watched = wishes.live in ("widget", "html") or takes_input(self._shell)
        record = Record(run) if is_watched and not wishes.quiet else None
        # Now: another cell may run when the run gets its turn, and be of another front end.
        slot = None if record is None else record.slot
        attended.view = view_for(run, wishes.live_mode, self._shell, slot)

        async def work() -> BaseException | None:
            error = await attended.to_its_end(self._shell)
            if record is not None:
                record.finish(error)
            return error

        self.background.add(run, run.attend(work()))
        return run

    def _start(
        self, workflow: Any, input_data: Any, wishes: Wishes, *, is_beside: bool = False
    ) -> Attended:
        workflow = self.define(workflow, wishes.name)
        budget = None if wishes.budget is None else _budget(wishes.budget, workflow.name)
        cassette = wishes.cassette_player()
        # Before the deadline in the context, so that it comes first: the run is stopped from here.
        limit = asyncio.timeout(wishes.timeout_s)
        context = _context(wishes.name, is_beside=is_beside)
        if cassette is not None:
            context.using(backends=cassette.backends)
        # Inside a step a run has the step's own.
        if context.mode == FRESH and not context.shared.is_begun:
            context.using(step_store=context.step_store or self._remembering(workflow, wishes))
        if wishes.timeout_s is not None:
            context = context.within(wishes.timeout_s + _CLEAN_UP_S)
        literal = literal_of(input_data)  # now: the run may change it
        start = BackgroundRun.of if is_beside else _foreground
        run = start(workflow, input_data, context, budget)
        self.runs.append(run)
        self.recorded.append(Recorded(run, literal, context.backend("*") or standing.backends))
        return Attended(run, limit, wishes.timeout_s, cassette)

    def _remembering(self, workflow: Workflow, wishes: Wishes) -> StepStore:
        """Return what may answer a run's steps after an edit, and remembers what they give."""
        if self._memo is None:
            from tta_notebook.performance.memo import Memo  # noqa: PLC0415 - not at load

            self._memo = Memo()
        reuse = None if wishes.reuse else False
        return self._memo.for_run(workflow, name=wishes.name, reuse=reuse)

    def mapped(
        self,
        name: str,
        find: Callable[[], Any],
        chunk_size: int | None = None,
        max_concurrency: int = DEFAULT_LIMIT,
        *,
        collect: bool = False,
    ) -> Workflow:
        """Return the map over what `find` gives, on the notebook's cluster.

        Raises:
            UsageError: there is no such workflow or no cluster, or a cassette is on.
        """
        executor = self.cluster.executor(chunk_size)
        _refuse_cassette(MAP)
        return MapPrimitive(
            self.define(self.named(name, find), name),
            max_concurrency=max_concurrency,
            mode="collect" if collect else "fail_fast",
            executor=executor,
            name=f"map {name}",
        )

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


def _context(name: str | None, *, is_beside: bool) -> WorkflowContext:
    """Return the context of a run: the one that the cell has made current, or a new one.

    Inside a step it is the step's. A run beside that step has the same purse, models and user, but
    neither its time nor its state: it may go on when the step has ended.
    """
    current = current_context()
    if current is None:
        return WorkflowContext(workflow_id=name)
    if not is_beside or current.mode == FRESH:
        return current
    context = WorkflowContext(name, session_id=current.session_id, user_id=current.user_id)
    shared = current.shared
    return context.using(guards=shared.guards, backends=shared.backends, prices=shared.prices)


def _foreground(
    workflow: Workflow, input_data: Any, context: WorkflowContext, budget: Guard | None
) -> Run[Any]:
    return workflow.start(input_data, context, budget=budget)


def _refuse_cassette(magic: Magic) -> None:
    """Say that workers play no cassette, before anything is run.

    Raises:
        UsageError: one is on.
    """
    current = current_context()
    inside = None if current is None else current.shared.backends
    backends = {**(standing.backends or {}), **(inside or {})}
    if not backends:
        return
    from tta_notebook.llm.cassettes.cassette import Cassette  # noqa: PLC0415 - loaded by now

    if any(isinstance(backend, Cassette) for backend in backends.values()):
        raise UsageError(
            f"{magic.title}: a cassette is on, which one process plays and writes, and the workers "
            "are many. `%tta_cassette off` lets them ask the models; `await NAME.map(EXPR)` runs "
            "the map here, with the cassette."
        )


def _there(run: Run[Any]) -> asyncio.Future[Run[Any]]:
    """Return a run as what is awaited without waiting: nothing else gets a turn meanwhile."""
    future: asyncio.Future[Run[Any]] = asyncio.get_running_loop().create_future()
    future.set_result(run)
    return future
