"""Plain values as bytes: equal ones meet, different ones never do."""

import dataclasses
import datetime as dt
import decimal
import enum
import math
import pathlib
import subprocess
import sys
import uuid
from collections import OrderedDict, namedtuple
from itertools import pairwise
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import CacheKeyError
from tta_notebook.core.canonical import MAX_DEPTH, digest, encode

numpy = pytest.importorskip("numpy")


class Colour(enum.Enum):
    RED = "red"


class Text(str):
    __slots__ = ()


class Level(enum.IntEnum):
    LOW = 1


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: object
    seen: int = dataclasses.field(default=0, compare=False)


@dataclasses.dataclass
class Place:
    x: int
    y: object


Pair = namedtuple("Pair", "x y")  # noqa: PYI024 - the old kind, too


class Keyed:
    def __init__(self, key):
        self.key = key

    def __tta_key__(self):
        if isinstance(self.key, Exception):
            raise self.key
        return self.key


DIFFERENT = [
    *(None, True, False, 0, 1, -1, 1.0, 0.0, -0.0, math.nan, math.inf, 1j, "1", b"1", "", b""),
    *([], (), {}, set(), frozenset(), [1], (1,), {1}, frozenset({1}), {1: None}, {"1": None}),
    *([[1], 2], [[1, 2]], [[], [1, 2]], ["a", "b"], ["ab"], ["a,b"], ["s1:a"], "s1:a", [None]),
    *({"a": {"b": 1}}, {"a": {}, "b": 1}, {"a": [("b", 1)]}, [("a", 1)], {("a", 1)}),
    *(Colour.RED, "red", Level.LOW, Access.READ, Access.READ | Access.WRITE, Access(0)),
    *(Text("1"), Point(1, 2), Place(1, 2), Pair(1, 2), (1, 2), {"x": 1, "y": 2}),
    *(dt.date(2024, 1, 2), dt.datetime(2024, 1, 2), "2024-01-02"),  # noqa: DTZ001 - a naive one
    dt.datetime(2024, 1, 2, tzinfo=dt.UTC),
    *(dt.timedelta(1), dt.time(1), dt.time(1, fold=1)),
    *(decimal.Decimal(1), decimal.Decimal("1.0"), decimal.Decimal("NaN")),
    *(uuid.UUID(int=1), pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a")),
    *(bytearray(b"1"), memoryview(b"1"), range(3), range(0, 3, 2), ..., int, str, Colour),
    *(OrderedDict(a=1), {"a": 1}, MappingProxyType({"a": 1}), Keyed(1), Keyed("1")),
    *(numpy.float64(1), numpy.float32(1), numpy.int64(1), numpy.str_("1"), numpy.bool_(True)),
    *(numpy.array([1, 2]), numpy.array([1.0, 2]), numpy.array([[1, 2]]), numpy.array([1, 2], "i2")),
    *(numpy.array(["a", None]), numpy.array([(1,)], "a"[:0] + "i8")),
    *(numpy.array([(1,)], [("a", "i8")]), numpy.array([(1,)], [("b", "i8")])),
    *("\ud800", "é", "e\u0301", 10**30, -(10**30), 16, "0x10", "10"),
]

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.decimals()
    | st.datetimes()
    | st.uuids(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.booleans() | st.floats(), inner)
        | st.frozensets(st.text() | st.integers() | st.floats())
    ),
    max_leaves=12,
)


def model(value):
    """Return a naive, slow normal form that is equal for equal values alone."""
    kind = type(value).__name__
    if isinstance(value, dict):
        pairs = [(model(key), model(item)) for key, item in value.items()]
        return kind, tuple(sorted(pairs, key=repr))
    if isinstance(value, frozenset):
        return kind, tuple(sorted((model(item) for item in value), key=repr))
    if isinstance(value, list | tuple):
        return kind, tuple(model(item) for item in value)
    return kind, repr(value)


