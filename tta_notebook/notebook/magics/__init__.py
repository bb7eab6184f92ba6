"""The magics, in families."""

from tta_notebook.notebook.magics.base import Family, Parts
from tta_notebook.notebook.magics.costs import CostMagics
from tta_notebook.notebook.magics.runs import RunMagics

FAMILIES: tuple[type[Family], ...] = (RunMagics, CostMagics)

__all__ = ["FAMILIES", "Family", "Parts"]
