"""Reports: what ledgers and histories know, as charts."""

from tta_notebook.report.chart import Chart, Series
from tta_notebook.report.figures import cost_chart
from tta_notebook.report.picture import Picture
from tta_notebook.report.timeline import Lane, Segment, Timeline
from tta_notebook.report.whatif_figures import whatif_chart

__all__ = [
    "Chart",
    "Lane",
    "Picture",
    "Segment",
    "Series",
    "Timeline",
    "cost_chart",
    "whatif_chart",
]
