"""The options of a retry in one object."""

from __future__ import annotations

from dataclasses import dataclass

from tta_notebook.core import checked
from tta_notebook.recovery.backoff import Backoff, Jitter, checked_factor

_OWNER = "RetryStrategy"


@dataclass(frozen=True, slots=True)
class RetryStrategy:
    """How often and when to retry.

    Attributes:
        max_retries: attempts after the first.
        backoff_base: the delays are this to the power of 0, 1, 2, … seconds.
        max_backoff: the longest delay in seconds, jitter included.
        jitter: True or "full", "decorrelated", or False; see `Backoff`.

    >>> [RetryStrategy(jitter=False).backoff().delay_s(attempt) for attempt in (1, 2, 3)]
    [1.0, 2.0, 4.0]
    """

    max_retries: int = 3
    backoff_base: float = 2.0
    max_backoff: float = 60.0
    jitter: Jitter = True

    def __post_init__(self) -> None:
        checked.count(_OWNER, "max_retries", self.max_retries, least=0)
        checked_factor(_OWNER, "backoff_base", self.backoff_base)
        checked.seconds(_OWNER, "max_backoff", self.max_backoff)
        self.backoff()

    def backoff(self, owner: str = _OWNER) -> Backoff:
        """Return the schedule of the delays."""
        return Backoff(
            factor=self.backoff_base, max_delay=self.max_backoff, jitter=self.jitter, owner=owner
        )
