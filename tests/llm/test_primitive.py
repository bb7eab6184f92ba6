import asyncio
import dataclasses
from contextlib import suppress
from typing import TypedDict

import pytest

from tta_notebook import WorkflowContext, capture
from tta_notebook.core.errors import ConfigurationError, ModelOutputError, StepTimeoutError
from tta_notebook.llm import LLMPrimitive, LLMText, Reply, ScriptedModel, Usage
from tta_notebook.testing import cancel_everywhere, run_virtual

USED = Usage(input_tokens=7, output_tokens=2)


class Person(TypedDict):
    name: str
    age: int


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Hold:
    def __init__(self, max_output_tokens=None):
        self.max_output_tokens = max_output_tokens
        self.settled, self.released = [], 0

    def settle(self, usage):
        self.settled.append(usage)

    def release(self):
        self.released += 1


class Guard:
    def __init__(self, hold=None, error=None):
        self.hold, self.error, self.calls = hold or Hold(), error, []

    async def reserve(self, call):
        self.calls.append(call)
        if self.error:
            raise self.error
        return self.hold


def guarded(*guards):
    return WorkflowContext().using(guards=guards)


# What it gives


def test_the_answer_is_a_text_that_knows_its_call():
    answer = LLMPrimitive(ScriptedModel([Reply("Paris", usage=USED)])).run_sync("France?")
    assert type(answer) is LLMText
    assert (answer, answer.usage, answer.cost_usd) == ("Paris", USED, None)
    assert answer.first_token_s is not None


def test_it_composes_with_functions_of_text():
    assert (LLMPrimitive(ScriptedModel("hello")) >> str.upper).run_sync("x") == "HELLO"


def test_a_stream_ends_with_the_whole_answer():
    async def main():
        llm = LLMPrimitive(ScriptedModel([Reply(["a", "b"], usage=USED)]))
        return [chunk async for chunk in llm.stream("x")]

    chunks = asyncio.run(main())
    assert [(chunk.content, chunk.chunk_index) for chunk in chunks] == [("a", 0), ("b", 1), ("", 2)]
    assert [chunk.is_final for chunk in chunks] == [False, False, True]
    assert chunks[-1].metadata["output"] == "ab"
    assert chunks[-1].metadata["usage"] == USED


@pytest.mark.parametrize(
    ("output", "text", "value"),
    [
        (dict, '{"a": 1}', {"a": 1}),
        (Person, '{"name": "Ada", "age": 36}', {"name": "Ada", "age": 36}),
        (list[Person], '{"value": [{"name": "Ada", "age": 36}]}', [{"name": "Ada", "age": 36}]),
        (Person | None, '{"value": null}', None),
        (Point, '{"x": 1, "y": 2}', Point(1, 2)),
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (list[Point], '{"value": [{"x": 1, "y": 2}]}', [Point(1, 2)]),
        (tuple[int, str], '{"value": [1, "a"]}', (1, "a")),
        (int | None, '{"value": null}', None),
        (dict, 'Here you are:\n```json\n{"a": 1}\n```\nAnything else?', {"a": 1}),
    ],
)
def test_output_is_a_value_of_the_asked_for_type(output, text, value):
    model = ScriptedModel([text])
    assert LLMPrimitive(model, output=output).run_sync("x") == value
    assert model.requests[0].json_schema["type"] == "object"


def test_definitions_of_a_wrapped_schema_stay_where_references_look_for_them():
    model = ScriptedModel(['{"value": []}'])
    LLMPrimitive(model, output=list[Point]).run_sync("x")
    assert "Point" in model.requests[0].json_schema["$defs"]


