"""MockPrimitive: how it answers, and what it remembers."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook.core.context import WorkflowContext
from tta_notebook.core.errors import ConfigurationError
from tta_notebook.testing import (
    Faults,
    MockPrimitive,
    cancel_everywhere,
    capture,
    run_virtual,
    virtual_time,
)

# How it answers


def test_both_forms_of_construction_give_the_value():
    assert MockPrimitive(return_value=1).run_sync("x") == 1
    assert MockPrimitive("m", return_value=1).run_sync("x") == 1
    assert MockPrimitive("m", 1).run_sync("x") == 1
    assert MockPrimitive("m").run_sync("x") is None
    assert MockPrimitive(return_value=1).name == "MockPrimitive"
    assert MockPrimitive("m").name == "m"


def test_an_exception_as_the_return_value_is_returned():
    error = ValueError("a value")
    assert MockPrimitive(return_value=error).run_sync("x") is error


@pytest.mark.parametrize("keyword", ["side_effect", "raise_error"])
@pytest.mark.parametrize("error", [LookupError, LookupError("gone")])
def test_errors_are_raised_on_every_call(keyword, error):
    mock = MockPrimitive(**{keyword: error})
    for _ in range(2):
        with pytest.raises(LookupError):
            mock.run_sync("x")
    assert [call.status for call in mock.calls] == ["error", "error"]


def test_a_list_of_side_effects_is_worked_off_in_turn():
    mock = MockPrimitive("m", side_effect=[1, ValueError("two"), None])
    assert mock.run_sync("x") == 1
    with pytest.raises(ValueError, match="two"):
        mock.run_sync("x")
    assert mock.run_sync("x") is None
    with pytest.raises(AssertionError, match="'m' has no side effect left for call 4"):
        mock.run_sync("x")


def test_a_generator_of_side_effects_may_be_endless():
    mock = MockPrimitive(side_effect=itertools.count())
    assert [mock.run_sync("x") for _ in range(3)] == [0, 1, 2]


def with_context(x, ctx):
    return x, ctx.state["k"]


async def with_context_async(x, ctx):
    return x, ctx.state["k"]


async def doubled(x):
    return 2 * x


def test_functions_of_every_shape_are_side_effects():
    context = WorkflowContext(state={"k": "v"})
    assert MockPrimitive(side_effect=len).run_sync("four") == 4
    assert MockPrimitive(side_effect=doubled).run_sync(21) == 42
    assert MockPrimitive(side_effect=lambda x: doubled(x + 1)).run_sync(20) == 42
    for function in (with_context, with_context_async):
        mock = MockPrimitive(side_effect=function)
        assert mock.run_sync("x", context) == ("x", "v")


def test_another_primitive_is_a_side_effect():
    inner = MockPrimitive("inner", side_effect=str.upper)
    assert MockPrimitive("outer", side_effect=inner).run_sync("x") == "X"
    assert inner.last_input == "x"


@pytest.mark.parametrize(
    "arguments",
    [
        {"side_effect": "text"},
        {"side_effect": {"a": 1}},
        {"side_effect": 42},
        {"raise_error": "text"},
        {"raise_error": ValueError, "side_effect": [1]},
        {"stream": ["a"], "side_effect": [1]},
    ],
)
def test_what_means_nothing_is_refused_at_construction(arguments):
    with pytest.raises(ConfigurationError):
        MockPrimitive(**arguments)


def test_it_composes_and_is_traced():
    with capture() as spans:
        assert (MockPrimitive("a", return_value="abc") >> len).run_sync("x") == 3
    assert ("a", "mock", "ok") in [(span.name, span.kind, span.status) for span in spans]


# Streams


async def pieces_of(mock):
    return [chunk async for chunk in mock.stream("x")]


def test_a_stream_gives_its_pieces_and_a_call_their_sum():
    mock = MockPrimitive(stream=["Hel", "lo"])
    chunks = run_virtual(lambda: pieces_of(mock))
    assert [(chunk.content, chunk.is_final) for chunk in chunks] == [
        ("Hel", False),
        ("lo", False),
        ("", True),
    ]
    assert chunks[-1].metadata["output"] == "Hello"
    assert mock.run_sync("x") == "Hello"
    assert [call.result for call in mock.calls] == ["Hello", "Hello"]


def test_an_exception_among_the_pieces_breaks_the_stream():
    mock = MockPrimitive(stream=["Hel", ConnectionError("lost")])
    with pytest.raises(ConnectionError, match="lost"):
        run_virtual(lambda: pieces_of(mock))
    assert mock.calls[0].status == "error"


@virtual_time()
async def test_a_stream_closed_early_counts_as_cancelled():
    mock = MockPrimitive(stream=["a", "b"])
    stream = mock.stream("x")
    await anext(stream)
    await stream.aclose()
    assert mock.calls[0].status == "cancelled"


def test_without_a_stream_it_does_not_claim_to_have_one():
    assert not MockPrimitive(return_value=1).can_stream
    assert MockPrimitive(stream=["a"]).can_stream
    (chunk,) = run_virtual(lambda: pieces_of(MockPrimitive(return_value=7)))
    assert chunk.content == 7


# What it remembers


def test_calls_are_recorded_with_input_context_and_outcome():
    mock = MockPrimitive(return_value="out")
    context = WorkflowContext(state={"k": "v"})
    mock.run_sync("in", context)
    (call,) = mock.calls
    data, seen = call
    assert (data, call.status, call.result, call.error) == ("in", "ok", "out", None)
    assert seen is mock.last_context
    assert seen.state is context.state
    assert (mock.call_count, mock.last_input) == (1, "in")


def test_assertions_pass_and_fail_with_words():
    mock = MockPrimitive("m", return_value=1)
    mock.assert_not_called()
    assert (mock.last_input, mock.last_context) == (None, None)
    for fails in (mock.assert_called, mock.assert_called_once):
        with pytest.raises(AssertionError, match="'m'"):
            fails()
    with pytest.raises(AssertionError, match="was not called and should have been"):
        mock.assert_called_with("x")

    mock.run_sync("x")
    mock.assert_called()
    mock.assert_called_once()
    mock.assert_called_with("x")
    mock.assert_called_once_with("x")
    with pytest.raises(AssertionError, match=r"last called with 'x' and should .* with 'y'"):
        mock.assert_called_with("y")
    with pytest.raises(AssertionError, match="should not have been called: 'x'"):
        mock.assert_not_called()

    mock.run_sync("y")
    mock.assert_called_with("y")
    with pytest.raises(AssertionError, match="2 times and should have been called once: 'x', 'y'"):
        mock.assert_called_once_with("y")


def test_reset_begins_again():
    mock = MockPrimitive(side_effect=[1, 2], faults=Faults(outcomes=["ok", "error"]))
    assert mock.run_sync("x") == 1
    mock.reset()
    mock.assert_not_called()
    assert mock.run_sync("x") == 1


def test_a_copy_under_another_name_shares_the_record():
    mock = MockPrimitive("m", return_value=1)
    mock.named("other").run_sync("x")
    mock.assert_called_once_with("x")


@given(st.integers(1, 40), st.integers())
def test_concurrent_calls_count_exactly_and_get_their_own_turn(number, seed):
    mock = MockPrimitive(side_effect=range(number), faults=Faults(latency_s=(0, 5), seed=seed))

    async def main():
        return await asyncio.gather(*(mock(index) for index in range(number)))

    results = run_virtual(main, seed=seed)
    assert sorted(results) == list(range(number))
    assert [call.result for call in mock.calls] == list(range(number))


def test_calls_from_many_threads_are_all_counted():
    mock = MockPrimitive(side_effect=itertools.count())

    async def main():
        async with asyncio.TaskGroup() as group:
            for index in range(20):
                group.create_task(asyncio.to_thread(mock.run_sync, index))

    run_virtual(main)
    assert sorted(call.result for call in mock.calls) == list(range(20))
    assert sorted(call.index for call in mock.calls) == list(range(20))


def test_a_cancelled_call_is_recorded_as_cancelled():
    mock = MockPrimitive(return_value=1, faults=Faults(latency_s=1))
    report = cancel_everywhere(lambda: mock("x"))
    assert report.outcomes == {"cancelled": 2}
    assert [call.status for call in mock.calls] == ["ok", "cancelled", "cancelled", "ok"]
