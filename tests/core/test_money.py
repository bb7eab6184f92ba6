import math
from decimal import Context, Decimal, Inexact, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook.core.errors import ConfigurationError
from tta_notebook.core.money import (
    PICO,
    decimal,
    decimal_usd,
    divided,
    scaled,
    shown,
    to_pico,
    usd,
)

amounts = st.integers(-(10**30), 10**30)


@pytest.mark.parametrize(
    ("amount", "pico"),
    [
        ("0.02", 20_000 * 10**6),
        (0.1, PICO // 10),
        (1, PICO),
        (Decimal("1e-12"), 1),
        (-0.25, -PICO // 4),
        (" 1.25\n", 125 * PICO // 100),
        (0.1 + 0.2, 300_000_000_000),  # 0.30000000000000004, what is finer than a pico rounds
        ("999999999999999999.999999999999", 10**30 - 1),
    ],
)
def test_an_amount_is_what_it_is_written_as(amount, pico):
    assert to_pico(amount) == pico


def test_one_token_at_two_cents_a_million_is_twenty_thousand_pico():
    assert to_pico("0.02") // 10**6 == 20_000


@pytest.mark.parametrize(
    ("finer", "pico"), [("0.5e-12", 0), ("1.5e-12", 2), ("2.5e-12", 2), ("2.51e-12", 3)]
)
def test_half_a_pico_goes_to_the_even_one(finer, pico):
    assert to_pico(finer) == pico


@pytest.mark.parametrize(
    "amount",
    [
        math.nan,
        math.inf,
        -math.inf,
        Decimal("NaN"),
        Decimal("sNaN"),
        "nan",
        "Infinity",
        True,
        None,
        "",
        "a dollar",
        "$1.25",
        "1,25",
        [1],
        1j,
        10**18,
        -(10**18),
        "1e999999999",
        1e300,
    ],
    ids=repr,
)
def test_what_is_no_amount_is_refused_with_its_value(amount):
    with pytest.raises(ConfigurationError, match=r"usd=.* is no amount of dollars") as caught:
        to_pico(amount)
    assert repr(amount) in str(caught.value)


def test_an_amount_too_small_to_see_is_nothing():
    assert to_pico("1e-999999999") == 0


@given(amounts)
def test_pico_dollars_come_back_as_they_went(pico):
    exact = decimal_usd(pico)
    assert Fraction(exact) == Fraction(pico, PICO)
    if abs(pico) < 10**30:
        assert to_pico(exact) == pico
        assert to_pico(str(exact)) == pico


@pytest.mark.parametrize(
    ("pico", "text"),
    [(0, "0"), (12_719_000_000, "0.012719"), (1250 * PICO, "1250"), (-PICO // 10, "-0.1")],
)
def test_a_decimal_has_no_more_digits_than_it_takes(pico, text):
    assert str(decimal_usd(pico)) == text


@given(amounts)
def test_the_float_is_the_nearest_one(pico):
    assert usd(pico) == float(Fraction(pico, PICO))


@given(st.floats(allow_nan=False, min_value=-1e17, max_value=1e17))
def test_a_float_counts_as_its_shortest_text(number):
    assert to_pico(number) == to_pico(repr(number))


@given(amounts, st.integers(1, 10**20))
def test_division_is_that_of_fractions_half_to_even(number, divisor):
    assert divided(number, divisor) == round(Fraction(number, divisor))


@given(st.fractions(-(10**6), 10**6, max_denominator=2**12), st.integers(0, 18))
def test_scaling_is_rounding_half_to_even(number, decimals):
    exact = Decimal(number.numerator) / Decimal(2**12)
    assert scaled(exact, decimals) == round(Fraction(exact) * 10**decimals)


def test_the_arithmetic_of_the_caller_has_no_say():
    with localcontext(Context(prec=2, traps=[Inexact])):
        assert to_pico("1234.567890123456") == 1_234_567_890_123_456
        assert decimal_usd(1_234_567_890_123_456) == Decimal("1234.567890123456")
        assert decimal("Price", "input_per_1m", 1234.5678) == Decimal("1234.5678")


@pytest.mark.parametrize(
    ("pico", "text"),
    [
        (12_719_000_000, "$0.012719"),
        (1_250_000_000_000, "$1.25"),
        (0, "$0.00"),
        (1, "<$0.000001"),
        (999_999, "<$0.000001"),
        (10**6, "$0.000001"),
        (1_500_000, "$0.000002"),
        (500_000_000_000, "$0.50"),
        (123_456_700_000, "$0.123457"),
        (999_999_600_000, "$1.00"),
        (1_234_567 * PICO + 891 * 10**9, "$1,234,567.89"),
        (1_999_995 * PICO // 10**6, "$2.00"),
        (2 * PICO, "$2.00"),
        (-250_000_000_000, "-$0.25"),
        (-1, "-<$0.000001"),
        (10**40, f"${10**28:,}.00"),
    ],
)
def test_an_amount_is_shown_with_the_digits_that_matter(pico, text):
    assert shown(pico) == text


@given(amounts)
def test_no_amount_is_shown_as_nothing_but_nothing(pico):
    assert (shown(pico) == "$0.00") == (pico == 0)


def test_numpys_numbers_are_numbers():
    numpy = pytest.importorskip("numpy")
    assert to_pico(numpy.float64(0.1)) == to_pico(0.1)
    assert to_pico(numpy.int64(3)) == 3 * PICO
    with pytest.raises(ConfigurationError):
        to_pico(numpy.float32(0.1))
