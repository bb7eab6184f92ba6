"""Other prices, models, routes and budgets: expected amounts by hand, at a dollar a token."""

import asyncio
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import (
    ArgumentError,
    ConfigurationError,
    LLMPrimitive,
    Price,
    PriceBook,
    Reply,
    RouterPrimitive,
    ScriptedModel,
    Usage,
    WorkflowContext,
    as_primitive,
    capture,
    configured,
)
from tta_notebook.core.money import PICO
from tta_notebook.cost.whatif import WhatIf
from tta_notebook.cost.whatif.tariff import Tariff
from tta_notebook.llm.quote import Quote
from tta_notebook.observability.history import History
from tta_notebook.testing import run_virtual

DAY_NS = 86_400 * 10**9

# A dollar for a token of input, two for one of output: three and two tokens are seven dollars.
BIG = Price(input_per_1m=10**6, output_per_1m=2 * 10**6)
SMALL = Price(input_per_1m=10**5, output_per_1m=2 * 10**5)
CACHING = Price(input_per_1m=10**6, output_per_1m=0, cached_input_per_1m=10**5)
BOOK = PriceBook(overrides={"big": BIG, "small": SMALL, "caching": CACHING}, bundled=False)


USED = Usage(3, 2)


def llm(name="big", usage=USED):
    return LLMPrimitive(ScriptedModel([Reply("yes", usage=usage)] * 20, name=name))


def asked(*steps, workflow="ask", user=None, prices=BOOK):
    async def main():
        contexts = [WorkflowContext(workflow, user_id=user).using(prices=prices) for _ in steps]
        return [await s.run("x", c) for s, c in zip(steps, contexts, strict=True)]

    with capture():
        return run_virtual(main)


def calls_at(*rows):
    """Make calls of big, each by its day, hour, cost in dollars and run."""
    what_if = WhatIf([], prices=BOOK)
    what_if._trace.calls.extend(
        [
            (
                *(int((day * 24 + hour) * DAY_NS / 24), 1, place, run),
                *(cost, 0, 0, 0, 0, cost * PICO, -1),
                *("big", "x", "live", None, "w", f"u{run % 2}", None, "s", "ok", None, "k"),
            )
            for place, (day, hour, cost, run) in enumerate(rows)
        ]
    )
    return what_if


# Prices


def test_another_model_costs_its_own_price_with_an_interval_for_its_tokens():
    found = WhatIf(asked(llm(), llm()), prices=BOOK).reprice("small", token_ratio=(0.5, 2))
    # Two calls of 3 * 0.1 + 2 * 0.2 = 0.7. Half the tokens, rounded down: 0.1 + 0.2; twice: 1.4.
    assert (found.recorded_usd, found.new_usd, found.difference_usd) == (14, 1.4, -12.6)
    assert found.new_interval_usd == (0.6, 2.8)
    assert found.difference_interval_usd == (-13.4, -11.2)
    assert [cost.model for cost in found.costs] == ["small"] * 2


def test_the_same_model_on_another_day_is_exact():
    dated = PriceBook(
        overrides={
            "big": [BIG, Price(input_per_1m=0, output_per_1m=10**6, valid_from=date(2020, 1, 1))]
        },
        bundled=False,
    )
    what_if = WhatIf(asked(llm()), prices=dated)
    found = what_if.reprice(at=date(2019, 5, 5))
    assert (found.recorded_usd, found.new_usd, found.new_interval_usd) == (7, 7, (7, 7))
    assert what_if.reprice(at=date(2021, 1, 1)).new_interval_usd == (2, 2)
    assert not found.caveats


def test_another_price_book_is_exact():
    doubled = {"big": Price(input_per_1m=2 * 10**6, output_per_1m=4 * 10**6)}
    found = WhatIf(asked(llm()), prices=BOOK).reprice(prices=doubled)
    assert (found.difference_usd, found.new_interval_usd) == (7, (14, 14))


