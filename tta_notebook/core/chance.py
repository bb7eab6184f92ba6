"""Random numbers that differ from copy to copy."""

from __future__ import annotations

import random
from typing import Any


class Chance(random.Random):
    """A process's own random numbers: a copy elsewhere draws others.

    The copies of a `random.Random` draw the same, so that all workers would wait equally long and
    come back at once: what jitter is there to prevent.

    >>> import pickle
    >>> chance = Chance()
    >>> pickle.loads(pickle.dumps(chance)).random() == chance.random()
    False
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()
