"""Following a run while it goes on: which live view it gets, and that it goes away again."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from tta_notebook.core import clock
from tta_notebook.core.run import Run
from tta_notebook.notebook.front_end import takes_input
from tta_notebook.notebook.ipython import Shell
from tta_notebook.notebook.picture import run_html
from tta_notebook.notebook.slot import Slot
from tta_notebook.notebook.widget_view import WidgetView

_TICK_S = 0.1
# A run that is over sooner shows no live view: it would only flash.
_GRACE_S = 0.15
# At most this share of the time goes into drawing.
_DRAWING_SHARE = 0.1


class View(Protocol):
    """What shows a run while it goes on."""

    is_asked: bool

    async def open(self) -> None:
        """Begin to show the run."""

    def refresh(self) -> None:
        """Show what is new."""

    def close(self) -> None:
        """Leave no trace in the notebook."""


@asynccontextmanager
async def following(run: Run[Any], view: View | None, shell: Shell) -> AsyncGenerator[None, None]:
    """Show the run inside the block, if there is where; whatever the view does, the run goes on."""
    if view is None:
        yield
        return
    ticker = asyncio.create_task(_tick(run, view), name="tta-live")
    try:
        yield
    finally:
        ticker.cancel()
        await asyncio.wait([ticker])
        view.close()
        if not ticker.cancelled() and (error := ticker.exception()):
            shell.log.warning("The live view failed and was closed: %r", error)


def view_for(run: Run[Any], mode: str, shell: Shell, slot: Slot | None = None) -> View | None:
    """Return what shows a run live, None where nothing does.

    Args:
        run: the run.
        mode: "auto", "widget", "html" or "off".
        shell: whose cell runs now; what it says of its front end counts.
        slot: where to show it; by default a place of its own.
    """
    kernel = getattr(shell, "kernel", None)
    if mode == "off" or kernel is None:
        return None
    if mode == "html":
        return HtmlView(run, slot)
    if importlib.util.find_spec("anywidget") is None:
        return None
    if mode == "widget":
        return WidgetView(run, at_once=True, slot=slot)
    # nbclient, nbconvert, papermill and nbval would record the widget's messages in the notebook,
    # so they are not even asked whether they show it.
    return WidgetView(run, slot=slot) if takes_input(shell) else None


async def _tick(run: Run[Any], view: View) -> None:
    await asyncio.sleep(_GRACE_S)
    await view.open()
    version = -1
    while True:
        pause_s = _TICK_S
        if run.version != version or view.is_asked:
            version, begun = run.version, clock.monotonic()
            view.refresh()
            pause_s = max(pause_s, (clock.monotonic() - begun) / _DRAWING_SHARE)
        await asyncio.sleep(pause_s)


class HtmlView:
    """The static picture, drawn anew twice a second: for front ends without widgets."""

    _REDRAW_S = 0.5

    def __init__(self, run: Run[Any], slot: Slot | None = None) -> None:
        self.is_asked = False
        self._run = run
        self._slot = slot or Slot()
        self._drawn = -self._REDRAW_S

    async def open(self) -> None:
        """Draw nothing yet: the first refresh does."""

    def refresh(self) -> None:
        """Draw the run as it is, if the last picture is old enough."""
        self.is_asked = True  # time passes in the picture even when nothing else happens
        now = clock.monotonic()
        if now - self._drawn >= self._REDRAW_S:
            self._drawn = now
            self._slot.show({"text/html": run_html(self._run), "text/plain": ""})

    def close(self) -> None:
        """Take the picture away."""
        self._slot.empty()
