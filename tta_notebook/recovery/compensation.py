"""Steps that are undone when one of them fails: a saga."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, TypeAlias, cast

from tta_notebook.core import checked
from tta_notebook.core.checked import UNSET, UnsetType
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import ArgumentError, CompositionError, ConfigurationError
from tta_notebook.core.primitive import TIn, TOut, WorkflowPrimitive, joined_names
from tta_notebook.core.sequential import SequentialPrimitive
from tta_notebook.recovery.saga_journal import SagaJournal
from tta_notebook.recovery.saga_recovery import RecoveredSaga, SagaRecovery
from tta_notebook.recovery.saga_run import SagaRun
from tta_notebook.recovery.saga_step import (
    SagaStep,
    Stage,
    Step,
    UnfinishedStep,
    current_saga_step,
)

__all__ = [
    "CompensationPrimitive",
    "RecoveredSaga",
    "SagaPrimitive",
    "SagaStep",
    "UnfinishedStep",
    "current_saga_step",
]

Pair: TypeAlias = tuple[Any, Any]

_HOW = "Write (forward, undo), or (forward, None) for a step that leaves nothing to undo"


class CompensationPrimitive(WorkflowPrimitive[TIn, TOut]):
    """Runs steps one after the other, and undoes those that are done when it cannot finish.

    It undoes on an error, on a cancellation and when time runs out: the last step first, each undo
    with what its step gave. A second cancellation does not stop the undo. Every undo runs, also
    when others fail. The step that did not end is undone as well if it may have had its effect (it
    ran out of time, lost its connection, was cancelled in the middle); its undo then gets an
    `UnfinishedStep`. Steps can send `current_saga_step().idempotency_key` along.

    With a journal, every step is on disk before the next one begins, and `recover()` undoes what a
    killed process has left.

    Args:
        primitives: pairs (forward, undo), with None for no undo; each step gets what the one before
            gave. A list of pairs is a group that runs at once on the same input and gives a list.
        forward: the one step, where there is only one.
        compensation: its undo, which gets what the step was given, also when it has surely failed.
        compensate_failed_step: undo the step that failed, too, even if it surely had no effect.
        compensation_timeout: seconds for all undos together, apart from the run's deadline. Each
            has an even share of it, and of what the ones before it have left.
        undo_retries: how often a failed undo is tried again.
        journal: the file for the journal, or a SagaJournal.
        name: by default the steps' names after "saga"; the journal knows the saga by it.

    Raises:
        CompensationFailedError: undos failed; `uncompensated` names what is still done, and the
            cause is what made the undo necessary. A cancellation stays one, and has this error as
            its cause.
        CompositionError: something is no pair, or no step.
        StorageError: the journal cannot be written; what was done is undone.
        EncodeError: the journal cannot hold what a step gave; it is undone.

    >>> booked = []
    >>> def book(trip): booked.append(trip); return trip
    >>> def pay(trip): raise ValueError("no money")
    >>> saga = CompensationPrimitive([(book, booked.remove), (pay, None)])
    >>> saga.run_sync("Rome")
    Traceback (most recent call last):
    ValueError: no money
    >>> booked
    []
    """

    kind: ClassVar[str] = "compensation"

    def __init__(
        self,
        primitives: Iterable[Pair | list[Pair]] | UnsetType = UNSET,
        *,
        forward: Any = UNSET,
        compensation: Any = UNSET,
        compensate_failed_step: bool | UnsetType = UNSET,
        compensation_timeout: float = 60.0,
        undo_retries: int = 2,
        journal: str | os.PathLike[str] | SagaJournal | None = None,
        name: str | None = None,
    ) -> None:
        owner = type(self).__name__
        if primitives is not UNSET:
            one = {"forward": forward, "compensation": compensation}
            checked.alone(owner, "primitives", one)
        elif forward is UNSET or compensation is UNSET:
            raise ArgumentError(
                f"{owner}: neither primitives=… nor both of forward=… and compensation=… were "
                f"given, so there is nothing to run or to undo. {_HOW} in a list."
            )
        # The original's form, in which the undo gets the input.
        self.gives_input = primitives is UNSET
        given = [(forward, compensation)] if primitives is UNSET else primitives
        self.stages = _stages(owner, given)
        line = [_joined(stage) for stage in self.stages]
        super().__init__(name=name, default_name=f"saga {joined_names(line, ' >> ')}")
        # Checks that neighbours fit, and knows the types of both ends.
        self._line: SequentialPrimitive[TIn, TOut] = SequentialPrimitive(line)
        self.compensate_failed_step = (
            self.gives_input
            if compensate_failed_step is UNSET
            else _flag(owner, "compensate_failed_step", compensate_failed_step)
        )
        self.compensation_timeout = checked.seconds(
            owner, "compensation_timeout", compensation_timeout, zero=False, infinite=True
        )
        self.undo_retries = checked.count(owner, "undo_retries", undo_retries, least=0)
        self.journal = _journal(owner, journal)

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Run the steps, or undo them and raise what made that necessary."""
        run = SagaRun(
            self.name,
            self.stages,
            context,
            journal=self.journal,
            shape=self._shape,
            compensates_failed=self.compensate_failed_step,
            gives_input=self.gives_input,
        )
        output = await run.run(
            input_data, timeout_s=self.compensation_timeout, retries=self.undo_retries
        )
        return cast("TOut", output)

    async def recover(self, context: WorkflowContext = HERE) -> list[RecoveredSaga]:
        """Undo what executions of this saga have left: of killed processes, and failed undos.

        Several processes may do so at once. An undo that was itself cut off runs again, with the
        same idempotency key; every other one runs at most once.

        Raises:
            CompensationFailedError: undos failed; the next call tries them again.
            ConfigurationError: there is no journal, or it knows the saga with other steps; then
                nothing was undone.
            StorageError: the journal cannot be read or written.
        """
        if self.journal is None:
            raise ConfigurationError(
                f"{self.name!r}: recover() was called, but the saga has no journal, so nothing is "
                "known of earlier executions. Give it one with journal=…."
            )
        recovery = SagaRecovery(
            self.name,
            self.stages,
            self.journal,
            shape=self._shape,
            timeout_s=self.compensation_timeout,
            retries=self.undo_retries,
            gives_input=self.gives_input,
        )
        return await recovery.execute(None, context)

    @property
    def _shape(self) -> str:
        return json.dumps([stage.shape for stage in self.stages], ensure_ascii=False)

    def parts(self) -> Sequence[tuple[str, WorkflowPrimitive[Any, Any]]]:
        """Return the steps, each followed by its undo."""
        found: list[tuple[str, WorkflowPrimitive[Any, Any]]] = []
        for stage in self.stages:
            for step in stage.steps:
                found.append(("", step.forward))
                if step.undo is not None:
                    found.append(("undo", step.undo))
        return found

    @property
    def input_type(self) -> Any:
        """What the first step takes."""
        return self._line.input_type

    @property
    def output_type(self) -> Any:
        """What the last step gives."""
        return self._line.output_type


