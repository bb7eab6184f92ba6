"""In which order models are recommended for a task."""

from __future__ import annotations

from dataclasses import dataclass

from tta_notebook.core.protocols import Prices
from tta_notebook.orchestration.classifying import TaskKind
from tta_notebook.orchestration.models import COMPLEXITIES, ModelProfile, ModelTable


@dataclass(frozen=True, slots=True)
class Size:
    """How large a task is, in tokens.

    Attributes:
        input_tokens: what it brings along.
        output_tokens: what its answer is expected to have.
    """

    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model, and how it stands to one task.

    Attributes:
        model: the model.
        cost_pico: what it would cost, 0 for a free one; None when it has no price.
        overflow: how many tokens of the task do not fit into its context.
        shortfall: by how many classes the task is too hard for it.
        matches: how many of the things that the task takes are strengths of it.
        place: in the table.
    """

    model: ModelProfile
    cost_pico: int | None
    overflow: int
    shortfall: int
    matches: int
    place: int

    def order(self, *, prefer_free: bool) -> tuple[int, ...]:
        """Return what candidates are sorted by, the best first; no two are equal.

        One that cannot read the task is of no use, and one that is too weak of little. Of those
        that are left, free ones go first or last, and then the cheapest; a cost that is not known
        may be any. Among equals it is what they are good at, and their place in the table.
        """
        return (
            self.overflow,
            self.shortfall,
            self._sort(prefer_free=prefer_free),
            self.cost_pico or 0,
            -self.matches,
            self.place,
        )

    def _sort(self, *, prefer_free: bool) -> int:
        if self.cost_pico is None:
            return 2
        return int((self.cost_pico == 0) is not prefer_free)


def ranked(
    table: ModelTable, kind: TaskKind, size: Size, prices: Prices, *, prefer_free: bool
) -> list[Candidate]:
    """Return the models of a table, the best for a task first."""
    found = [
        _candidate(model, kind, size, prices, place=place) for place, model in enumerate(table)
    ]
    return sorted(found, key=lambda candidate: candidate.order(prefer_free=prefer_free))


def _candidate(
    model: ModelProfile, kind: TaskKind, size: Size, prices: Prices, *, place: int
) -> Candidate:
    return Candidate(
        model,
        _cost_pico(model, size, prices),
        overflow=max(0, size.input_tokens + size.output_tokens - model.context_tokens),
        shortfall=max(0, COMPLEXITIES.index(kind.complexity) - model.rank),
        matches=len(model.strengths.intersection(kind.characteristics)),
        place=place,
    )


def _cost_pico(model: ModelProfile, size: Size, prices: Prices) -> int | None:
    if model.is_free:
        return 0
    quote = prices.quote(model.name)
    return None if quote is None else quote.worst_case(size.input_tokens, size.output_tokens)
