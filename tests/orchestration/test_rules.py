"""Rules: whole words, the same every time, whatever the text."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import ConfigurationError, RuleClassifier, TaskKind, WorkflowContext
from tta_notebook.orchestration import STANDARD_WORDS
from tta_notebook.orchestration.models import COMPLEXITIES

RULES = RuleClassifier()


def kind_of(text, rules=RULES):
    return asyncio.run(rules.classify(text, WorkflowContext()))


@pytest.mark.parametrize(
    ("text", "characteristics"),
    [
        ("classify", ("classification",)),
        ("Classify this review as good or bad", ("classification",)),
        ("classify this function name", ("classification", "code")),
        ("CLASSIFY THIS FUNCTION NAME", ("classification", "code")),
        ("What is the longitude of Rome?", ()),
        ("a sense of belonging", ()),
        ("the codex and its decoder", ()),
        ("the functional programme", ()),
        ("a rusty javanese apiary", ()),
        ("explanation of planets", ()),
        ("_code_", ()),
        ("code", ("code",)),
        ("'code'", ("code",)),
        ("TL;DR please", ("summary",)),
        ("key\n  points", ("summary",)),
        ("read the entire codebase", ("long_context",)),
        ("Übercode für codeß", ()),
        ("コード code コード", ("code",)),
        ("コードcodeコード", ()),
        ("", ()),
        ("   \n", ()),
        ("🎉\ud800\x00", ()),
    ],
)
def test_only_whole_words_are_signs(text, characteristics):
    assert kind_of(text).characteristics == characteristics


@pytest.mark.parametrize(
    ("text", "complexity"),
    [
        ("Say hello", "simple"),
        ("Summarize this in one line", "simple"),
        ("Write a python function that reverses a list", "moderate"),
        ("Why does this function fail?", "complex"),  # code and reasoning
        ("A comprehensive greeting", "complex"),
        ("Find the root cause", "complex"),
        ("word " * 400, "simple"),
        ("word " * 401, "moderate"),
        ("word " * 6_001, "moderate"),
        ("", "simple"),
    ],
)
def test_how_hard_a_task_is(text, complexity):
    assert kind_of(text).complexity == complexity


def test_the_reasoning_names_the_words():
    said = kind_of("Why does this function fail?").reasoning
    assert said == ("complex: it takes code and reasoning; signs: code (function), reasoning (Why)")


def test_what_is_asked_stands_at_the_ends_of_a_long_text():
    filling = "lorem ipsum " * 2_000
    assert "summary" in kind_of(f"Summarize: {filling}").characteristics
    assert "summary" in kind_of(f"{filling} Summarize!").characteristics
    assert "summary" not in kind_of(f"{filling} summarize {filling}").characteristics


@pytest.mark.parametrize("shift", range(12))
def test_no_word_appears_where_a_long_text_is_cut(shift):
    text = "x" * shift + " decoder codex" * 2_000
    assert "code" not in kind_of(text).characteristics


@pytest.mark.parametrize("text", ["fox " * 2_000_000, "x" * 8_000_000, "不" * 3_000_000])
def test_a_huge_text_does_not_hold_up_the_loop(text):
    start = time.monotonic()
    kind_of(text)
    # 0.3 s here; reading all of it takes 5 s and more.
    assert time.monotonic() - start < 5


@given(st.text())
def test_any_text_has_a_kind_and_always_the_same(text):
    kind = kind_of(text)
    assert kind == kind_of(text)
    assert kind.complexity in COMPLEXITIES
    assert set(kind.characteristics) <= set(STANDARD_WORDS)


@given(st.sampled_from(sorted(STANDARD_WORDS)), st.data())
def test_every_word_of_the_table_is_found_and_not_inside_others(name, data):
    word = data.draw(st.sampled_from(STANDARD_WORDS[name]))
    assert name in kind_of(f"Please: {word}.").characteristics
    assert name not in kind_of(f"zz{word}zz").characteristics


# Words of one's own


def test_words_are_extended_or_replaced():
    extended = RuleClassifier(words={**STANDARD_WORDS, "legal": ["contract", "§"]})
    assert kind_of("Summarize the contract", extended).characteristics == ("legal", "summary")
    replaced = RuleClassifier(words={"legal": ["contract"]}, hard=["lawsuit"], demanding=["legal"])
    assert kind_of("a python contract", replaced) == TaskKind(
        "moderate", ("legal",), "moderate: it takes legal; signs: legal (contract)"
    )
    assert kind_of("Lawsuit", replaced).complexity == "complex"
    assert kind_of("Prove it", replaced).complexity == "simple"


def test_words_are_no_patterns():
    rules = RuleClassifier(words={"c++": ["c++", "a.b"]}, hard=[])
    assert kind_of("Write C++ now", rules).characteristics == ("c++",)
    assert kind_of("axb", rules).characteristics == ()


def test_no_words_find_nothing():
    rules = RuleClassifier(words={"code": []}, hard=[], demanding=[])
    assert kind_of("prove this code", rules) == TaskKind(
        "simple", (), "simple: nothing in it asks for several steps; signs: none"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"words": ["code"]},
        {"words": {"code": "function"}},
        {"words": {"code": [""]}},
        {"words": {"code": [1]}},
        {"words": {"code": None}},
        {"hard": "prove"},
        {"demanding": "code"},
    ],
)
def test_what_is_no_table_of_words_is_refused(arguments):
    with pytest.raises(ConfigurationError, match=r"RuleClassifier: .* Give "):
        RuleClassifier(**arguments)


# Kinds


def test_a_kind_keeps_characteristics_once_and_in_order():
    kind = TaskKind("simple", ["summary", "code", "code"])
    assert kind.characteristics == ("code", "summary")
    assert kind == TaskKind("simple", ("code", "summary"))


@pytest.mark.parametrize(
    "arguments", [("hard",), (None,), ("simple", "code"), ("simple", [1]), ("simple", [["a"]])]
)
def test_a_kind_that_cannot_be_is_refused(arguments):
    with pytest.raises(ConfigurationError, match="TaskKind"):
        TaskKind(*arguments)
