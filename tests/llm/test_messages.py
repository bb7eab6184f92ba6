import pytest

from tta_notebook.core.errors import ModelRequestError
from tta_notebook.llm import Message
from tta_notebook.llm.messages import conversation

HELLO = (Message("user", "hello"),)


@pytest.mark.parametrize(
    "prompt",
    [
        "hello",
        {"prompt": "hello", "sources": [1, 2]},
        {"messages": "hello"},
        [{"role": "user", "content": "hello"}],
        [("user", "hello")],
        (Message("user", "hello"),),
        {"messages": [("user", "hello")]},
    ],
)
def test_every_shape_of_input_becomes_the_same_conversation(prompt):
    assert conversation(prompt) == HELLO


def test_the_system_text_comes_first():
    assert conversation("hello", system="Be brief.")[0] == Message("system", "Be brief.")


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("", "''"),
        (" \n", "nothing to answer"),
        ([], "empty list"),
        (5, "5 (int)"),
        (None, "None (NoneType)"),
        (b"hello", "bytes"),
        ({"text": "hello"}, "'text'"),
        ({"prompt": "a", "messages": "b"}, "both"),
        ([("user", "")], "message 0"),
        ([("usr", "hello")], "did you mean 'user'?"),
        ([("user", 3)], "3 (int)"),
        (["hello"], "message 0"),
        ([("user", "a", "b")], "no role and content"),
    ],
)
def test_input_of_no_known_shape_is_refused_with_what_was_found(prompt, found):
    with pytest.raises(ModelRequestError) as caught:
        conversation(prompt, step="ask", model="local")
    assert found in str(caught.value)
    assert "'ask'" in str(caught.value)
    assert "Give a text" in str(caught.value)
    assert caught.value.model == "local"
    assert not caught.value.retryable
