"""One budget, ledger or limit holds for all workers together."""

import asyncio
import gc
from contextlib import suppress
from random import Random

import pytest
from crew import Box, LocalCrew, Meter, die, over
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_notebook import (
    Budget,
    BudgetExceededError,
    FallbackPrimitive,
    LambdaPrimitive,
    Ledger,
    LLMPrimitive,
    PlannedCall,
    Price,
    PriceBook,
    RateLimit,
    Reply,
    ScriptedModel,
    TimeoutPrimitive,
    Usage,
    WorkflowContext,
    WorkflowError,
    capture,
)
from tta_notebook.scale.guarding import Channel, RemoteHold
from tta_notebook.scale.messages import Answer, Settle
from tta_notebook.testing import cancel_everywhere, run_virtual

# One dollar a token of output; input is free.
DOLLAR = PriceBook(overrides={"m": Price(input_per_1m=0, output_per_1m=1_000_000)}, bundled=False)


def scripted(*, words=2, delay_s=1.0, asked=None):
    """Return a model whose answers have so many words, each a token, and no more than allowed."""

    def reply(request):
        if asked is not None:
            asked.value.append(request.max_output_tokens)
        said = min(words, request.max_output_tokens)
        usage = Usage(input_tokens=1, output_tokens=said)
        return Reply(["so "] * said, usage=usage, delay_s=delay_s / max(1, said))

    return ScriptedModel([reply] * 10_000, name="m")


def asking(*, most=4, **options):
    return LLMPrimitive(scripted(**options), max_output_tokens=most, name="ask")


def under(*guards):
    return WorkflowContext("w").using(guards=guards, prices=DOLLAR)


def texts(count):
    return [f"q{number}" for number in range(count)]


def kinds(results):
    return [type(result).__name__ for result in results]


class Watch:
    """A guard that sets everything aside that is asked for, and keeps account of it."""

    def __init__(self, *, reserve=None, settle=None, cap=None, counts_replays=False):
        self.open = self.settled = self.released = 0
        self.calls = []
        self.usages = []
        self.counts_replays = counts_replays
        self._reserve, self._settle, self.max_output_tokens = reserve, settle, cap

    async def reserve(self, call):
        self.calls.append(call)
        if self._reserve is not None:
            await self._reserve(call)
        self.open += 1
        return Watched(self)


class Watched:
    def __init__(self, watch):
        self.watch, self.is_open = watch, True
        self.max_output_tokens = watch.max_output_tokens

    def _close(self):
        assert self.is_open, "settled or released twice"
        self.is_open = False
        self.watch.open -= 1

    def settle(self, usage):
        self._close()
        self.watch.settled += 1
        self.watch.usages.append(usage)
        if self.watch._settle is not None:
            self.watch._settle(usage)

    def release(self):
        self._close()
        self.watch.released += 1


# Money


