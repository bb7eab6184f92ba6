"""Charts as PNG pictures: drawn by plotly in an installed browser, which kaleido starts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

from tta_notebook.core.errors import ConfigurationError, WorkflowError
from tta_notebook.report.picture import Picture

_WIDTH = 900
# For screens of today, and for paper.
_SCALE = 2
# How long a browser may take to start, and then for each picture; far more than it does.
_START_S, _EACH_S = 60, 20
_HOW_TO_GET_A_BROWSER = (
    "Install Chrome or Chromium (Debian: apt-get install chromium), or say with BROWSER_PATH where "
    "one is."
)


def write_png(charts: Sequence[Picture], path: Path) -> list[Path]:
    """Write charts as pictures and return the files.

    Nothing is fetched: plotly's script comes from the installed package.

    Args:
        charts: what to draw; without any nothing is written.
        path: a file that ends in `.png` for one picture of all, else a folder, which is made, for
            one of each.

    Raises:
        ConfigurationError: kaleido or a browser is not installed.
        WorkflowError: the browser could not draw them.
    """
    if not charts:
        return []
    if path.suffix.lower() == ".png":
        drawn = {path: _whole(charts)}
        path.parent.mkdir(parents=True, exist_ok=True)
    else:
        drawn = {path / name: chart.figure() for name, chart in _named(charts).items()}
        path.mkdir(parents=True, exist_ok=True)
    _draw(drawn)
    return list(drawn)


def _named(charts: Sequence[Picture]) -> dict[str, Picture]:
    found: dict[str, Picture] = {}
    for chart in charts:
        stem = re.sub(r"\W+", "_", chart.title.lower()).strip("_") or "chart"
        stems = (stem if number == 1 else f"{stem}_{number}" for number in count(1))
        found[next(each for each in stems if f"{each}.png" not in found) + ".png"] = chart
    return found


def _whole(charts: Sequence[Picture]) -> Any:
    """Return one figure with the charts below each other, each with a legend of its own."""
    figures = [chart.figure() for chart in charts]
    subplots: Any = import_module("plotly.subplots")
    rows = len(figures)
    whole = subplots.make_subplots(
        rows=rows,
        cols=1,
        subplot_titles=[_heading(figure.layout.title) for figure in figures],
        vertical_spacing=0.3 / rows,
    )
    for row, figure in enumerate(figures, 1):
        colours, legend = figure.layout.colorway, "legend" if row == 1 else f"legend{row}"
        for number, trace in enumerate(figure.data):
            # Plotly would go on counting colours from one chart to the next.
            trace.update(legend=legend, marker={"color": colours[number % len(colours)]})
            trace.showlegend = len(figure.data) > 1
            whole.add_trace(trace, row=row, col=1)
        whole.update_xaxes(figure.layout.xaxis.to_plotly_json(), row=row, col=1)
        whole.update_yaxes(figure.layout.yaxis.to_plotly_json(), row=row, col=1)
        axis = whole.layout["yaxis" if row == 1 else f"yaxis{row}"]
        whole.update_layout({legend: {"y": axis.domain[1], "yanchor": "top"}})
    whole.update_layout(height=sum(figure.layout.height for figure in figures))
    return whole


def _heading(title: Any) -> str:
    caution = title.subtitle.text
    return (
        f'{title.text}<br><span style="font-size:11px">{caution}</span>' if caution else title.text
    )


def _draw(drawn: dict[Path, Any]) -> None:
    for module in ("kaleido", "plotly.io"):
        if find_spec(module) is None:
            raise ConfigurationError(
                f"{_names(drawn)} was to be drawn, but {module.partition('.')[0]} is not "
                "installed, which that takes. Run `pip install 'tta-notebook[png]'`."
            )
    pictures: list[dict[str, Any]] = []
    for path, figure in drawn.items():
        # A picture cannot follow the theme of the page that it will stand in.
        figure.update_layout(paper_bgcolor="#fff", plot_bgcolor="#fff", font_color="#333")
        size = {"format": "png", "width": _WIDTH, "height": figure.layout.height, "scale": _SCALE}
        picture = {"fig": json.loads(figure.to_json()), "path": str(path), "opts": size}
        pictures.append(picture)
    problem = _drawn_in_a_child(pictures)
    if problem is None:
        return
    kind, _, said = problem.partition(": ")
    if kind == "ChromeNotFoundError":
        raise ConfigurationError(
            f"{_names(drawn)} was to be drawn in a browser, and none was found, which that takes. "
            f"{_HOW_TO_GET_A_BROWSER}"
        )
    raise WorkflowError(
        f"{_names(drawn)} was to be drawn in a browser, which failed: {said or kind} Try again, or "
        f"another browser. {_HOW_TO_GET_A_BROWSER}"
    )


def _drawn_in_a_child(pictures: list[dict[str, Any]]) -> str | None:
    """Draw in a process of its own; return what went wrong there, as "type: message".

    Where a browser does not start, kaleido leaves threads behind that never end, and neither would
    a kernel or a script that has them.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", "tta_notebook.report.png_child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    try:
        said, _ = child.communicate(json.dumps(pictures), _START_S + _EACH_S * len(pictures))
    except subprocess.TimeoutExpired:
        return "TimeoutError: it took too long."
    finally:
        _end(child)
    answer = said.strip().splitlines()[-1:]
    return json.loads(answer[0]) if answer else "RuntimeError: it ended without a word."


def _end(child: subprocess.Popen[str]) -> None:
    """End the process and what is of its session; a browser ends with the pipe to it."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    elif child.poll() is None:
        child.kill()
    child.communicate()


def _names(drawn: dict[Path, Any]) -> str:
    return ", ".join(path.name for path in drawn)
