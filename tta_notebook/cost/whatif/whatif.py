"""Questions to recorded runs about what was not done, answered without calling anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, cast

from tta_notebook.core import checked
from tta_notebook.core.errors import ArgumentError, ConfigurationError
from tta_notebook.core.money import shown, to_pico
from tta_notebook.cost.whatif.answer import counted
from tta_notebook.cost.whatif.budgeting import SCOPES, BudgetReplay, budget_replay
from tta_notebook.cost.whatif.caching import CacheCurve, cache_curve
from tta_notebook.cost.whatif.choosing import (
    Policy,
    check_priced,
    checked_ratio,
    choices,
    described,
    other_model,
    renamed,
)
from tta_notebook.cost.whatif.lookups import REQUESTS, asked_by_calls, asked_of_cache
from tta_notebook.cost.whatif.repricing import (
    SAME_TOKENS,
    TOKEN_RATIO,
    Choose,
    Repriced,
    reprice,
)
from tta_notebook.cost.whatif.retrying import RetryReplay, retry_replay
from tta_notebook.cost.whatif.sources import Prices, Source, book_of, standing_prices, trace_of
from tta_notebook.cost.whatif.tariff import Tariffs
from tta_notebook.cost.windows import Per, period, zone_of
from tta_notebook.llm.prices import PriceBook
from tta_notebook.observability.history.times import When


class WhatIf:
    """Answers what recorded runs would have cost, saved or failed under other choices.

    Nothing is called. Of a history the calls to models are read at once, and what caches, retries
    and routers noted when the first question needs it. An answer is text, a table in a notebook and
    a data frame (`frame()`); its `caveats` say what the records cannot tell.

    Args:
        source: a `History`, a run, or several: live ones or records of a history.
        prices: what models cost: a `PriceBook`, or a mapping of models to prices; by default what
            `configure` has set, else the table of published prices. The day is that of each call,
            or the question's `at`.
        since: the first moment; with `until` as in `History.df`.
        until: the first moment that does not count any more.
        counts_replays: take answers from a recording for calls that were made.

    Raises:
        ConfigurationError: the source records nothing, or an argument means nothing.

    >>> from tta_notebook import LLMPrimitive, Price, Reply, ScriptedModel, Usage, capture
    >>> answer = Reply("yes", usage=Usage(input_tokens=1_000, output_tokens=200))
    >>> model = LLMPrimitive(ScriptedModel([answer] * 2, name="big"))
    >>> prices = {"big": Price(input_per_1m=2, output_per_1m=10),
    ...     "small": Price(input_per_1m=0.2, output_per_1m=1)}
    >>> import asyncio
    >>> async def ask():
    ...     with capture():
    ...         return [await model.run("really?") for _ in range(2)]
    >>> what_if = WhatIf(asyncio.run(ask()), prices=prices)
    >>> what_if.reprice("small").new_usd, what_if.cache().points[0].hits
    (0.0008, 1)
    """

    def __init__(
        self,
        source: Source,
        *,
        prices: Prices | None = None,
        since: When | None = None,
        until: When | None = None,
        counts_replays: bool = False,
    ) -> None:
        self._prices = standing_prices() if prices is None else book_of("WhatIf", prices)
        self._trace = trace_of(source, since, until, counts_replays=counts_replays)

    def __repr__(self) -> str:
        models = ", ".join(map(repr, self.models[:6])) or "no model"
        return f"<WhatIf {counted(len(self._trace.calls), 'call')} to {models}>"

    @property
    def models(self) -> tuple[str, ...]:
        """The models that were asked."""
        return tuple(sorted({model for model in self._trace.calls.model if model is not None}))

    @property
    def caches(self) -> tuple[str, ...]:
        """The caches that have recorded lookups."""
        return tuple(sorted({name for name in self._trace.lookups.cache if name is not None}))

    # Money

    def reprice(
        self,
        model: str | Mapping[str, str] | None = None,
        *,
        at: date | None = None,
        prices: Prices | None = None,
        token_ratio: tuple[float, float] = TOKEN_RATIO,
    ) -> Repriced:
        """Return what the calls would have cost with another model, day or price book.

        The same model on another day, or by another book, is exact. Another model is an estimate
        with an interval, since it cuts texts into other tokens.

        Args:
            model: one for all calls, or a mapping of recorded models to others.
            at: the day whose prices count; by default each call's own.
            prices: as those of the class, in their place.
            token_ratio: how many tokens another model takes for one of the recorded model's, at
                least and at most. The default holds for English, code and JSON; other languages
                differ by more.

        Raises:
            ArgumentError: nothing was given that could change a cost.
            ConfigurationError: a model has no price, or was not asked.
        """
        if model is None and at is None and prices is None:
            raise ArgumentError(
                "WhatIf.reprice: neither model, at nor prices was given, so nothing would be "
                "different. Give reprice('provider:model'), at=date(…) or prices=PriceBook(…)."
            )
        book = self._prices if prices is None else book_of("WhatIf.reprice", prices)
        chosen = renamed(self.models, model)
        names = self._trace.calls.model
        check_priced("WhatIf.reprice", chosen.values(), self._trace, book, at)
        return self._repriced(
            lambda place: chosen.get(cast("str", names[place])),
            book,
            at,
            token_ratio,
            keeps_costs=at is None and prices is None,
            question=described(model, at),
            is_other=any(old != new for old, new in chosen.items()),
        )

    def route(
        self,
        policy: Policy,
        *,
        at: date | None = None,
        token_ratio: tuple[float, float] = TOKEN_RATIO,
    ) -> Repriced:
        """Return what the calls would have cost, had a policy chosen their models.

        Args:
            policy: a function of a `RecordedCall` that gives a model, or None to leave it; or a
                mapping of workflows to models.
            at: as in `reprice`.
            token_ratio: as in `reprice`.

        Raises:
            ConfigurationError: it gave something else than a model with a price.
        """
        chosen = choices(self._trace, policy)
        check_priced("WhatIf.route", chosen, self._trace, self._prices, at)
        pairs = zip(chosen, self._trace.calls.model, strict=True)
        return self._repriced(
            chosen.__getitem__,
            self._prices,
            at,
            token_ratio,
            keeps_costs=at is None,
            question="Calls as the policy routes them",
            is_other=any(new not in (None, old) for new, old in pairs),
        )

    def _repriced(
        self,
        choose: Choose,
        book: PriceBook,
        at: date | None,
        token_ratio: tuple[float, float],
        *,
        keeps_costs: bool,
        question: str,
        is_other: bool,
    ) -> Repriced:
        low, high = checked_ratio(token_ratio)
        caveats = list(self._left_out())
        if is_other:
            caveats += other_model(low, high)
        return reprice(
            self._trace.calls,
            choose,
            Tariffs(book, at),
            token_ratio=(low, high) if is_other else SAME_TOKENS,
            keeps_costs=keeps_costs,
            question=question,
            caveats=tuple(caveats),
        )

    # Calls that would not have been made

    def cache(
        self,
        sizes: Iterable[int] | None = None,
        ttl_seconds: float | Iterable[float | None] | None = None,
        *,
        over: str = REQUESTS,
        by_user: bool | None = None,
    ) -> CacheCurve:
        """Return what LRU caches would have answered, and saved.

        Without a time to live one pass gives caches of every size: `.miss_ratios` is the curve.
        Each time to live and size is a pass of its own.

        Args:
            sizes: the most entries; by default 1, 10, 100, … up to room for everything.
            ttl_seconds: how long an answer is fresh: seconds, None for ever, or several.
            over: "requests" for a cache around all calls to models, or the name of a recorded one.
            by_user: whether users share no answers; by default so over requests, and as it was over
                a recorded cache, whose keys cannot be made to forget whose they are.

        Raises:
            ConfigurationError: there is no such cache, or a size or time means nothing.
        """
        if over == REQUESTS:
            asked = asked_by_calls(self._trace, by_user=by_user is not False)
        else:
            asked = asked_of_cache(self._trace, over, by_user=by_user is True)
            if by_user is False:
                raise ConfigurationError(
                    f"WhatIf.cache: by_user=False, but the keys of {over!r} are hashes that hold "
                    "whose they are, which cannot be undone. Leave it out, or ask over='requests'."
                )
        asked.caveats += self._left_out()
        return cache_curve(asked, over, sizes, ttl_seconds)

    def retry(self, max_retries: int, *, step: str | None = None) -> RetryReplay:
        """Return what another number of retries would have done.

        Fewer are exact: what would have failed, and not been spent. More are an interval: how a
        further attempt would have ended was never seen.

        Args:
            max_retries: attempts after the first.
            step: the name of one RetryPrimitive; all by default.

        Raises:
            ConfigurationError: it cannot be counted to, or no such step was retried.
        """
        allowed = checked.count("WhatIf.retry", "max_retries", max_retries, least=0)
        executions = self._trace.executions
        if step is not None:
            names = tuple(dict.fromkeys(str(each.step) for each in executions))
            checked.choice("WhatIf.retry", "step", step, names)
            executions = [each for each in executions if each.step == step]
        return retry_replay(self._trace, executions, allowed)

    def budget(
        self,
        limit_usd: Any,
        per: Per = "total",
        scope: str | None = None,
        timezone: str = "UTC",
    ) -> BudgetReplay:
        """Return what a budget would have refused; arguments as those of `Budget`.

        Args:
            limit_usd: what may be spent.
            per: "request", "run", "day", "month" or "total".
            scope: None for one budget over everything; "user", "workflow", "session", "model" or
                "provider" for one each.
            timezone: whose midnight ends a day or month.

        Raises:
            ConfigurationError: an argument means nothing.
        """
        owner = "WhatIf.budget"
        limit = to_pico(limit_usd)
        if limit < 0:
            raise ConfigurationError(
                f"{owner}: limit_usd={limit_usd!r} is below zero, so nothing could be spent and "
                "nothing is meant by it. Give an amount from 0."
            )
        if scope is not None:
            checked.choice(owner, "scope", scope, SCOPES)
        zone, each = zone_of(owner, timezone), period(owner, per)
        whose = "" if scope is None else f", one for each {scope}"
        question = f"A budget of {shown(limit)} per {each}{whose}"
        return budget_replay(
            self._trace, limit, each, scope, zone, prices=self._prices, question=question
        )

    def _left_out(self) -> list[str]:
        if not self._trace.replays:
            return []
        came = counted(self._trace.replays, "answer")
        return [f"{came} came from a recording, which calls nothing, and are left out."]
