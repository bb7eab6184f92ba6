"""How a cell ends when its run was stopped on purpose, and how an error says where it happened."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

from tta_notebook.core.errors import (
    BudgetExceededError,
    TravelError,
    WorkerLostError,
    WorkflowError,
)
from tta_notebook.core.run import Run
from tta_notebook.notebook.display import progress_text
from tta_notebook.notebook.rows import duration, path_of, place_of, run_cost

_OURS = ("tta_notebook.core.", "tta_notebook.notebook.", "tta_notebook.scale.", "asyncio.")


class _Calm:
    """An exception that IPython shows as one line; the cell has failed all the same."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


class RunCancelled(_Calm, asyncio.CancelledError):
    """The run was cancelled, by its Cancel button or `Run.cancel()`.

    Like any cancellation it passes `except Exception`: a loop over runs stops as a whole, and cells
    that wait behind this one do not run.
    """


class RunInterrupted(RunCancelled):
    """The kernel was interrupted; the run was cancelled and has cleaned up."""


class ChangeInterrupted(_Calm, asyncio.CancelledError):
    """Workers were being started or ended; what was begun comes to its end beside the cells."""


class RunTimedOut(_Calm, TimeoutError):  # noqa: N818 - a sibling of RunCancelled
    """The run took longer than its `--timeout`; it was cancelled and has cleaned up."""


class RunOverBudget(_Calm, BudgetExceededError):  # noqa: N818 - a sibling of RunCancelled
    """A budget let a call of the run no further; what was asked until then is booked."""


class RunCannotTravel(_Calm, TravelError):  # noqa: N818 - a sibling of RunCancelled
    """Something of the run cannot go to its workers, or come back from them."""


class RunWorkersLost(_Calm, WorkerLostError):  # noqa: N818 - a sibling of RunCancelled
    """The workers ended; what they had done until then is in the run."""


def cancelled(run: Run[Any], *, by_interrupt: bool) -> RunCancelled:
    """Return the exception for a run that was cancelled, or interrupted with its cell."""
    kind = RunInterrupted if by_interrupt else RunCancelled
    return kind(_summary(run, "interrupted" if by_interrupt else "cancelled"))


def timed_out(run: Run[Any], timeout_s: float) -> RunTimedOut:
    """Return the exception for a run that went over its time."""
    return RunTimedOut(_summary(run, f"over its {timeout_s:g} s, stopped"))


def over_budget(run: Run[Any], error: BudgetExceededError) -> RunOverBudget:
    """Return the exception for a run that a budget has stopped."""
    return RunOverBudget(
        f"{_summary(run, 'stopped by a budget')}\n{error}",
        limit_usd=error.limit_usd,
        spent_usd=error.spent_usd,
        held_usd=error.held_usd,
        scope=error.scope,
        budget=error.budget,
    )


def at_workers(error: TravelError | WorkerLostError) -> BaseException:
    """Return the exception for a map that its workers ended, of which a traceback says nothing."""
    if isinstance(error, TravelError):
        return RunCannotTravel(str(error), part=error.part)
    return RunWorkersLost(
        str(error), worker=error.worker, index=error.index, attempts=error.attempts
    )


def _summary(run: Run[Any], what: str) -> str:
    spent = f", at a cost of {cost}" if (cost := run_cost(run)) else ""
    return (
        f"{run.workflow_name}: {what} after {duration(run.duration_s)}{spent}. {progress_text(run)}"
    )


def point_at_step(error: BaseException, run: Run[Any]) -> None:
    """Add one line to the error that says in which step of the workflow it happened."""
    note = f"failing step: {place_of(run.failed_span)}"
    if run.failed_span is not None and note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def leave_out_our_frames(error: BaseException, run: Run[Any]) -> None:
    """Cut our own frames from the error's traceback: the cell's and the user's code remain.

    What we did not raise on purpose keeps every frame when it comes from our own code: that is a
    defect here, and the frames lead to it. An error of a worker has left its frames there, and
    brought their text as a note.
    """
    frames = _frames(error.__traceback__)
    is_meant = isinstance(error, WorkflowError) or _is_from_elsewhere(run)
    if not frames or (_is_ours(frames[-1]) and not is_meant):
        return
    trimmed: TracebackType | None = None
    for frame in reversed(frames):
        if not _is_ours(frame):
            trimmed = TracebackType(trimmed, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    error.__traceback__ = trimmed


def _is_from_elsewhere(run: Run[Any]) -> bool:
    return any(any(span.noted("elsewhere")) for span in path_of(run.failed_span))


def _frames(traceback: TracebackType | None) -> list[TracebackType]:
    frames: list[TracebackType] = []
    while traceback is not None:
        frames.append(traceback)
        traceback = traceback.tb_next
    return frames


def _is_ours(frame: TracebackType) -> bool:
    module = str(frame.tb_frame.f_globals.get("__name__", ""))
    return f"{module}.".startswith(_OURS)
