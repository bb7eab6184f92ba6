import asyncio
import contextvars
import threading

import pytest

from tta_notebook.core.errors import ModelRequestError
from tta_notebook.llm import LLMPrimitive, LLMText, ModelDelta, Usage

WHO = contextvars.ContextVar("WHO", default="nobody")


def test_a_function_gets_the_prompt_and_gives_the_answer():
    answer = LLMPrimitive(lambda prompt: prompt.upper()).run_sync("hello")
    assert answer == "HELLO"
    assert answer.usage.estimated


def test_a_function_of_messages_gets_the_conversation():
    def last(messages):
        return messages[-1]["content"] + messages[0]["role"]

    assert LLMPrimitive(last, system="Be brief.").run_sync("hello") == "hellosystem"


def test_a_prompt_of_several_messages_shows_their_roles():
    assert (
        LLMPrimitive(lambda prompt: prompt, system="Be brief.").run_sync("Hi")
        == "system: Be brief.\n\nuser: Hi"
    )


def test_a_coroutine_function_is_awaited():
    async def answer(prompt):
        await asyncio.sleep(0)
        return prompt + "!"

    assert LLMPrimitive(answer).run_sync("hello") == "hello!"


def test_an_object_with_an_async_call_is_awaited_in_the_loop():
    class Model:
        async def __call__(self, prompt):
            return threading.current_thread().name

    async def main():
        return await LLMPrimitive(Model())("x"), threading.current_thread().name

    answer, loop_thread = asyncio.run(main())
    assert answer == loop_thread


def test_an_async_generator_is_streamed_and_closed_when_the_reader_leaves():
    closed = []

    async def words(prompt):
        try:
            for word in prompt.split():
                yield word + " "
        finally:
            closed.append(True)

    async def main():
        stream = LLMPrimitive(words).stream("a b c")
        first = await anext(stream)
        await stream.aclose()
        return first.content

    assert asyncio.run(main()) == "a "
    assert closed == [True]


def test_an_async_generator_may_report_usage():
    async def model(prompt):
        yield "a"
        yield ModelDelta("b", usage=Usage(1, 2), model="inner")

    answer = LLMPrimitive(model).run_sync("x")
    assert (answer, answer.usage, answer.model) == ("ab", Usage(1, 2), "inner")


def test_an_ordinary_function_runs_in_a_thread_with_the_callers_variables():
    def answer(prompt):
        return f"{WHO.get()} {threading.current_thread() is threading.main_thread()}"

    async def main():
        WHO.set("me")
        return await LLMPrimitive(answer)("x")

    assert asyncio.run(main()) == "me False"


def test_the_usage_of_a_result_is_kept():
    def answer(prompt):
        return LLMText("a", usage=Usage(3, 4))

    assert LLMPrimitive(answer).run_sync("x").usage == Usage(3, 4)


def test_an_exception_of_the_function_passes_unchanged():
    def fail(prompt):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        LLMPrimitive(fail).run_sync("x")


def test_a_result_that_is_no_text_is_refused():
    with pytest.raises(ModelRequestError, match="no text"):
        LLMPrimitive(lambda prompt: object()).run_sync("x")


def test_a_mapping_counts_as_json():
    assert LLMPrimitive(lambda prompt: {"a": 1}, output=dict).run_sync("x") == {"a": 1}
