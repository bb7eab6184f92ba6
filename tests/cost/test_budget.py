"""Budget: what it sets aside, whom it lets wait, what it refuses; never overspent."""

import asyncio
import math
import threading
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from provider import DOLLAR, Provider, llm

from tta_notebook import (
    ArgumentError,
    Budget,
    BudgetExceededError,
    CachePrimitive,
    ConfigurationError,
    Ledger,
    LLMPrimitive,
    ModelDelta,
    ParallelPrimitive,
    Price,
    PriceBook,
    RetryPrimitive,
    ScriptedModel,
    TokenCorrections,
    UnboundedCostError,
    Usage,
    WorkflowContext,
    capture,
    configured,
)
from tta_notebook.core import clock
from tta_notebook.cost.accounts import Balance, MemoryAccount, Verdict
from tta_notebook.testing import cancel_everywhere, run_virtual


def within(*budgets, **options):
    return WorkflowContext(**options).using(guards=budgets, prices=DOLLAR)


async def outcomes(calls):
    """Await all at once; return how many succeeded, and the errors."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    return len(results) - len(errors), errors


# What is spent


def test_a_call_sets_its_worst_case_aside_and_gives_back_what_it_did_not_use():
    budget, provider = Budget(100), Provider(words=3)

    async def main():
        call = asyncio.create_task(llm(provider)("hello", within(budget)))
        await asyncio.sleep(0.015)
        under_way = budget.status()
        await call
        return under_way

    under_way = run_virtual(main)
    assert (under_way.held_usd, under_way.spent_usd, under_way.left_usd) == (10, 0, 90)
    after = budget.status()
    assert (after.held_usd, after.spent_usd, after.left_usd) == (0, 3, 97)
    assert after.used_rate == 0.03


@pytest.mark.parametrize("watched", [False, True])
def test_a_thousand_calls_at_once_never_settle_above_the_limit(watched):
    price = PriceBook(overrides={"m": Price(input_per_1m=1, output_per_1m=2_000)})
    provider, budget, ledger = Provider(words=3, delay_s=0.001), Budget(1), Ledger()
    model = LLMPrimitive(provider)  # nothing stated: 1024 tokens, $2.05 at worst

    async def main():
        contexts = [
            WorkflowContext().using(guards=(budget, ledger), prices=price) for _ in range(1000)
        ]
        return await outcomes(model("two words", context) for context in contexts)

    if watched:
        with capture():
            succeeded, errors = run_virtual(main)
    else:
        succeeded, errors = run_virtual(main)
    assert budget.status().spent_usd <= 1
    assert budget.status().held_usd == 0
    assert ledger.totals().cost_pico == provider.billed.output_tokens * 2 * 10**9 + (
        provider.billed.input_tokens * 10**6
    )
    # A call costs $0.006002 while there is enough, and the last ones get what is left.
    assert succeeded in (166, 167)
    assert all(isinstance(error, BudgetExceededError) for error in errors)
    assert max(provider.asked) < 1024


def test_a_call_without_a_stated_maximum_is_held_at_the_primitives_own():
    budget = Budget(5_000)

    async def main():
        call = asyncio.create_task(LLMPrimitive(Provider(delay_s=1))("x", within(budget)))
        await asyncio.sleep(0.5)
        held = budget.status().held_usd
        await call
        return held

    assert run_virtual(main) == 1024


def test_an_answer_is_capped_to_what_is_left():
    budget, provider = Budget(4), Provider(words=9)
    assert len(run_virtual(lambda: llm(provider)("hello", within(budget))).split()) == 4
    assert provider.asked == [4]
    assert budget.status().left_usd == 0
    with pytest.raises(BudgetExceededError) as raised:
        run_virtual(lambda: llm(provider)("hello", within(budget)))
    assert provider.calls == 1
    assert (raised.value.limit_usd, raised.value.spent_usd, raised.value.held_usd) == (4, 4, 0)
    assert "Nothing was asked" in str(raised.value)


def test_an_answer_is_not_capped_below_the_least_that_is_of_use():
    budget, provider = Budget(4, min_output_tokens=5), Provider()
    with pytest.raises(BudgetExceededError):
        run_virtual(lambda: llm(provider)("hello", within(budget)))
    assert provider.calls == 0


def test_calls_wait_for_money_that_calls_under_way_give_back():
    budget, provider = Budget(10), Provider(words=1, delay_s=1)

    async def main():
        start = asyncio.get_running_loop().time()
        done = await outcomes(llm(provider)("hello", within(budget)) for _ in range(10))
        return done, asyncio.get_running_loop().time() - start

    (succeeded, errors), took = run_virtual(main)
    # One at a time holds the $10 and costs $1; the last ones are capped to what is left.
    assert (succeeded, errors) == (10, [])
    assert took == pytest.approx(10)
    assert budget.status().spent_usd == 10


def test_waiting_ends_with_the_time_that_is_allowed():
    async def main(budget, context=None):
        slow = asyncio.create_task(llm(Provider(words=10, delay_s=100))("x", within(budget)))
        await asyncio.sleep(1)
        start = asyncio.get_running_loop().time()
        with pytest.raises(BudgetExceededError) as raised:
            await llm(Provider())("x", context or within(budget))
        waited = asyncio.get_running_loop().time() - start
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
        return waited, str(raised.value)

    waited, message = run_virtual(lambda: main(Budget(10)))
    assert waited == pytest.approx(60)
    assert "wait longer with max_wait_seconds" in message
    assert run_virtual(lambda: main(Budget(10, max_wait_seconds=2)))[0] == pytest.approx(2)
    assert run_virtual(lambda: main(Budget(10, max_wait_seconds=0)))[0] == 0


def test_who_waits_is_served_in_order():
    budget, provider = Budget(10), Provider(words=1, delay_s=1)
    order = []

    async def one(number):
        await llm(provider)("x", within(budget))
        order.append(number)

    async def main():
        await asyncio.gather(*(one(number) for number in range(6)))

    run_virtual(main)
    assert order == list(range(6))


def test_failed_attempts_that_were_not_billed_give_everything_back():
    budget, provider = Budget(100), Provider(words=2, fails={0, 1})
    step = RetryPrimitive(llm(provider), max_retries=2, initial_delay=0.1)
    run_virtual(lambda: step("hello", within(budget)))
    assert budget.status().spent_usd == 2
    assert budget.status().held_usd == 0


def test_a_budget_error_is_not_retried():
    budget, provider = Budget(0), Provider()
    step = RetryPrimitive(llm(provider), max_retries=5, initial_delay=10)
    with pytest.raises(BudgetExceededError):
        run_virtual(lambda: step("hello", within(budget)))
    assert provider.calls == 0


def test_a_hit_costs_nothing_and_is_let_through_when_all_is_spent():
    budget, provider = Budget(5), Provider(words=5)
    step = CachePrimitive(llm(provider))
    run_virtual(lambda: step("hello", within(budget)))
    assert budget.status().left_usd == 0
    assert run_virtual(lambda: step("hello", within(budget))) == "w w w w w "


def test_wherever_a_call_is_cancelled_nothing_stays_set_aside():
    made = []

    async def main():
        budget, provider = Budget(10), Provider(words=2)
        made.append((budget, provider))
        async with asyncio.TaskGroup() as group:
            group.create_task(llm(provider)("x", within(budget)))
            await asyncio.sleep(0)
            # It waits for what the other one holds, and is cancelled there, too.
            await llm(provider)("x", within(budget))

    def check(_):
        budget, provider = made[-1]
        assert budget.status().held_usd == 0
        assert budget.status().spent_usd == provider.billed.output_tokens

    report = cancel_everywhere(main, check=check)
    assert len(report.runs) > 6


def test_a_call_that_is_let_through_by_one_budget_and_refused_by_another_holds_nothing():
    large, small = Budget(100), Budget(0)
    with pytest.raises(BudgetExceededError):
        run_virtual(lambda: llm(Provider())("x", within(large, small)))
    assert large.status().held_usd == 0


def test_the_tightest_of_several_budgets_caps_the_answer():
    provider = Provider(words=9)
    run_virtual(lambda: llm(provider)("x", within(Budget(7), Budget(3), Budget(5))))
    assert provider.asked == [3]


def test_settling_twice_spends_once():
    async def main():
        budget = Budget(10)
        hold = await budget.reserve_amount(4, WorkflowContext(), "step")
        hold.settle(Usage())
        hold.settle(Usage())
        hold.release()
        return budget.status()

    status = run_virtual(main)
    assert (status.spent_usd, status.held_usd) == (4, 0)


def test_experience_with_a_model_sets_less_of_its_input_aside():
    # A dollar for a token of input; the provider counts words, and says nothing beforehand.
    prices = PriceBook(overrides={"m": Price(input_per_1m=1_000_000, output_per_1m=0)})

    class Uncounted(Provider):
        count_input_tokens = None

        async def stream(self, request):
            into = len(request.messages[-1].content.split())
            yield ModelDelta("w", usage=Usage(into, 1))

    budget = Budget(100_000, corrections=TokenCorrections(least_calls=3))
    events = []

    class Watch:
        async def reserve(self, call):
            events.append(budget.status().held_usd)
            return await Budget(1, "request").reserve_amount(0, call.context, "watch")

    async def ask():
        context = WorkflowContext().using(guards=(budget, Watch()), prices=prices)
        await llm(Uncounted())("one two three four five six seven eight", context)

    for _ in range(5):
        run_virtual(ask)
    assert events[0] == events[2] > 3 * 8
    assert 8 <= events[4] < events[0] / 2
    assert budget.status().spent_usd == 5 * 8


# What cannot be told


def test_a_model_without_a_price_is_refused_with_what_to_do():
    with pytest.raises(UnboundedCostError) as raised:
        run_virtual(lambda: llm(Provider(name="mystery"))("x", within(Budget(5))))
    assert raised.value.model == "mystery"
    assert "PriceBook(overrides={'mystery': Price(" in str(raised.value)


def test_the_local_model_is_free_and_never_refused():
    provider = Provider(name="local")
    provider.source = "local"
    budget = Budget(0)
    model = llm(provider)
    context = WorkflowContext().using(guards=(budget,))
    assert run_virtual(lambda: model("x", context)) == "w w w w w "


def test_a_script_named_like_a_real_model_has_no_price_of_its_own():
    model = LLMPrimitive(ScriptedModel("yes", name="gpt-4o"))
    with pytest.raises(UnboundedCostError):
        model.run_sync("x", WorkflowContext().using(guards=(Budget(5),)))


def test_a_provider_that_bills_beyond_its_own_maximum_is_told_of():
    events = []

    class Greedy(Provider):
        async def stream(self, request):
            async for delta in super().stream(request):
                if delta.usage is not None:
                    yield ModelDelta(usage=Usage(0, 50))
                else:
                    yield delta

    budget = Budget(100, on_event=events.append, warn_at=())
    run_virtual(lambda: llm(Greedy())("x", within(budget)))
    assert [event.kind for event in events] == ["overrun"]
    assert budget.status().spent_usd == 50


@pytest.mark.parametrize("tokens", [math.nan, -5, 1.5, 10**30, None])
def test_a_usage_that_cannot_be_is_estimated_and_not_trusted(tokens):
    class Odd(Provider):
        async def stream(self, request):
            async for delta in super().stream(request):
                yield delta if delta.usage is None else replace(delta, usage=Usage(0, tokens))

    budget = Budget(100)
    run_virtual(lambda: llm(Odd(words=4))("x", within(budget)))
    assert budget.status().spent_usd == 4


# Windows and scopes


def at(text):
    return datetime.fromisoformat(text).timestamp()


class Calendar:
    """A clock that shows the wall time it is set to."""

    def __init__(self, text):
        self.seconds = at(text)

    def set(self, text):
        self.seconds = at(text)

    def now_ns(self):
        return int(self.seconds * 1e9)


@pytest.fixture
def calendar(monkeypatch):
    calendar = Calendar("2026-03-28T12:00:00+00:00")
    monkeypatch.setattr(clock, "now_ns", calendar.now_ns)
    return calendar


def spend(budget, **options):
    try:
        run_virtual(lambda: llm(Provider(words=3))("x", within(budget, **options)))
    except BudgetExceededError:
        return False
    return True


def test_a_day_ends_at_midnight_in_its_zone(calendar):
    budget = Budget(3, "day", timezone="Europe/Berlin")
    assert [spend(budget), spend(budget)] == [True, False]
    calendar.set("2026-03-28T22:59:59+00:00")
    assert not spend(budget)
    calendar.set("2026-03-28T23:00:00+00:00")  # midnight in Berlin
    assert [spend(budget), spend(budget)] == [True, False]
    assert budget.status().window == "2026-03-29"
    calendar.set("2026-03-29T21:59:59+00:00")  # that day has 23 hours
    assert not spend(budget)
    calendar.set("2026-03-29T22:00:00+00:00")
    assert spend(budget)


def test_a_clock_that_is_set_back_over_midnight_does_not_give_the_day_anew(calendar):
    budget = Budget(3, "day")
    assert spend(budget)
    calendar.set("2026-03-29T00:00:01+00:00")
    assert spend(budget)
    calendar.set("2026-03-28T23:59:59+00:00")
    assert not spend(budget)


def test_a_month_begins_on_the_first(calendar):
    budget = Budget(3, "month")
    assert [spend(budget), spend(budget)] == [True, False]
    calendar.set("2026-03-31T23:59:59+00:00")
    assert not spend(budget)
    calendar.set("2026-04-01T00:00:00+00:00")
    assert spend(budget)
    assert budget.status().window == "2026-04"


def test_a_call_that_ends_after_midnight_is_spent_where_it_was_set_aside(calendar):
    budget = Budget(20, "day")

    async def main():
        call = asyncio.create_task(llm(Provider(words=3))("x", within(budget)))
        await asyncio.sleep(0.01)
        calendar.set("2026-03-29T00:00:00+00:00")
        await call

    run_virtual(main)
    assert budget.status().spent_usd == 0
    calendar.set("2026-03-28T23:00:00+00:00")
    assert budget.status().spent_usd == 3


def test_every_user_has_a_budget_of_its_own():
    budget = Budget(3, scope="user")
    assert [spend(budget, user_id="a"), spend(budget, user_id="a")] == [True, False]
    assert spend(budget, user_id="b")
    assert budget.status("a").spent_usd == 3
    assert budget.status("c").spent_usd == 0
    # Those that say no user share one.
    assert [spend(budget), spend(budget)] == [True, False]
    with pytest.raises(ArgumentError, match="whose"):
        budget.status()


@pytest.mark.parametrize(
    ("scope", "one", "other"),
    [
        ("workflow", {"workflow_id": "a"}, {"workflow_id": "b"}),
        ("session", {"session_id": "a"}, {"session_id": "b"}),
        ("team", {"tags": {"team": "a"}}, {"tags": {"team": "b"}}),
        ("tenant", {"metadata": {"tenant": 1}}, {"metadata": {"tenant": 2}}),
        (lambda call: call.context.user_id == "vip", {"user_id": "vip"}, {"user_id": "x"}),
    ],
)
def test_any_key_of_the_context_can_have_a_budget(scope, one, other):
    budget = Budget(3, scope=scope)
    assert [spend(budget, **one), spend(budget, **one), spend(budget, **other)] == [
        True,
        False,
        True,
    ]


def test_every_model_can_have_a_budget_of_its_own():
    price = Price(input_per_1m=0, output_per_1m=1_000_000)
    prices = PriceBook(overrides={"m": price, "n": price})
    budget = Budget(3, scope="model")

    def ask(name):
        context = WorkflowContext().using(guards=(budget,), prices=prices)
        return run_virtual(lambda: llm(Provider(words=3, name=name))("x", context))

    ask("m")
    ask("n")
    assert budget.status("m").spent_usd == budget.status("n").spent_usd == 3
    with pytest.raises(BudgetExceededError, match="model m"):
        ask("m")


def test_a_run_has_a_budget_with_all_that_runs_inside_it():
    budget, provider = Budget(8, "run"), Provider(words=3)
    ask = llm(provider)

    async def twice(text, context):
        await ask(text)  # without a context: it is the current one's child
        return await ask(text, context)

    step = ParallelPrimitive([twice, ask])
    run_virtual(lambda: step("x", within(budget)))
    run_virtual(lambda: step("x", within(budget)))
    # Three calls share eight dollars, and the next run has eight of its own.
    assert provider.asked == [8, 5, 2, 8, 5, 2]


def test_a_request_has_a_limit_of_its_own_each_time():
    budget, provider = Budget(2, "request"), Provider()
    for _ in range(3):
        run_virtual(lambda: llm(provider)("x", within(budget)))
    assert provider.asked == [2, 2, 2]
    with pytest.raises(ArgumentError, match="one per request"):
        budget.status()


def test_what_a_ledger_has_of_the_day_counts_as_spent():
    ledger = Ledger(DOLLAR)
    ledger.record("m", Usage(output_tokens=6), user="a")
    provider = Provider(words=9)
    run_virtual(lambda: llm(provider)("x", within(Budget(10, "day", ledger=ledger))))
    assert provider.asked == [4]
    scoped = Budget(10, "day", "user", ledger=ledger)
    run_virtual(lambda: llm(provider)("x", within(scoped, user_id="a")))
    run_virtual(lambda: llm(provider)("x", within(scoped, user_id="b")))
    assert provider.asked[1:] == [4, 10]


# What it tells


def test_levels_are_told_of_once_each():
    events = []
    budget = Budget(10, warn_at=(0.9, 0.5), on_event=events.append, name="tests")
    for _ in range(5):
        spend(budget)
    assert [event.level or event.kind for event in events] == [
        "capped",  # the second call: seven of its ten dollars are left
        0.5,
        "capped",
        0.9,
        "capped",
        "refused",
    ]
    assert {event.budget for event in events} == {"tests"}
    assert events[1].status.spent_usd == 6


def test_a_hook_that_raises_costs_no_answer(caplog):
    def fail(_):
        raise RuntimeError

    assert spend(Budget(3, on_event=fail, warn_at=(0.5,)))
    assert "on_event" in caplog.text


def test_the_trace_says_how_the_budget_stood_after_each_call():
    with capture() as spans:
        spend(Budget(20, name="tests"))
    note = spans[0].noted("budget")[0].data
    assert (note["budget"], note["spent_usd"], note["limit_usd"]) == ("tests", 3, 20)


def test_the_trace_says_for_which_time_the_budget_is(calendar):
    calendar.set("2026-03-28T23:00:00+00:00")  # midnight in Berlin, of a day with 23 hours
    with capture() as spans:
        spend(Budget(20, "day", timezone="Europe/Berlin"))
        spend(Budget(20, "run"))
    day, each_run = (span.noted("budget")[0].data for span in spans)
    assert (day["per"], day["window"]) == ("day", "2026-03-29")
    assert day["start_ns"] == calendar.now_ns()
    assert day["end_ns"] - day["start_ns"] == 23 * 3_600 * 10**9
    assert each_run["per"] == "run"
    assert not {"window", "start_ns", "end_ns"} & set(each_run)


def test_standing_budgets_hold_every_run():
    budget = Budget(3)
    with configured(guards=[budget], prices=DOLLAR):
        run_virtual(lambda: llm(Provider(words=3))("x"))
        with pytest.raises(BudgetExceededError):
            run_virtual(lambda: llm(Provider())("x"))


def test_a_run_can_be_given_a_budget():
    budget = Budget(2)
    provider = Provider(words=9)

    async def main():
        return await llm(provider).run("x", within(), budget=budget)

    run = run_virtual(main)
    assert (run.cost_usd, budget.status().spent_usd, provider.asked) == (2, 2, [2])
    with pytest.raises(BudgetExceededError):
        llm(provider).run_sync("x", within(), budget=budget)
    with pytest.raises(ConfigurationError, match=r"Budget\(0\.5\)"):
        llm(provider).run_sync("x", within(), budget=0.5)


# Bad configuration


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"limit_usd": -1}, "limit_usd"),
        ({"limit_usd": math.nan}, "usd"),
        ({"limit_usd": math.inf}, "usd"),
        ({"limit_usd": True}, "usd"),
        ({"limit_usd": "ten"}, "usd"),
        ({"limit_usd": None}, "usd"),
        ({"per": "week"}, "per"),
        ({"scope": ""}, "scope"),
        ({"scope": 3}, "scope"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": ""}, "timezone"),
        ({"warn_at": (0,)}, "warn_at"),
        ({"warn_at": (1.5,)}, "warn_at"),
        ({"max_wait_seconds": -1}, "max_wait_seconds"),
        ({"max_wait_seconds": math.nan}, "max_wait_seconds"),
        ({"min_output_tokens": 0}, "min_output_tokens"),
        ({"path": "x.db"}, "name"),
        ({"path": "x.db", "name": "x", "per": "run"}, "per"),
        ({"path": "x.db", "name": "x", "limit_usd": 10**9}, "limit_usd"),
    ],
)
def test_what_means_nothing_is_refused_at_construction(arguments, field):
    with pytest.raises(ConfigurationError, match=field):
        Budget(**{"limit_usd": 1, **arguments})


@pytest.mark.parametrize("limit", [1, 0.5, "0.25", Decimal("1.5"), 0])
def test_amounts_may_be_written_in_any_way(limit):
    assert Budget(limit).limit_usd == float(limit)


# The arithmetic


def test_threads_and_loops_share_a_budget():
    budget, provider = Budget(60), Provider(words=3, delay_s=0)

    def work():
        async def main():
            await outcomes(llm(provider)("x", within(budget)) for _ in range(20))

        asyncio.run(main())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    status = budget.status()
    assert status.held_usd == 0
    assert status.spent_usd == provider.billed.output_tokens == 60


@given(
    limit=st.integers(0, 100),
    spent=st.integers(0, 120),
    held=st.integers(0, 100),
    lost=st.integers(0, 20),
    least=st.integers(1, 50),
    more=st.integers(0, 50),
)
def test_a_judgement_never_gives_more_than_there_is(limit, spent, held, lost, least, more):
    balance = Balance(spent, held, lost)
    amount = balance.judge(limit, least, least + more)
    if amount is Verdict.REFUSE:
        assert spent + lost + least > limit
    elif amount is Verdict.WAIT:
        assert held
        assert spent + held + lost + least + more > limit
    else:
        assert least <= amount <= least + more
        assert spent + held + lost + amount <= limit


class AccountMachine(RuleBasedStateMachine):
    """An account against a list of what was taken."""

    @initialize(limit=st.integers(0, 1_000))
    def begin(self, limit):
        self.limit = limit
        self.account = MemoryAccount()
        self.holds = {}
        self.spent = 0

    @rule(least=st.integers(1, 200), more=st.integers(0, 200))
    def take(self, least, more):
        taken = asyncio.run(self.account.take(self.limit, least, least + more))
        if taken.hold is None:
            free = self.limit - self.spent - sum(self.holds.values())
            assert free < least + more
        else:
            self.holds[taken.hold] = taken.amount

    @rule(data=st.data())
    def settle(self, data):
        if self.holds:
            hold = data.draw(st.sampled_from(sorted(self.holds)))
            cost = data.draw(st.integers(0, self.holds.pop(hold)))
            self.spent += cost
            self.account.settle(hold, cost)
            self.account.settle(hold, cost)

    @rule(data=st.data())
    def release(self, data):
        if self.holds:
            hold = data.draw(st.sampled_from(sorted(self.holds)))
            self.holds.pop(hold)
            self.account.release(hold)

    @invariant()
    def it_adds_up(self):
        if hasattr(self, "account"):
            balance = self.account.balance()
            assert (balance.spent, balance.held) == (self.spent, sum(self.holds.values()))
            assert balance.spent + balance.held <= self.limit


AccountMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30)
TestAccount = AccountMachine.TestCase


def test_a_file_is_not_touched_before_it_is_needed(tmp_path):
    Budget(1, path=tmp_path / "b.db", name="b")
    assert list(tmp_path.iterdir()) == []
