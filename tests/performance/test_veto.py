"""The veto: what must never be answered with what was said to another question."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook.performance.veto import veto


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("Take 5 mg a day?", "Take 50 mg a day?", "numbers differ: 5 / 50"),
        ("5.0 %", "5,0 %", "numbers differ: 5.0% / 5,0%"),
        ("It is -5 outside", "It is 5 outside", "numbers differ: -5 / 5"),
        ("It is \N{MINUS SIGN}5 outside", "It is 5 outside", "numbers differ: -5 / 5"),
        ("It costs $20", "It costs 20", "numbers differ: $20 / 20"),
        ("for two people", "for three people", "numbers differ: two / three"),
        ("für zwei Personen", "für drei Personen", "numbers differ: zwei / drei"),
        ("2 of 2", "2", "numbers differ: 2 / -"),
        ("Is it safe?", "Is it not safe?", "negations differ: - / not"),
        ("Do it", "Don't do it", "negations differ: - / dont"),
        ("Do it", "Don\N{RIGHT SINGLE QUOTATION MARK}t do it", "negations differ: - / dont"),
        ("You did n't", "You did", "negations differ: nt / -"),
        ("I haven't", "I have", "negations differ: havent / -"),
        ("Das ist gut", "Das ist nicht gut", "negations differ: - / nicht"),
        ("sucre", "sans sucre", "negations differ: - / sans"),
        ("open the door", "close the door", "opposites differ: open / close"),
        ("with milk", "without milk", "negations differ: - / without"),
        ("Is the Aurora hot?", "Is the Borealis hot?", "names differ: Aurora / Borealis"),
        ('What is "foo"?', 'What is "bar"?', "quotations differ: foo / bar"),
        ("run `ls`", "run `rm`", "quotations differ: ls / rm"),
    ],
)
def test_texts_that_ask_for_other_answers_are_told_apart(one, other, why):
    assert veto(one, other) == why
    assert veto(other, one) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How often should I descale it?", "How frequently must it be descaled?"),
        ("Tell me about the Aurora.", "What do you know about the Aurora?"),
        ("Take 5 mg.", "Is 5 mg what one takes?"),
        ("Take \N{FULLWIDTH DIGIT FIVE} mg.", "Take 5 mg."),
        ("Is it more?", "Is it more or less?"),
        ("I want tea. Now.", "Tea I want now."),
        ("I can't do it", "I can't do it, sorry"),
        ("+5", "5"),
        ("", ""),
    ],
)
def test_texts_that_ask_the_same_pass(one, other):
    assert veto(one, other) is None


@given(st.text())
def test_a_text_never_differs_from_itself(text):
    assert veto(text, text) is None


@given(st.text(), st.text())
def test_the_order_does_not_matter(one, other):
    assert (veto(one, other) is None) == (veto(other, one) is None)


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_different_numbers_never_pass(one, other):
    assert (veto(f"Room {one}", f"Room {other}") is None) == (one == other)