SagaPrimitive = CompensationPrimitive


def _stages(owner: str, given: Iterable[Any]) -> tuple[Stage, ...]:
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        raise CompositionError(
            f"{owner}: primitives={given!r} is no list of steps with their undos. {_HOW}, in a "
            "list."
        )
    stages: list[Stage] = []
    count = 0
    for element in given:
        is_group = isinstance(element, list)
        pairs = cast("list[Any]", element if is_group else [element])
        if not pairs:
            raise ConfigurationError(
                f"{owner}: a group [] without steps was given, which has nothing to run. {_HOW} "
                "into it, or leave it out."
            )
        steps = tuple(_step(owner, count + place, pair) for place, pair in enumerate(pairs))
        stages.append(Stage(steps, is_group))
        count += len(steps)
    if not stages:
        raise ConfigurationError(
            f"{owner}([]): no steps were given, so there is nothing to run. {_HOW}."
        )
    return tuple(stages)


def _step(owner: str, index: int, pair: Any) -> Step:
    from tta_notebook.core.algebra import as_primitive  # noqa: PLC0415 - it knows all primitives

    if not isinstance(pair, tuple):
        raise CompositionError(
            f"{owner}: step {index} is {pair!r}, which is no pair of a step and its undo. {_HOW}; "
            "a list is a group of such pairs."
        )
    parts = cast("tuple[Any, ...]", pair)
    if len(parts) != 2:  # noqa: PLR2004 - a pair
        raise CompositionError(
            f"{owner}: step {index} has {len(parts)} parts instead of two, so that nobody can tell "
            f"which is the undo. {_HOW}."
        )
    forward, undo = parts
    return Step(index, as_primitive(forward), None if undo is None else as_primitive(undo))


def _joined(stage: Stage) -> WorkflowPrimitive[Any, Any]:
    from tta_notebook.core.parallel import ParallelPrimitive  # noqa: PLC0415 - as above

    forwards = [step.forward for step in stage.steps]
    return ParallelPrimitive(forwards) if stage.is_group else forwards[0]


def _flag(owner: str, name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise ConfigurationError(
        f"{owner}: {name}={value!r} is neither yes nor no. Give True or False."
    )


def _journal(owner: str, journal: Any) -> SagaJournal | None:
    if journal is None or isinstance(journal, SagaJournal):
        return journal
    if isinstance(journal, (str, os.PathLike)) and str(cast("Any", journal)):
        return SagaJournal(cast("str", journal))
    raise ConfigurationError(
        f"{owner}: journal={journal!r} names no file. Give a path or a SagaJournal."
    )
