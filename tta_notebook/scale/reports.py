"""What workers report of items, and where it goes: into the results, and into the trace."""

from __future__ import annotations

from typing import Any

from tta_notebook.core import clock
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import TravelError
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.scale.gathering import Gathering
from tta_notebook.scale.hands import Dealt
from tta_notebook.scale.messages import Outcome, Report
from tta_notebook.scale.outcomes import read_outcome, read_output
from tta_notebook.scale.places import Places
from tta_notebook.scale.skew import Between, Skew
from tta_notebook.scale.spans import relay


class Reports:
    """Takes in the reports of a map.

    Args:
        primitive: the workflow.
        context: of the step that maps.
        gathering: where results go.
    """

    def __init__(
        self,
        primitive: WorkflowPrimitive[Any, Any],
        context: WorkflowContext,
        gathering: Gathering,
    ) -> None:
        self._places = Places(primitive)
        self._context = context
        self._gathering = gathering
        self._skews: dict[str, Skew] = {}

    def take(self, report: Report, dealt: Dealt) -> None:
        """Take in a report of an item of a chunk that is out; a second one changes nothing."""
        if dealt.items.pop(report.index, None) is None:
            return
        outcome = read_outcome(report.index, report.outcome)
        self._relay(outcome, dealt)
        if outcome.error is not None:
            self._gathering.put_error(report.index, outcome.error)
        else:
            self._put_output(report.index, outcome)

    def _put_output(self, index: int, outcome: Outcome) -> None:
        assert outcome.output is not None, "an outcome without an error has an output"
        try:
            output, reported = read_output(index, outcome.output)
        except TravelError as error:
            self._gathering.put_error(index, error)
            return
        if self._context.run is not None:
            self._context.run.known(reported)
        self._gathering.put(index, output)

    def _relay(self, outcome: Outcome, dealt: Dealt) -> None:
        if not outcome.spans:
            return
        now_ns = clock.source()
        skew = self._skews.setdefault(dealt.worker, Skew())
        skew.look(
            began_ns=outcome.spans[0].start_ns,
            sent_ns=outcome.sent_ns,
            given_ns=clock.wall_ns(dealt.given_ns),
            now_ns=clock.wall_ns(now_ns),
        )
        times = Between(skew, dealt.given_ns, now_ns)
        relay(outcome, self._context, self._places, times, {"worker": dealt.worker})
