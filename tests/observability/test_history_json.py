"""Anything becomes JSON and text that SQLite takes."""

import json
import math
import sqlite3
from dataclasses import dataclass
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import Usage
from tta_notebook.observability.history.json import MAX_JSON, MAX_TEXT, cell_of, json_of, text_of

plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
)
jsonish = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5)
    ),
    max_leaves=20,
)
anything = st.recursive(
    plain
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers()
    | st.just(object())
    | st.integers(-(10**5000), 10**5000),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.text()), inner, max_size=4)
    ),
    max_leaves=20,
)


class Colour(IntEnum):
    RED = 1


@dataclass
class Holder:
    what: object


class Hostile:
    def __repr__(self):
        raise RuntimeError("no")


def in_sqlite(value):
    connection = sqlite3.connect(":memory:")
    (found,) = connection.execute("SELECT ?", (value,)).fetchone()
    connection.close()
    return found


@given(jsonish)
def test_what_json_has_comes_back_as_it_was(value):
    assert json.loads(in_sqlite(json_of({"value": value}))) == {"value": value}


@given(anything)
def test_anything_becomes_valid_json_that_sqlite_reads(value):
    text = json_of({"value": value})
    json.loads(in_sqlite(text), parse_constant=pytest.fail)
    connection = sqlite3.connect(":memory:")
    assert connection.execute("SELECT json_valid(?)", (text,)).fetchone() == (1,)
    connection.close()


@given(anything)
def test_anything_becomes_a_text_or_a_cell(value):
    assert in_sqlite(text_of(value)) == text_of(value)
    in_sqlite(cell_of(value))


def test_what_is_too_large_is_cut_to_valid_json():
    for large in ("x" * 10**6, ["x" * 999] * 999, {"\x00" * 900 + str(n): [n] for n in range(999)}):
        text = json_of({"value": large})
        assert len(text) <= MAX_JSON
        json.loads(text)
    assert len(text_of("x" * 10**6)) == MAX_TEXT


def test_what_contains_itself_is_cut():
    endless = []
    endless.append(endless)
    assert len(json_of(endless)) <= MAX_JSON
    assert isinstance(json.loads(json_of(endless)), list)
    deep = []
    for _ in range(10_000):
        deep = [deep]
    assert len(json_of(deep)) <= MAX_JSON
    assert isinstance(json.loads(json_of(deep)), list)


def test_what_refuses_to_be_shown_becomes_its_type():
    assert "Hostile" in json_of({"value": Hostile()})
    assert "Hostile" in text_of(Hostile())
    assert "Hostile" in json_of(Holder([Hostile()]))


def test_usage_and_other_plain_classes_become_mappings():
    assert json.loads(json_of({"saved": Usage(input_tokens=3)}))["saved"]["input_tokens"] == 3
    assert json_of(Holder(Colour.RED)) == '{"what":1}'


def test_not_a_number_becomes_a_text():
    assert json_of([math.nan, math.inf]) == '["nan","inf"]'
