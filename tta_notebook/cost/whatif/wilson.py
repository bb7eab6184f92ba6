"""How sure a share is that was observed a number of times."""

from __future__ import annotations

import math

# Two-sided 95 %: the 97.5 % quantile of the normal distribution.
_Z = 1.959963984540054


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % interval of a rate; all of 0 to 1 without a trial.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of
    the American Statistical Association 22 (1927). Unlike the plain one it is right for few trials
    and for rates of 0 and 1.

    >>> low, high = wilson(0, 10)
    >>> round(low, 4), round(high, 4)
    (0.0, 0.2775)
    """
    if not trials:
        return 0.0, 1.0
    rate, z2 = successes / trials, _Z * _Z
    middle = rate + z2 / (2 * trials)
    reach = _Z * math.sqrt(rate * (1 - rate) / trials + z2 / (4 * trials * trials))
    scale = 1 + z2 / trials
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)
