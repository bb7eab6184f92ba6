"""What every magic accepts: tables that the cells' transform, the magics and completion share.

Nothing here knows IPython.
"""

from tta_notebook.notebook.tables.cassettes import CASSETTE
from tta_notebook.notebook.tables.cluster import CLUSTER
from tta_notebook.notebook.tables.config import CONFIG
from tta_notebook.notebook.tables.costs import COSTS, STANDING_BUDGET
from tta_notebook.notebook.tables.exporting import EXPORT
from tta_notebook.notebook.tables.keys import KEY
from tta_notebook.notebook.tables.local import LOCAL
from tta_notebook.notebook.tables.primitives import PRIMITIVE
from tta_notebook.notebook.tables.records import CACHE, COMPARE, HISTORY, MODELS, WHATIF
from tta_notebook.notebook.tables.runs import GRAPH, RUN, TRACE, WORKFLOW

MAGICS = {
    magic.name: magic
    for magic in (
        *(WORKFLOW, PRIMITIVE, RUN, TRACE, GRAPH),
        *(COSTS, STANDING_BUDGET),
        *(CASSETTE, EXPORT),
        *(HISTORY, MODELS, CACHE, COMPARE, WHATIF),
        *(CLUSTER, KEY, LOCAL, CONFIG),
    )
}
