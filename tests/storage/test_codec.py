"""The codec: an exact round trip, nothing run, no damage unnoticed."""

import base64
import json
import math
import pathlib
import subprocess
import sys
import textwrap
import zoneinfo
from collections import OrderedDict
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from hashlib import blake2b
from importlib import util
from pathlib import Path, PurePosixPath, PureWindowsPath
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_notebook import DecodeError, EncodeError, Usage, WorkflowError
from tta_notebook.llm import LLMText
from tta_notebook.storage.codec import MAX_DEPTH, decode, encode


def _load_kinds():
    # Under a name of its own: a class is found again by the name of its module.
    found = util.spec_from_file_location("tta_codec_kinds", Path(__file__).with_name("kinds.py"))
    module = sys.modules["tta_codec_kinds"] = util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


kinds = _load_kinds()


def same(one, other):
    """Compare values with their types; NaN is equal to NaN, and -0.0 is not 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (float, complex, Decimal, datetime, time)):
        return repr(one) == repr(other)
    if isinstance(one, (set, frozenset)):
        one, other = sorted(one, key=repr), sorted(other, key=repr)
    elif isinstance(one, dict):
        one, other = list(one.items()), list(other.items())
    elif is_dataclass(one):
        return same(values_of(one), values_of(other))
    elif isinstance(one, (kinds.Hooked, kinds.OpenModel)):
        extra = (getattr(each, "__pydantic_extra__", None) for each in (one, other))
        return same(vars(one), vars(other)) and same(*extra)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def values_of(value):
    return [getattr(value, field.name) for field in fields(value)]


def assert_round_trip(value):
    again = decode(encode(value))
    assert same(again, value), (again, value)


ZONES = st.one_of(
    st.none(),
    st.just(UTC),
    st.builds(timezone, st.timedeltas(timedelta(hours=-23), timedelta(hours=23))),
    st.builds(timezone, st.just(timedelta(hours=2)), st.text()),
    st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"]).map(zoneinfo.ZoneInfo),
)
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=12)
HASHABLE_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    ANY_TEXT,
    st.binary(max_size=12),
    st.complex_numbers(),
    st.dates(),
    st.datetimes(timezones=ZONES),
    st.times(timezones=ZONES),
    st.timedeltas(),
    st.uuids(),
    st.decimals().filter(lambda number: not number.is_snan()),  # those have no hash
    st.builds(PurePosixPath, st.text(st.characters(exclude_characters="\0"))),
    st.sampled_from([*kinds.Color, *kinds.Rank, kinds.Right.READ | kinds.Right.WRITE]),
    st.builds(LLMText, st.text(), usage=st.builds(Usage, st.integers(), st.integers())),
)


def made(kind, *parts):
    # Not st.builds, which keeps a text of every call: nested ones grow too large.
    return st.tuples(*parts).map(lambda values: kind(*values))


def open_model(known, more):
    return kinds.OpenModel(known=known, more=more)


HASHABLE = st.recursive(
    HASHABLE_LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple),
        st.frozensets(inner, max_size=4),
        made(kinds.Point, inner, inner),
        made(kinds.Frozen, inner, inner),
    ),
    max_leaves=8,
)
# Hypothesis keeps a text of each value it makes, and warns when that grows.
LARGE = pytest.mark.filterwarnings("ignore:Generating overly large repr")

VALUES = st.recursive(
    st.one_of(HASHABLE, st.binary().map(bytearray)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(ANY_TEXT, inner, max_size=4),
        st.dictionaries(HASHABLE, inner, max_size=4),
        st.sets(HASHABLE, max_size=4),
        made(kinds.Order, inner, inner),
        made(kinds.Hooked, inner),
        made(open_model, st.integers(), inner),
    ),
    max_leaves=12,
)


@LARGE
@settings(max_examples=400, deadline=None)
@given(VALUES)
def test_every_value_comes_back_as_it_was(value):
    assert_round_trip(value)


HARD = [
    1.0,
    -0.0,
    math.nan,
    -math.inf,
    5e-324,
    True,
    1,
    10**5000,
    -(2**100_000),
    "\ud800",
    "\ud83d\ude00",  # two lone surrogates, which JSON would take for one character
    "😀 \0 \u2028",
    {"\ud800": 1},
    {"$": "tuple", "v": [1]},
    {1: "a", "1": "b", (1,): "c", None: "d", 1.5: "e"},
    {"b": 1, "a": 2},
    [()],
    {(), (1, frozenset())},
    bytearray(b"\0\xff"),
    complex(-0.0, math.nan),
    Decimal("sNaN123"),
    Decimal("-0E-10"),
    datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    datetime.max,  # noqa: DTZ901 - the case
    time(1, 2, 3, 4, fold=1),
    date(1, 1, 1),
    timedelta(microseconds=-1),
    datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1), "named")),
    UUID(int=7),
    Path("a/b"),
    PureWindowsPath("C:\\x"),
    kinds.Color.ROSE,
    kinds.Right.READ | kinds.Right.WRITE,
    kinds.Right(0),
    kinds.Wide.ONE | kinds.Wide(8),
    kinds.Guessing.ONLY,
    kinds.Point([1], y=kinds.Point(2)),
    kinds.Frozen(a={"x": kinds.Frozen(1)}),
    kinds.Hooked([kinds.Hooked(None)]),
    kinds.HookedText("hook"),
]


@pytest.mark.parametrize("index", range(len(HARD)))
def test_hard_ones_come_back_as_they_were(index):
    value = HARD[index]
    assert_round_trip(value)
    assert_round_trip([value])
    assert_round_trip({"key": value})


def test_an_answer_of_a_model_keeps_its_particulars():
    answer = LLMText("Paris", usage=Usage(9, 1), model="m", source="local", first_token_s=0.25)
    again = decode(encode({"answer": answer}))["answer"]
    assert type(again) is LLMText
    assert again == "Paris"
    assert vars(again) == vars(answer)


def test_a_dataclass_comes_back_with_its_fields_and_no_call():
    order = kinds.Order("tea")
    order.made = ["changed"]
    assert order.total == 7  # what is cached is no part of it
    again = decode(encode(order))
    assert again == order
    assert vars(again) == {"item": "tea", "count": 1, "made": ["changed"]}


def test_a_model_comes_back_with_its_types_and_no_validation():
    model = kinds.Model(parts=[kinds.SpecialPart(name="x", size=1.5)], other="up", theName="n")
    model.other = "lower"
    model._secret = 5
    again = decode(encode(model))
    assert again == model
    assert type(again.parts[0]) is kinds.SpecialPart
    assert (again.other, again.named, again._secret) == ("lower", "n", 5)
    assert again.model_fields_set == model.model_fields_set
    extra = kinds.OpenModel(known=1, more=(1, 2))
    assert decode(encode(extra)) == extra
    assert decode(encode(extra)).more == (1, 2)


def test_pydantic_is_not_loaded_for_it():
    program = """
        import sys
        from tta_notebook.storage.codec import decode, encode
        class Plain: ...
        try:
            encode(Plain())
        except TypeError:
            print("pydantic" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


# What cannot be encoded


class Local:
    pass


def local_dataclass():
    from dataclasses import dataclass  # noqa: PLC0415 - a class made inside a function

    @dataclass
    class Inside:
        x: int

    return Inside(1)


def extended():
    order = kinds.Order("tea")
    order.more = 1
    return order


def lacking():
    order = kinds.Order("tea")
    del order.made
    return order


class Odd(tzinfo):
    def utcoffset(self, _):
        return timedelta(hours=1)


CYCLE = []
CYCLE.append({"self": CYCLE})

DEEP = []
for _ in range(10_000):
    DEEP = [DEEP]


UNFIT = [
    ({"a": [1, object()]}, "value['a'][1]", "builtins.object is nothing"),
    ([(1, {2: kinds.Plain()})], "value[0][1][2]", "tta_codec_kinds.Plain is nothing"),
    ({kinds.function: 1}, "value.keys()[0]", "function is nothing"),
    (kinds.Frozen(a=[len]), "value.a[0]", "builtin_function_or_method is nothing"),
    (kinds.Point(1, y=object()), "value.y", "is nothing"),
    (kinds.Hooked(object()), "value['inside']", "is nothing"),
    (kinds.Subpoint(1, 2), "value", "Subpoint is nothing"),
    (OrderedDict(a=1), "value", "OrderedDict is nothing"),
    (type("Text", (str,), {})("x"), "value", "Text is nothing"),
    (int, "value", "builtins.type is nothing"),
    ([local_dataclass()], "value[0]", "cannot be found again"),
    (extended(), "value", "has 'more' beside its fields"),
    (lacking(), "value", "lacks 'made' of its fields"),
    (kinds.Text(), "value", "inherits from a builtin"),
    (datetime(2024, 1, 1, tzinfo=Odd()), "value", "neither a datetime.timezone nor"),
    (CYCLE, "value" + "[0]['self']" * 4 + "…", f"more than {MAX_DEPTH} levels deep"),
    (DEEP, "value" + "[0]" * 8 + "…[0][0][0]", f"more than {MAX_DEPTH} levels deep"),
]


@pytest.mark.parametrize("index", range(len(UNFIT)))
def test_what_cannot_come_back_is_an_error_that_says_where(index):
    value, path, reason = UNFIT[index]
    with pytest.raises(EncodeError) as caught:
        encode(value)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, WorkflowError)
    assert caught.value.path.startswith(path)
    assert str(caught.value).startswith(f"{caught.value.path} cannot be encoded: ")
    assert reason in str(caught.value)


