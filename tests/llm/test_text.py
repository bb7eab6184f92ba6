import copy
import pickle

from tta_notebook.llm import LLMText, Usage

ANSWER = LLMText(
    "Paris",
    usage=Usage(input_tokens=9, output_tokens=1),
    model="served",
    requested_model="asked",
    source="local",
    finish_reason="stop",
    first_token_s=0.25,
)


def test_an_answer_is_a_str_in_every_respect():
    assert ANSWER == "Paris"
    assert hash(ANSWER) == hash("Paris")
    assert f"{ANSWER}!" == "Paris!"
    assert isinstance(ANSWER, str)


def test_copies_and_pickles_keep_the_particulars():
    for twin in (copy.copy(ANSWER), copy.deepcopy(ANSWER), pickle.loads(pickle.dumps(ANSWER))):  # noqa: S301 - our own bytes
        assert twin == ANSWER
        assert type(twin) is LLMText
        assert vars(twin) == vars(ANSWER)


def test_a_copy_inside_a_structure_keeps_the_particulars():
    assert copy.deepcopy({"answer": [ANSWER]})["answer"][0].usage == ANSWER.usage


def test_what_is_derived_from_an_answer_is_a_plain_str():
    assert type(ANSWER.upper()) is str
    assert type(ANSWER + "!") is str
