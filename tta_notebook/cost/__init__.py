"""Cost: the books, and budgets that concurrency cannot overspend."""

from tta_notebook.cost.budget import Budget
from tta_notebook.cost.budget_status import BudgetEvent, BudgetStatus
from tta_notebook.cost.enforcement import BudgetEnforcementPrimitive
from tta_notebook.cost.entry import LedgerEntry
from tta_notebook.cost.ledger import Ledger
from tta_notebook.cost.report import LedgerReport
from tta_notebook.cost.totals import Totals
from tta_notebook.cost.tracking import CostTrackingPrimitive
from tta_notebook.cost.whatif import (
    BudgetReplay,
    CacheCurve,
    CachePoint,
    RecordedCall,
    Repriced,
    RetryReplay,
    WhatIf,
)

__all__ = [
    "Budget",
    "BudgetEnforcementPrimitive",
    "BudgetEvent",
    "BudgetReplay",
    "BudgetStatus",
    "CacheCurve",
    "CachePoint",
    "CostTrackingPrimitive",
    "Ledger",
    "LedgerEntry",
    "LedgerReport",
    "RecordedCall",
    "Repriced",
    "RetryReplay",
    "Totals",
    "WhatIf",
]
