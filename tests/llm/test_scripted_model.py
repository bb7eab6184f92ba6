import asyncio

import pytest

from tta_notebook.core.errors import ConfigurationError, ModelRequestError
from tta_notebook.llm import LLMPrimitive, Reply, ScriptedModel, Usage
from tta_notebook.testing import run_virtual


def test_replies_come_in_order_and_requests_are_remembered():
    model = ScriptedModel(["one", "two"])
    llm = LLMPrimitive(model, system="Count.", temperature=0.5, stop="x", top_p=0.9)
    assert [llm.run_sync("a"), llm.run_sync("b")] == ["one", "two"]
    request = model.requests[1]
    assert [message.content for message in request.messages] == ["Count.", "b"]
    assert (request.temperature, request.stop, request.settings) == (0.5, ("x",), {"top_p": 0.9})


def test_a_call_beyond_the_script_says_so():
    with pytest.raises(ModelRequestError, match=r"a 2\. time"):
        asyncio.run(_ask_twice(LLMPrimitive(ScriptedModel(["once"]))))


async def _ask_twice(llm):
    return [await llm("a"), await llm("b")]


def test_a_single_text_answers_every_call():
    llm = LLMPrimitive(ScriptedModel("always"))
    assert asyncio.run(_ask_twice(llm)) == ["always", "always"]


@pytest.mark.parametrize("error", [TimeoutError("slow"), TimeoutError])
def test_a_scripted_exception_is_raised(error):
    with pytest.raises(TimeoutError):
        LLMPrimitive(ScriptedModel([error])).run_sync("a")


def test_a_function_of_the_request_makes_a_reply():
    async def later(request):
        return Reply(f"later {request.messages[0].content}")

    model = ScriptedModel([lambda request: request.messages[0].content.upper(), later])
    llm = LLMPrimitive(model)
    assert [llm.run_sync("a"), llm.run_sync("b")] == ["A", "later b"]


def test_usage_is_estimated_unless_it_is_given():
    stated = Usage(input_tokens=3, output_tokens=2)
    llm = LLMPrimitive(ScriptedModel(["a", Reply("b", usage=stated)]))
    assert llm.run_sync("x").usage.estimated
    assert llm.run_sync("x").usage == stated


def test_the_result_says_that_it_is_a_mock():
    answer = LLMPrimitive(ScriptedModel("a", name="actor")).run_sync("x")
    assert (answer.source, answer.model, answer.requested_model) == ("mock", "actor", "actor")
    assert answer.finish_reason == "stop"


def test_pieces_come_at_their_own_pace_on_the_loops_clock():
    async def main():
        loop = asyncio.get_running_loop()
        llm = LLMPrimitive(ScriptedModel([Reply(["Hel", "lo"], delay_s=10)]))
        return [(loop.time(), chunk.content) async for chunk in llm.stream("x")]

    times = run_virtual(main)
    assert [content for _, content in times] == ["Hel", "lo", ""]
    assert times[1][0] - times[0][0] == pytest.approx(10)


def test_an_error_after_some_pieces_comes_after_them():
    llm = LLMPrimitive(ScriptedModel([Reply("half a", error=ConnectionError("lost"))]))
    seen = []

    async def main():
        async for chunk in llm.stream("x"):
            seen.append(chunk.content)  # noqa: PERF401 - kept when it raises

    with pytest.raises(ConnectionError):
        asyncio.run(main())
    assert "".join(seen) == "half a"


def test_a_reply_that_means_nothing_is_refused_at_once():
    with pytest.raises(ConfigurationError, match="5"):
        ScriptedModel([5])
