"""Following a run while it goes on: which live view it gets, and that it goes away again."""

from __future__ import annotations

import asyncio
import importlib.util
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, Protocol

from tta_notebook.core import clock
from tta_notebook.core.run import Run
from tta_notebook.notebook.ipython import Shell, publish_display_data
from tta_notebook.notebook.loop import cancel_route
from tta_notebook.notebook.picture import run_html

_TICK_S = 0.1
# A run that is over sooner shows no live view: it would only flash.
_GRACE_S = 0.15
# At most this share of the time goes into drawing.
_DRAWING_SHARE = 0.1
# How long a widget stays that a front end may still write to. A message to one that is gone would
# be reported as a warning, under whichever cell runs then.
_FAREWELL_S = 5.0

_LIVE_MODULE = "tta_notebook.notebook.widgets.live"


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
async def following(run: Run[Any], mode: str, shell: Shell) -> AsyncGenerator[None, None]:
    """Show the run inside the block, if there is where; whatever the view does, the run goes on."""
    view = _view_for(run, mode, shell)
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


def _view_for(run: Run[Any], mode: str, shell: Shell) -> View | None:
    kernel = getattr(shell, "kernel", None)
    if mode == "off" or kernel is None:
        return None
    if mode == "html":
        return HtmlView(run)
    if importlib.util.find_spec("anywidget") is None:
        return None
    if mode == "widget":
        return WidgetView(run, at_once=True)
    # Programs that run notebooks (nbclient, nbconvert, papermill, nbval) take no input. They would
    # record the widget's messages in the notebook, so they are not even asked whether they show it.
    return WidgetView(run) if getattr(kernel, "_allow_stdin", False) else None


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


class _Slot:
    """A place in the cell's output that can be emptied again."""

    def __init__(self) -> None:
        self._id: str | None = None

    def show(self, data: dict[str, Any]) -> None:
        """Put something there, or replace it."""
        is_new = self._id is None
        self._id = self._id or uuid.uuid4().hex
        transient = {"display_id": self._id}
        publish_display_data(data, {}, transient=transient, update=not is_new)

    def empty(self) -> None:
        """Leave an output without data: nothing to see, and nothing for nbval to compare."""
        if self._id is not None:
            self.show({})


class HtmlView:
    """The static picture, drawn anew twice a second: for front ends without widgets."""

    _REDRAW_S = 0.5

    def __init__(self, run: Run[Any]) -> None:
        self.is_asked = False
        self._run = run
        self._slot = _Slot()
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


class WidgetView:
    """The live widget. Unless shown at once, it waits unseen until a front end says hello.

    Messages from the front end may arrive on another thread (loop.py), so they set flags that the
    ticker reads, and cancel through `Run.cancel`, which any thread may call.
    """

    # Whether a front end of this kernel has ever answered: the next view need not wait.
    _is_answered = False

    def __init__(self, run: Run[Any], *, at_once: bool = False) -> None:
        self.is_asked = False
        self._run = run
        self._slot = _Slot()
        self._is_welcome = at_once
        self._is_deaf = cancel_route() == "interrupt"
        self._is_shown = self._is_seen = self._wants_snapshot = False
        self._widget: Any = None
        self._batches: Any = None

    async def open(self) -> None:
        """Make the widget; its front end's half says hello as soon as it is there."""
        # The first import takes a third of a second, in which the run should go on.
        live = await asyncio.to_thread(import_module, _LIVE_MODULE)
        self._batches = live.Batches(self._run)
        self._widget = live.LiveRun()
        self._widget.on_msg(self._hear)

    def _hear(self, _: object, content: dict[str, Any], __: object) -> None:
        match content.get("type"):
            case "hello":
                WidgetView._is_answered = True
            case "ready":
                self._wants_snapshot = True
            case "cancel":
                self._run.cancel("cancelled in the notebook")
            case _:
                return
        self.is_asked = True

    def refresh(self) -> None:
        """Show the widget once it is welcome; send what is new once it is seen."""
        self.is_asked = False
        if not self._is_shown:
            if self._is_welcome or WidgetView._is_answered:
                self._show()
        elif self._is_deaf:
            # Nobody can say when the view is there, so every message holds everything.
            self._widget.send(self._batches.next(is_snapshot=True))
        elif self._wants_snapshot or self._is_seen:
            is_snapshot, self._wants_snapshot = self._wants_snapshot, False
            self._is_seen = True
            self._widget.send(self._batches.next(is_snapshot=is_snapshot))

    def _show(self) -> None:
        self._is_shown = True
        view = {"version_major": 2, "version_minor": 1, "model_id": self._widget.model_id}
        mime = "application/vnd.jupyter.widget-view+json"
        self._slot.show({mime: view, "text/plain": ""})

    def close(self) -> None:
        """Take the widget away, from the notebook and from its saved form."""
        self._slot.empty()
        if self._widget is None:
            return
        if WidgetView._is_answered and not self._is_deaf:
            self._widget.close()
        else:
            asyncio.get_running_loop().call_later(_FAREWELL_S, self._widget.close)
