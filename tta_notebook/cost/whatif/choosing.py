"""Which model a call would have gone to, and whether it has a price."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any, TypeAlias, cast

from tta_notebook.core.errors import ConfigurationError, Names
from tta_notebook.cost.whatif.columns import RecordedCall
from tta_notebook.cost.whatif.tariff import Tariffs
from tta_notebook.cost.whatif.trace import Trace
from tta_notebook.llm.prices import PriceBook

Policy: TypeAlias = Callable[[RecordedCall], str | None] | Mapping[str, str]
"""A function of a recorded call that gives a model, or a mapping of workflows to models."""


def renamed(models: Sequence[str], model: str | Mapping[str, str] | None) -> dict[str, str]:
    """Return the new model for each recorded one that gets one.

    Raises:
        ConfigurationError: one is named that was not recorded.
    """
    if model is None:
        return {}
    if isinstance(model, str):
        return dict.fromkeys(models, model)
    for old in model:
        if old not in models:
            raise ConfigurationError(
                f"WhatIf.reprice: model={{{old!r}: …}} names a model that no recorded call asked, "
                f"so nothing would change; it can be {Names(models).instead_of(old)}."
            )
    return dict(model)


def choices(trace: Trace, policy: Policy) -> list[str | None]:
    """Return what a policy chooses for each call; None leaves it.

    Raises:
        ConfigurationError: it is none, or chose something else than a model.
    """
    calls, routes = trace.calls, trace.routes
    if isinstance(policy, Mapping):
        by_workflow = cast("Mapping[str | None, str]", policy)
        _check_workflows(trace, by_workflow)
        return [by_workflow.get(workflow) for workflow in calls.workflow]
    if not callable(policy):
        raise ConfigurationError(
            f"WhatIf.route: policy={policy!r} chooses nothing. Give a function of a recorded call "
            "that gives a model, or a mapping of workflows to models."
        )
    chosen = [policy(calls.record(place, routes.get(place))) for place in range(len(calls))]
    for name in chosen:
        if name is not None and not isinstance(name, str):
            raise ConfigurationError(
                f"WhatIf.route: the policy gave {name!r}, which is no model. Let it give a "
                "model's name, or None to leave a call where it went."
            )
    return chosen


def check_priced(
    asked: str, wanted: Iterable[str | None], trace: Trace, book: PriceBook, at: date | None
) -> None:
    """Raise if a model has a price neither today, nor at the day asked for, nor at the last call.

    Raises:
        ConfigurationError: that is so.
    """
    times, tariffs = trace.calls.time_ns, Tariffs(book, at)
    for model in dict.fromkeys(wanted):
        if model is None or book.quote(model, at=at) is not None:
            continue
        if not len(times) or tariffs.of(model, None, None, times[-1]) is None:
            recorded = filter(None, trace.calls.model)
            known = Names(dict.fromkeys([*book.overrides, *recorded])).instead_of(model)
            raise ConfigurationError(
                f"{asked}: {model!r} has no price, so what it would have cost cannot be told; "
                f"known are {known}, and what the table of prices has. "
                f"{book.unpriced_advice(model)}"
            )


def checked_ratio(given: Any) -> tuple[float, float]:
    """Return a range of ratios if it is one, else raise."""
    with suppress(TypeError, ValueError):  # what is no pair of numbers is told below
        low, high = given
        if 0 < low <= high < math.inf:
            return low, high
    raise ConfigurationError(
        f"WhatIf: token_ratio={given!r} is no range of ratios. Give two numbers greater than 0, "
        "the smaller one first, like (0.75, 1.35)."
    )


def described(model: str | Mapping[str, str] | None, at: date | None) -> str:
    """Return what is asked, as a title.

    >>> described({"a": "b"}, date(2026, 1, 31))
    "'a' as 'b', at the prices of 2026-01-31"
    """
    what = "Recorded models"
    if isinstance(model, str):
        what = f"All calls to {model!r}"
    elif model is not None:
        what = ", ".join(f"{old!r} as {new!r}" for old, new in model.items())
    return what if at is None else f"{what}, at the prices of {at}"


def other_model(low: float, high: float) -> tuple[str, str]:
    """Return what cannot be told of another model, whose tokens differ by ratios in a range."""
    answers = (
        "Another model's answers are not recorded: whether they would have been as good, as long, "
        "or led to the same next steps is not known. Each call counts with its recorded texts."
    )
    tokens = (
        "Another model cuts texts into other tokens. The new cost takes the recorded numbers; its "
        f"interval takes {low:g} to {high:g} times as many, with nothing cached at the upper end."
    )
    return answers, tokens


def _check_workflows(trace: Trace, policy: Mapping[str | None, str]) -> None:
    known = {workflow for workflow in trace.calls.workflow if workflow is not None}
    for workflow in policy:
        if workflow not in known:
            names = Names(sorted(known)).instead_of(workflow)
            raise ConfigurationError(
                f"WhatIf.route: no recorded call belongs to the workflow {workflow!r}, so nothing "
                f"would change; it can be {names}."
            )