def test_a_class_that_was_defined_anew_is_not_the_old_one(monkeypatch):
    old = kinds.Frozen(1)
    data = encode(old)
    monkeypatch.setattr(kinds, "Frozen", type("Frozen", (), {}))
    with pytest.raises(EncodeError, match="has been defined anew since"):
        encode(old)
    with pytest.raises(DecodeError, match="is no dataclass class any more"):
        decode(data)


def nested(depth):
    value = 1
    for _ in range(depth):
        value = {"x": value}
    return value


def test_the_depth_that_is_stated_is_the_depth_there_is():
    assert_round_trip(nested(MAX_DEPTH))
    with pytest.raises(EncodeError, match="levels deep"):
        encode(nested(MAX_DEPTH + 2))


def test_a_stack_that_is_nearly_full_is_no_crash():
    value, messages = nested(90), []

    def deeper():
        try:
            encode(value)
        except EncodeError as error:
            messages.append(str(error))
        else:
            deeper()

    deeper()
    assert "too little of the stack is left" in messages[0]


# What cannot be decoded


@LARGE
@settings(max_examples=300, deadline=None)
@given(VALUES, st.data())
def test_one_flipped_bit_is_noticed(value, data):
    raw = bytearray(encode(value))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DecodeError):
        decode(bytes(raw))


