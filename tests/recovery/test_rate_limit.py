"""RateLimitPrimitive: a step's calls, or the models inside it, below a rate."""

import asyncio

import pytest

from tta_notebook import (
    ArgumentError,
    CompositionError,
    ConfigurationError,
    LambdaPrimitive,
    LimitExceededError,
    LLMPrimitive,
    MockPrimitive,
    RateLimitError,
    Reply,
    ScriptedModel,
    StreamChunk,
    Usage,
    WorkflowContext,
    WorkflowPrimitive,
    capture,
    current_context,
)
from tta_notebook.recovery.rate import RateLimit
from tta_notebook.recovery.rate_limit import RateLimitPrimitive
from tta_notebook.testing import cancel_everywhere, run_virtual


async def moment(_):
    """Give the moment at which the step is called."""
    return round(asyncio.get_running_loop().time(), 6)


async def together(step, count, told=0):
    return await asyncio.gather(*(step(told) for _ in range(count)), return_exceptions=True)


def model(replies, used=30):
    usage = Usage(input_tokens=used - 1, output_tokens=1)
    return ScriptedModel([Reply("a", usage=usage)] * replies)


def test_calls_of_a_step_are_kept_below_the_rate():
    step = RateLimitPrimitive(moment, requests_per_minute=60, burst=0.05)
    assert run_virtual(lambda: together(step, 5)) == [0, 0, 0, 1, 2]


def test_tokens_of_a_step_can_be_estimated_from_its_input_and_are_settled_from_its_result():
    async def used(text):
        return {"text": text, "usage": {"input_tokens": len(text), "output_tokens": 0}}

    async def main():
        step = RateLimitPrimitive(used, tokens_per_minute=600, tokens=lambda text: 10 * len(text))
        await step("x" * 50)
        return step.limit.free("tokens")

    assert run_virtual(main) == 550


def test_models_inside_are_limited_by_what_they_reserve_and_use():
    async def main():
        both = LLMPrimitive(model(1), max_output_tokens=200) >> LLMPrimitive(
            model(1), max_output_tokens=200
        )
        step = RateLimitPrimitive(both, requests_per_minute=60, tokens_per_minute=600)
        await step("hello")
        return step.limit.free("tokens"), step.limit.free("requests")

    assert run_virtual(main) == (540, 58)


def test_models_outside_are_not_limited():
    async def main():
        limited = RateLimitPrimitive(LLMPrimitive(model(1)), tokens_per_minute=6000)
        workflow = LLMPrimitive(model(1)) >> limited >> LLMPrimitive(model(1))
        await workflow("hello")
        return limited.limit.free("tokens")

    assert run_virtual(main) == 5970


def test_the_limited_part_shares_the_runs_state_and_identity():
    def look(_):
        context = current_context()
        context.state["seen"] = True
        context.tags["inside"] = "yes"
        return context.trace_id_hex, context.correlation_id, context.user_id

    async def main():
        context = WorkflowContext(user_id="u-1")
        step = LambdaPrimitive(look) | RateLimitPrimitive(look, tokens_per_minute=60)
        one, other = await step(0, context)
        assert one == other
        assert one[2] == "u-1"
        return context.state, dict(context.tags)

    assert run_virtual(main) == ({"seen": True}, {"inside": "yes"})


def test_steps_can_share_a_limit():
    async def main():
        limit = RateLimit(requests_per_minute=60, burst=1 / 60)
        one, other = (RateLimitPrimitive(moment, limit=limit) for _ in range(2))
        return await asyncio.gather(one(0), other(0))

    assert run_virtual(main) == [0, 1]


def test_a_provider_that_wants_no_call_gets_none_from_anybody():
    busy = RateLimitError("busy", model="m", status_code=429, retry_after=20)

    async def main():
        limit = RateLimit(requests_per_minute=600)
        with pytest.raises(RateLimitError):
            await RateLimitPrimitive(MockPrimitive("m", side_effect=busy), limit=limit)(0)
        return await RateLimitPrimitive(moment, limit=limit)(0)

    assert run_virtual(main) == 20


def test_headers_of_an_error_count():
    headers = {"X-RateLimit-Remaining-Requests": "0", "X-RateLimit-Reset-Requests": "1m0s"}
    full = RateLimitError("full", model="m", status_code=429, headers=headers)

    async def main():
        limit = RateLimit(requests_per_minute=600)
        with pytest.raises(RateLimitError):
            await RateLimitPrimitive(MockPrimitive("m", side_effect=full), limit=limit)(0)
        return await RateLimitPrimitive(moment, limit=limit)(0)

    assert run_virtual(main) == 60


def test_a_refusal_of_an_inner_limit_says_nothing_about_the_provider():
    async def main():
        inner = RateLimit(requests_per_minute=60, burst=1 / 60, max_wait_seconds=0.5)
        outer = RateLimit(requests_per_minute=600)
        step = RateLimitPrimitive(RateLimitPrimitive(moment, limit=inner), limit=outer)
        _, refused = await together(step, 2)
        assert isinstance(refused, LimitExceededError)
        return await RateLimitPrimitive(moment, limit=outer)(0)

    assert run_virtual(main) == 0


def test_streams_are_limited_and_settled_too():
    async def main():
        step = RateLimitPrimitive(LLMPrimitive(model(1)), tokens_per_minute=6000)
        pieces = [chunk.content async for chunk in step.stream("hello")]
        assert pieces[0] == "a"
        return step.limit.free("tokens")

    assert run_virtual(main) == 5970


