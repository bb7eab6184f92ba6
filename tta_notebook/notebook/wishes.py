"""What the line of a magic says of a run, over what the settings say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tta_notebook.notebook.settings import TTAMagics

if TYPE_CHECKING:
    from tta_notebook.llm.cassettes.cassette import Cassette


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a run is to be made; None where the line says nothing.

    Attributes:
        name: the workflow's, as the cell knows it.
        live: how it is shown meanwhile.
        budget: what it may spend, in USD, as it was written.
        cassette: the file that its calls to models are replayed from.
        timeout_s: how long it may take.
        reuse: whether steps may be answered without running.
        quiet: whether nothing is shown.
    """

    name: str | None = None
    live: str | None = None
    budget: str | None = None
    cassette: str | None = None
    timeout_s: float | None = None
    reuse: bool | None = None
    quiet: bool = False

    def filled(self, settings: TTAMagics) -> Wishes:
        """Return them with the settings in the gaps."""
        timeout = settings["timeout"]
        return replace(
            self,
            live=self.live or settings["live"],
            budget=self.budget or settings["budget"] or None,
            timeout_s=self.timeout_s or (float(timeout) if timeout else None),
            reuse=settings["reuse"] == "on" if self.reuse is None else self.reuse,
        )

    @property
    def live_mode(self) -> str:
        """How the run is shown: in no way where nothing is to be."""
        return "off" if self.quiet else self.live or "auto"

    def cassette_player(self) -> Cassette | None:
        """Return the run's own cassette; whoever takes it closes it."""
        if self.cassette is None:
            return None
        from tta_notebook.llm.cassettes.cassette import Cassette  # noqa: PLC0415 - only who uses one

        return Cassette(self.cassette, repeat=True)
