"""A dashboard's controls: whoever turns one sees the page anew."""

from __future__ import annotations

import asyncio
import logging
from importlib import import_module
from typing import Any

from tta_notebook.core.errors import StorageError
from tta_notebook.notebook.dashboards.base import Dashboard
from tta_notebook.notebook.dashboards.page import Page

_log = logging.getLogger("tta_notebook")

# It has no types.
_widgets: Any = import_module("ipywidgets")

_ALL = "(all)"
_WINDOWS = {"last hour": "1h", "last day": "24h", "last week": "7d", "last 30 days": "30d"}
_Output = dict[str, Any]
_NAMES = ("model", "workflow", "user")


class Controls:
    """Dropdowns and a button over a dashboard's page, with its charts by plotly.

    The charts are outputs and no FigureWidgets: those come with 5 MB of script each. Where a front
    end knows no plotly, it takes the SVG that an output holds as well.

    The dashboard itself keeps its filters: what the controls choose holds for their view.

    Args:
        dashboard: what to show.
        page: how it stands.
    """

    def __init__(self, dashboard: Dashboard, page: Page) -> None:
        self.dashboard = dashboard
        self.html = _widgets.HTML()
        self.figures = _widgets.Output()
        self.tables = _widgets.HTML()
        self._put(page, _outputs(page))
        self.choosers = {name: self._chooser(name) for name in _NAMES}
        self.choosers["since"] = self._window()
        self.button = _widgets.Button(description="Refresh")
        self.button.on_click(self._refresh)
        for chooser in self.choosers.values():
            chooser.observe(self._choose, names="value")
        bar = _widgets.HBox(
            [*self.choosers.values(), self.button], layout={"flex_flow": "row wrap"}
        )
        self.box = _widgets.VBox([bar, self.html, self.figures, self.tables])
        self._task = self._start()

    def view(self) -> dict[str, Any]:
        """Return the widget as a front end is told of it."""
        bundle: dict[str, Any] = self.box._repr_mimebundle_()
        bundle.pop("text/plain", None)
        return bundle

    def close(self) -> None:
        """Look no more, and take the widgets away."""
        if self._task is not None:
            self._task.cancel()
        shown = (self.html, self.figures, self.tables)
        for widget in (*shown, self.button, *self.choosers.values()):
            widget.close()
        self.box.close()

    def _chooser(self, name: str) -> Any:
        chosen: str | None = getattr(self.dashboard.filters, name)
        found = dict.fromkeys([*self.dashboard.choices(name), *([chosen] if chosen else [])])
        options = [(_ALL, None), *((each, each) for each in found)]
        # By its place: a dropdown whose value is None shows nothing as chosen.
        place = [value for _, value in options].index(chosen)
        return _widgets.Dropdown(options=options, index=place, description=name)

    def _window(self) -> Any:
        chosen = self.dashboard.filters.since
        options: list[tuple[str, Any]] = [*_WINDOWS.items(), (_ALL, None)]
        if chosen not in dict(options).values():
            options.insert(0, (f"since {chosen}", chosen))
        place = [value for _, value in options].index(chosen)
        return _widgets.Dropdown(options=options, index=place, description="time")

    def _choose(self, _: object) -> None:
        wanted = {name: chooser.value for name, chooser in self.choosers.items()}
        self.dashboard = self.dashboard.filter(**wanted)
        self._refresh()

    def _refresh(self, _: object = None) -> None:
        page = self.dashboard.page()
        self._put(page, _outputs(page))

    def _put(self, page: Page, outputs: tuple[_Output, ...]) -> None:
        self.html.value = page.head()
        self.figures.outputs = outputs
        self.tables.value = page.foot()

    def _start(self) -> asyncio.Task[None] | None:
        if self.dashboard.auto_refresh_s is None:
            return None
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # shown outside a kernel's loop: the button is there all the same
            return None
        return loop.create_task(self._look_again(self.dashboard.auto_refresh_s))

    async def _look_again(self, every_s: float) -> None:
        was_busy = True
        while True:
            await asyncio.sleep(every_s)
            try:
                # In a thread: cells go on meanwhile.
                is_busy = await asyncio.to_thread(self._is_busy)
                if is_busy or was_busy:
                    await self._show(self.dashboard)
            except StorageError as problem:
                _log.info("A dashboard cannot be refreshed now, and will be later: %s", problem)
                continue
            was_busy = is_busy

    async def _show(self, dashboard: Dashboard) -> None:
        page = await asyncio.to_thread(dashboard.page)
        outputs = await asyncio.to_thread(_outputs, page)
        if dashboard is self.dashboard:  # else somebody chose meanwhile
            self._put(page, outputs)

    def _is_busy(self) -> bool:
        history = self.dashboard.history
        if history.df("runs", limit=1).empty:
            return True
        return not history.sql("SELECT 1 FROM runs WHERE status = 'running' LIMIT 1").empty


def _outputs(page: Page) -> tuple[_Output, ...]:
    """Return a page's charts as outputs of a cell."""
    return tuple(
        {"output_type": "display_data", "data": chart.bundle(), "metadata": {}}
        for chart in page.charts
    )
