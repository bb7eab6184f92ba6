"""Dashboards over the history: what runs cost, what caches saved, what was survived."""

from tta_notebook.notebook.dashboards.base import Dashboard, Recorded
from tta_notebook.notebook.dashboards.cache import CacheDashboard
from tta_notebook.notebook.dashboards.cost import CostDashboard
from tta_notebook.notebook.dashboards.filters import Filters
from tta_notebook.notebook.dashboards.page import Page
from tta_notebook.notebook.dashboards.resilience import ResilienceDashboard

__all__ = [
    "CacheDashboard",
    "CostDashboard",
    "Dashboard",
    "Filters",
    "Page",
    "Recorded",
    "ResilienceDashboard",
]
