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
_NAMES = ("model", "workflow", "user")


class Controls:
    """Dropdowns and a button over the static page of a dashboard.

    The dashboard itself keeps its filters: what the controls choose holds for their view.

    Args:
        dashboard: what to show.
        page: how it stands.
    """

    def __init__(self, dashboard: Dashboard, page: Page) -> None:
        self.dashboard = dashboard
        self.html = _widgets.HTML(page.fragment())
        self.choosers = {name: self._chooser(name) for name in _NAMES}
        self.choosers["since"] = self._window()
        self.button = _widgets.Button(description="Refresh")
        self.button.on_click(self._refresh)
        for chooser in self.choosers.values():
            chooser.observe(self._choose, names="value")
        bar = _widgets.HBox(
            [*self.choosers.values(), self.button], layout={"flex_flow": "row wrap"}
        )
        self.box = _widgets.VBox([bar, self.html])
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
        for widget in (self.html, self.button, *self.choosers.values()):
            widget.close()
        self.box.close()

    def _chooser(self, name: str) -> Any:
        chosen: str | None = getattr(self.dashboard.filters, name)
        found = dict.fromkeys([*self.dashboard.choices(name), *([chosen] if chosen else [])])
        options = [(_ALL, None), *((each, each) for each in found)]
        return _widgets.Dropdown(options=options, value=chosen, description=name)

    def _window(self) -> Any:
        chosen = self.dashboard.filters.since
        options: list[tuple[str, Any]] = [*_WINDOWS.items(), (_ALL, None)]
        if chosen not in dict(options).values():
            options.insert(0, (f"since {chosen}", chosen))
        return _widgets.Dropdown(options=options, value=chosen, description="time")

    def _choose(self, _: object) -> None:
        wanted = {name: chooser.value for name, chooser in self.choosers.items()}
        self.dashboard = self.dashboard.filter(**wanted)
        self._refresh()

    def _refresh(self, _: object = None) -> None:
        self.html.value = self.dashboard.page().fragment()

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
        if dashboard is self.dashboard:  # else somebody chose meanwhile
            self.html.value = page.fragment()

    def _is_busy(self) -> bool:
        history = self.dashboard.history
        if history.df("runs", limit=1).empty:
            return True
        return not history.sql("SELECT 1 FROM runs WHERE status = 'running' LIMIT 1").empty
