"""Who is told what happens in a run; fixed for a run when it begins."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tta_notebook.core.events import Span
from tta_notebook.core.feed import Feed
from tta_notebook.core.preview import preview


class Audience:
    """Who is told what happens in a run.

    Attributes:
        first: who is told of the start of the run; None when nobody is.
        tell_end: tells everybody of the end of a span.
        tend: sees to their rings: at the end of a run, and now and then in one that is very long.
        with_previews: whether spans keep short texts of inputs and results.
    """

    __slots__ = ("first", "tell_end", "tend", "with_previews")

    def __init__(
        self, feeds: Sequence[Feed], captures: Sequence[list[Span]], *, with_previews: bool
    ) -> None:
        self.with_previews = with_previews
        self.tend = _tender(tuple(feeds))
        self.tell_end = _end_teller(feeds, captures)
        self.first: Listeners | None = None
        if feeds or with_previews:
            of_every = [feed for feed in feeds if feed.starts == "all"]
            self.first = Listeners(feeds, of_every, with_previews=with_previews)


class Listeners:
    """Who is told of the start of a run, and of those of its other spans.

    Args:
        of_runs: who is told of the first start.
        of_every: who is told of the others too: most sinks have no use for them.
        with_previews: whether spans keep a short text of their inputs.
    """

    __slots__ = ("_of_every", "_of_runs", "_with_previews")

    def __init__(
        self, of_runs: Sequence[Feed], of_every: Sequence[Feed], *, with_previews: bool
    ) -> None:
        self._of_runs = tuple(of_runs)
        self._of_every = tuple(of_every)
        self._with_previews = with_previews

    def tell_first(self, span: Span, input_data: object) -> Listeners | None:
        """Tell of the start of a run, and return who is told of the starts that follow."""
        if self._with_previews:
            span.put("input", preview(input_data))
        for feed in self._of_runs:
            feed.put((span, True))
        return self if self._of_every or self._with_previews else None

    def tell(self, span: Span, input_data: object) -> None:
        """Tell of another start."""
        if self._with_previews:
            span.put("input", preview(input_data))
        for feed in self._of_every:
            feed.put((span, False))


def _end_teller(feeds: Sequence[Feed], captures: Sequence[list[Span]]) -> Callable[[Span], object]:
    appends = (*(spans.append for spans in captures), *(feed.append for feed in feeds))
    if len(appends) == 1:
        return appends[0]  # most often, and then at the least price there is

    def tell(span: Span) -> None:
        for append in appends:
            append(span)

    return tell


def _tender(feeds: Sequence[Feed]) -> Callable[[], None]:
    if len(feeds) == 1:
        return feeds[0].tend

    def tend() -> None:
        for feed in feeds:
            feed.tend()

    return tend
