"""Which guards a call to a model meets, and in what order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tta_notebook.core.errors import ConfigurationError

if TYPE_CHECKING:
    from tta_notebook.core.context import WorkflowContext
    from tta_notebook.core.protocols import Guard


def each_once(guards: tuple[Guard, ...]) -> tuple[Guard, ...]:
    """Leave out what is there before: a ledger may stand for the process and be a run's as well."""
    return tuple({id(guard): guard for guard in guards}.values())


def within_budget(context: WorkflowContext, budget: Guard) -> WorkflowContext:
    """Return a context whose calls to models keep to a budget, too.

    Raises:
        ConfigurationError: it is none.
    """
    if not callable(getattr(budget, "reserve", None)):
        raise ConfigurationError(
            f"budget={budget!r} is a {type(budget).__name__}, which cannot set anything aside. "
            f"Give a Budget: budget=Budget({budget!r})."
        )
    return context.guarded_by(budget)
