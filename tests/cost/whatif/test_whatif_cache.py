"""Simulated caches: the same hits as real ones, for every size, time to live and user."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_notebook import (
    CachePrimitive,
    ConfigurationError,
    LLMPrimitive,
    Price,
    PriceBook,
    Reply,
    ScriptedModel,
    Usage,
    WorkflowContext,
    capture,
)
from tta_notebook.cost.whatif import WhatIf
from tta_notebook.cost.whatif.lru import walk
from tta_notebook.cost.whatif.stack import distances
from tta_notebook.testing import run_virtual

TOOK_S = 0.5

# What is asked, by whom, and how many whole seconds after the one before (each takes half of one).
TRACES = st.lists(
    st.tuples(st.sampled_from("abcde"), st.sampled_from(["u", "v", None]), st.integers(1, 4)),
    min_size=1,
    max_size=25,
)
SIZES = st.integers(1, 8)
TTLS = st.sampled_from([None, 1, 2, 3, 5, 8, 20])


async def at_their_times(step, trace):
    """Run a step for each entry of a trace, at the times the trace says; return the runs."""
    start = asyncio.get_running_loop().time()
    runs, due = [], start
    for asked, user, gap_s in trace:
        due += gap_s
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        runs.append(await step.run(asked, WorkflowContext("ask", user_id=user)))
    return runs


def model():
    return LLMPrimitive(
        ScriptedModel([lambda _: Reply("yes", delay_s=TOOK_S, usage=Usage(3, 4))] * 100, name="m"),
        name="model",
    )


def recorded(step, trace):
    with capture():
        return run_virtual(lambda: at_their_times(step, trace))


def replayed(trace, size, ttl):
    real = CachePrimitive(model(), ttl, size)
    run_virtual(lambda: at_their_times(real, trace))
    return real.get_stats()


# The law


@settings(max_examples=150, deadline=None)
@given(TRACES, SIZES, TTLS)
def test_a_simulated_cache_over_requests_hits_as_often_as_a_real_one(trace, size, ttl):
    point = WhatIf(recorded(model(), trace)).cache([size], ttl).points[0]
    stats = replayed(trace, size, ttl)
    assert (point.hits, point.misses) == (stats["hits"], stats["misses"])
    assert point.tokens_saved == stats["tokens_saved"] == 7 * point.hits


@settings(max_examples=100, deadline=None)
@given(TRACES, SIZES, TTLS, SIZES, TTLS)
def test_a_recorded_cache_tells_how_one_of_another_size_would_have_done(
    trace, size, ttl, other_size, other_ttl
):
    cached = CachePrimitive(model(), other_ttl, other_size, name="answers")
    what_if = WhatIf(recorded(cached, trace))
    curve = what_if.cache([size, other_size], [ttl, other_ttl], over="answers")
    stats = replayed(trace, size, ttl)
    point = curve.at(size, ttl)
    assert (point.hits, point.misses) == (stats["hits"], stats["misses"])
    assert point.tokens_saved == stats["tokens_saved"]
    assert curve.recorded_hits == curve.at(other_size, other_ttl).hits


@given(st.lists(st.integers(0, 12), max_size=60))
def test_one_pass_gives_the_hits_of_every_size_that_a_walk_of_its_own_gives(keys):
    found = distances(keys)
    times = range(len(keys))
    for size in range(1, 15):
        walked = walk(keys, times, times, size, float("inf"))
        assert walked == [0 < distance <= size for distance in found]


@given(st.lists(st.integers(0, 12), max_size=60))
def test_a_distance_is_how_many_distinct_keys_came_since_with_the_key_itself(keys):
    for place, distance in enumerate(distances(keys)):
        before = keys[:place]
        if keys[place] not in before:
            assert distance == 0
        else:
            last = len(before) - 1 - before[::-1].index(keys[place])
            assert distance == len(set(before[last:]))


# What it comes to


def test_money_and_tokens_that_a_hit_would_have_saved_are_those_of_the_call_itself():
    # Seven tokens a call, a dollar each: two repeated calls save 14 dollars.
    book = PriceBook(overrides={"m": Price(input_per_1m=10**6, output_per_1m=10**6)})

    async def main():
        context = WorkflowContext("ask").using(prices=book)
        return [await model().run(each, context) for each in "aba" + "a"]

    with capture():
        runs = run_virtual(main)
    point = WhatIf(runs).cache().points[-1]
    assert (point.hits, point.tokens_saved, point.saved_usd) == (2, 14, 14.0)
    assert point.hit_rate == 0.5


def test_users_share_answers_only_where_that_is_asked():
    what_if = WhatIf(recorded(model(), [("a", "u", 1), ("a", "v", 1)]))
    assert what_if.cache().points[-1].hits == 0
    assert what_if.cache(by_user=False).points[-1].hits == 1


def test_a_recorded_cache_cannot_be_made_to_forget_whose_its_keys_are():
    cached = CachePrimitive(model(), name="answers")
    what_if = WhatIf(recorded(cached, [("a", "u", 1)]))
    with pytest.raises(ConfigurationError, match="hashes that hold whose they are"):
        what_if.cache(over="answers", by_user=False)


def test_users_of_a_shared_cache_can_be_told_apart():
    cached = CachePrimitive(model(), name="answers", scope="shared")
    what_if = WhatIf(recorded(cached, [("a", "u", 1), ("a", "v", 1)]))
    assert what_if.cache(over="answers").points[-1].hits == 1
    assert what_if.cache(over="answers", by_user=True).points[-1].hits == 0


def test_the_curve_of_all_sizes_falls_and_ends_with_the_first_lookups():
    what_if = WhatIf(recorded(model(), [(each, None, 1) for each in "abcabcabc"]))
    curve = what_if.cache()
    # Round and round three keys an LRU cache of one or two entries never hits.
    assert curve.miss_ratios == [1, 1, pytest.approx(3 / 9)]
    assert (curve.lookups, curve.distinct) == (9, 3)
    assert [point.size for point in curve.points] == [1, 3]


def test_a_step_inside_of_a_cache_counts_with_all_its_calls():
    # Two calls of seven tokens are one answer; the second lookup hits and saves fourteen.
    both = CachePrimitive(model() >> model(), name="both")
    what_if = WhatIf(recorded(both, [("a", None, 1), ("a", None, 1)]))
    assert what_if.caches == ("both",)
    assert what_if.cache(over="both").points[-1].tokens_saved == 14


def test_lookups_while_a_call_is_under_way_count_as_hits_and_are_told():
    cached = CachePrimitive(model(), name="answers")

    async def together():
        return await asyncio.gather(*(cached.run("a", WorkflowContext()) for _ in range(3)))

    with capture():
        runs = run_virtual(together)
    curve = WhatIf(runs).cache(over="answers")
    assert (curve.points[-1].hits, curve.recorded_hits) == (2, 2)
    assert any("lookups came while an earlier call" in caveat for caveat in curve.caveats)


def test_calls_that_failed_are_left_out_and_told():
    script = ScriptedModel([Reply("yes"), ConnectionError("lost"), Reply("yes")], name="m")
    step = LLMPrimitive(script)

    async def main():
        runs = []
        for _ in range(3):
            run = step.start("a")
            await asyncio.gather(run, return_exceptions=True)
            runs.append(run)
        return runs

    with capture():
        runs = run_virtual(main)
    curve = WhatIf(runs).cache()
    assert (curve.lookups, curve.points[-1].hits) == (2, 1)
    assert any(caveat.startswith("1 call that failed is left out") for caveat in curve.caveats)


# What cannot be asked


def test_an_unknown_cache_is_an_error_with_a_suggestion():
    cached = CachePrimitive(model(), name="answers")
    what_if = WhatIf(recorded(cached, [("a", None, 1)]))
    with pytest.raises(ConfigurationError, match=r"'answer'.*did you mean 'answers'\?"):
        what_if.cache(over="answer")


@pytest.mark.parametrize("size", [0, -1, 1.5, True, float("nan")])
def test_a_size_that_is_none_is_an_error(size):
    with pytest.raises(ConfigurationError, match="sizes="):
        WhatIf([]).cache([size])


@pytest.mark.parametrize("ttl", [float("nan"), -1, 0, float("inf"), "soon", [1, float("nan")], 1j])
def test_a_time_to_live_that_is_none_is_an_error(ttl):
    with pytest.raises(ConfigurationError, match="ttl_seconds="):
        WhatIf([]).cache([1], ttl)


def test_without_lookups_the_answer_is_nothing_and_says_so():
    curve = WhatIf([]).cache()
    assert (curve.lookups, curve.points[0].hits, curve.points[0].hit_rate) == (0, 0, 0.0)
    assert curve.miss_ratios == []
    assert curve.caveats[0].startswith("No lookup is recorded")
