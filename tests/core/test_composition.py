"""What `>>` and `|` make, and the laws they keep."""

import asyncio
import threading
from functools import reduce
from operator import or_, rshift

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import (
    CompositionError,
    ConfigurationError,
    LambdaPrimitive,
    ParallelPrimitive,
    SequentialPrimitive,
    WorkflowContext,
    WorkflowPrimitive,
    as_primitive,
)


class Adder(WorkflowPrimitive[int, int]):
    def __init__(self, amount: int) -> None:
        super().__init__(name=f"add {amount}")
        self.amount = amount

    async def execute(self, input_data, context):
        await asyncio.sleep(0)
        return input_data + self.amount


async def double(x):
    return 2 * x


def negate(x):
    return -x


steps = st.sampled_from([Adder(1), Adder(-3), double, negate])
chains = st.lists(steps, min_size=1, max_size=6)


def by_hand(functions, value):
    for function in functions:
        if isinstance(function, Adder):
            value += function.amount
        else:
            value = -value if function is negate else 2 * value
    return value


@given(chains, chains, chains, st.integers())
def test_sequences_are_associative(a, b, c, value):
    one, two, three = (SequentialPrimitive(each) for each in (a, b, c))
    left, right = (one >> two) >> three, one >> (two >> three)
    assert left.steps == right.steps
    assert left.run_sync(value) == right.run_sync(value) == by_hand([*a, *b, *c], value)


@given(chains, chains, chains, st.integers())
def test_parallels_are_associative(a, b, c, value):
    one, two, three = (ParallelPrimitive(each) for each in (a, b, c))
    left, right = (one | two) | three, one | (two | three)
    assert left.branches == right.branches
    expected = [by_hand([each], value) for each in (*a, *b, *c)]
    assert left.run_sync(value) == right.run_sync(value) == expected


@given(chains, st.integers())
def test_a_composition_equals_the_function_written_by_hand(functions, value):
    composed = reduce(rshift, functions, as_primitive(lambda x: x))
    assert composed.run_sync(value) == by_hand(functions, value)


@given(st.lists(chains, min_size=2, max_size=4), st.integers())
def test_branches_equal_functions_written_by_hand(branches, value):
    both = reduce(or_, [SequentialPrimitive(each).named("branch") for each in branches])
    assert both.run_sync(value) == [by_hand(each, value) for each in branches]


def test_functions_compose_on_either_side():
    assert (double >> Adder(1)).run_sync(5) == 11
    assert (Adder(1) >> double).run_sync(5) == 12
    assert (double | Adder(1)).run_sync(5) == [10, 6]
    assert (Adder(1) | negate).run_sync(5) == [6, -5]


def test_lists_and_mappings_compose_on_either_side():
    assert (Adder(1) >> [double, negate]).run_sync(1) == [4, -2]
    assert ([double, negate] >> as_primitive(sum)).run_sync(3) == 3
    assert (Adder(1) >> {"a": double, "b": negate}).run_sync(1) == {"a": 4, "b": -2}
    assert ({"a": double} >> as_primitive(len)).run_sync(1) == 1
    assert ({"a": double} | Adder(1)).run_sync(1) == [{"a": 2}, 2]


def test_a_list_in_a_parallel_is_flat():
    assert (Adder(1) | [double, negate]).run_sync(3) == [4, 6, -3]
    assert ([double, negate] | Adder(1)).run_sync(3) == [6, -3, 4]


def test_shift_binds_tighter_than_bar():
    workflow = Adder(1) | Adder(2) >> double
    assert workflow.run_sync(0) == [1, 4]


def test_then_is_the_same_as_shift():
    assert Adder(1).then(lambda x: x * 10).run_sync(1) == 20


@pytest.mark.parametrize(
    "kept",
    [
        (Adder(1) | Adder(2)).named("pair"),
        ParallelPrimitive([Adder(1), Adder(2)], max_concurrency=1),
        ParallelPrimitive([Adder(1), Adder(2)], mode="collect"),
        ParallelPrimitive({"a": Adder(1), "b": Adder(2)}),
    ],
    ids=["name", "limit", "mode", "keys"],
)
def test_flattening_stops_at_what_was_stated(kept):
    assert len((kept | Adder(3)).branches) == 2


