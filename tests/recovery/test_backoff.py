"""How long a retry waits."""

import math
from dataclasses import FrozenInstanceError
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import ConfigurationError
from tta_notebook.recovery.backoff import Backoff
from tta_notebook.recovery.retry_strategy import RetryStrategy

delays = st.floats(0, 1e6)
factors = st.floats(0.01, 1e6)
attempts = st.integers(1, 2000) | st.sampled_from([1024, 1025, 10**6, 10**400])
strategies = st.sampled_from(["exponential", "linear", "constant"])


def schedule(backoff, count=5):
    return [backoff.delay_s(attempt) for attempt in range(1, count + 1)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 2, 4, 8, 16]),
        ({"initial_delay": 0.5, "factor": 3}, [0.5, 1.5, 4.5, 13.5, 40.5]),
        ({"max_delay": 5}, [1, 2, 4, 5, 5]),
        ({"strategy": "linear", "initial_delay": 2, "max_delay": 7}, [2, 4, 6, 7, 7]),
        ({"strategy": "constant", "initial_delay": 3}, [3, 3, 3, 3, 3]),
        pytest.param(
            {"strategy": lambda attempt: attempt**2, "max_delay": 20},
            [1, 4, 9, 16, 20],
            id="a function",
        ),
        ({"initial_delay": 0}, [0, 0, 0, 0, 0]),
        ({"factor": 0.5}, [1, 0.5, 0.25, 0.125, 0.0625]),
    ],
    ids=str,
)
def test_a_strategy_without_jitter_gives_its_delays(options, expected):
    assert schedule(Backoff(jitter=False, **options)) == expected


def test_the_code_form_waits_powers_of_its_base():
    strategy = RetryStrategy(backoff_base=3, max_backoff=30, jitter=False)
    assert schedule(strategy.backoff()) == [1, 3, 9, 27, 30]


@given(strategies, delays, factors, delays, st.booleans(), attempts, st.randoms())
def test_no_delay_is_longer_than_the_cap(strategy, initial, factor, cap, jitter, attempt, rng):
    backoff = Backoff(strategy, initial, factor, cap, jitter)
    assert 0 <= backoff.delay_s(attempt, uniform=rng.uniform) <= cap


@given(delays, delays, st.integers(0, 2**32))
def test_decorrelated_delays_stay_between_the_first_and_the_cap(initial, cap, seed):
    backoff = Backoff(initial_delay=initial, max_delay=cap, jitter="decorrelated")
    rng, previous = Random(seed), None  # noqa: S311 - reproducible on purpose
    for attempt in range(1, 50):
        delay = backoff.delay_s(attempt, previous, rng.uniform)
        longest = 3 * (initial if previous is None else previous)
        # The sum in uniform() may round past its bounds by one place.
        assert (
            min(initial, cap) <= delay <= min(cap, math.nextafter(max(initial, longest), math.inf))
        )
        previous = delay


@given(attempts, st.floats(0, 1))
def test_full_jitter_is_even_between_nothing_and_the_delay(attempt, share):
    backoff = Backoff(max_delay=100)

    def uniform(low, high):
        assert (low, high) == (0, min(100, 2 ** min(attempt - 1, 10)))
        return low + share * (high - low)

    assert backoff.delay_s(attempt, uniform=uniform) == share * backoff.ceiling_s(attempt)


def test_jitter_that_draws_beyond_its_bounds_stays_inside_the_cap():
    for jitter in (True, "full", "decorrelated"):
        assert Backoff(max_delay=5, jitter=jitter).delay_s(3, 4, lambda _, __: 99) == 5


@pytest.mark.parametrize("attempt", [1024, 1025, 1026, 10**6, 10**400])
@pytest.mark.parametrize("strategy", ["exponential", "linear"])
def test_late_attempts_do_not_overflow(strategy, attempt):
    backoff = Backoff(strategy, max_delay=60, jitter=False)
    assert backoff.delay_s(attempt) == 60


def test_the_default_draws_differ():
    assert len({Backoff().delay_s(5) for _ in range(20)}) > 15


def test_the_same_seed_gives_the_same_delays():
    one, other = (Random(7) for _ in range(2))  # noqa: S311 - reproducible on purpose
    draws = [
        [Backoff().delay_s(n, uniform=rng.uniform) for n in range(1, 9)] for rng in (one, other)
    ]
    assert draws[0] == draws[1]


@pytest.mark.parametrize("options", [Backoff(), RetryStrategy()], ids=repr)
def test_options_stay_as_they_were_checked(options):
    with pytest.raises(FrozenInstanceError):
        options.jitter = "never checked"


ODD = [-1, math.nan, True, "5", None, math.inf]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("name", ["initial_delay", "max_delay"])
def test_delays_are_checked(name, odd):
    with pytest.raises(ConfigurationError, match=f"Backoff: {name}="):
        Backoff(**{name: odd})


@pytest.mark.parametrize("odd", [*ODD, 0], ids=repr)
def test_factors_are_checked(odd):
    with pytest.raises(ConfigurationError, match="Backoff: backoff_factor="):
        Backoff(factor=odd)
    with pytest.raises(ConfigurationError, match="RetryStrategy: backoff_base="):
        RetryStrategy(backoff_base=odd)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "expo"}, "backoff_strategy='expo'"),
        ({"strategy": None}, "backoff_strategy=None"),
        ({"jitter": "ful"}, "jitter='ful'.*did you mean 'full'"),
        ({"jitter": 1}, "jitter=1"),
        ({"jitter": None}, "jitter=None"),
        ({"jitter": "decorrelated", "strategy": "linear"}, "would mean nothing"),
    ],
    ids=str,
)
def test_names_are_checked(options, message):
    with pytest.raises(ConfigurationError, match=message):
        Backoff(**options)


@pytest.mark.parametrize("odd", [-1, math.nan, True, "5", None, 1.5], ids=repr)
def test_a_strategys_retries_are_counted(odd):
    with pytest.raises(ConfigurationError, match="RetryStrategy: max_retries="):
        RetryStrategy(max_retries=odd)


@pytest.mark.parametrize("odd", [-1, math.nan, True, "5", None], ids=repr)
def test_a_strategys_longest_delay_is_checked(odd):
    with pytest.raises(ConfigurationError, match="RetryStrategy: max_backoff="):
        RetryStrategy(max_backoff=odd)


@pytest.mark.parametrize("odd", [-1, math.nan, "5", None, True], ids=repr)
def test_a_function_that_gives_no_duration_is_named(odd):
    with pytest.raises(ConfigurationError, match=r"backoff_strategy\(3\)="):
        Backoff(lambda _: odd).delay_s(3)


def test_a_function_may_give_more_than_the_cap():
    assert Backoff(lambda _: math.inf, max_delay=5, jitter=False).delay_s(1) == 5
