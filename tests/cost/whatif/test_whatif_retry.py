"""Other numbers of retries: fewer are exact, more are an interval."""

import asyncio

import pytest

from tta_notebook import (
    ConfigurationError,
    LLMPrimitive,
    Price,
    PriceBook,
    Reply,
    RetryPrimitive,
    ScriptedModel,
    Usage,
    WorkflowContext,
    capture,
)
from tta_notebook.cost.whatif import WhatIf
from tta_notebook.cost.whatif.wilson import wilson
from tta_notebook.observability.history import History
from tta_notebook.testing import run_virtual

# A dollar a token of output. An attempt is lost after its first piece, so it is charged by estimate
# unless its usage is stated; here a failure is an answer that its judge rejects, or a lost call.
BOOK = PriceBook(overrides={"m": Price(input_per_1m=0, output_per_1m=10**6)}, bundled=False)
GOOD = Reply("good", usage=Usage(1, 5))
BAD = Reply("bad", usage=Usage(1, 3))
LOST = ConnectionError("lost")


def retried(script, max_retries=3, **options):
    """Return a retry whose attempts end as the script says."""
    model = LLMPrimitive(ScriptedModel(script, name="m"), name="model")

    def check(text):
        if text == "bad":
            raise ConnectionError("not good enough")
        return text

    return RetryPrimitive(
        model >> check, max_retries, "constant", 2, jitter=False, budget=None, **options
    )


def ran(*steps):
    async def main():
        runs = [step.start("x", WorkflowContext("w").using(prices=BOOK)) for step in steps]
        await asyncio.gather(*runs, return_exceptions=True)
        return runs

    with capture():
        return run_virtual(main)


def test_fewer_retries_save_the_later_attempts_and_fail_what_needed_them():
    # Attempts of 3, 3 and 5 dollars with waits of 2 s; with one retry the third is not made.
    runs = ran(retried([BAD, BAD, GOOD]), retried([BAD, GOOD]), retried([GOOD]))
    found = WhatIf(runs, prices=BOOK).retry(1)
    assert (found.failing, found.failing_runs, found.saved_calls) == (1, 1, 1)
    assert found.saved_usd == (5, 5)
    assert found.waited_s == 2
    assert [change.outcome for change in found.changes] == ["fails", "same"]
    assert found.rescued == (0, 0)
    assert found.added_attempts == (0, 0)


def test_no_retries_at_all_keep_the_first_attempts_alone():
    found = WhatIf(ran(retried([BAD, BAD, GOOD]), retried([BAD, GOOD])), prices=BOOK).retry(0)
    assert (found.failing, found.saved_calls, found.saved_usd) == (2, 3, (13, 13))
    assert found.waited_s == 6


def test_what_failed_anyway_fails_sooner_and_is_no_new_failure():
    found = WhatIf(ran(retried([BAD] * 4)), prices=BOOK).retry(1)
    assert (found.failing, found.saved_calls, found.saved_usd) == (0, 2, (6, 6))


def test_calls_after_an_execution_that_would_have_failed_are_the_upper_end():
    later = LLMPrimitive(ScriptedModel([GOOD], name="m"), name="later")
    found = WhatIf(ran(retried([BAD, GOOD]) >> later), prices=BOOK).retry(0)
    assert found.saved_usd == (5, 10)
    assert any("fallback around it" in caveat for caveat in found.caveats)


def test_more_retries_lie_between_none_and_all_and_by_the_observed_rate():
    # Of three retries one succeeded. Two more for the execution that was exhausted after one retry.
    runs = ran(retried([BAD, BAD], 1), retried([BAD, BAD, GOOD]))
    found = WhatIf(runs, prices=BOOK).retry(3)
    assert found.rescued == (0, 1)
    assert found.success_rate == wilson(1, 3)
    low, high = wilson(1, 3)
    assert found.rescued_likely == (
        pytest.approx(1 - (1 - low) ** 2),
        pytest.approx(1 - (1 - high) ** 2),
    )
    assert found.added_attempts == (1, 2)
    assert found.added_usd == (3, 10)  # one for 3 dollars at least, two for 5 at most
    assert (found.failing, found.saved_calls) == (0, 0)


def test_a_call_inside_of_two_retries_is_saved_once():
    # The outer one spares the inner one's second execution (3 and 5 dollars), the inner one the
    # second attempt of both of its own (3 and 5): three calls in all, since the last is the same.
    inner = retried([BAD, BAD, BAD, GOOD], 1, name="inner")
    outer = RetryPrimitive(inner, 1, "constant", 5, jitter=False, budget=None, name="outer")
    found = WhatIf(ran(outer), prices=BOOK).retry(0)
    assert sorted(change.saved_calls for change in found.changes) == [1, 1, 2]
    assert (found.saved_calls, found.saved_usd) == (3, (11, 11))


def test_permanent_errors_are_not_helped_by_more_retries():
    found = WhatIf(ran(retried([ValueError("wrong")])), prices=BOOK).retry(9)
    assert found.rescued == (0, 0)


def test_a_retry_can_be_asked_by_its_name():
    what_if = WhatIf(ran(retried([BAD, GOOD], name="one"), retried([BAD, GOOD], name="two")))
    assert len(what_if.retry(0, step="two").changes) == 1
    with pytest.raises(ConfigurationError, match=r"did you mean 'one'\?"):
        what_if.retry(0, step="onee")


@pytest.mark.parametrize("retries", [-1, 1.5, True, None])
def test_a_number_of_retries_that_is_none_is_an_error(retries):
    with pytest.raises(ConfigurationError, match="max_retries="):
        WhatIf([]).retry(retries)


def test_a_history_gives_the_same_answer(tmp_path):
    with History(tmp_path / "history.db") as history:
        runs = ran(retried([LOST, BAD, GOOD]), retried([BAD] * 4))
    for allowed in (0, 1, 2, 5):
        live, kept = (WhatIf(each, prices=BOOK).retry(allowed) for each in (runs, history))
        assert str(live) == str(kept)
        assert live.frame().equals(kept.frame())


def test_wilson_intervals_are_those_of_the_literature():
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I.
    for successes, trials, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        found = wilson(successes, trials)
        assert found == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert wilson(0, 0) == (0.0, 1.0)
