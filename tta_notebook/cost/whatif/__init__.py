"""What-if questions to recorded runs: other models, prices, caches, retries and budgets."""

from tta_notebook.cost.whatif.answer import Answer
from tta_notebook.cost.whatif.budgeting import Account, BudgetReplay, BudgetWalk
from tta_notebook.cost.whatif.caching import CacheCurve, CachePoint
from tta_notebook.cost.whatif.columns import RecordedCall
from tta_notebook.cost.whatif.repricing import CallCost, ModelSum, Repriced
from tta_notebook.cost.whatif.retrying import ExecutionChange, RetryReplay
from tta_notebook.cost.whatif.whatif import WhatIf

__all__ = [
    "Account",
    "Answer",
    "BudgetReplay",
    "BudgetWalk",
    "CacheCurve",
    "CachePoint",
    "CallCost",
    "ExecutionChange",
    "ModelSum",
    "RecordedCall",
    "Repriced",
    "RetryReplay",
    "WhatIf",
]
