"""What every magic accepts: tables that the cells' transform, the magics and completion share.

Nothing here knows IPython.
"""

from tta_notebook.notebook.tables.costs import COSTS, STANDING_BUDGET
from tta_notebook.notebook.tables.runs import GRAPH, RUN, TRACE, WORKFLOW

MAGICS = {magic.name: magic for magic in (WORKFLOW, RUN, TRACE, GRAPH, COSTS, STANDING_BUDGET)}
