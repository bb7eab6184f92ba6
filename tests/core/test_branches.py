"""Parallels, maps, conditionals, switches and routers."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import (
    CheapestRoute,
    ConditionalPrimitive,
    ConfigurationError,
    FastestRoute,
    LambdaPrimitive,
    LeastLoadedRoute,
    MapPrimitive,
    ParallelPrimitive,
    RouteError,
    RouterPrimitive,
    SwitchPrimitive,
    TimeoutPrimitive,
    WorkflowContext,
    as_primitive,
    capture,
)
from tta_notebook.testing import run_virtual

ended = []


@pytest.fixture(autouse=True)
def _forget():
    ended.clear()


def sleeper(seconds, value=None, error=None):
    async def sleep(x):
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            await asyncio.sleep(1)  # a clean-up that takes its time
            ended.append(seconds)
            raise
        if error is not None:
            raise error
        return value

    return LambdaPrimitive(sleep, name=f"sleep {seconds}")


def test_branches_run_at_once_and_answer_in_order():
    async def main():
        start = asyncio.get_running_loop().time()
        result = await ParallelPrimitive([sleeper(3, "a"), sleeper(1, "b"), sleeper(2, "c")])(0)
        return result, asyncio.get_running_loop().time() - start

    assert run_virtual(main) == (["a", "b", "c"], 3)


def test_the_first_failure_cancels_the_siblings_and_waits_for_them():
    workflow = sleeper(5) | sleeper(1, error=KeyError("lost")) | sleeper(9)
    with pytest.raises(KeyError, match="lost"):
        run_virtual(lambda: workflow(0))
    assert sorted(ended) == [5, 9]


def test_the_error_is_the_branchs_own_with_a_note_of_the_others():
    cause = ValueError("the cause")

    async def fail(x):
        await asyncio.sleep(1)
        raise KeyError("one") from cause

    async def fail_to_clean_up(x):
        try:
            await asyncio.sleep(2)
        finally:
            raise TypeError("two")

    with pytest.raises(KeyError) as caught:
        run_virtual(lambda: (as_primitive(fail) | fail_to_clean_up)(0))
    assert caught.value.__cause__ is cause
    assert caught.value.__notes__ == ["A parallel branch failed beside it: TypeError: two"]


def test_a_users_exception_group_stays_one_error():
    group = ExceptionGroup("mine", [ValueError("a")])

    async def fail(x):
        raise group

    with pytest.raises(ExceptionGroup) as caught:
        run_virtual(lambda: (as_primitive(fail) | fail)(0))
    assert caught.value is group


def test_collect_keeps_results_and_errors_in_order():
    error = KeyError("lost")
    workflow = ParallelPrimitive([sleeper(1, "a"), sleeper(2, error=error)], mode="collect")
    assert run_virtual(lambda: workflow(0)) == ["a", error]
    assert ended == []


def test_a_branch_that_cancels_itself_stops_the_others():
    async def give_up(x):
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run_virtual(lambda: (sleeper(5) | give_up)(0))
    assert ended == [5]


def test_a_branch_whose_task_is_cancelled_stops_the_others():
    async def give_up(x):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    with pytest.raises(asyncio.CancelledError):
        run_virtual(lambda: (sleeper(5) | give_up | sleeper(9))(0))
    assert ended == [5, 9]


def slow_to_clean_up(seconds):
    async def wait(x):
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(seconds)
            ended.append(seconds)

    return LambdaPrimitive(wait)


@pytest.mark.parametrize("mode", ["fail_fast", "collect"])
@pytest.mark.parametrize("limit", [None, 3])
def test_a_cancelled_parallel_leaves_every_branch_its_time_to_clean_up(mode, limit):
    workflow = ParallelPrimitive(
        [slow_to_clean_up(seconds) for seconds in (3, 1, 2)], mode=mode, max_concurrency=limit
    )

    async def main():
        run = workflow.start(0)
        await asyncio.sleep(1)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    run_virtual(main)
    assert ended == [1, 2, 3]


def test_a_timeout_leaves_every_branch_its_time_to_clean_up():
    workflow = TimeoutPrimitive(
        ParallelPrimitive([slow_to_clean_up(seconds) for seconds in (3, 1, 2)]), timeout_seconds=1
    )
    with pytest.raises(TimeoutError):
        run_virtual(lambda: workflow(0))
    assert ended == [1, 2, 3]


@given(st.integers(1, 5), st.integers(1, 12))
def test_no_more_branches_run_at_once_than_allowed(limit, count):
    running, most = 0, 0

    async def step(x):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(1)
        running -= 1
        return x

    assert run_virtual(lambda: MapPrimitive(step, max_concurrency=limit)(range(count))) == list(
        range(count)
    )
    assert most == min(limit, count)


def test_map_pulls_items_only_as_places_become_free():
    pulled = []

    def items():
        for item in range(100):
            pulled.append(item)
            yield item

    async def fail(x):
        await asyncio.sleep(1)
        raise ValueError(x)

    with pytest.raises(ValueError, match="0"):
        run_virtual(lambda: as_primitive(fail).map(items(), max_concurrency=3))
    assert len(pulled) == 3


def test_map_takes_async_iterables_and_stops_a_slow_source_when_an_item_fails():
    async def items():
        yield 1
        await asyncio.sleep(1000)
        yield 2

    async def fail(x):
        await asyncio.sleep(1)
        raise ValueError(x)

    async def main():
        with pytest.raises(ValueError, match="1"):
            await as_primitive(fail).map(items())
        return asyncio.get_running_loop().time()

    assert run_virtual(main) == 1
    assert run_virtual(lambda: as_primitive(str).map(items())) == ["1", "2"]


def test_an_error_of_the_source_is_raised():
    def items():
        yield 1
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="gone"):
        run_virtual(lambda: sleeper(1).map(items()))


def test_map_collects_and_maps_nothing_to_nothing():
    results = run_virtual(lambda: as_primitive(int).map(["1", "x"], mode="collect"))
    assert results[0] == 1
    assert isinstance(results[1], ValueError)
    assert run_virtual(lambda: as_primitive(int).map([])) == []


@pytest.mark.parametrize("value", [5, "text", b"x"], ids=repr)
def test_map_over_one_value_says_what_it_wants(value):
    with pytest.raises(TypeError, match="not a collection"):
        run_virtual(lambda: as_primitive(int).map(value))


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, "3"], ids=repr)
def test_a_limit_that_is_no_number_of_places_is_refused(limit):
    with pytest.raises(ConfigurationError, match="max_concurrency"):
        ParallelPrimitive([int], max_concurrency=limit)


def test_an_unknown_mode_is_refused_with_a_suggestion():
    with pytest.raises(ConfigurationError, match="did you mean 'collect'"):
        ParallelPrimitive([int], mode="colect")


@pytest.mark.parametrize("holds", [True, False])
def test_async_conditions_are_awaited(holds):
    async def condition(x):
        return holds

    workflow = ConditionalPrimitive(condition, lambda x: "then", lambda x: "else")
    assert workflow.run_sync(0) == ("then" if holds else "else")


def test_without_an_else_the_input_passes_and_the_trace_says_so():
    workflow = ConditionalPrimitive(lambda x: x > 0, str)
    with capture() as spans:
        assert workflow.run_sync(-1) == -1
    assert [note.name for note in spans[0].notes] == ["condition", "passed_through"]
    assert spans[0].notes[0].data == {"holds": False}


def test_a_switch_runs_the_case_of_the_selected_value():
    workflow = SwitchPrimitive(lambda x, ctx: ctx.state["lang"], {"en": str.upper}, str.lower)
    assert workflow.run_sync("Hi", WorkflowContext(state={"lang": "en"})) == "HI"
    assert workflow.run_sync("Hi", WorkflowContext(state={"lang": "de"})) == "hi"


@pytest.mark.parametrize("value", ["fast", ["unhashable"]], ids=repr)
def test_a_switch_without_a_case_or_default_says_what_there_is(value):
    workflow = SwitchPrimitive(lambda x: value, {"fist": str.upper}, name="pick")
    with pytest.raises(RouteError, match="cases are 'fist'") as caught:
        workflow.run_sync("Hi")
    assert caught.value.route == value
    assert caught.value.routes == ("fist",)


def test_a_router_follows_its_function_and_notes_the_route():
    async def choose(x, ctx):
        return "smart"

    workflow = RouterPrimitive({"fast": str.upper, "smart": str.title}, choose)
    with capture() as spans:
        assert workflow.run_sync("ab") == "Ab"
    assert spans[-1].noted("route")[0].data == {"route": "smart"}


def test_an_unknown_route_takes_the_default_or_says_what_there_is():
    assert RouterPrimitive({"fast": str.upper}, lambda x: "nope").run_sync("a") == "A"
    other = RouterPrimitive({"a": str.upper, "b": str.lower}, lambda x: "fat", name="tiers")
    with pytest.raises(LookupError, match="'tiers': router returned 'fat'; routes are 'a', 'b'"):
        other.run_sync("a")


@pytest.mark.parametrize("default", ["fast", "fist"])
def test_an_unknown_default_is_refused_when_it_is_stated(default):
    with pytest.raises(ConfigurationError, match="no such route"):
        RouterPrimitive({"slow": str.upper}, lambda x: "slow", default=default)


def test_fall_through_tries_the_other_routes_the_default_first():
    tried = []

    def route(name, error=None):
        def take(x):
            tried.append(name)
            if error:
                raise error
            return name

        return take

    routes = {
        "a": route("a", ValueError("a")),
        "b": route("b"),
        "c": route("c", KeyError("c")),
    }
    workflow = RouterPrimitive(routes, lambda x: "a", default="c", fall_through=True)
    assert workflow.run_sync(0) == "b"
    assert tried == ["a", "c", "b"]


def test_when_all_routes_fail_the_last_error_tells_of_the_others():
    def fail(x):
        raise ValueError(x)

    workflow = RouterPrimitive({"a": fail, "b": fail}, lambda x: "a", fall_through=True)
    with pytest.raises(ValueError, match="7") as caught:
        workflow.run_sync(7)
    assert caught.value.__notes__ == ["Route 'a' failed before: ValueError: 7"]


def test_the_least_loaded_route_is_taken():
    routes = {"a": sleeper(10, "a"), "b": sleeper(1, "b")}
    workflow = RouterPrimitive(routes, LeastLoadedRoute(routes))

    async def main():
        first = workflow.start(0)
        await asyncio.sleep(0.1)
        second = workflow.start(0)
        return await second, await first, await workflow(0)

    assert run_virtual(main) == ("b", "a", "a")


def test_the_fastest_route_is_learned():
    routes = {"slow": sleeper(5, "slow"), "quick": sleeper(1, "quick")}
    workflow = RouterPrimitive(routes, FastestRoute(routes))

    async def main():
        return [await workflow(0) for _ in range(4)]

    assert run_virtual(main) == ["slow", "quick", "quick", "quick"]


def test_the_cheapest_suitable_route_is_taken():
    strategy = CheapestRoute({"big": 9, "small": 1}, suits=lambda route, x: route == "big" or x < 5)
    workflow = RouterPrimitive({"big": lambda x: "big", "small": lambda x: "small"}, strategy)
    assert [workflow.run_sync(x) for x in (1, 9)] == ["small", "big"]


@pytest.mark.parametrize("cost", [float("nan"), -1, "free", float("inf")], ids=repr)
def test_costs_that_cannot_be_compared_are_refused(cost):
    with pytest.raises(ConfigurationError, match="cost of 'a'"):
        CheapestRoute({"a": cost})


async def words(x):
    for word in ("a", "b"):
        await asyncio.sleep(1)
        yield word


async def break_off(x):
    yield "a"
    raise OSError("cut")


async def never_begin(x):
    raise OSError("down")
    yield


def contents(workflow):
    async def read():
        return [(chunk.content, chunk.is_final) async for chunk in workflow.stream("in")]

    return run_virtual(read)


STREAMED = [("a", False), ("b", False), ("", True)]


def test_choices_stream_the_chosen_way():
    assert contents(ConditionalPrimitive(lambda x: True, words, str)) == STREAMED
    assert contents(ConditionalPrimitive(lambda x: False, words)) == [("in", True)]
    assert contents(SwitchPrimitive(lambda x: 1, {1: words})) == STREAMED
    assert contents(RouterPrimitive({"fast": words}, lambda x: "fast")) == STREAMED


def test_a_router_falls_through_only_before_the_first_chunk():
    routes = {"down": never_begin, "up": words}
    assert contents(RouterPrimitive(routes, lambda x: "down", fall_through=True)) == STREAMED
    broken = RouterPrimitive({"cut": break_off, "up": words}, lambda x: "cut", fall_through=True)
    with pytest.raises(OSError, match="cut"):
        contents(broken)


def test_a_strategy_learns_from_streams_too():
    strategy = LeastLoadedRoute(["a"])
    assert contents(RouterPrimitive({"a": words}, strategy)) == STREAMED
    assert strategy.under_way["a"] == 0