@pytest.mark.parametrize(
    ("text", "finish_reason", "said"),
    [
        ("Paris", "stop", "Ask again"),
        ('{"x": 1', "length", "raise max_output_tokens"),
        ('{"x": "one", "y": 2}', "stop", "x: Input should be a valid integer"),
    ],
)
def test_an_answer_that_does_not_fit_is_an_error_that_carries_it(text, finish_reason, said):
    model = ScriptedModel([Reply(text, finish_reason=finish_reason)])
    with pytest.raises(ModelOutputError) as caught:
        LLMPrimitive(model, output=Point).run_sync("x")
    assert caught.value.text == text
    assert said in str(caught.value)


def test_output_str_is_the_text():
    assert type(LLMPrimitive(ScriptedModel("a"), output=str).run_sync("x")) is LLMText


# What it is built with


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("gpt-5", "names no provider"),
        ("opnai:gpt-5", "did you mean 'openai'?"),
        ("openai:", "no model"),
        (5, "a int"),
        (LLMPrimitive, "cannot answer"),
        (LLMPrimitive(ScriptedModel("a")), "cannot answer"),
    ],
)
def test_a_model_that_means_nothing_is_refused_at_construction(model, said):
    with pytest.raises(ConfigurationError, match=said.replace("?", r"\?")):
        LLMPrimitive(model)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_output_tokens": 0},
        {"max_output_tokens": True},
        {"max_output_tokens": 1.5},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"output": object()},
    ],
)
def test_an_argument_that_means_nothing_is_refused_at_construction(arguments):
    with pytest.raises(ConfigurationError):
        LLMPrimitive(ScriptedModel("a"), **arguments)


def test_it_is_named_after_its_model_unless_it_is_named():
    assert LLMPrimitive("openai:gpt-5").name == "openai:gpt-5"
    assert LLMPrimitive("local", name="ask").name == "ask"


def test_a_given_backend_answers_in_place_of_the_named_model():
    answer = LLMPrimitive("openai:gpt-5", backend=ScriptedModel("stand-in")).run_sync("x")
    assert (answer, answer.requested_model) == ("stand-in", "openai:gpt-5")


def test_a_run_may_bring_its_own_backend():
    context = WorkflowContext().using(backends={"openai:gpt-5": ScriptedModel("recorded")})
    assert LLMPrimitive("openai:gpt-5").run_sync("x", context) == "recorded"


# What the trace says


def traced(llm, *, fails=()):
    async def main():
        with capture() as spans, suppress(*fails):
            await llm("x")
        return spans[0]

    return asyncio.run(main())


def test_the_span_has_a_note_the_usage_and_the_text():
    span = traced(LLMPrimitive(ScriptedModel([Reply(["a", "b"], usage=USED)])))
    (note,) = span.noted("model")
    assert (span.kind, span.usage, span.text) == ("llm", USED, "ab")
    assert note.data["source"] == "mock"
    assert note.data["finish_reason"] == "stop"
    assert note.data["usage"] == USED


def test_the_usage_of_a_typed_output_is_on_the_span_and_counted_once():
    llm = LLMPrimitive(ScriptedModel([Reply('{"value": [1]}', usage=USED)]), output=list[int])
    span = traced(llm)
    assert span.usage == USED
    assert span.run.usage == USED


def test_the_usage_of_a_text_is_counted_once():
    assert traced(LLMPrimitive(ScriptedModel([Reply("a", usage=USED)]))).run.usage == USED


def test_a_call_that_fails_half_way_is_booked_by_estimate():
    span = traced(LLMPrimitive(ScriptedModel([Reply("a b c", error=OSError())])), fails=(OSError,))
    assert span.usage.estimated
    assert span.usage.output_tokens == 3


def test_a_call_that_was_refused_is_not_booked():
    span = traced(LLMPrimitive(ScriptedModel([OSError()])), fails=(OSError,))
    assert span.usage is None
    assert span.noted("model")[0].data["usage"] is None


# Guards


def test_guards_are_asked_before_and_told_after():
    guard = Guard()
    LLMPrimitive(ScriptedModel([Reply("a", usage=USED)]), max_output_tokens=9).run_sync(
        "hello", guarded(guard)
    )
    (call,) = guard.calls
    assert (call.model, call.max_output_tokens) == ("scripted", 9)
    assert call.input_tokens > 0
    assert guard.hold.settled == [USED]