@LARGE
@settings(max_examples=200, deadline=None)
@given(VALUES, st.data())
def test_a_missing_end_is_noticed_and_so_is_one_too_many(value, data):
    raw = encode(value)
    with pytest.raises(DecodeError):
        decode(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(DecodeError):
        decode(raw + data.draw(st.binary(min_size=1)))


@given(st.binary())
def test_other_bytes_are_noticed(raw):
    with pytest.raises(DecodeError, match="damaged, cut off, or of another origin"):
        decode(raw)


def forged(tree):
    body = tree if isinstance(tree, bytes) else json.dumps(tree).encode()
    return b"T1" + blake2b(body, digest_size=8).hexdigest().encode() + b"\n" + body


def of(tag, name, data):
    return {"$": tag, "class": name, "v": data}


FORGED = [
    {"$": "nothing", "v": 1},
    {"$": "tuple"},
    {"$": "tuple", "v": 7},
    {"$": ["tuple"], "v": 7},
    {"$": "int", "v": "x"},
    {"$": "bytes", "v": base64.b64encode(b"x").decode() + "!"},
    {"$": "set", "v": [[1]]},
    {"$": "dict", "v": [[1]]},
    {"$": "datetime", "v": ["2024", 0, None]},
    {"$": "datetime", "v": ["2024-01-01T00:00:00", 0, "../../etc/passwd"]},
    {"$": "path", "v": ["Path.cwd", "x"]},
    {"$": "uuid", "v": "x"},
    of("hook", "os:system", "true"),
    of("hook", "builtins:eval", "1"),
    of("hook", "tta_codec_kinds:function", None),
    of("hook", "tta_codec_kinds:Plain", None),
    of("hook", "tta_codec_kinds:Frozen.Inner", None),
    of("hook", "tta_codec_kinds:Nowhere", None),
    of("hook", "tta_codec_kinds:Hooked.__init__.x", None),
    of("hook", "no_such_module:Thing", None),
    of("hook", "tta_notebook.__main__:main", None),
    of("hook", "tta_notebook.no_such_room:Thing", None),
    of("dataclass", "tta_codec_kinds:Frozen", {"a": 1}),
    of("dataclass", "tta_codec_kinds:Frozen", {"a": 1, "b": 2, "c": 3}),
    of("dataclass", "tta_codec_kinds:Plain", {}),
    of("dataclass", "subprocess:Popen", {"args": "true"}),
    of("namedtuple", "tta_codec_kinds:Point", {"x": 1}),
    of("namedtuple", "tta_codec_kinds:Frozen", {"a": 1, "b": 2}),
    of("pydantic", "tta_codec_kinds:Part", {}),
    of("enum", "tta_codec_kinds:Color", ["GREEN"]),
    of("enum", "tta_codec_kinds:Color", [None, 1]),
    of("enum", "tta_codec_kinds:Guessing", [None, 9]),
    of("enum", "tta_codec_kinds:Right", [None, "x"]),
    b"[" * 100_000,
    b"\xff",
    b"",
    b"{",
]


@pytest.mark.parametrize("index", range(len(FORGED)))
def test_forged_bytes_are_an_error_and_run_nothing(index):
    with pytest.raises(DecodeError, match="cannot be decoded"):
        decode(forged(FORGED[index]))


def test_modules_are_not_loaded_for_it():
    assert "antigravity" not in sys.modules
    with pytest.raises(DecodeError, match="is not loaded; import it first"):
        decode(forged(of("hook", "antigravity:Thing", None)))
    assert "antigravity" not in sys.modules


def test_modules_of_this_package_are_loaded_for_it():
    data = encode(LLMText("x"))
    program = """
        import sys
        from tta_notebook.storage.codec import decode
        print(decode(bytes.fromhex(sys.argv[1])), "tta_notebook.llm.text" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), data.hex()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "x True\n"


@pytest.mark.skipif(sys.platform == "win32", reason="it is one there")
def test_a_path_of_another_system_is_an_error():
    with pytest.raises(DecodeError):
        decode(forged({"$": "path", "v": ["WindowsPath", "C:\\x"]}))
    assert pathlib.Path(decode(encode(Path("x")))) == Path("x")
