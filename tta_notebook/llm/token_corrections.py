"""What real counts of tokens teach about bounds that were given before."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from tta_notebook.core.checked import count

if TYPE_CHECKING:
    from tta_notebook.llm.tokens import TokenBound

# What is added to the largest ratio that was seen: the next text may be of another kind.
_MARGIN_PER_CENT = 20


@dataclass(slots=True)
class _Seen:
    """The observation of a model whose real count came nearest to its bound, or went beyond."""

    calls: int = 0
    bound: int = 1
    real: int = 0


class TokenCorrections:
    """Learns by model how far bounds on input tokens lie above the real counts.

    After `least_calls` calls a bound shrinks to the largest ratio that was seen and a fifth more.
    A real count above its bound raises the next ones at once. A bound is never corrected below
    what any call needed that was recorded; a text of a new kind may need more than a shrunk bound
    has, so where that matters pass no corrections.

    Threads may share one. Recording and correcting take constant time.

    Args:
        least_calls: how many calls of a model it takes before its bounds shrink.
        max_models: how many models are remembered; the one unused for longest is forgotten.

    Raises:
        ConfigurationError: a number is less than 1 or not whole.

    >>> from tta_notebook.llm.tokens import TokenBound
    >>> corrections = TokenCorrections()
    >>> for _ in range(20):
    ...     corrections.record("m", bound=200, real=100)
    >>> corrections.corrected("m", TokenBound(1000, is_exact=False, how="estimate"))
    TokenBound(tokens=600, is_exact=False, how='estimate, corrected')
    """

    def __init__(self, *, least_calls: int = 20, max_models: int = 256) -> None:
        self._least_calls = count("TokenCorrections", "least_calls", least_calls)
        self._max_models = count("TokenCorrections", "max_models", max_models)
        self._models: OrderedDict[str, _Seen] = OrderedDict()
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy learns for itself, and is careful until it has.
        kept = {"least_calls": self._least_calls, "max_models": self._max_models}
        return partial(type(self), **kept), ()

    def record(self, model: str, *, bound: int, real: int) -> None:
        """Take note of a call: the bound before it, uncorrected, and its real input tokens.

        No tokens at all teach nothing: that is a provider that did not say.

        Raises:
            ConfigurationError: a number is no count of tokens.
        """
        count("TokenCorrections", "bound", bound)
        if count("TokenCorrections", "real", real, least=0) == 0:
            return
        with self._lock:
            seen = self._models.setdefault(model, _Seen())
            self._models.move_to_end(model)
            if len(self._models) > self._max_models:
                self._models.popitem(last=False)
            seen.calls += 1
            if real * seen.bound > seen.real * bound:
                seen.bound, seen.real = bound, real

    def corrected(self, model: str, bound: TokenBound) -> TokenBound:
        """Return the bound as experience with the model has it; an exact one never shrinks."""
        with self._lock:
            seen = self._models.get(model)
            if seen is None:
                return bound
            self._models.move_to_end(model)
            is_known, most, real = seen.calls >= self._least_calls, seen.bound, seen.real
        tokens = -(-bound.tokens * real * (100 + _MARGIN_PER_CENT) // (most * 100))
        is_too_low = real > most
        may_shrink = is_known and not bound.is_exact and tokens < bound.tokens
        if not (is_too_low or may_shrink):
            return bound
        return replace(bound, tokens=tokens, is_exact=False, how=f"{bound.how}, corrected")
