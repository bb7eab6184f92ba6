"""The live view as a widget: when it is shown, what it hears, and what becomes of it at the end."""

from __future__ import annotations

import asyncio
from collections import deque
from html import escape
from importlib import import_module
from typing import Any, ClassVar

from tta_notebook.core.run import Run
from tta_notebook.notebook.loop import cancel_route
from tta_notebook.notebook.picture import run_html
from tta_notebook.notebook.rows import short_id
from tta_notebook.notebook.slot import Slot

# How long after its run a widget waits for a word of its front end. A message to one that is gone
# would be reported as a warning, under whichever cell runs then.
_FAREWELL_S = 5.0
# So many widgets stay for pages that are opened again after their run.
_MAX_KEPT = 8

_LIVE_MODULE = "tta_notebook.notebook.widgets.live"
_WIDGET = "application/vnd.jupyter.widget-view+json"


class WidgetView:
    """The live widget. Unless shown at once, it waits unseen until a front end says hello.

    Messages from the front end may arrive on another thread (loop.py), so they set flags that the
    ticker reads, and cancel through `Run.cancel`, which any thread may call.

    A page that is loaded again in mid-run finds the widget by the kernel, if the notebook was saved
    with it, but no longer gets the outputs of the cell: such a view is told the end by message, and
    stays for as long as the kernel keeps it.
    """

    # Whether a front end of this kernel has ever answered: the next view need not wait.
    _is_answered = False
    # The views whose front ends may come back.
    _kept: ClassVar[deque[WidgetView]] = deque()

    def __init__(self, run: Run[Any], *, at_once: bool = False, slot: Slot | None = None) -> None:
        self.is_asked = False
        self._run = run
        self._slot = slot or Slot()
        self._is_welcome = at_once
        self._is_deaf = cancel_route() == "interrupt"
        self._is_shown = self._is_over = self._has_parted = self._wants_snapshot = False
        self._views = 0
        # Whether the view can show the record of the run itself, in a page that came back.
        self._can_stay = False
        self._wants_details: str | None = None
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
                self._views += 1
                self._can_stay = bool(content.get("stays"))
                self._wants_snapshot = True
                if self._is_over:
                    self._tell_end()
            case "details":
                self._wants_details = str(content.get("id"))
            case "cancel":
                self._run.cancel("cancelled in the notebook")
            case "pause":
                self._run.pause()
            case "resume":
                self._run.resume()
            case "bye":
                self._has_parted = True
                return
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
        elif self._views:
            is_snapshot, self._wants_snapshot = self._wants_snapshot, False
            self._widget.send(self._batches.next(is_snapshot=is_snapshot))
            if self._wants_details is not None:
                key, self._wants_details = self._wants_details, None
                self._widget.send(self._batches.details(key))

    def _show(self) -> None:
        self._is_shown = True
        view = {"version_major": 2, "version_minor": 1, "model_id": self._widget.model_id}
        # Only seen where the notebook was saved in mid-run and its kernel is gone.
        said = (
            f"The run of {self._run.workflow_name} was under way when this notebook was saved. "
            f"If its kernel still runs, %tta_trace {short_id(self._run)} shows its record."
        )
        html = f"<p>{escape(said)}</p>"
        self._slot.show({_WIDGET: view, "text/html": html, "text/plain": said})

    def close(self) -> None:
        """Take the view away, from the notebook and from its saved form."""
        self._is_over = True
        if self._can_stay:
            self._tell_end()
        self._slot.empty()
        if self._widget is None:
            return
        if self._can_stay or self._is_deaf or not WidgetView._is_answered:
            asyncio.get_running_loop().call_later(_FAREWELL_S, self._part)
        else:
            self._widget.close()

    def _tell_end(self) -> None:
        """Tell the front end that the run is over; a view that came back gets the record."""
        has_come_back = self._views > 1
        self._widget.send({"type": "end", "html": run_html(self._run) if has_come_back else ""})

    def _part(self) -> None:
        """Close the widget, unless somebody may come back for it."""
        if not self._can_stay or (self._views == 1 and self._has_parted):
            self._widget.close()
            return
        WidgetView._kept.append(self)
        while len(WidgetView._kept) > _MAX_KEPT:
            WidgetView._kept.popleft()._widget.close()  # noqa: SLF001 - our own class
