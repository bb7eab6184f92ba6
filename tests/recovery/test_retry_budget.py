"""RetryBudget: few retries against what is down, whoever makes them."""

import asyncio
import gc
import math
import pickle
import threading
from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tta_notebook import ConfigurationError, LambdaPrimitive, MockPrimitive, capture
from tta_notebook.core import clock
from tta_notebook.recovery.retry import RetryPrimitive
from tta_notebook.recovery.retry_budget import BATCH, RetryBudget, RetryBudgets, budgets
from tta_notebook.recovery.timeout import TimeoutPrimitive
from tta_notebook.testing import run_virtual

SLOT_NS = 10**9


class BudgetAgainstModel(RuleBasedStateMachine):
    """The budget against lists of all calls and retries, cut to the last ten slots."""

    def __init__(self):
        super().__init__()
        self.now_ns = 50 * SLOT_NS
        self.budget = RetryBudget(ratio=0.5, minimum_per_s=0.3, window_s=10)
        self.calls, self.retries = deque(), deque()

    def asked(self, ask):
        with clock.use(lambda: self.now_ns):
            return ask()

    def in_window(self, times):
        return sum(self.now_ns // SLOT_NS - at_ns // SLOT_NS < 10 for at_ns in times)

    def left(self):
        return 0.5 * self.in_window(self.calls) + 3 - self.in_window(self.retries)

    # Steps of a quarter of a slot, so that the window's edges are met, and a few that pass it.
    @rule(quarters=st.integers(1, 12) | st.sampled_from([36, 39, 40, 41, 44, 400]))
    def wait(self, quarters):
        self.asked(self.budget.book)
        self.now_ns += quarters * SLOT_NS // 4

    @rule(count=st.integers(1, 2 * BATCH))
    def call(self, count):
        for _ in range(count):
            self.asked(self.budget.call)
            self.calls.append(self.now_ns)

    @rule()
    def withdraw(self):
        expected = self.left() >= 1
        assert self.asked(self.budget.withdraw) is expected
        if expected:
            self.retries.append(self.now_ns)

    @invariant()
    def as_much_is_left(self):
        assert math.isclose(self.asked(self.budget.remaining), self.left(), abs_tol=1e-9)


BudgetAgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestBudgetAgainstModel = BudgetAgainstModel.TestCase


def test_calls_are_counted_without_a_look_at_the_clock():
    looks = []

    def look():
        looks.append(1)
        return 10**12

    with clock.use(look):
        budget = RetryBudget()
        for _ in range(10 * BATCH):
            budget.call()
    assert len(looks) == 10


def test_a_clock_that_goes_back_is_another_clock():
    budget = RetryBudget(ratio=0, minimum_per_s=0.1)
    for seconds in (5, 4, 3):  # every run begins at the same time
        assert run_virtual(lambda seconds=seconds: two_withdrawals(budget, seconds)) == [
            True,
            False,
        ]


async def two_withdrawals(budget, seconds):
    await asyncio.sleep(seconds)
    return [budget.withdraw(), budget.withdraw()]


def test_threads_never_get_more_than_there_is():
    budget = RetryBudget(ratio=0, minimum_per_s=10, window_s=1000)
    granted = []

    def take():
        granted.extend(budget.withdraw() for _ in range(2000))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 10_000


def test_it_travels_with_its_numbers_and_without_its_counts():
    budget = RetryBudget(0.5, 0.1, 20)
    assert budget.withdraw()
    copy = pickle.loads(pickle.dumps(budget))  # noqa: S301 - our own bytes
    assert (copy.ratio, copy.minimum_per_s, copy.window_s) == (0.5, 0.1, 20)
    assert (budget.remaining(), copy.remaining()) == (1, 2)
    assert repr(copy) == "<RetryBudget 2 of 2 retries left>"


def test_copies_of_a_budget_for_a_name_are_the_one_of_their_process():
    one = RetryPrimitive(MockPrimitive("ask"), target="m-7")
    copy = pickle.loads(pickle.dumps(one))  # noqa: S301 - our own bytes
    assert copy.budget is budgets.of("m-7")


def test_steps_that_share_a_budget_for_a_step_share_its_copy():
    step = MockPrimitive("ask")
    pair = RetryPrimitive(step), RetryPrimitive(TimeoutPrimitive(step, 5))
    one, other = pickle.loads(pickle.dumps(pair))  # noqa: S301 - our own bytes
    assert one.budget is other.budget
    assert one.budget.target is one.primitive
    assert one.budget is not pair[0].budget


# Whose it is


def test_what_calls_the_same_model_shares_a_budget():
    def model(name):
        step = MockPrimitive("ask")
        step.model = name
        return step

    one, other = RetryPrimitive(model("m-1")), RetryPrimitive(TimeoutPrimitive(model("m-1"), 5))
    assert one.budget is other.budget
    assert RetryPrimitive(model("m-2")).budget is not one.budget


def test_what_calls_the_same_step_shares_a_budget():
    step = MockPrimitive("ask")
    assert RetryPrimitive(step).budget is RetryPrimitive(RetryPrimitive(step)).budget
    assert RetryPrimitive(step).budget is not RetryPrimitive(MockPrimitive("ask")).budget


def test_a_name_shares_a_budget_also_one_after_the_other():
    def left():
        gc.collect()
        retry = RetryPrimitive(MockPrimitive("ask"), target="billing api, in a test")
        retry.budget.withdraw()
        return retry.budget.granted() - retry.budget.remaining()

    assert [left(), left()] == [1, 2]


def test_a_budget_of_ones_own_is_used_and_none_sets_no_limit():
    budget = RetryBudget()
    assert RetryPrimitive(len, budget=budget).budget is budget
    assert RetryPrimitive(len, budget=None).budget is None


def test_budgets_of_steps_go_with_them_and_names_are_bounded():
    kept = RetryBudgets()
    held = kept.of(step := LambdaPrimitive(len))
    assert kept.of(step) is held
    del held, step
    for number in range(3 * RetryBudgets.KEPT):
        kept.of(f"tenant {number}")
        kept.of(LambdaPrimitive(len))
    gc.collect()
    assert len(kept._budgets) == RetryBudgets.KEPT
    assert len(budgets._kept) <= RetryBudgets.KEPT


# What it does to a retry


def test_an_exhausted_budget_raises_the_original_error_with_a_note():
    error = ConnectionError("down")
    step = MockPrimitive("ask", raise_error=error)
    retry = RetryPrimitive(step, budget=RetryBudget(ratio=0, minimum_per_s=0.1))

    async def main():
        with pytest.raises(ConnectionError) as caught:
            await retry(0)
        return caught.value

    with capture() as spans:
        assert run_virtual(main) is error
    assert step.call_count == 2
    assert "the retry budget of what it calls is used up" in error.__notes__[-1]
    (stopped,) = spans[-1].noted("retry_stopped")
    assert stopped.data == {"reason": "budget", "attempts": 2}


@pytest.mark.parametrize("options", [{}, {"timeout_seconds": 5}], ids=str)
def test_successes_are_counted_as_they_come(options):
    async def same(x):
        return x

    budget = RetryBudget()
    retry = RetryPrimitive(same, budget=budget, **options)

    async def main():
        for number in range(10 * BATCH):
            assert await retry(number) == number

    run_virtual(main)
    assert sum(budget._calls) == 10 * BATCH


def test_a_storm_of_a_thousand_callers_gets_the_minimum_and_a_fifth():
    step = MockPrimitive("ask", raise_error=ConnectionError)
    retry = RetryPrimitive(step, jitter=False)

    async def main():
        tasks = [asyncio.create_task(retry(number)) for number in range(1000)]
        await asyncio.wait(tasks)
        return {type(task.exception()) for task in tasks}

    assert run_virtual(main) == {ConnectionError}
    # 10 a second for 10 seconds, and a fifth of 1000 calls; all retries begin within 7 seconds.
    assert step.call_count == 1000 + 100 + 200


def test_a_retry_that_would_be_too_late_takes_nothing_out():
    budget = RetryBudget()
    retry = RetryPrimitive(
        MockPrimitive("ask", raise_error=ConnectionError),
        budget=budget,
        initial_delay=30,
        jitter=False,
        timeout_seconds=5,
    )

    async def main():
        with pytest.raises(ConnectionError):
            await retry(0)
        return budget.granted() - budget.remaining()

    assert run_virtual(main) == 0


ODD = [-1, math.nan, math.inf, True, "5", None]


@pytest.mark.parametrize("odd", ODD, ids=repr)
@pytest.mark.parametrize("name", ["ratio", "minimum_per_s", "window_s"])
def test_its_numbers_are_checked(name, odd):
    with pytest.raises(ConfigurationError, match=f"RetryBudget: {name}="):
        RetryBudget(**{name: odd})


def test_a_window_of_no_time_is_refused():
    with pytest.raises(ConfigurationError, match="RetryBudget: window_s=0"):
        RetryBudget(window_s=0)