def test_a_hold_caps_the_answer_at_what_it_pays_for():
    model = ScriptedModel("a")
    LLMPrimitive(model).run_sync("x", guarded(Guard(Hold(50)), Guard(Hold(20))))
    assert model.requests[0].max_output_tokens == 20


def test_a_guard_that_refuses_stops_the_call_and_earlier_holds_are_given_back():
    model, first = ScriptedModel("a"), Guard()
    with pytest.raises(PermissionError):
        LLMPrimitive(model).run_sync("x", guarded(first, Guard(error=PermissionError())))
    assert first.hold.released == 1
    assert model.requests == []


def test_a_call_that_was_refused_releases_its_hold():
    guard = Guard()
    with pytest.raises(OSError, match="no"):
        LLMPrimitive(ScriptedModel([OSError("no")])).run_sync("x", guarded(guard))
    assert (guard.hold.released, guard.hold.settled) == (1, [])


def test_wherever_it_is_cancelled_each_hold_is_closed_once():
    guards = []

    async def attempt():
        guards.append(Guard())
        llm = LLMPrimitive(ScriptedModel([Reply(["a", "b"], delay_s=1)]))
        await llm("x", guarded(guards[-1]))

    cancel_everywhere(attempt)
    for guard in guards:
        if guard.calls:
            assert len(guard.hold.settled) + guard.hold.released == 1


def test_a_reader_who_leaves_a_stream_pays_for_what_was_sent():
    guard = Guard()

    async def main():
        stream = LLMPrimitive(ScriptedModel(["one two three"])).stream("x", guarded(guard))
        await anext(stream)
        await stream.aclose()

    asyncio.run(main())
    (usage,) = guard.hold.settled
    assert usage.estimated
    assert usage.output_tokens == 1


# The deadline


def test_the_contexts_deadline_ends_the_call():
    async def main():
        llm = LLMPrimitive(ScriptedModel([Reply(["a", "b", "c"], delay_s=4)]))
        await llm("x", WorkflowContext().within(10))

    with capture() as spans, pytest.raises(StepTimeoutError, match="deadline") as caught:
        run_virtual(main)
    assert caught.value.kind == "deadline"
    assert spans[0].text == "ab"  # what had come was shown, and is booked
    assert spans[0].usage.estimated


def test_a_timeout_of_the_model_itself_stays_what_it_is():
    async def main():
        llm = LLMPrimitive(ScriptedModel([TimeoutError("inner")]))
        await llm("x", WorkflowContext().within(10))

    with pytest.raises(TimeoutError, match="inner"):
        run_virtual(main)


# Its version


def test_its_version_is_made_of_what_its_answers_depend_on():
    def version(*arguments, **settings):
        return LLMPrimitive(*arguments, **settings).version

    base = version("openai:gpt-5")
    assert base == version("openai:gpt-5") is not None
    assert version("openai:gpt-5", name="other", api_key="secret") == base
    others = [
        version("openai:gpt-4"),
        version("openai:gpt-5", system="Be brief."),
        version("openai:gpt-5", temperature=0.5),
        version("openai:gpt-5", max_output_tokens=10),
        version("openai:gpt-5", seed=1),
        version("openai:gpt-5", stop="x"),
        version("openai:gpt-5", output=Point),
        version("openai:gpt-5", output=Person),
        version("openai:gpt-5", base_url="http://127.0.0.1:1"),
        version("openai:gpt-5", top_p=0.5),
        version(lambda prompt: prompt),
        version(lambda prompt: prompt + "!"),
    ]
    assert len({base, *others}) == len(others) + 1
    assert version(lambda prompt: prompt) == others[-2]


def test_it_has_no_version_when_its_backend_has_none():
    replies = (reply for reply in ["a"])
    assert LLMPrimitive(lambda prompt: next(replies)).version is None
