"""Copies share nothing that can change; what cannot change is not copied."""

import copy
import dataclasses
from collections import OrderedDict, namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook.core.events import StreamChunk
from tta_notebook.llm.text import LLMText
from tta_notebook.performance.copies import copied

Pair = namedtuple("Pair", "x y")  # noqa: PYI024 - the old kind, too


@dataclasses.dataclass(frozen=True)
class Frozen:
    x: Any


@dataclasses.dataclass
class Open:
    x: Any


class Loose(Frozen):
    """Inherits from a frozen dataclass and holds what it likes."""


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


def mutables(value):
    """Return the identities of everything in a value that can change."""
    if isinstance(value, dict):
        return {id(value)}.union(*map(mutables, value.values()))
    if isinstance(value, list):
        return {id(value)}.union(*map(mutables, value))
    return set().union(*map(mutables, value)) if isinstance(value, tuple) else set()


@given(json_like)
def test_a_copy_is_equal_and_shares_nothing_that_can_change(value):
    other = copied(value)
    assert other == value
    assert type(other) is type(value)
    assert not mutables(other) & mutables(value)


@pytest.mark.parametrize(
    "value",
    [None, 1, "a", b"a", (1, ("a", None)), Frozen(1), Frozen((1, "a")), LLMText("said"), len, str],
    ids=repr,
)
def test_what_cannot_change_is_not_copied(value):
    assert copied(value) is value


@pytest.mark.parametrize(
    "value",
    [
        Frozen([1]),
        Open(1),
        Open([1]),
        OrderedDict(a=[1]),
        ([1],),
        {1},
        bytearray(b"a"),
        [Open([1])],
        StreamChunk(["a"], metadata={"output": ["a"]}),
    ],
    ids=repr,
)
def test_what_can_change_is_copied(value):
    other = copied(value)
    assert other is not value
    assert other == value
    assert type(other) is type(value)


def test_named_tuples_stay_what_they_are():
    value = Pair([1], 2)
    other = copied(value)
    assert type(other) is Pair
    assert other == value
    assert other.x is not value.x


def test_a_subclass_of_a_frozen_dataclass_is_copied_with_what_it_holds():
    value = Loose(1)
    value.__dict__["more"] = [1]
    other = copied(value)
    assert other is not value
    assert other.__dict__["more"] is not value.__dict__["more"]


def test_what_holds_itself_is_copied():
    value = {"a": []}
    value["a"].append(value)
    other = copied(value)
    assert other is not value
    assert other["a"][0] is other


def test_what_refuses_to_be_copied_says_so():
    class Stubborn:
        def __deepcopy__(self, memo):
            raise copy.Error("no")

    with pytest.raises(copy.Error):
        copied([Stubborn()])
