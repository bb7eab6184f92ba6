"""Which compositions are refused when they are made."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NewType, Protocol, TypedDict, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import CompositionError, WorkflowPrimitive, as_primitive
from tta_notebook.core.fit import can_meet

UserId = NewType("UserId", int)
T = TypeVar("T")


class Animal: ...


class Dog(Animal): ...


class Named(Protocol):
    name: str


class Row(TypedDict):
    id: int


def length(text: str) -> int:
    return len(text)


def total(numbers: list[int]) -> int:
    return sum(numbers)


async def fetch(url: str) -> list[int]:
    return [len(url)]


def test_a_pair_that_never_meets_is_refused_where_it_is_composed():
    with pytest.raises(TypeError, match=r"gives int and 'total' takes list\[int\]"):
        as_primitive(length) >> total


def test_the_refusal_names_both_and_what_to_do():
    with pytest.raises(CompositionError, match=r"'length' >> 'total'.*Put a step between them"):
        as_primitive(length) >> total


def test_what_an_async_function_gives_is_what_counts():
    assert (as_primitive(fetch) >> total).run_sync("four") == 4


def test_primitives_state_their_types_as_parameters():
    class Shout(WorkflowPrimitive[str, str]):
        async def execute(self, input_data, context):
            return input_data.upper()

    assert (Shout() >> length).run_sync("a") == 1
    with pytest.raises(CompositionError):
        Shout() >> total


def test_primitives_state_their_types_on_execute_too():
    class Shout(WorkflowPrimitive):
        async def execute(self, input_data: str, context) -> str:
            return input_data.upper()

    with pytest.raises(CompositionError):
        Shout() >> total


def test_parallels_give_lists_and_mappings_dicts():
    def of_mapping(results: dict[str, int]) -> int:
        return len(results)

    with pytest.raises(CompositionError, match="gives list and 'of_mapping' takes dict"):
        [length, length] >> as_primitive(of_mapping)
    with pytest.raises(CompositionError, match="gives dict"):
        {"a": length} >> as_primitive(total)
    assert ({"a": length} >> as_primitive(of_mapping)).run_sync("x") == 1


def test_unannotated_steps_compose_freely():
    assert (as_primitive(length) >> (lambda x: [x]) >> total).run_sync("four") == 4


def test_names_that_mean_nothing_yet_are_not_held_against_a_step():
    def later(x: "NotDefinedAnywhere") -> "NorThis":  # noqa: F821
        return x

    assert (as_primitive(length) >> later).run_sync("four") == 4


@pytest.mark.parametrize(
    ("gives", "takes"),
    [
        (int, float),
        (bool, int),
        (Dog, Animal),
        (Animal, Dog),
        (int, Any),
        (Any, int),
        (int, object),
        (int, T),
        (list[T], list[int]),
        (Dog, Named),
        (int | str, str | bytes),
        (int | None, int),
        (None, int | None),
        (list[int], Sequence[int]),
        (list[int], list),
        (list[int], list[float]),
        (dict[str, int], Mapping[str, int]),
        (Row, dict[str, Any]),
        (UserId, int),
        (int, UserId),
        (Literal["a"], str),
        (str, Literal["a", "b"]),
        (str, Iterable[str]),
        (tuple[int, str], tuple[int, ...]),
    ],
    ids=str,
)
def test_whatever_leaves_a_doubt_passes(gives, takes):
    assert can_meet(gives, takes)


@pytest.mark.parametrize(
    ("gives", "takes"),
    [
        (int, str),
        (float, int),
        (int, list[int]),
        (list[int], list[str]),
        (list[int], dict),
        (None, int),
        (int | str, bytes | list[int]),
        (Dog, int),
        (Literal["a"], int),
        (Row, int),
        (UserId, str),
    ],
    ids=str,
)
def test_what_never_meets_is_told(gives, takes):
    assert not can_meet(gives, takes)


simple = st.sampled_from([int, str, float, bool, bytes, list, dict, type(None), Animal, Dog, Any])


@given(simple)
def test_a_type_meets_itself(annotation):
    assert can_meet(annotation, annotation)


@given(simple, simple, simple)
def test_a_union_meets_what_any_member_meets(a, b, c):
    union = a | b if Any not in (a, b) else Any
    if union is not Any:
        assert can_meet(union, c) == (can_meet(a, c) or can_meet(b, c))