@settings(deadline=None, max_examples=50)
@given(
    limit_usd=st.integers(0, 60),
    items=st.integers(0, 30),
    concurrency=st.integers(1, 12),
    delay_s=st.sampled_from([0.0, 0.7]),
    kills=st.lists(st.floats(0, 8), max_size=3),
    seed=st.integers(0, 2**32),
)
def test_no_more_is_spent_than_the_budget_allows_whatever_happens_to_workers(
    limit_usd, items, concurrency, delay_s, kills, seed
):
    budget, ledger, watch = Budget(limit_usd), Ledger(), Watch()
    crew = LocalCrew(4, seed=seed, delay_s=delay_s)
    mapped = over(
        crew, asking(), max_concurrency=concurrency, mode="collect", attempts=5, chunk_size=3
    )

    async def main():
        for number, at_s in enumerate(kills):
            asyncio.get_running_loop().call_later(at_s, crew.kill, f"w{number}")
        return await mapped.run(texts(items), under(budget, ledger, watch))

    run = run_virtual(main, seed=seed)
    status = budget.status()
    assert status.spent_usd <= limit_usd
    assert (status.held_usd, watch.open) == (0, 0)
    assert round(ledger.total_usd, 6) == round(status.spent_usd, 6)
    answered = sum(not isinstance(result, Exception) for result in run.output)
    assert set(kinds(run.output)) <= {"LLMText", "BudgetExceededError"}
    # Each was told to have used two tokens; what was lost counts on top, but for the guards alone.
    said = sum(len(x.split()) for x in run.output if not isinstance(x, Exception))
    assert said == (0 if run.usage is None else run.usage.output_tokens)
    assert (run.cost_usd or 0) == said
    if not kills:
        assert status.spent_usd == said
        assert answered >= min(items, limit_usd // 4)
    assert status.spent_usd >= said


def test_a_refusal_reaches_the_call_that_asked_and_its_workflow_can_catch_it():
    budget = Budget(4, max_wait_seconds=0)
    workflow = FallbackPrimitive(asking(words=4), LambdaPrimitive(lambda _: "spared"))
    mapped = over(LocalCrew(2), workflow, max_concurrency=1)
    found = run_virtual(mapped.execute(texts(3), under(budget)))
    assert [str(x).strip() for x in found] == ["so so so so", "spared", "spared"]


def test_a_refusal_is_the_error_that_it_is_in_one_process():
    budget = Budget(4)
    mapped = over(LocalCrew(2), asking(words=4), max_concurrency=1, mode="collect")
    found = run_virtual(mapped.execute(texts(2), under(budget)))
    here = Budget(0)
    with pytest.raises(BudgetExceededError) as caught:
        run_virtual(asking().execute("x", under(here)))
    assert isinstance(found[1], BudgetExceededError)
    assert vars(found[1]).keys() - {"__notes__"} == vars(caught.value).keys() - {"__notes__"}
    assert (found[1].spent_usd, found[1].limit_usd) == (4, 4)


def test_a_call_that_waits_for_money_is_woken_by_what_another_worker_gives_back():
    budget = Budget(6, max_wait_seconds=100, min_output_tokens=4)

    async def main():
        mapped = over(LocalCrew(2), asking(words=2, delay_s=5), max_concurrency=2, chunk_size=1)
        found = await mapped.execute(texts(2), under(budget))
        return found, asyncio.get_running_loop().time()

    found, ended_s = run_virtual(main)
    assert kinds(found) == ["LLMText", "LLMText"]
    # Four of six are set aside for the first; it uses two, and then there are four for the second.
    assert ended_s == 10
    assert budget.status().spent_usd == 4


def test_what_a_hold_pays_for_reaches_the_model():
    asked = Box([])
    budget = Budget(7)
    mapped = over(LocalCrew(2), asking(words=4, asked=asked), max_concurrency=1)
    run_virtual(mapped.execute(texts(2), under(budget)))
    assert asked.value == [4, 3]


def test_a_guard_that_knows_no_limit_leaves_the_models_own():
    asked = Box([])
    run_virtual(over(LocalCrew(1), asking(asked=asked)).execute(texts(1), under(Watch())))
    assert asked.value == [4]


def test_the_guard_sees_the_call_and_the_context_of_the_map():
    watch = Watch()
    context = WorkflowContext("w", user_id="ada").using(guards=[watch], prices=DOLLAR)
    run = run_virtual(over(LocalCrew(1), asking()).run(["one two"], context))
    (call,) = watch.calls
    assert (call.model, call.provider, call.source, call.max_output_tokens) == (
        "m",
        "scripted",
        "mock",
        4,
    )
    assert call.input_tokens > 0
    assert call.quote.worst_case(0, 4) == 4 * 10**12
    assert call.context.user_id == "ada"
    assert call.context.span is run.root


def test_a_rate_limit_holds_for_all_workers_together():
    limit = RateLimit(requests_per_minute=60, burst=1 / 60)

    async def main():
        mapped = over(LocalCrew(3), asking(delay_s=0), max_concurrency=30)
        await mapped.execute(texts(31), under(limit))
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == pytest.approx(30, abs=0.5)


# Lost


def test_open_calls_of_a_lost_worker_count_as_spent_and_are_noted():
    budget, ledger = Budget(100), Ledger()
    crew = LocalCrew(1)

    async def main():
        mapped = over(crew, asking(delay_s=10), max_concurrency=3)
        run = mapped.start(texts(3), under(budget, ledger))
        await asyncio.sleep(5)
        crew.kill("w0")
        crew.join("w1")
        await run
        return run

    run = run_virtual(main)
    (note,) = run.root.noted("worker_lost")
    assert note.data == {"worker": "w0", "items": 3, "open_calls": 3}
    # Three calls that may have used four each, and three that used two.
    assert budget.status().spent_usd == ledger.total_usd == 3 * 4 + 3 * 2
    assert run.cost_usd == 6
    usages = [entry.usage for entry in ledger.entries]
    assert [usage.output_tokens for usage in usages] == [4, 4, 4, 2, 2, 2]
    assert [usage.estimated for usage in usages] == [True] * 3 + [False] * 3
    assert all(usage.input_tokens > 0 for usage in usages)


def test_a_call_that_was_still_waiting_when_its_worker_was_lost_costs_nothing():
    gate = {}

    async def wait(call):
        await gate.setdefault("open", asyncio.Event()).wait()

    watch = Watch(reserve=wait)

    async def main():
        crew = LocalCrew(1)
        run = over(crew, asking()).start(texts(1), under(watch))
        await asyncio.sleep(5)
        crew.kill("w0")
        await asyncio.sleep(5)
        crew.join("w1")
        gate["open"].set()
        return await run

    assert kinds(run_virtual(main)) == ["LLMText"]
    assert (len(watch.calls), watch.open, watch.settled, watch.released) == (2, 0, 1, 0)


def test_an_item_that_ends_every_worker_within_a_call_is_booked_every_time():
    async def ends(x, context):
        await asking(delay_s=0).execute("x", context)
        if x:
            await asyncio.sleep(1)  # until it is told what the call used
            await die()
        return x

    ledger = Ledger()
    mapped = over(LocalCrew(1), LambdaPrimitive(ends), mode="collect", attempts=3)
    found = run_virtual(mapped.execute(texts(1), under(ledger)))
    assert kinds(found) == ["WorkerLostError"]
    assert ledger.total_usd == 6


def test_a_chunk_that_never_ends_is_booked_at_the_most_it_can_have_cost():
    budget = Budget(100)

    async def main():
        crew = LocalCrew(1, stubborn=["w0"])
        run = over(crew, asking(delay_s=1000), grace_s=3).start(texts(2), under(budget))
        await asyncio.sleep(1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    run_virtual(main)
    status = budget.status()
    assert (status.spent_usd, status.held_usd) == (8, 0)


# Given up


@pytest.mark.parametrize("is_answered", [True, False])
def test_a_call_that_is_given_up_while_it_asks_leaves_nothing_set_aside(is_answered):
    async def wait(call):
        await asyncio.sleep(0.5 if is_answered else 1000)

    watch = Watch(reserve=wait)

    async def main():
        # Answers take up to a second: some calls are given up when they are granted already.
        run = over(LocalCrew(2, delay_s=1), asking(), max_concurrency=8).start(
            texts(8), under(watch)
        )
        await asyncio.sleep(1.5)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main)
    assert watch.open == 0
    assert len(watch.calls) > 0


def test_a_step_that_times_out_while_it_waits_for_money_gives_it_back():
    async def wait(call):
        await asyncio.sleep(3)

    watch = Watch(reserve=wait)
    crew = LocalCrew(1, delay_s=0.1)
    mapped = over(crew, TimeoutPrimitive(asking(), timeout_seconds=2), mode="collect")
    assert kinds(run_virtual(mapped.execute(texts(2), under(watch)))) == ["StepTimeoutError"] * 2
    assert (watch.open, watch.settled, watch.released) == (0, 0, 0)
    assert crew.answers == 0


def test_what_a_step_has_set_aside_and_forgotten_is_given_back_when_its_chunk_ends():
    async def forget(x, context):
        call = PlannedCall("m", 1, 4, context)
        await context.guards[0].reserve(call)
        return x

    watch = Watch()
    run_virtual(over(LocalCrew(2), LambdaPrimitive(forget)).execute(texts(4), under(watch)))
    assert (watch.open, watch.settled, watch.released) == (0, 0, 4)


def test_a_guarded_map_can_be_cancelled_at_every_await_and_every_hold_is_closed():
    state = {}

    async def scenario():
        async def wait(call):
            await asyncio.sleep(0.2)

        state["watch"], state["budget"] = Watch(reserve=wait), Budget(9)
        mapped = over(LocalCrew(2, delay_s=0.3), asking(), max_concurrency=2, mode="collect")
        with capture():
            found = await mapped.execute(texts(4), under(state["watch"], state["budget"]))
        return len(found)

    def check(cancelled):
        gc.collect()
        assert state["watch"].open == 0
        assert state["budget"].status().held_usd == 0

    report = cancel_everywhere(scenario, check=check)
    assert report.suspensions > 10


def test_a_guard_that_swallows_its_cancellation_gets_its_hold_back():
    async def stubborn(call):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(100)

    watch = Watch(reserve=stubborn)

    async def main():
        run = over(LocalCrew(1), asking()).start(texts(1), under(watch))
        await asyncio.sleep(1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    run_virtual(main)
    assert (watch.open, watch.released) == (0, 1)


# The line


def line():
    """Return a channel and what is sent through it."""
    sent = []
    return Channel(sent.append, asyncio.get_running_loop()), sent


def a_call():
    return PlannedCall("m", 1, 4, WorkflowContext())


def test_a_hold_is_settled_or_released_once():
    async def main():
        channel, sent = line()
        settled, released = (RemoteHold(channel, 7, number, 4) for number in (1, 2))
        settled.settle({"completion_tokens": 3})
        released.release()
        for hold in (settled, released):
            hold.settle(Usage(output_tokens=9))
            hold.release()
        return sent

    assert run_virtual(main) == [
        Settle(7, 1, Usage(output_tokens=3)),
        Settle(7, 2, None),
    ]


def test_a_usage_that_nobody_can_read_is_none_at_all():
    async def main():
        channel, sent = line()
        RemoteHold(channel, 7, 1, 4).settle(object())
        return sent

    assert run_virtual(main) == [Settle(7, 1, Usage())]


def test_a_question_that_is_given_up_is_taken_back_and_its_answer_ignored():
    async def main():
        channel, sent = line()
        asking_ = asyncio.ensure_future(channel.ask(7, a_call()))
        await asyncio.sleep(0)
        asking_.cancel()
        with suppress(asyncio.CancelledError):
            await asking_
        channel.answered(Answer(1, 4))
        return sent

    ask, taken_back = run_virtual(main)
    assert (ask.chunk, ask.number, ask.call["model"]) == (7, 1, "m")
    assert taken_back == Settle(7, 1, None)


def test_answers_reach_those_who_asked_once():
    async def main():
        channel, sent = line()
        asked = [asyncio.ensure_future(channel.ask(7, a_call())) for _ in range(2)]
        await asyncio.sleep(0)
        channel.answered(Answer(2, 20))
        channel.answered(Answer(2, 99))
        channel.answered(Answer(1, 10))
        channel.answered(Answer(55, 1))
        return await asyncio.gather(*asked), len(sent)

    assert run_virtual(main) == ([(1, 10), (2, 20)], 2)


# Odd guards


class UnpicklableError(Exception):
    def __reduce__(self):
        raise TypeError("stays here")


class OddArgumentsError(Exception):
    def __init__(self, *, code):
        super().__init__(f"code {code}")
        self.code = code


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (ValueError("odd"), ValueError, "odd"),
        (OddArgumentsError(code=7), OddArgumentsError, "code 7"),
        (UnpicklableError("odd"), WorkflowError, "UnpicklableError: odd"),
        (BudgetExceededError, BudgetExceededError, "Budget"),
        (asyncio.CancelledError("odd"), asyncio.CancelledError, "odd"),
    ],
)
def test_what_a_guard_raises_is_raised_where_the_call_would_have_been_made(error, kind, words):
    async def refuse(call):
        if error is BudgetExceededError:
            await Budget(0).reserve(call)
        raise error

    caught = Box()

    async def work(x, context):
        try:
            return await asking().execute("x", context)
        except BaseException as refused:
            caught.value = refused
            raise

    async def main():
        mapped = over(LocalCrew(1), LambdaPrimitive(work))
        with pytest.raises(kind, match=words):
            await mapped.execute(texts(1), under(Watch(reserve=refuse)))

    run_virtual(main)
    assert type(caught.value) is kind
    assert getattr(caught.value, "code", 7) == 7


