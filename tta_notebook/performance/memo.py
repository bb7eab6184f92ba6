"""What steps gave in earlier runs, so that after an edit only what changed is run again."""

from __future__ import annotations

from typing import Any, NamedTuple

from tta_notebook.core import checked, clock
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import CacheKeyError
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.protocols import Answer
from tta_notebook.core.shared import Shared
from tta_notebook.core.usage import Tally
from tta_notebook.core.version import VersionWatch, version_of
from tta_notebook.performance.copies import copied
from tta_notebook.performance.entry import Entry, now_s
from tta_notebook.performance.keys import Keys
from tta_notebook.performance.stores.memory import MemoryStore

Workflow = WorkflowPrimitive[Any, Any]

_OWNER = "Memo"

# What is faster is run again: it costs nothing, and what it reads (a file, the time) may be other.
MIN_S = 0.1

# More answers of one step to one input are asked for anew.
MAX_ANSWERS = 100


class Memo:
    """Remembers what steps gave, and gives it again to unchanged steps with unchanged inputs.

    Only steps that ask no other one are answered, and of those only what used a model or took a
    tenth of a second: sequences, retries, routers and quick functions run as ever. A step's code,
    constants, defaults, closure, globals and what these refer to are its version; a step that holds
    what cannot be hashed, a client say, always runs. So does everything in a run whose context has
    state, metadata, tags or baggage, by which steps may know more than their input.

    A step that gave several answers to one input, since it was asked several times, gives them
    again one after the other.

    Args:
        max_size: the most pairs of a step and an input.
        max_bytes: the most bytes, estimated as in `MemoryStore`.

    >>> import asyncio
    >>> from tta_notebook import LambdaPrimitive, WorkflowContext
    >>> memo, asked = Memo(), []
    >>> async def read(url):
    ...     await asyncio.sleep(0.11)
    ...     return f"text of {url}"
    >>> def run(workflow):
    ...     context = WorkflowContext().using(step_store=memo.for_run(workflow))
    ...     return asyncio.run(workflow.run("a.html", context))
    >>> first = run((LambdaPrimitive(read) >> str.upper).named("report"))
    >>> edited = run((LambdaPrimitive(read) >> str.title).named("report"))
    >>> edited.output, [span.name for span in edited.spans if span.noted("recalled")]
    ('Text Of A.Html', ['read'])
    """

    def __init__(self, max_size: int = 10_000, max_bytes: int = 256 * 2**20) -> None:
        checked.count(_OWNER, "max_size", max_size)
        checked.count(_OWNER, "max_bytes", max_bytes)
        self._bounds = max_size, max_bytes
        self._keys = Keys(_OWNER, "memo", "shared", None)
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._kept = MemoryStore(*self._bounds)
        self._last: dict[str, tuple[object, RunMemo]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._bounds  # a copy has seen no runs

    def __repr__(self) -> str:
        return f"<Memo of {len(self._kept)} steps with their inputs>"

    def for_run(
        self, workflow: Workflow, *, name: str | None = None, reuse: bool | None = None
    ) -> RunMemo:
        """Return what a run of the workflow is to ask, see `WorkflowContext.using`.

        Args:
            workflow: what is run.
            name: under which it is known from run to run; its own by default.
            reuse: whether steps may be answered. By default they are when the workflow was edited
                since its last run, or that did not end well: who runs the same again wants it anew.
        """
        name = workflow.name if name is None else name
        version, last = _version(workflow), self._last.get(name)
        if reuse is None:
            reuse = last is not None and not (last[1].is_whole and last[0] == version)
        run = RunMemo(self, is_recalling=reuse)
        self._last[name] = version, run
        return run

    def key(self, version: str, input_data: Any, context: WorkflowContext) -> str | None:
        """Return by what an execution is known; None where its input cannot be compared."""
        try:
            return self._keys.simple(version, input_data, context)
        except CacheKeyError:
            return None

    def answers(self, key: str) -> tuple[Kept, ...]:
        """Return what executions gave, in their order."""
        entry = self._kept.get_now(key, now_s())
        return () if entry is None else entry.value

    def remember(self, key: str, answers: tuple[Kept, ...]) -> None:
        """Keep what executions gave, in place of what was kept."""
        self._kept.put_now(key, Entry(answers, now_s()))


class Kept(NamedTuple):
    """What an execution gave.

    Attributes:
        output: the output, or a copy of it that nobody else has.
        spent: what it took.
    """

    output: Any
    spent: Tally


class _Asked(NamedTuple):
    """A step that is under way."""

    key: str
    watch: VersionWatch
    version: str
    spent: Tally


class RunMemo:
    """A memo as one run sees it: a `StepStore`, which `Memo.for_run` gives.

    Attributes:
        is_recalling: whether steps may be answered; what they give is remembered anyway.
        is_whole: whether the run has ended well.
    """

    def __init__(self, memo: Memo, *, is_recalling: bool) -> None:
        self.is_recalling = is_recalling
        self.is_whole = False
        self._memo = memo
        self._root: int | None = None
        self._watches: dict[int, tuple[Workflow, VersionWatch]] = {}
        self._asked: dict[int, _Asked] = {}
        self._earlier: dict[str, tuple[Kept, ...]] = {}
        self._given: dict[str, list[Kept]] = {}

    async def recall(
        self, step: Workflow, input_data: Any, context: WorkflowContext
    ) -> Answer[Any] | None:
        """Return what the step gave in an earlier run, or None: then it runs."""
        span = context.span
        assert span is not None, "a step is asked for under its own span"
        if self._root is None:
            self._root = span.span_id
        if span.parent is not None:
            self._asked.pop(span.parent.span_id, None)  # it asks others, so it is none to answer
        if step.parts() or _knows_more(context.shared):
            return None
        watch = self._watch(step)
        version = watch.current()
        key = self._memo.key(version, input_data, context) if watch.is_whole else None
        if key is None:
            return None
        answer = self._next(key)
        if answer is None:
            self._asked[span.span_id] = _Asked(key, watch, version, context.tally())
        return answer

    async def keep(
        self, step: Workflow, input_data: Any, output: Any, context: WorkflowContext
    ) -> None:
        """Remember what the step gave, if that is worth it and nothing changed meanwhile."""
        del step, input_data  # what was asked is known from before, when nobody had changed it
        span = context.span
        assert span is not None, "a step is told of under its own span"
        asked = self._asked.pop(span.span_id, None)
        if asked is not None:
            spent = asked.spent.or_of(output)
            took_s = (clock.source() - span.start_ns) / 1e9
            is_known = asked.watch.current() == asked.version and not _knows_more(context.shared)
            if is_known and (spent.usage is not None or took_s >= MIN_S):
                self._remember(asked.key, output, spent)
        if span.span_id == self._root:
            self.is_whole = True
            self._watches.clear()
            self._earlier.clear()
            self._given.clear()

    def _watch(self, step: Workflow) -> VersionWatch:
        # With the step: its identity stays its own as long as it is here.
        found = self._watches.get(id(step))
        if found is None:
            found = self._watches[id(step)] = step, VersionWatch(step)
        return found[1]

    def _next(self, key: str) -> Answer[Any] | None:
        earlier = self._earlier_answers(key)
        given = self._given.setdefault(key, [])
        if len(given) >= len(earlier):
            return None
        kept = earlier[len(given)]
        given.append(kept)
        return Answer(copied(kept.output), "memo", kept.spent)

    def _earlier_answers(self, key: str) -> tuple[Kept, ...]:
        # As they were when this run first asked: it writes its own in their place.
        if key not in self._earlier:
            self._earlier[key] = self._memo.answers(key) if self.is_recalling else ()
        return self._earlier[key]

    def _remember(self, key: str, output: Any, spent: Tally) -> None:
        given = self._given.setdefault(key, [])
        if len(given) >= MAX_ANSWERS:
            return
        try:
            given.append(Kept(copied(output), spent))
        except Exception:  # noqa: BLE001 - copying runs the value's own code; what cannot be copied runs again
            return
        self._memo.remember(key, (*given, *self._earlier_answers(key)[len(given) :]))


def _knows_more(shared: Shared) -> bool:
    """Tell whether a step may know more than its input: what it then does cannot be foreseen."""
    return bool(
        shared.state or shared.metadata or shared.tags or shared.baggage or shared.session_id
    )


def _version(workflow: Workflow) -> object:
    """Return what changes with an edit of a workflow."""
    whole = version_of(workflow)
    # Something in it cannot be hashed: the steps, then, as far as they can be.
    return whole or [version_of(step) for step in _steps(workflow, {})]


def _steps(workflow: Workflow, met: dict[int, Workflow]) -> list[Workflow]:
    if id(workflow) in met:
        return []
    met[id(workflow)] = workflow
    parts = [part for _, part in workflow.parts()]
    return [step for part in parts for step in _steps(part, met)] if parts else [workflow]
