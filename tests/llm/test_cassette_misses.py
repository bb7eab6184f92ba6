"""A request that a cassette lacks: the error names the nearest one, and how they differ."""

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import WorkflowContext
from tta_notebook.core.errors import CassetteMissError
from tta_notebook.llm import LLMPrimitive, ScriptedModel
from tta_notebook.llm.cassettes.cassette import Cassette
from tta_notebook.llm.cassettes.nearest import first_difference, nearest
from tta_notebook.llm.embeddings import EmbeddingPrimitive

SYSTEM = "You are the help desk of a coffee machine."
COFFEE = "… are the help desk of a coffee machine."
WASHING = "… are the help desk of a washing machine."
STATED = {"temperature": 0, "seed": 1, "stop": ["\n"], "system": SYSTEM}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "calls.jsonl"


def ask(cassette, prompt, name="scripted", **arguments):
    context = WorkflowContext().using(backends=cassette.backends)
    model = ScriptedModel("answer", name=name)
    return LLMPrimitive(model, **arguments).run_sync(prompt, context)


def missed(path, prompt, **arguments):
    with Cassette(path) as cassette, pytest.raises(CassetteMissError) as caught:
        ask(cassette, prompt, **arguments)
    return caught.value


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        ({"temperature": 0.7}, "temperature was 0, is 0.7"),
        ({"temperature": None}, "temperature was 0, is not there"),
        ({"seed": 2}, "seed was 1, is 2"),
        ({"stop": ["\n", "END"]}, "stop[1] was not there, is 'END'"),
        ({"max_output_tokens": 99}, "max_output_tokens was 1024, is 99"),
        ({"top_p": 0.5}, "settings.top_p was not there, is 0.5"),
        ({"name": "other"}, "model was 'scripted', is 'other'"),
        ({"output": dict}, "json_schema.additionalProperties was not there, is True"),
        (
            {"system": SYSTEM.replace("coffee", "washing")},
            f"messages[0].content differs at character 27: {COFFEE!r} became {WASHING!r}",
        ),
    ],
)
def test_the_first_difference_is_named_by_its_path(path, changed, difference):
    with Cassette(path) as cassette:
        ask(cassette, "Why does it drip?", **STATED)
    error = missed(path, "Why does it drip?", **{**STATED, **changed})
    assert error.difference == difference
    assert f"{path}: " in str(error)
    assert difference in str(error)
    assert "mode='all'" in str(error)
    assert error.retryable is False


def test_the_nearest_request_is_the_one_that_is_most_alike(path):
    prompts = ["Why does it drip on Mondays, and what can be done?", "Is it on?", "Hello"]
    with Cassette(path) as cassette:
        for prompt in prompts:
            ask(cassette, prompt)
    error = missed(path, "Why does it drip on Fridays, and what can be done?")
    assert error.nearest["messages"][0]["content"] == prompts[0]
    assert "differs at character 20" in error.difference


def test_without_any_recording_of_its_kind_it_says_so(path):
    with Cassette(path) as cassette:
        ask(cassette, "x")
        context = WorkflowContext().using(backends=cassette.backends)
    with Cassette(path) as cassette:
        context = WorkflowContext().using(backends=cassette.backends)
        with pytest.raises(CassetteMissError, match="holds no embedding") as caught:
            EmbeddingPrimitive(lambda texts: [[1.0]]).run_sync("x", context)
    assert (caught.value.nearest, caught.value.difference) == (None, None)


def test_the_error_travels_between_processes(path):
    with Cassette(path) as cassette:
        ask(cassette, "x")
    error = missed(path, "y")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (str(again), again.difference, again.nearest, again.path) == (
        str(error),
        error.difference,
        error.nearest,
        str(path),
    )


# What counts


def test_only_the_named_fields_have_to_be_equal(path):
    match = ("model", "messages")
    with Cassette(path, match=match) as cassette:
        ask(cassette, "x", temperature=0)
    with Cassette(path, match=match) as cassette:
        assert ask(cassette, "x", temperature=1).source == "replay"
        with pytest.raises(CassetteMissError) as caught:
            ask(cassette, "y", temperature=1)
    assert caught.value.difference == "messages[0].content was 'x', is 'y'"


def test_texts_to_embed_always_have_to_be_equal(path):
    def embed(cassette, text):
        context = WorkflowContext().using(backends=cassette.backends)
        return EmbeddingPrimitive(lambda texts: [[float(ord(texts[0]))]]).run_sync(text, context)

    with Cassette(path, match="messages") as cassette:
        assert embed(cassette, "a") == [97.0]
    with Cassette(path, match="messages") as cassette:
        assert embed(cassette, "a") == [97.0]
        with pytest.raises(CassetteMissError, match=r"texts\[0\] was 'a', is 'b'"):
            embed(cassette, "b")


def test_a_function_says_what_has_to_be_equal_and_cannot_change_the_recording(path):
    def without_date(request):
        for message in request["messages"]:
            message["content"] = message["content"].partition("|")[0]
        return request

    with Cassette(path, match=without_date) as cassette:
        ask(cassette, "hello|Monday")
    assert "hello|Monday" in path.read_text(encoding="utf-8")
    with Cassette(path, match=without_date) as cassette:
        assert ask(cassette, "hello|Friday").source == "replay"


def test_a_request_that_was_changed_by_hand_in_the_file_counts_as_it_stands(path):
    with Cassette(path) as cassette:
        ask(cassette, "helo")
    path.write_text(path.read_text(encoding="utf-8").replace("helo", "hello"), encoding="utf-8")
    with Cassette(path) as cassette:
        assert ask(cassette, "hello") == "answer"


def test_numbers_that_are_equal_are_one_temperature(path):
    with Cassette(path) as cassette:
        ask(cassette, "x", temperature=0)
    with Cassette(path) as cassette:
        assert ask(cassette, "x", temperature=0.0) == "answer"


# Laws

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_a_value_does_not_differ_from_its_copy(value):
    assert first_difference(value, copy.deepcopy(value)) == ""
    found = nearest(value, [["another"], copy.deepcopy(value)])
    assert first_difference([["another"], value][found.place], value) == found.difference == ""


@given(st.text(min_size=1), st.text(), st.text(min_size=1))
def test_texts_differ_where_they_first_do(start, middle, end):
    was, now = f"{start}{middle}", f"{start}{middle}{end}"
    told = first_difference([was], [now])
    assert f"character {len(was)}:" in told


def test_megabytes_of_text_are_compared_in_a_moment():
    text = "All work and no play. " * 100_000
    assert "differs at character 2199999" in first_difference([text], [text[:-1] + "?"])
    assert nearest([text], ["", [text[1:]], text[:1000]]).place == 1
