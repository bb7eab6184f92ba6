"""What one role of an orchestration has used and cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.money import usd
from tta_notebook.core.protocols import PlannedCall
from tta_notebook.core.usage import Usage
from tta_notebook.cost.entry import REPORTED
from tta_notebook.cost.ledger import Ledger
from tta_notebook.cost.tally import Tally, model_of
from tta_notebook.llm.pricing import standard_prices

Act = Callable[[Any, WorkflowContext], Awaitable[Any]]


class Bill:
    """Adds up what a role spends on models, over all that it does in one execution.

    Calls that failed are on it; answers from a cache are not.
    """

    def __init__(self) -> None:
        # One for each act: what a result reports counts unless calls were seen in the same act.
        self._tallies: list[Tally] = []

    async def charge(self, act: Act, value: Any, context: WorkflowContext, model: str) -> Any:
        """Do something at the role's expense, and return what comes of it.

        Args:
            act: what is done: a step's `execute`.
            value: its input.
            context: in which it is done.
            model: prices a usage that a result reports without a model.
        """
        tally = Tally()
        self._tallies.append(tally)
        inside = context.guarded_by(tally)
        with inside.active():
            result = await act(value, inside)
        usage = tally.reported(result)
        if usage is not None:
            await _book(result, usage, model_of(result) or model, inside)
        return result

    @property
    def was_charged(self) -> bool:
        """Whether the role has done anything."""
        return bool(self._tallies)

    @property
    def usage(self) -> Usage | None:
        """The tokens of all calls; None when none said so."""
        return sum_of(tally.usage for tally in self._tallies)

    @property
    def cost_pico(self) -> int | None:
        """What they cost; None when one of them has no price."""
        if any(tally.unpriced for tally in self._tallies):
            return None
        return sum(tally.cost_pico for tally in self._tallies)


def sum_of(usages: Iterable[Usage | None]) -> Usage | None:
    """Return all usages together; None when there is none."""
    found = [usage for usage in usages if usage is not None]
    return sum(found[1:], found[0]) if found else None


def cost_of_all(bills: Iterable[Bill]) -> float | None:
    """Return what is on all bills, in USD; None when something on them has no price."""
    costs = [bill.cost_pico for bill in bills]
    known = [cost for cost in costs if cost is not None]
    return usd(sum(known)) if len(known) == len(costs) else None


async def _book(result: object, usage: Usage, model: str, context: WorkflowContext) -> None:
    """Tell those that add up and book of a call that no guard has seen, and the trace its price.

    Budgets are not asked: it is too late to refuse, and a refusal would leave it out of their sums.
    """
    quote = (context.prices or standard_prices()).quote(model)
    call = PlannedCall(
        model, usage.input_tokens, usage.output_tokens, context, source=REPORTED, quote=quote
    )
    for guard in context.guards:
        if isinstance(guard, (Tally, Ledger)):
            (await guard.reserve(call)).settle(usage)
    # A step that books its own calls, or states their cost, has told the trace already.
    if quote is not None and context.run is not None and context.run.unpriced_calls:
        context.priced(result, quote.cost(usage))