def test_a_named_sequence_stays_in_one_piece():
    tidy = (Adder(1) >> Adder(2)).named("tidy")
    workflow = tidy >> double
    assert [step.name for step in workflow.steps] == ["tidy", "double"]
    assert workflow.run_sync(0) == 6


def test_named_leaves_the_original_as_it_was():
    original = Adder(1)
    renamed = original.named("plus one")
    assert (original.name, renamed.name) == ("add 1", "plus one")


def test_ten_thousand_steps_run_without_recursion():
    workflow = reduce(rshift, [lambda x: x + 1] * 10_000, as_primitive(lambda x: x))
    assert workflow.run_sync(0) == 10_000


@pytest.mark.parametrize("empty", [[], (), {}], ids=repr)
def test_an_empty_composition_is_a_value_error(empty):
    with pytest.raises(ValueError, match="Give at least one"):
        as_primitive(empty)
    with pytest.raises(ConfigurationError, match="Give at least one step"):
        SequentialPrimitive([])


@pytest.mark.parametrize(
    "thing", [7, "text", None, b"", pytest.param(object(), id="object"), Adder], ids=repr
)
def test_what_cannot_be_composed_is_a_type_error(thing):
    with pytest.raises(TypeError, match="cannot be part of a workflow"):
        Adder(1) >> thing
    with pytest.raises(CompositionError):
        Adder(1) | thing


@pytest.mark.parametrize("name", ["", "  ", 3], ids=repr)
def test_a_name_must_be_text(name):
    with pytest.raises(ConfigurationError, match="must be a text"):
        Adder(1).named(name)


def test_a_class_that_forgets_its_parents_constructor_still_works():
    class Careless(WorkflowPrimitive[int, int]):
        def __init__(self):
            pass

        async def execute(self, input_data, context):
            return input_data + 1

    assert (Careless() >> double).run_sync(1) == 4
    assert Careless().name == "Careless"


def test_a_class_without_execute_says_what_to_override():
    class Nothing(WorkflowPrimitive[int, int]):
        pass

    with pytest.raises(CompositionError, match="Override `async def execute"):
        Nothing().run_sync(1)


class Caller:
    async def __call__(self, x):
        return x + 1


async def with_context(x, ctx):
    return ctx.state["base"] + x


def test_every_kind_of_callable_is_a_step():
    context = WorkflowContext(state={"base": 100})
    cases = [
        (Caller(), 2),
        (with_context, 101),
        (lambda x, ctx: ctx.state["base"], 100),
        (lambda x: double(x + 0), 2),
        (str, "1"),
    ]
    for function, expected in cases:
        assert as_primitive(function).run_sync(1, context) == expected


def test_a_default_argument_is_no_context():
    def scaled(x, factor=3):
        return x * factor

    assert as_primitive(scaled).run_sync(2) == 6


@pytest.mark.parametrize(
    "function",
    [lambda: 1, lambda a, b, c: 1, lambda x, *, needed: 1, str.replace],
    ids=["none", "three", "keyword", "builtin"],
)
def test_functions_of_other_shapes_are_refused_when_composed(function):
    with pytest.raises(CompositionError, match=r"called as \(input\)"):
        as_primitive(function)


def test_a_blocking_function_runs_in_a_thread_with_the_runs_context():
    def where(x, ctx):
        return threading.current_thread() is threading.main_thread(), ctx.state["base"] + x

    step = LambdaPrimitive(where, thread=True)
    assert step.run_sync(1, WorkflowContext(state={"base": 1})) == (False, 2)


def test_an_async_function_needs_no_thread():
    with pytest.raises(ConfigurationError, match="Leave thread out"):
        LambdaPrimitive(double, thread=True)


def test_a_list_of_branches_that_contains_itself_is_refused():
    branches = [str.upper]
    branches.append(branches)
    with pytest.raises(CompositionError, match="contains itself"):
        as_primitive(branches)
