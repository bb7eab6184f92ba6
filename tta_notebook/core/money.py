"""Money as whole numbers of pico-dollars, so that sums are exact in any order."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal, DecimalException
from numbers import Integral

from tta_notebook.core.errors import ConfigurationError

# One token at $0.02 per million is 20,000 pico-dollars.
PICO = 10**12

_PICO_DECIMALS = 12
_PICO_PER_MICRO = 10**6
_PICO_PER_CENT = 10**10
# More than there is. Without a bound, "1e999999999" would fill the memory with zeros.
_LEAST_ABSURD = Decimal(10) ** 18
_WIDE = Context(prec=60, rounding=ROUND_HALF_EVEN)


def to_pico(usd: Decimal | float | str) -> int:
    """Return an amount in USD as pico-dollars, exactly; below one pico, half to even.

    Args:
        usd: a Decimal, an int, a number as text ("0.25"), or a float, which counts as the decimal
            number it is written as: 0.1 is a tenth of a dollar.

    Raises:
        ConfigurationError: it is no finite amount, or 10**18 dollars and more.

    >>> to_pico("0.02"), to_pico(0.1), to_pico(2)
    (20000000000, 100000000000, 2000000000000)
    """
    return scaled(decimal("Money", "usd", usd), _PICO_DECIMALS)


def usd(pico: int) -> float:
    """Return pico-dollars in USD, as the nearest float.

    >>> usd(12_719_000_000)
    0.012719
    """
    return pico / PICO


def decimal_usd(pico: int) -> Decimal:
    """Return pico-dollars in USD, exactly, with as many decimals as that takes.

    >>> decimal_usd(12_719_000_000)
    Decimal('0.012719')
    """
    digits, decimals = int(pico), _PICO_DECIMALS
    while decimals and digits % 10 == 0:
        digits, decimals = digits // 10, decimals - 1
    # As text: Decimal's arithmetic rounds to the digits of whatever context is in force.
    return Decimal(f"{digits}E-{decimals}")


def shown(pico: int) -> str:
    """Return an amount for people: cents from a dollar on, below it up to six decimals.

    >>> shown(12_719_000_000), shown(1_250 * PICO), shown(0), shown(999_999)
    ('$0.012719', '$1,250.00', '$0.00', '<$0.000001')
    """
    if pico < 0:
        return f"-{shown(-pico)}"
    if 0 < pico < _PICO_PER_MICRO:
        return "<$0.000001"
    if pico >= PICO:
        cents = divided(pico, _PICO_PER_CENT)
        return f"${cents // 100:,}.{cents % 100:02d}"
    micros = divided(pico, _PICO_PER_MICRO)
    decimals = f"{micros % 10**6:06d}"
    return f"${micros // 10**6}.{decimals[:2]}{decimals[2:].rstrip('0')}"


def decimal(owner: str, name: str, value: object) -> Decimal:
    """Return `value` as the decimal number it is written as, if it is a finite one, else raise.

    >>> decimal("Price", "input_per_1m", 0.15)
    Decimal('0.15')
    """
    number = _read(value)
    # copy_abs: abs() rounds to the context in force.
    if number is not None and number.is_finite() and number.copy_abs() < _LEAST_ABSURD:
        return number
    raise ConfigurationError(
        f"{owner}: {name}={value!r} is no amount of dollars that could be reckoned with. Give a "
        "finite number, like 0.25 or Decimal('0.25'), below 10**18."
    )


def scaled(number: Decimal, decimals: int) -> int:
    """Return `number` in units of its given decimal place; what is finer goes half to even.

    >>> scaled(Decimal("0.25"), 1), scaled(Decimal("0.35"), 1)
    (2, 4)
    """
    rounded = number.quantize(Decimal((0, (1,), -decimals)), context=_WIDE)
    return int(rounded.scaleb(decimals, context=_WIDE))


def divided(number: int, divisor: int) -> int:
    """Return the quotient of two whole numbers as one; halves go to the even one.

    >>> divided(5, 2), divided(7, 2), divided(-5, 2)
    (2, 4, -2)
    """
    whole, rest = divmod(number, divisor)
    return whole + (2 * rest > divisor or (2 * rest == divisor and whole % 2))


def _read(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, Decimal | Integral | float | str):
        return None
    if isinstance(value, float):
        # The float's own repr: NumPy's writes "np.float64(0.1)".
        value = float.__repr__(value)
    elif isinstance(value, Integral):
        value = int(value)
    try:
        return Decimal(value)
    except DecimalException:
        return None
