"""A step that cannot spend more than it may."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, ClassVar

from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import ConfigurationError, UnboundedCostError
from tta_notebook.core.money import to_pico
from tta_notebook.core.primitive import Chunks, TIn, TOut, WorkflowPrimitive
from tta_notebook.core.protocols import Guard
from tta_notebook.core.wrapper import WrapperPrimitive
from tta_notebook.cost.budget import Budget
from tta_notebook.cost.budget_hold import BudgetHold
from tta_notebook.cost.budget_status import BudgetEvent
from tta_notebook.cost.ledger import Ledger
from tta_notebook.cost.scopes import Scope
from tta_notebook.cost.tally import Tally, model_of
from tta_notebook.llm.primitive import LLMPrimitive


class BudgetEnforcementPrimitive(WrapperPrimitive[TIn, TOut]):
    """Keeps a step within a cost per execution and per day, under any concurrency.

    Calls to models inside set their worst case aside before they are made, and are refused, or
    their answers capped, where that is not there.

    A step in which no model can be seen, and which reports its usage in its result instead, has to
    say what it can cost at most: `max_cost_per_request` is then set aside for all of it, and spent
    whole when it fails.

    Args:
        primitive: the step; whatever `>>` takes.
        max_cost_per_request: USD for one execution of the step.
        max_daily_cost: USD for one day.
        ledger: books what is spent, and prices it; by default one of its own.
        model_name: the model that results are priced by which report a usage and no model.
        scope: one day's budget for each user, workflow or label, see `Budget`.
        timezone: whose midnight ends the day; an IANA name.
        path: a SQLite file in which processes share the day's budget.
        on_event: told of warnings, caps, refusals and overruns.
        name: by default the step's name after "budget".

    Raises:
        ConfigurationError: no limit was given, or one that could not be kept.

    >>> from tta_notebook import LLMPrimitive, Price, PriceBook, ScriptedModel
    >>> ledger = Ledger(PriceBook(overrides={"m": Price(input_per_1m=1, output_per_1m=1_000_000)}))
    >>> model = LLMPrimitive(ScriptedModel("yes", name="m"), max_output_tokens=4)
    >>> kept = BudgetEnforcementPrimitive(model, 5, 10, ledger)
    >>> kept.run_sync("really?"), round(ledger.total_usd)
    ('yes', 1)
    """

    kind: ClassVar[str] = "budget"

    def __init__(
        self,
        primitive: Any,
        max_cost_per_request: Any = None,
        max_daily_cost: Any = None,
        ledger: Ledger | None = None,
        *,
        model_name: str | None = None,
        scope: Scope = None,
        timezone: str = "UTC",
        path: str | os.PathLike[str] | None = None,
        on_event: Callable[[BudgetEvent], object] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(primitive, prefix="budget", name=name)
        if max_cost_per_request is None and max_daily_cost is None:
            raise ConfigurationError(
                "BudgetEnforcementPrimitive: neither max_cost_per_request nor max_daily_cost was "
                "given, so there is nothing to keep. Give at least one."
            )
        self.ledger = Ledger() if ledger is None else ledger
        self.model_name = model_name
        self.max_cost_per_request = max_cost_per_request
        if max_cost_per_request is not None:
            to_pico(max_cost_per_request)
        self._on_event = on_event
        self.day: Budget | None = None
        if max_daily_cost is not None:
            self.day = Budget(
                max_daily_cost,
                "day",
                scope,
                timezone,
                path=path,
                name=f"{self.name}, each day",
                on_event=on_event,
            )
        self._asks_models = any(isinstance(step, LLMPrimitive) for step in _all_steps(self))
        # What a step with models reports beside their calls is known when it is paid: then it is
        # too late to refuse, but the next time it is not.
        self._unforeseen: str | None = None
        if not self._asks_models and max_cost_per_request is None:
            raise ConfigurationError(
                f"BudgetEnforcementPrimitive: no model can be seen in {self.primitive.name!r}, so "
                "what it will cost cannot be told before it is paid. Say the most that one "
                "execution can cost: max_cost_per_request=…."
            )

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Execute the step within its budgets.

        Raises:
            BudgetExceededError: too little is left.
            UnboundedCostError: what it may cost cannot be told.
        """
        async with self._within_budget(context) as (inside, tally):
            with inside.active():
                result = await self.primitive.execute(input_data, inside)
            self._book(result, tally, context)
        return result

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        async with (
            self._within_budget(context) as (inside, tally),
            aclosing(self.primitive.stream(input_data, inside)) as pieces,
        ):
            async for chunk in pieces:
                if "output" in chunk.metadata:
                    self._book(chunk.metadata["output"], tally, context)
                yield chunk

    @asynccontextmanager
    async def _within_budget(
        self, context: WorkflowContext
    ) -> AsyncGenerator[tuple[WorkflowContext, Tally]]:
        """Give the context in which the step executes, and what it will have spent there."""
        self._refuse_unforeseen()
        tally = Tally()
        guards: list[Guard] = [tally, self.ledger]
        hold: BudgetHold | None = None
        if self.max_cost_per_request is not None:
            guards.append(self._own_budget())
        if self.day is not None and self._asks_models:
            guards.append(self.day)
        elif self.day is not None:
            # Nothing inside can be seen: the whole step sets aside the most that it may cost.
            hold = await self.day.reserve_amount(
                self.max_cost_per_request, context, self.primitive.name
            )
        try:
            yield context.guarded_by(*guards, prices=self.ledger.prices), tally
        except BaseException:
            if hold is not None:  # nobody can tell what had been paid by then
                hold.spend(hold.amount_pico)
            raise
        if hold is not None:
            hold.spend(hold.amount_pico if tally.unpriced else tally.cost_pico)

    def _own_budget(self) -> Budget:
        return Budget(
            self.max_cost_per_request,
            name=f"{self.name}, each request",
            warn_at=(),
            on_event=self._on_event,
        )

    def _refuse_unforeseen(self) -> None:
        if self._unforeseen is not None:
            raise UnboundedCostError(
                f"{self.name!r}: {self._unforeseen}, for which nothing had been set aside: what it "
                "costs cannot be told before it is paid. Put the part that reports it into a "
                "BudgetEnforcementPrimitive of its own, with max_cost_per_request=….",
                model=self.primitive.name,
            )

    def _book(self, result: Any, tally: Tally, context: WorkflowContext) -> None:
        """Book what a result reports of itself, beside the calls inside."""
        usage = tally.reported(result)
        if usage is not None:
            model = model_of(result) or self.model_name or self.primitive.name
            cost = self.ledger.record(model, usage, context=context).cost_pico
            tally.reports += 1
            tally.unpriced += cost is None
            if cost is not None:
                tally.cost_pico += cost
                context.priced(result, cost)
        if tally.reports and self._asks_models:
            calls = "a call" if tally.reports == 1 else f"{tally.reports:,} calls"
            self._unforeseen = f"it reported the usage of {calls} afterwards"


def _all_steps(primitive: WorkflowPrimitive[Any, Any]) -> list[WorkflowPrimitive[Any, Any]]:
    """Return a step and all those inside it."""
    found: dict[int, WorkflowPrimitive[Any, Any]] = {}
    stack = [primitive]
    while stack:
        step = stack.pop()
        if id(step) not in found:
            found[id(step)] = step
            stack.extend(part for _, part in step.parts())
    return list(found.values())