def test_only_the_models_that_are_mapped_change():
    found = WhatIf(asked(llm(), llm("small")), prices=BOOK).reprice({"big": "small"})
    assert [cost.new for cost in found.costs] == [7 * PICO // 10] * 2
    assert found.costs[1].low == found.costs[1].high == found.costs[1].recorded
    assert found.shares == {"small": 1.0}


def test_nothing_is_taken_for_cached_by_another_model_at_the_upper_end():
    runs = asked(llm(usage=Usage(10, 0, cached_input_tokens=10)))
    found = WhatIf(runs, prices=BOOK).reprice("caching", token_ratio=(1, 1))
    assert found.new_interval_usd == (1, 10)


def test_calls_without_a_price_are_counted_and_named_and_never_zero():
    unknown = llm("mine")
    found = WhatIf(asked(llm(), unknown), prices=BOOK).reprice({"big": "small"})
    assert found.unpriced == {"mine": 1}
    assert found.costs[1].new is None
    assert found.difference_usd == pytest.approx(0.7 - 7)
    assert found.caveats[0] == (
        "1 call would have no price and counts in no sum of the new costs: 'mine' (1)."
    )


def test_calls_that_had_no_price_cost_what_they_would_and_make_no_difference():
    found = WhatIf(asked(llm("mine")), prices=BOOK).reprice("big")
    assert (found.recorded_usd, found.new_usd, found.difference_usd, found.unrecorded) == (
        0,
        7,
        0,
        1,
    )


def test_what_configure_has_set_is_the_default():
    with configured(prices=BOOK):
        assert WhatIf(asked(llm())).reprice("small").new_usd == 0.7


@given(
    st.tuples(*[st.integers(0, 10**6)] * 5),
    st.sampled_from([BIG, CACHING, Price(
        input_per_1m=0.123456789, output_per_1m=3.3, reasoning_per_1m=7, cache_write_per_1m=1.25,
        batch_factor=0.37, per_request=0.001, tiers={1000: Price(input_per_1m=9, output_per_1m=8)},
    )]),
    st.booleans(),
)  # fmt: skip
def test_a_tariff_reckons_as_the_quote_does(counts, price, batch):
    quote = Quote("m", price, date(2026, 1, 1), "user", batch)
    input_, output, cached, written, reasoning = counts
    usage = Usage(input_, output, cached, written, reasoning)
    assert Tariff(quote).cost(counts) == quote.cost(usage)


# Routes


def test_a_policy_sees_each_call_and_what_a_router_had_chosen():
    router = RouterPrimitive({"smart": llm(), "fast": llm("small")}, lambda x: "smart")
    seen = []

    def policy(call):
        seen.append((call.model, call.route, call.user, call.workflow, call.usage.input_tokens))
        return "small" if call.route == "smart" else None

    found = WhatIf(asked(router, llm(), user="u"), prices=BOOK).route(policy)
    assert seen == [("big", "smart", "u", "ask", 3), ("big", None, "u", "ask", 3)]
    assert found.shares == {"small": 0.5, "big": 0.5}
    assert found.new_usd == pytest.approx(7.7)
    assert any("as good" in caveat for caveat in found.caveats)


def test_a_policy_may_be_a_mapping_of_workflows():
    runs = asked(llm()) + asked(llm(), workflow="other")
    found = WhatIf(runs, prices=BOOK).route({"other": "small"})
    assert [cost.model for cost in found.costs] == ["big", "small"]


def test_a_policy_that_changes_nothing_is_exact():
    found = WhatIf(asked(llm()), prices=BOOK).route(lambda call: call.model)
    assert (found.difference_usd, found.new_interval_usd, found.caveats) == (0, (7, 7), ())


# Budgets


def test_a_budget_refuses_what_is_more_than_is_left_and_goes_on_with_less():
    # Of 10 dollars 6 are spent, 5 refused, and 4 fit, unless the refusal has ended their run.
    what_if = calls_at((0, 1, 6, 1), (0, 2, 5, 2), (0, 3, 4, 2))
    found = what_if.budget(10)
    assert (found.continues.refused, found.continues.spent_usd) == ((1,), 10)
    assert (found.ends.refused, found.ends.dropped, found.ends.spent_usd) == ((1,), (2,), 6)
    assert (found.refused, found.spent_usd) == ((1, 1), (6, 10))
    assert found.ends.runs == {f"{2:016x}"}
    assert found.continues.accounts[0].exhausted == datetime(1970, 1, 1, 2, tzinfo=UTC)


def test_a_day_ends_at_midnight_of_the_zone():
    # 23:30 UTC is the next day in Berlin (one hour ahead in January 1970).
    what_if = calls_at((0, 12, 6, 1), (0, 23.5, 6, 2), (1, 1, 6, 3))
    utc, berlin = (what_if.budget(10, "day", timezone=zone) for zone in ("UTC", "Europe/Berlin"))
    assert utc.continues.refused == (1,)
    assert berlin.continues.refused == (2,)
    windows = [account.window for account in berlin.continues.accounts]
    assert windows == ["1970-01-01", "1970-01-02"]


def test_months_runs_requests_and_scopes_have_budgets_of_their_own():
    what_if = calls_at((0, 0, 6, 1), (0, 1, 6, 2), (0, 2, 6, 2), (40, 0, 6, 1))
    assert what_if.budget(10, "month").continues.refused == (1, 2)
    assert what_if.budget(10, "run").continues.refused == (2, 3)
    assert what_if.budget(5, "request").continues.refused == (0, 1, 2, 3)
    by_user = what_if.budget(10, "total", scope="user").continues
    assert [(account.scope, account.refused) for account in by_user.accounts] == [
        ("u1", 1),
        ("u0", 1),
    ]


def test_where_the_longest_answer_is_known_its_worst_case_is_held():
    # Two tokens of input, and up to 4 of output at two dollars: 10 held of 15, and 2 spent.
    what_if = calls_at((0, 0, 2, 1), (0, 1, 2, 1), (0, 2, 2, 1), (0, 3, 2, 1))
    calls = what_if._trace.calls
    calls.max_output_tokens[:] = type(calls.cost)("q", [4] * 4)
    found = what_if.budget(15)
    assert (found.bounded, found.continues.refused) == (4, ())
    # 0 + 10, 2 + 10 and 4 + 10 fit; 6 + 10 does not.
    assert found.strict_continues.refused == (3,)
    assert found.refused == (0, 1)


def test_calls_without_a_recorded_cost_are_told_of_a_budget():
    found = WhatIf(asked(llm("mine")), prices=BOOK).budget(1)
    assert found.refused == (0, 0)
    assert found.caveats[0].startswith("1 call has no recorded cost")


def test_a_run_inside_another_one_spends_its_budget():
    inner = llm()

    async def outer(x, context):
        await inner.execute(x, context)
        await inner.run(x)

    runs = asked(as_primitive(outer))
    found = WhatIf(runs, prices=BOOK).budget(10, "run")
    assert len(found.continues.accounts) == 1
    assert len(found.continues.refused) == 1


# Sources


def test_a_history_records_and_live_runs_give_the_same_answers(tmp_path):
    steps = (llm(), llm("small"), llm("mine"))
    with History(tmp_path / "history.db") as history:
        runs = asked(*steps, user="u")
        records = history.runs()
    sources = [WhatIf(source, prices=BOOK) for source in (history, records, runs, runs + runs)]
    for question in (
        lambda it: str(it.reprice("small")),
        lambda it: str(it.cache()),
        lambda it: str(it.budget(10, "day", "user")),
        lambda it: str(it.retry(1)),
        repr,
    ):
        assert len({question(each) for each in sources}) == 1


def test_one_run_is_a_source_and_time_can_be_bounded(tmp_path):
    with History(tmp_path / "history.db") as history:
        (run,) = asked(llm())
    assert repr(WhatIf(run)) == "<WhatIf 1 call to 'big'>"
    for source in (history, [run]):
        assert repr(WhatIf(source, until="1d")) == "<WhatIf 0 calls to no model>"
        assert repr(WhatIf(source, since="1d")) == "<WhatIf 1 call to 'big'>"


def test_answers_from_a_recording_are_left_out_and_told(tmp_path):
    class Replay:
        name, provider, source = "big", "x", "replay"

        def stream(self, request):
            return ScriptedModel("yes").stream(request)

    with History(tmp_path / "history.db") as history:
        runs = asked(LLMPrimitive(Replay()))
    for source in (history, runs):
        found = WhatIf(source, prices=BOOK).reprice("small")
        assert len(found.costs) == 0
        assert found.caveats[-1].startswith("1 answer came from a recording")
        counted = WhatIf(source, prices=BOOK, counts_replays=True).reprice("small")
        assert len(counted.costs) == 1
        assert "recording" not in "".join(counted.caveats)


def test_an_empty_history_gives_nothing_and_says_so(tmp_path):
    what_if = WhatIf(History(tmp_path / "none.db"), prices=BOOK)
    for found in (what_if.reprice("small"), what_if.cache(), what_if.retry(1), what_if.budget(1)):
        assert found.caveats
        assert "recorded" in found.caveats[0]
        assert str(found)
        assert len(found.frame()) in (0, 1)


def test_a_call_that_came_to_nothing_costs_nothing_again():
    failing = LLMPrimitive(ScriptedModel([ConnectionError("lost")], name="big"))

    async def main():
        run = failing.start("x")
        await asyncio.gather(run, return_exceptions=True)
        return run

    with capture():
        run = run_virtual(main)
    found = WhatIf(run, prices=BOOK).reprice("small")
    assert (found.new_usd, found.unpriced) == (0, {})
    assert any("1 call reports no usage" in caveat for caveat in found.caveats)


# How it reads


def test_every_answer_is_text_a_table_without_script_and_a_frame():
    what_if = WhatIf(asked(llm(), llm("<b>")), prices=BOOK)
    for found in (what_if.reprice("small"), what_if.cache(), what_if.retry(0), what_if.budget(8)):
        html = found._repr_html_()
        assert "<table" in html
        assert "<script" not in html
        assert "<b>" not in html
        assert repr(found) == str(found)
    frame = what_if.reprice({"big": "small"}).frame()
    assert frame["new_usd"].tolist()[0] == 0.7
    assert frame["new_usd"].isna().tolist() == [False, True]


def test_the_text_is_a_short_table_with_its_caveats():
    text = str(WhatIf(asked(llm()), prices=BOOK).reprice(prices=BOOK))
    assert text.splitlines() == [
        "Recorded models",
        "model       calls  share  recorded    new  from to",
        "big             1   100%     $7.00  $7.00    $7.00",
        "both known      1            $7.00  $7.00    $7.00",
    ]


# What cannot be asked


def test_a_model_without_a_price_is_an_error_with_a_suggestion():
    what_if = WhatIf(asked(llm()), prices=BOOK)
    with pytest.raises(ConfigurationError, match=r"'smal' has no price.*did you mean 'small'\?"):
        what_if.reprice("smal")
    with pytest.raises(ConfigurationError, match=r"WhatIf.route: 'smal' has no price"):
        what_if.route(lambda call: "smal")


def test_a_model_that_was_not_asked_is_an_error_with_a_suggestion():
    with pytest.raises(ConfigurationError, match=r"no recorded call asked.*did you mean 'big'\?"):
        WhatIf(asked(llm()), prices=BOOK).reprice({"bigg": "small"})


def test_a_workflow_that_did_not_run_is_an_error_with_a_suggestion():
    with pytest.raises(ConfigurationError, match=r"the workflow 'aks'.*did you mean 'ask'\?"):
        WhatIf(asked(llm()), prices=BOOK).route({"aks": "small"})


def test_a_policy_that_gives_no_model_is_an_error():
    with pytest.raises(ConfigurationError, match="the policy gave 7, which is no model"):
        WhatIf(asked(llm()), prices=BOOK).route(lambda call: 7)
    with pytest.raises(ConfigurationError, match="policy='small' chooses nothing"):
        WhatIf([], prices=BOOK).route("small")


@pytest.mark.parametrize("ratio", [(2, 1), (0, 1), (1,), 1, (float("nan"), 1), (1, float("inf"))])
def test_a_range_of_ratios_that_is_none_is_an_error(ratio):
    with pytest.raises(ConfigurationError, match="token_ratio="):
        WhatIf([], prices=BOOK).reprice("small", token_ratio=ratio)


def test_a_question_without_a_change_is_an_error():
    with pytest.raises(ArgumentError, match="nothing would be different"):
        WhatIf([]).reprice()


@pytest.mark.parametrize("source", ["history.db", 7, [7]])
def test_a_source_that_records_nothing_is_an_error(source):
    with pytest.raises(ConfigurationError, match="records nothing"):
        WhatIf(source)


def test_prices_that_are_none_are_an_error():
    with pytest.raises(ConfigurationError, match=r"prices=0\.5 is no price book"):
        WhatIf([], prices=0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"limit_usd": -1}, "below zero"),
        ({"limit_usd": float("nan")}, "no amount of dollars"),
        ({"limit_usd": 1, "per": "week"}, "per='week'"),
        ({"limit_usd": 1, "scope": "users"}, "did you mean 'user'"),
        ({"limit_usd": 1, "timezone": "Europe/Berln"}, "no time zone"),
    ],
)
def test_a_budget_that_means_nothing_is_an_error(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        WhatIf([]).budget(**arguments)
