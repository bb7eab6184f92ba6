"""A sum of money that calls to models cannot overspend, however many run at once."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, SupportsIndex
from weakref import WeakKeyDictionary

from tta_notebook.core import checked, travel
from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import (
    ArgumentError,
    BudgetExceededError,
    ConfigurationError,
    UnboundedCostError,
)
from tta_notebook.core.money import PICO, shown, to_pico, usd
from tta_notebook.core.protocols import PlannedCall, Quote
from tta_notebook.core.shared import Shared
from tta_notebook.cost.accounts import Balance, MemoryAccount, Taken, Verdict
from tta_notebook.cost.budget_hold import BudgetHold
from tta_notebook.cost.budget_status import BudgetEvent, BudgetStatus, EventKind
from tta_notebook.cost.desk import Desk
from tta_notebook.cost.ledger import Ledger
from tta_notebook.cost.scopes import Scope, checked_scope, scope_label, scope_value
from tta_notebook.cost.sqlite_accounts import AccountFile
from tta_notebook.cost.windows import Per, Window, period, window_now, zone_of
from tta_notebook.llm.token_corrections import TokenCorrections
from tta_notebook.llm.tokens import TokenBound

_log = logging.getLogger("tta_notebook")
_OWNER = "Budget"

# SQLite's integers end at 9.2 million dollars; a limit keeps well away from that.
_MOST_IN_A_FILE = 1_000_000 * PICO


class Budget:
    """A limit on what calls to models may cost, as a guard.

    Before a call its worst case is set aside: its input and the most its answer may have, at the
    model's price. After it what it really cost is spent, and the rest given back. So under any
    concurrency no more is settled than the limit; only a provider that bills beyond its own stated
    maximum can pass it, which is told as an "overrun". A call for whose worst case too little is
    left waits for calls under way; when none is, its answer is capped to what is left.

    `WorkflowContext().using(guards=(budget,))` and `workflow.run(x, budget=budget)` put it over a
    run, `configure(guards=[budget])` over all runs.

    Args:
        limit_usd: what may be spent.
        per: "request" (each call to a model), "run" (everything with one WorkflowContext), "day",
            "month" or "total".
        scope: None for one budget over everything; "user", "workflow", "session", "model",
            "provider", the name of a tag or of metadata, or a function of the `PlannedCall`, for
            one each.
        timezone: whose midnight ends a day or month; an IANA name.
        ledger: what was booked there before counts as spent.
        path: a SQLite file; processes that name the same budget there share it, and it outlives
            them.
        name: in errors and traces, and in the file.
        warn_at: shares of the limit at which a "warning" is told.
        on_event: told of warnings, caps, refusals and overruns, in the thread of the call.
        max_wait_seconds: how long a call may wait for money that calls under way may give back; 0
            refuses at once.
        min_output_tokens: an answer is never capped to less.
        counts_replays: spend on answers from a recording, too.
        corrections: learns from the calls of a model how far the estimates of its input lie above
            its real counts, and sets less aside where they do. A text of a new kind may then need
            more than was set aside; without, none does.

    Raises:
        ConfigurationError: an argument means nothing.

    >>> from tta_notebook import LLMPrimitive, Price, PriceBook, ScriptedModel, WorkflowContext
    >>> prices = PriceBook(overrides={"m": Price(input_per_1m=1, output_per_1m=1_000_000)})
    >>> budget = Budget(5, name="tests")
    >>> context = WorkflowContext().using(guards=(budget,), prices=prices)
    >>> model = LLMPrimitive(ScriptedModel("one two", name="m"), max_output_tokens=4)
    >>> model.run_sync("count", context), round(budget.status().spent_usd)
    ('one two', 2)
    """

    def __init__(
        self,
        limit_usd: Any,
        per: Per = "total",
        scope: Scope = None,
        timezone: str = "UTC",
        ledger: Ledger | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        name: str | None = None,
        warn_at: Sequence[float] = (0.8,),
        on_event: Callable[[BudgetEvent], object] | None = None,
        max_wait_seconds: float = 60.0,
        min_output_tokens: int = 1,
        counts_replays: bool = False,
        corrections: TokenCorrections | None = None,
    ) -> None:
        self.limit_pico = to_pico(limit_usd)
        if self.limit_pico < 0:
            raise ConfigurationError(
                f"{_OWNER}: limit_usd={limit_usd!r} is below zero, so nothing could be spent and "
                "nothing is meant by it. Give an amount from 0."
            )
        self.per: Per = period(_OWNER, per)
        self.scope = checked_scope(_OWNER, scope)
        self.name = name or _described(self.per, self.scope)
        self.max_wait_seconds = checked.seconds(_OWNER, "max_wait_seconds", max_wait_seconds)
        self.min_output_tokens = checked.count(_OWNER, "min_output_tokens", min_output_tokens)
        self.counts_replays = counts_replays
        self._corrections = corrections
        self._zone = zone_of(_OWNER, timezone)
        self._warn_at = sorted(checked.share(_OWNER, "warn_at", level) for level in warn_at)
        self._on_event = on_event
        self._ledger = ledger
        self._file = None if path is None else self._opened(path, name)
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._desks: dict[tuple[str, str], Desk] = {}
        self._runs: WeakKeyDictionary[Shared, dict[str, Desk]] = WeakKeyDictionary()
        self._lock = threading.Lock()

    # A copy in another process spends from the same file; what is set aside here stays here

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        if self._file is None:
            return travel.by_reference(self)
        return super().__reduce_ex__(protocol)

    def __getstate__(self) -> dict[str, Any]:
        stays = ("_desks", "_runs", "_lock")
        return {name: value for name, value in self.__dict__.items() if name not in stays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start_afresh()

    def __repr__(self) -> str:
        return f"<Budget {self.name!r} {shown(self.limit_pico)} per {self.per}>"

    @property
    def limit_usd(self) -> float:
        """What may be spent, in USD."""
        return usd(self.limit_pico)

    # What a guard is asked

    async def reserve(self, call: PlannedCall) -> BudgetHold:
        """Set aside the worst case of a call.

        Raises:
            BudgetExceededError: too little is left, and waiting cannot help or took too long.
            UnboundedCostError: the call's worst case cannot be told.
            StorageError: the file cannot be used, so nobody knows what is left.
        """
        quote, bound = _bounded(call, self)
        into = self._corrected(call.model, bound)
        least = quote.worst_case(into, min(self.min_output_tokens, call.max_output_tokens))
        most = quote.worst_case(into, call.max_output_tokens)
        hold = await self._set_aside(replace(call, input_tokens=into), least, most, quote)
        if self._corrections is not None:
            hold.teaches = partial(self._corrections.record, call.model, bound=bound)
        return hold

    async def reserve_amount(
        self, amount_usd: Any, context: WorkflowContext, step: str
    ) -> BudgetHold:
        """Set aside an amount for a step whose calls no guard can see.

        Args:
            amount_usd: the most that it can cost.
            context: of the step.
            step: its name.

        Raises:
            BudgetExceededError: too little is left.
        """
        amount = to_pico(amount_usd)
        call = PlannedCall(step, None, 1, context)
        return await self._set_aside(call, amount, amount, None)

    async def _set_aside(
        self, call: PlannedCall, least: int, most: int, quote: Quote | None
    ) -> BudgetHold:
        window = window_now(self.per, self._zone)
        value = scope_value(self.scope, call)
        desk = self._desk(call, window, value)
        if most == 0:  # what costs nothing is never refused
            return BudgetHold(self, desk, call, quote, Taken(None, 0, Balance()), None)
        taken = await desk.take(self.limit_pico, least, most, self._wait_s(call))
        if isinstance(taken.amount, Verdict):
            self._tell("refused", desk, taken.balance, call.model)
            raise self._exceeded(call, desk, least, taken)
        cap = None
        if taken.amount < most and quote is not None and call.input_tokens is not None:
            cap = quote.affordable_output_tokens(taken.amount, call.input_tokens)
            self._tell("capped", desk, taken.balance, call.model)
        return BudgetHold(self, desk, call, quote, taken, cap)

    def _wait_s(self, call: PlannedCall) -> float:
        remaining_s = call.context.remaining()
        if remaining_s is None:
            return self.max_wait_seconds
        return max(0.0, min(self.max_wait_seconds, remaining_s))

    def _corrected(self, model: str, bound: int) -> int:
        if self._corrections is None:
            return bound
        estimate = TokenBound(bound, is_exact=False, how="estimate")
        return self._corrections.corrected(model, estimate).tokens

    # How it stands

    def status(self, scope: str | None = None) -> BudgetStatus:
        """Return how the budget stands now.

        Args:
            scope: whose, where there is one each: the user's id, the model's name.

        Raises:
            ArgumentError: it is one per request or run, which is over when its call or run is; or
                there is one each and `scope` does not say whose.
        """
        if self.per in ("request", "run"):
            raise ArgumentError(
                f"Budget {self.name!r}: there is one per {self.per}, and none of its own to look "
                "at. The note 'budget' in a run's trace says how it stood after each call."
            )
        if (self.scope is None) != (scope is None):
            said = "whose" if scope is None else f"{scope!r}, but there is one for everybody"
            raise ArgumentError(f"Budget {self.name!r}: status({scope!r}) does not say {said}.")
        window = window_now(self.per, self._zone)
        with self._lock:
            desk = self._desks.get((window.name, scope or ""))
        desk = desk or self._opened_desk(window, scope or "")
        return self._status(desk.account.balance(), window.name)

    def close(self) -> None:
        """Close the file, if there is one; the next use opens it again."""
        if self._file is not None:
            self._file.close()

    # Inside

    def _opened(self, path: str | os.PathLike[str], name: str | None) -> AccountFile:
        if name is None or self.per in ("request", "run") or self._ledger is not None:
            raise ConfigurationError(
                f"{_OWNER}: path={path!r} needs a name=…, which is what processes share there; and "
                "a per='day', 'month' or 'total' without a ledger, since the file itself remembers."
            )
        if self.limit_pico > _MOST_IN_A_FILE:
            raise ConfigurationError(
                f"{_OWNER}: limit_usd={self.limit_usd:,.0f} is more than a file can count exactly. "
                f"Give at most {usd(_MOST_IN_A_FILE):,.0f}."
            )
        return AccountFile(path)

    def _desk(self, call: PlannedCall, window: Window, value: str) -> Desk:
        if self.per == "request":
            return self._opened_desk(window, value)
        with self._lock:
            if self.per == "run":
                desks = self._runs.setdefault(call.context.shared.origin, {})
                return desks.setdefault(value, self._opened_desk(window, value))
            key = (window.name, value)
            desk = self._desks.get(key)
            if desk is None:
                self._forget_old_windows(window.name)
                desk = self._desks[key] = self._opened_desk(window, value)
            return desk

    def _forget_old_windows(self, newest: str) -> None:
        # The last one stays: a clock may be set back over midnight.
        names = sorted({name for name, _ in self._desks} | {newest})[-2:]
        self._desks = {key: desk for key, desk in self._desks.items() if key[0] in names}

    def _opened_desk(self, window: Window, value: str) -> Desk:
        label = scope_label(self.scope, value)
        if self._file is not None:
            name = f"{self.name}\n{window.name}\n{label}"
            return Desk(self._file.account(name), window, label, is_shared=True)
        return Desk(MemoryAccount(self._spent_before(window, value)), window, label)

    def _spent_before(self, window: Window, value: str) -> int:
        if self._ledger is None or self.per in ("request", "run"):
            return 0
        if self.scope is None:
            return self._ledger.totals(window.start).cost_pico
        lines = self._ledger.lines(str(self.scope), window.start)
        return lines[value].cost_pico if value in lines else 0

    def _exceeded(
        self, call: PlannedCall, desk: Desk, least: int, taken: Taken
    ) -> BudgetExceededError:
        balance = taken.balance
        whose = f" of {desk.label}" if desk.label else ""
        window = f" in {desk.window.name}" if desk.window.name else ""
        held = f", {shown(balance.held)} set aside for calls under way" if balance.held else ""
        advice = (
            "They did not end in time: wait longer with max_wait_seconds=…, or raise the limit."
            if taken.amount is Verdict.WAIT
            else "Raise the limit, or ask a cheaper model or for less."
        )
        return BudgetExceededError(
            f"Budget {self.name!r}{whose}: a call to {call.model!r} may cost {shown(least)} at "
            f"least, and {shown(balance.gone)} of {shown(self.limit_pico)}{window} is spent{held}. "
            f"Nothing was asked. {advice}",
            limit_usd=self.limit_usd,
            spent_usd=usd(balance.gone),
            held_usd=usd(balance.held),
            scope=desk.label,
            budget=self.name,
        )

    def _status(self, balance: Balance, window: str) -> BudgetStatus:
        return BudgetStatus(
            self.limit_usd, usd(balance.spent), usd(balance.held), usd(balance.lost), window
        )

    def settled(self, desk: Desk, call: PlannedCall, balance: Balance, *, beyond: bool) -> None:
        """Note how the budget stands after a call, and tell what is to be told; for its holds."""
        call.context.note(
            "budget",
            budget=self.name,
            scope=desk.label or None,
            limit_usd=self.limit_usd,
            spent_usd=usd(balance.gone),
            held_usd=usd(balance.held),
            per=self.per,
            **desk.window.said(),
        )
        if beyond:
            self._tell("overrun", desk, balance, call.model)
        used = balance.gone / self.limit_pico if self.limit_pico else 0.0
        for level in self._warn_at[desk.warned :]:
            if used < level:
                break
            desk.warned += 1
            self._tell("warning", desk, balance, call.model, level)

    def _tell(
        self,
        kind: EventKind,
        desk: Desk,
        balance: Balance,
        model: str,
        level: float | None = None,
    ) -> None:
        if self._on_event is None:
            return
        status = self._status(balance, desk.window.name)
        try:
            self._on_event(BudgetEvent(kind, self.name, desk.label, status, level, model))
        except Exception:  # noqa: BLE001 - a user's hook may raise anything, and the call is paid for
            _log.exception("The on_event of budget %r raised; the call goes on.", self.name)


def _bounded(call: PlannedCall, budget: Budget) -> tuple[Quote, int]:
    """Return a call's price and the bound of its input.

    Raises:
        UnboundedCostError: it lacks one.
    """
    if call.quote is None:
        raise UnboundedCostError(
            f"Budget {budget.name!r}: {call.model!r} has no price, so what a call may cost cannot "
            "be told. Nothing was asked. Give its price: "
            f"configure(prices=PriceBook(overrides={{{call.model!r}: Price(input_per_1m=…, "
            "output_per_1m=…)})), or install the table of published prices: "
            "pip install 'tta-notebook[prices]'.",
            model=call.model,
        )
    if call.input_tokens is None:
        raise UnboundedCostError(
            f"Budget {budget.name!r}: nothing bounds the input of the call to {call.model!r}, so "
            "what it may cost cannot be told. Nothing was asked. Give the tokens of its input.",
            model=call.model,
        )
    return call.quote, call.input_tokens


def _described(per: Per, scope: Scope) -> str:
    whose = "" if scope is None else f" by {scope if isinstance(scope, str) else 'scope'}"
    return f"{'all time' if per == 'total' else f'each {per}'}{whose}"
