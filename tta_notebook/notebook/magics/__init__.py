"""The magics, in families."""

from tta_notebook.notebook.magics.base import Family, Parts
from tta_notebook.notebook.magics.cassettes import CassetteMagics
from tta_notebook.notebook.magics.cluster import ClusterMagics
from tta_notebook.notebook.magics.config import ConfigMagics
from tta_notebook.notebook.magics.costs import CostMagics
from tta_notebook.notebook.magics.exporting import ExportMagics
from tta_notebook.notebook.magics.keys import KeyMagics
from tta_notebook.notebook.magics.local import LocalMagics
from tta_notebook.notebook.magics.records import RecordMagics
from tta_notebook.notebook.magics.runs import RunMagics

FAMILIES: tuple[type[Family], ...] = (
    RunMagics,
    CostMagics,
    CassetteMagics,
    ExportMagics,
    RecordMagics,
    ClusterMagics,
    KeyMagics,
    LocalMagics,
    ConfigMagics,
)

__all__ = ["FAMILIES", "Family", "Parts"]