def test_a_guard_that_fails_when_it_is_told_fails_the_map():
    def fail(usage):
        raise OSError("the file of records is full")

    with pytest.raises(OSError, match="full"):
        run_virtual(over(LocalCrew(2), asking()).execute(texts(8), under(Watch(settle=fail))))


def test_an_answer_that_cannot_be_sent_fails_the_map_as_itself():
    class Mute(LocalCrew):
        async def answer(self, worker, answer):
            raise OSError("no way to the worker")

    watch = Watch()
    with pytest.raises(OSError, match="no way"):
        run_virtual(over(Mute(2), asking()).execute(texts(4), under(watch)))
    assert watch.open == 0


def test_an_answer_that_is_stuck_does_not_keep_a_cancelled_map():
    class Stuck(LocalCrew):
        async def answer(self, worker, answer):
            await asyncio.sleep(1e9)

    watch = Watch()

    async def main():
        run = over(Stuck(2), asking()).start(texts(4), under(watch))
        await asyncio.sleep(1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert asyncio.get_running_loop().time() == 1

    run_virtual(main)
    assert watch.open == 0


def test_messages_that_come_twice_or_are_about_unknown_calls_change_nothing_in_the_books():
    class Echoing(LocalCrew):
        def tell(self, event):
            super().tell(event)
            super().tell(event)
            super().tell(Settle(1, 999, Usage(output_tokens=1_000_000)))

    budget, watch = Budget(100), Watch()
    run = run_virtual(over(Echoing(2), asking()).run(texts(6), under(budget, watch)))
    assert budget.status().spent_usd == run.cost_usd == 12
    assert (watch.open, watch.settled) == (0, 6)


# Who is asked


class Recording(ScriptedModel):
    source = "replay"


@pytest.mark.parametrize(("counts", "asked"), [(True, 2), (False, 0)])
def test_of_replays_only_guards_are_asked_that_count_them(counts, asked):
    watch, other = Watch(counts_replays=counts), Watch()
    step = LLMPrimitive(Recording("so", name="m"))
    run_virtual(over(LocalCrew(2), step).execute(texts(2), under(watch, other)))
    assert (len(watch.calls), watch.settled, len(other.calls)) == (asked, asked, 0)


def test_without_guards_nobody_is_asked():
    class Silent(LocalCrew):
        async def answer(self, worker, answer):
            raise AssertionError("there was no question")

    context = WorkflowContext().using(prices=DOLLAR)
    run = run_virtual(over(Silent(2), asking()).run(texts(4), context))
    assert run.cost_usd == 8


def test_backends_and_prices_of_the_run_hold_on_workers():
    context = WorkflowContext().using(
        backends={"*": scripted(words=3)}, prices=DOLLAR, guards=[Watch(cap=1)]
    )
    step = LLMPrimitive(ScriptedModel("never asked", name="other"), max_output_tokens=4)
    run = run_virtual(over(LocalCrew(2), step).run(texts(2), context))
    assert [str(x).strip() for x in run.output] == ["so", "so"]
    assert run.cost_usd == 2


def test_questions_of_many_calls_are_answered_beside_each_other():
    rng = Random(0)  # noqa: S311 - reproducible on purpose

    async def wait(call):
        await asyncio.sleep(rng.random())

    meter = Meter()
    watch = Watch(reserve=wait)

    async def main():
        mapped = over(LocalCrew(2), asking(delay_s=0), max_concurrency=100)
        await mapped.execute(texts(100), under(watch))
        return asyncio.get_running_loop().time()

    assert run_virtual(main) < 2
    assert meter.running == watch.open == 0
    assert watch.settled == 100