def shuffled(value):
    """Return the same value with its mappings in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(item) for key, item in reversed(value.items())}
    if isinstance(value, list | tuple):
        return type(value)(shuffled(item) for item in value)
    return value


def test_different_values_have_different_bytes():
    seen = {}
    for value in DIFFERENT:
        data = encode(value)
        assert data not in seen, (value, seen[data])
        seen[data] = value


def test_no_bytes_begin_with_those_of_another_value():
    every = sorted(encode(value) for value in DIFFERENT)
    assert not [one for one, other in pairwise(every) if other.startswith(one)]


@given(plain, plain)
def test_values_have_the_same_bytes_if_and_only_if_they_are_the_same(one, other):
    assert (encode(one) == encode(other)) == (model(one) == model(other))


@given(plain)
def test_the_order_of_keys_does_not_count(value):
    assert encode(value) == encode(shuffled(value))


@given(st.lists(plain, min_size=1, max_size=4), st.lists(plain, min_size=1, max_size=4))
def test_what_stands_one_after_the_other_can_be_told_apart(one, other):
    joined = [b"".join(encode(value) for value in values) for values in (one, other)]
    assert (joined[0] == joined[1]) == (model(one) == model(other))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("é", b"s2:\xc3\xa9"),
        (-255, b"i-ff;"),
        ([1, "a"], b"l2:i1;s1:a"),
        ({"b": 1, "a": None}, b"d2:s1:aNs1:bi1;"),
        (1.0, b"f\x3f\xf0\x00\x00\x00\x00\x00\x00"),
    ],
    ids=["text", "number", "list", "mapping", "float"],
)
def test_the_bytes_are_as_written_down(value, expected):
    # They are stored: another encoding would make every stored answer unknown.
    assert encode(value) == expected


def test_all_nans_are_one_value():
    assert encode(math.nan) == encode(-math.nan) == encode(float("nan"))


def test_huge_values_are_encoded():
    assert len(encode(10**10_000)) > 8000
    assert len(encode("x" * 10**6)) > 10**6
    assert digest([[]] * 10**5)


def test_dataclasses_count_by_the_fields_that_take_part_in_equality():
    assert encode(Point(1, 2, seen=3)) == encode(Point(1, 2, seen=4))
    assert encode(Point(1, 2)) != encode(Point(1, 3))


def test_pydantic_models_count_by_class_and_fields():
    pydantic = pytest.importorskip("pydantic")

    class Cat(pydantic.BaseModel):
        name: str

    class Dog(pydantic.BaseModel):
        name: str

    class Owner(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        pet: Cat | Dog
        secret: object = pydantic.Field(default=None, exclude=True)

    one = Owner(pet=Cat(name="a"), secret=print)
    assert encode(one) == encode(Owner(pet=Cat(name="a")))
    assert encode(one) != encode(Owner(pet=Dog(name="a")))
    assert encode(one) != encode(Owner(pet=Cat(name="a"), more=1))


def test_a_class_says_what_its_instances_count_by():
    assert encode(Keyed({"a": 1, "b": 2})) == encode(Keyed({"b": 2, "a": 1}))


def knot():
    inner = {"deep": []}
    inner["deep"].append(inner)
    return {"a": [inner]}


def tower(levels):
    value = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "path", "reason"),
    [
        (print, "input", "no plain value"),
        ({"messages": [{"client": print}]}, "input['messages'][0]['client']", "no plain value"),
        (Point(1, [object()]), "input.y[0]", "no plain value"),
        ((1, {2: (x for x in [])}), "input[1][2]", "a generator is no plain value"),
        ({print}, "input{…}", "no plain value"),
        (Keyed([print]), "input.__tta_key__()[0]", "no plain value"),
        ([Keyed(OSError("no"))], "input[0]", "failed with OSError('no')"),
        (knot(), "input['a'][0]['deep'][0]", "it holds itself"),
        (tower(MAX_DEPTH + 1), "input" + "[0]" * 12 + "…", "nested more than 100 levels"),
        (tower(100_000), "input" + "[0]" * 12 + "…", "nested more than 100 levels"),
    ],
    ids=[
        *("a function", "deep in messages", "in a field", "a generator", "in a set"),
        *("in what a hook gives", "a hook that fails", "a knot", "too deep", "far too deep"),
    ],
)
def test_what_cannot_be_encoded_is_named_by_its_path(value, path, reason):
    with pytest.raises(CacheKeyError) as caught:
        digest(value)
    assert caught.value.path == path
    assert reason in str(caught.value)


def test_the_cause_of_a_failing_hook_is_kept():
    error = OSError("no")
    with pytest.raises(CacheKeyError) as caught:
        digest(Keyed(error))
    assert caught.value.__cause__ is error


def test_what_is_nested_as_deep_as_allowed_is_encoded():
    assert digest(tower(MAX_DEPTH))


def test_other_processes_give_the_same_bytes():
    code = "from tta_notebook.core.canonical import digest; print(digest({'a': {'x', 'y', 'z'}}))"
    here = digest({"a": {"x", "y", "z"}})
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PATH": "/usr/bin"}
        there = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.strip() == here


def test_the_finer_times_of_pandas_are_told_apart():
    pandas = pytest.importorskip("pandas")
    moments = [pandas.Timestamp(1, unit="ns"), pandas.Timestamp(2, unit="ns"), pandas.NaT]
    spans = [pandas.Timedelta(1, unit="ns"), pandas.Timedelta(2, unit="ns")]
    assert len({encode(value) for value in (*moments, *spans)}) == 5