def test_a_stream_whose_tokens_are_estimated_is_settled_by_its_last_piece():
    async def main():
        step = RateLimitPrimitive(
            LLMPrimitive(model(1)), tokens_per_minute=6000, tokens=lambda _: 1000
        )
        async for _ in step.stream("hello"):
            assert step.limit.free("tokens") in (5000, 5970)
        return step.limit.free("tokens")

    assert run_virtual(main) == 5970


def test_an_estimate_that_is_no_number_is_refused():
    step = RateLimitPrimitive(moment, tokens_per_minute=60, tokens=lambda _: "many")
    with pytest.raises(ArgumentError, match="returned 'many'"):
        run_virtual(lambda: step(0))


def test_waiting_is_in_the_trace():
    async def main():
        step = RateLimitPrimitive(moment, requests_per_minute=60, burst=1 / 60, name="tier")
        await together(step, 2)

    with capture() as spans:
        run_virtual(main)
    (note,) = [note for span in spans for note in span.noted("rate_limit")]
    assert note.data == {"limit": "tier", "waited_s": pytest.approx(1)}


@pytest.mark.parametrize("options", [{"requests_per_minute": 60}, {"tokens_per_minute": 6000}])
def test_a_cancellation_is_one_at_every_point(options):
    async def main():
        step = RateLimitPrimitive(LLMPrimitive(model(3)), burst=0.5, **options)
        return await together(step, 3)

    assert cancel_everywhere(main).suspensions > 0


def test_a_limit_and_numbers_exclude_each_other():
    with pytest.raises(ArgumentError, match=r"limit=… and burst=… were given"):
        RateLimitPrimitive(moment, limit=RateLimit(requests_per_minute=1), burst=0.5)


@pytest.mark.parametrize("wrong", [0, -1, True, "60"])
def test_bad_numbers_are_refused(wrong):
    with pytest.raises(ConfigurationError, match="requests_per_minute="):
        RateLimitPrimitive(moment, requests_per_minute=wrong)


def test_an_estimate_without_a_limit_of_tokens_is_refused():
    with pytest.raises(ConfigurationError, match="no tokens_per_minute"):
        RateLimitPrimitive(moment, requests_per_minute=1, tokens=len)


def test_without_any_number_there_is_nothing_to_limit():
    with pytest.raises(ConfigurationError, match="Give at least one"):
        RateLimitPrimitive(moment)


def test_its_options_reach_the_limit_and_its_name_is_said():
    async def main():
        step = RateLimitPrimitive(
            moment, requests_per_minute=60, burst=1 / 60, max_wait_seconds=0.5
        )
        assert step.name == "limit moment"
        _, refused = await together(step, 2)
        return str(refused)

    assert run_virtual(main).startswith("RateLimit 'limit moment': a call would wait 1 s")


def test_mistakes_are_told_in_full():
    with pytest.raises(ArgumentError, match=r"^RateLimitPrimitive: limit=… and burst=…"):
        RateLimitPrimitive(moment, limit=RateLimit(requests_per_minute=1), burst=0.5)
    with pytest.raises(CompositionError, match=r"^RateLimitPrimitive\(tokens=…\)"):
        RateLimitPrimitive(moment, tokens_per_minute=60, tokens="many")
    with pytest.raises(ConfigurationError) as caught:
        RateLimitPrimitive(moment, requests_per_minute=1, tokens=len)
    assert str(caught.value) == (
        "RateLimitPrimitive: tokens=… estimates tokens, but there is no tokens_per_minute to keep. "
        "Give it, or leave tokens out."
    )
    step = RateLimitPrimitive(moment, tokens_per_minute=60, tokens=lambda _: -1)
    with pytest.raises(ArgumentError) as caught:
        run_virtual(lambda: step(0))
    assert str(caught.value) == (
        "RateLimitPrimitive 'limit moment': tokens=… returned -1, which is no number of tokens. "
        "Return an estimate from 0."
    )


@pytest.mark.parametrize("how", ["usage", "output"])
def test_a_stream_is_settled_by_either_thing_that_its_last_piece_says(how):
    usage = {"input_tokens": 20, "output_tokens": 10}
    about = {"usage": usage} if how == "usage" else {"output": {"usage": usage}}

    class Streams(WorkflowPrimitive):
        async def _stream(self, input_data, context):
            yield StreamChunk(input_data)
            yield StreamChunk("", 1, is_final=True, metadata=about)

    async def main():
        seen = []

        async def estimate(told, ctx):
            seen.append((told, ctx.user_id))
            return 500

        step = RateLimitPrimitive(Streams(), tokens_per_minute=6000, tokens=estimate)
        stream = step.stream("hello", WorkflowContext(user_id="u-1"))
        assert [chunk.content async for chunk in stream] == ["hello", ""]
        return seen, step.limit.free("tokens")

    assert run_virtual(main) == ([("hello", "u-1")], 5970)


def test_an_empty_stream_leaves_the_reservation():
    class Empty(WorkflowPrimitive):
        async def _stream(self, input_data, context):
            for piece in ():
                yield piece

    async def main():
        step = RateLimitPrimitive(Empty(), tokens_per_minute=6000, tokens=lambda _: 500)
        assert [chunk async for chunk in step.stream("hello")] == []
        return step.limit.free("tokens")

    assert run_virtual(main) == 5500


def test_an_estimate_sees_the_context():
    seen = []

    async def main():
        step = RateLimitPrimitive(
            moment, tokens_per_minute=60, tokens=lambda _, ctx: seen.append(ctx.user_id) or 0
        )
        await step(0, WorkflowContext(user_id="u-1"))
        return step.limit.free("tokens")

    assert run_virtual(main) == 60
    assert seen == ["u-1"]
