"""Stored answers, however old, as a step of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tta_notebook.core import checked
from tta_notebook.core.context import HERE, WorkflowContext
from tta_notebook.core.errors import CacheMissError
from tta_notebook.core.primitive import TIn, TOut, WorkflowPrimitive

if TYPE_CHECKING:
    from tta_notebook.performance.cache import CachePrimitive


class StalePrimitive(WorkflowPrimitive[TIn, TOut]):
    """Gives what a cache holds for an input, also if it has expired, and never asks; a fallback.

    An expired answer is there as long as the cache's `stale_while_revalidate` or `stale_if_error`
    says; `cache.stale()` makes one.

    Args:
        cache: whose answers they are.
        max_age_seconds: how old an answer may be; by default as old as there is one.
        name: how it is called in traces and pictures.

    >>> from tta_notebook.performance import CachePrimitive
    >>> cached = CachePrimitive(str.upper)
    >>> cached.run_sync("hello"), cached.stale().run_sync("hello")
    ('HELLO', 'HELLO')
    """

    kind: ClassVar[str] = "cache"

    def __init__(
        self,
        cache: CachePrimitive[TIn, TOut],
        max_age_seconds: float | None = None,
        *,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, default_name=f"stale {cache.primitive.name}")
        self.cache = cache
        self._max_age_s = (
            None
            if max_age_seconds is None
            else checked.seconds("StalePrimitive", "max_age_seconds", max_age_seconds)
        )

    async def execute(self, input_data: TIn, context: WorkflowContext = HERE) -> TOut:
        """Give the stored answer.

        Raises:
            CacheMissError: there is none, or it is too old.
        """
        return await self.cache.kept(input_data, context, self._max_age_s)

    @property
    def output_type(self) -> Any:
        """What the cached step gives."""
        return self.cache.output_type

    @property
    def input_type(self) -> Any:
        """What the cached step takes."""
        return self.cache.input_type


def missing(name: str, age_s: float | None, max_age_s: float | None) -> CacheMissError:
    """Return the error that there is no answer of that age."""
    found = (
        "there is none"
        if age_s is None
        else f"it is {age_s:.3g} s old, and {max_age_s:.3g} s is the most"
    )
    return CacheMissError(
        f"{name!r} was asked for a stored answer to this input, but {found}. Nothing was called; "
        "call the step itself, or put another fallback behind this one."
    )
