"""A step whose calls to models are booked."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, ClassVar, cast

from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.money import usd
from tta_notebook.core.primitive import Chunks, TIn, TOut
from tta_notebook.core.usage import Usage
from tta_notebook.core.wrapper import WrapperPrimitive
from tta_notebook.cost.ledger import Ledger
from tta_notebook.cost.tally import Tally, model_of
from tta_notebook.llm.pricing import standard_prices


class CostTrackingPrimitive(WrapperPrimitive[TIn, TOut]):
    """Books what a step spends on models, by model, user, workflow and step.

    Every call to a model inside is booked when it settles, also when the step fails later. A step
    that asks a model by other means and reports that in its result (`.usage` or `["usage"]`, and
    `.model` or `["model"]`) is booked by what it reports.

    A mapping as a result gets a block `"cost"`: model, prompt_tokens, completion_tokens,
    total_tokens, prompt_cost, completion_cost, total_cost and currency; the costs are None where
    the model has no price. Other results pass unchanged.

    Args:
        primitive: the step; whatever `>>` takes.
        model_name: the model that results are priced by which report a usage and no model.
        ledger: where it is booked; by default one of its own.
        name: by default the step's name after "cost".

    >>> from tta_notebook import PriceBook, Price
    >>> ledger = Ledger(PriceBook(overrides={"m": Price(input_per_1m=30, output_per_1m=60)}))
    >>> step = lambda text: {"text": text, "usage": {"prompt_tokens": 100, "completion_tokens": 50}}
    >>> tracked = CostTrackingPrimitive(step, "m", ledger)
    >>> tracked.run_sync("hello")["cost"]["total_cost"], ledger.total_usd
    (0.006, 0.006)
    """

    kind: ClassVar[str] = "cost"

    def __init__(
        self,
        primitive: Any,
        model_name: str | None = None,
        ledger: Ledger | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(primitive, prefix="cost", name=name)
        if not (model_name is None or (isinstance(model_name, str) and model_name)):
            raise ConfigurationError(
                f"CostTrackingPrimitive: model_name={model_name!r} names no model. Give its name, "
                "or leave it out where results name their own."
            )
        if not (ledger is None or isinstance(ledger, Ledger)):
            raise ConfigurationError(
                f"CostTrackingPrimitive: ledger={ledger!r} cannot be booked in. Give a Ledger."
            )
        self.model_name = model_name
        self.ledger = Ledger() if ledger is None else ledger

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Execute the step and book what it spent."""
        tally = Tally()
        inside = context.guarded_by(tally, self.ledger, prices=self.ledger.prices)
        with inside.active():
            result = await self.primitive.execute(input_data, inside)
        return cast("TOut", self._booked(result, tally, context))

    async def _stream(self, input_data: Any, context: WorkflowContext) -> Chunks:
        tally = Tally()
        inside = context.guarded_by(tally, self.ledger, prices=self.ledger.prices)
        async with aclosing(self.primitive.stream(input_data, inside)) as pieces:
            async for chunk in pieces:
                if "output" in chunk.metadata:
                    output = self._booked(chunk.metadata["output"], tally, context)
                    yield replace(chunk, metadata={**chunk.metadata, "output": output})
                else:
                    yield chunk

    def _booked(self, result: Any, tally: Tally, context: WorkflowContext) -> Any:
        """Book what the result reports, unless its calls were; add the block to a mapping."""
        if tally.usage is not None:
            cost_pico = None if tally.unpriced else tally.cost_pico
            return self._with_block(result, ", ".join(tally.models), tally.usage, cost_pico)
        usage = tally.reported(result)
        if usage is None:
            return result
        model = model_of(result) or self.model_name
        if model is None:
            raise ConfigurationError(
                f"CostTrackingPrimitive {self.name!r}: the result reports a usage ({usage!r}) "
                "but no model, so it cannot be priced. Give model_name=…, or put the model's "
                "name into the result as 'model'."
            )
        cost_pico = self.ledger.record(model, usage, context=context).cost_pico
        if cost_pico is not None:
            context.priced(result, cost_pico)
        return self._with_block(result, model, usage, cost_pico)

    def _with_block(self, result: Any, model: str, usage: Usage, cost_pico: int | None) -> Any:
        if isinstance(result, str) or not isinstance(result, Mapping):
            return result
        given = cast("Mapping[str, Any]", result)
        return {**given, "cost": self._block(model, usage, cost_pico)}

    def _block(self, model: str, usage: Usage, cost_pico: int | None) -> dict[str, Any]:
        prompt = self._part(model, replace(usage, output_tokens=0, reasoning_tokens=0))
        total = None if cost_pico is None else usd(cost_pico)
        return {
            "model": model,
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
            "prompt_cost": None if prompt is None else usd(prompt),
            "completion_cost": (
                None if prompt is None or cost_pico is None else usd(cost_pico - prompt)
            ),
            "total_cost": total,
            "currency": "USD",
        }

    def _part(self, model: str, usage: Usage) -> int | None:
        quote = (self.ledger.prices or standard_prices()).quote(model)
        return None if quote is None else quote.cost(usage)
