"""What code does, as a hash: what changes it, and what does not."""

import functools
import json
import logging
import operator
import subprocess
import sys
import textwrap
import threading
import types

import pytest

from tta_notebook import (
    CachePrimitive,
    CircuitBreakerPrimitive,
    FallbackPrimitive,
    LambdaPrimitive,
    RetryPrimitive,
    RouterPrimitive,
    TimeoutPrimitive,
    WorkflowPrimitive,
)
from tta_notebook.core.version import VersionWatch, token_of, version_of
from tta_notebook.testing import MockPrimitive, run_virtual


def cell(source, **names):
    """Run a notebook cell and return its names; each has lines of its own."""
    namespace = {"__name__": "__main__", **names}
    cell.count += 1
    code = compile("\n" * cell.count + textwrap.dedent(source), f"<cell {cell.count}>", "exec")
    exec(code, namespace)  # noqa: S102 - a cell
    return types.SimpleNamespace(globals=namespace, **namespace)


cell.count = 0

BASE = """
LIMIT = 3
TABLE = {"a": [1]}

def helper(x, factor=2, *, offset=0):
    return x * factor + offset

def make(step):
    def inner(x):
        return helper(x) + step + len(TABLE) + LIMIT
    return inner

f = make(1)
"""


def changed(old, new):
    assert old in BASE
    return version_of(cell(BASE.replace(old, new)).f)


def test_an_unchanged_cell_run_again_gives_the_same_version():
    assert version_of(cell(BASE).f) == version_of(cell(BASE).f) is not None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("helper(x) + step", "helper(x) - step"),
        ("x * factor + offset", "x * factor + offset + 1"),
        ("factor=2", "factor=3"),
        ("offset=0", "offset=1"),
        ("make(1)", "make(2)"),
        ("make(1)", "make(1.0)"),
        ("make(1)", "make(True)"),
        ("LIMIT = 3", "LIMIT = 4"),
        ('{"a": [1]}', '{"a": [2]}'),
        ("len(TABLE)", "max(TABLE)"),
        ("def inner(x):", "async def inner(x):"),
    ],
)
def test_an_edit_of_what_it_does_gives_another_version(old, new):
    assert changed(old, new) != version_of(cell(BASE).f)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "# a comment\n\nLIMIT = 3"),
        ("LIMIT = 3", "LIMIT = 3; UNUSED = 7"),
        ("f = make(1)", "renamed = make(1)\nf = renamed"),
    ],
)
def test_an_edit_of_anything_else_does_not(old, new):
    assert changed(old, new) == version_of(cell(BASE).f)


def test_two_lambdas_on_one_line_differ():
    one, other = (lambda x: x + 1), (lambda x: x + 2)
    assert version_of(one) != version_of(other)
    assert version_of(lambda x: "a") != version_of(lambda x: b"a")


def test_nested_code_counts():
    one = cell("f = lambda x: [(lambda y: y + 1)(y) for y in x]")
    other = cell("f = lambda x: [(lambda y: y + 2)(y) for y in x]")
    assert version_of(one.f) != version_of(other.f)


def test_functions_that_call_each_other_have_a_version():
    source = """
    def even(n): return n == 0 or odd(n - 1)
    def odd(n): return n != 0 and even(n - 1)
    """
    one, same = cell(source), cell(source)
    other = cell(source.replace("n != 0", "n > 0"))
    assert version_of(one.even) == version_of(same.even) is not None
    assert version_of(one.even) != version_of(other.even)


def test_a_table_of_functions_that_use_the_table_has_a_version():
    source = """
    TABLE = {}
    def f(x): return TABLE["g"](x)
    def g(x): return TABLE["f"](x + 1)
    TABLE.update(f=f, g=g)
    """
    assert version_of(cell(source).f) == version_of(cell(source).f) is not None
    other = cell(source.replace("x + 1", "x + 2"))
    assert version_of(cell(source).f) != version_of(other.f)


def test_what_names_stand_for_counts_and_not_the_names_of_modules_files():
    one = cell("import json as parser\ndef f(x): return parser.loads(x)")
    other = cell("import marshal as parser\ndef f(x): return parser.loads(x)")
    assert version_of(one.f) != version_of(other.f)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (len, max),
        (str.upper, str.lower),
        pytest.param("a".join, "b".join, id="methods"),
        pytest.param(json.dumps, json.loads, id="functions"),
        (functools.partial(pow, 2), functools.partial(pow, 3)),
        (functools.partial(int, base=2), functools.partial(int, base=3)),
        (operator.itemgetter, operator.attrgetter),
        (int, str),
        ((len, 1), (len, 2)),
    ],
    ids=repr,
)
def test_what_is_not_written_in_python_counts_by_its_name(one, other):
    assert version_of(one) is not None
    assert version_of(other) is not None
    assert version_of(one) != version_of(other)


@pytest.mark.parametrize(
    "thing",
    [
        *((x for x in []), iter([1]), threading.Lock(), open),
        lambda x, seen=iter([1]): seen,  # noqa: B008 - one for all calls
    ],
    ids=["a generator", "an iterator", "a lock", "a builtin", "a default"],
)
def test_what_cannot_be_hashed_has_no_version(thing):
    assert (version_of(thing) is None) == (thing is not open)


def test_loggers_and_decorated_functions_have_one():
    log = logging.getLogger("test")

    def f(x):
        log.info(x)
        return x

    @functools.lru_cache
    def one(x):
        return x + 1

    @functools.wraps(f)
    def wrapping(x):
        return f(x)

    assert version_of(f) is not None
    assert version_of(one) is not None
    assert version_of(wrapping) != version_of(f)


def test_unbound_names_and_empty_cells_have_one():
    def f(x):
        return late + missing  # noqa: F821 - bound in a later cell

    assert version_of(f) is not None
    late = 1
    assert version_of(f) is not None


# Classes and primitives

STEP = """
from tta_notebook import WorkflowPrimitive

class Ask(WorkflowPrimitive):
    prompt = "Answer: "

    def __init__(self, style, name=None):
        super().__init__(name=name)
        self.style = style

    async def execute(self, input_data, context):
        return self.prompt + self.render(input_data)

    @property
    def loud(self): return self.style.upper()

    def render(self, text): return text + self.loud
"""


def ask(source=STEP, style="x", **arguments):
    return cell(source).Ask(style, **arguments)


def test_a_step_of_ones_own_counts_by_its_methods_and_its_state():
    assert version_of(ask()) == version_of(ask()) is not None
    assert version_of(ask(style="y")) != version_of(ask())
    for old, new in [
        ("text + self.loud", "text - self.loud"),
        ("style.upper", "style.lower"),
        ("Answer: ", "Answer! "),
        ("return self.prompt", "return 2 * self.prompt"),
    ]:
        assert version_of(ask(STEP.replace(old, new))) != version_of(ask())


def test_a_name_is_no_part_of_a_version():
    assert version_of(ask(name="one")) == version_of(ask(name="other"))
    assert version_of(ask().named("other")) == version_of(ask())
    assert version_of(LambdaPrimitive(len, name="a")) == version_of(LambdaPrimitive(len, name="b"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LambdaPrimitive(len), LambdaPrimitive(str)),
        (LambdaPrimitive(len) >> str, LambdaPrimitive(len) >> repr),
        (LambdaPrimitive(len) | str, LambdaPrimitive(len) >> str),
        (MockPrimitive(return_value=1), MockPrimitive(return_value=2)),
        (
            RouterPrimitive({"a": len, "b": str}, lambda x: "a", default="a"),
            RouterPrimitive({"a": len, "b": str}, lambda x: "b", default="a"),
        ),
    ],
    ids=["functions", "sequences", "kinds", "arguments", "routers"],
)
def test_compositions_count_by_their_parts(one, other):
    assert version_of(one) is not None
    assert version_of(one) != version_of(other)


def test_running_a_step_does_not_change_its_version():
    step = LambdaPrimitive(len) >> MockPrimitive(return_value=3)
    before = version_of(step)
    step.run_sync("abc")
    assert version_of(step) == before is not None


def test_a_stated_version_wins():
    class Stated(WorkflowPrimitive):
        version = "1"

        async def execute(self, input_data, context):
            return 1

    class Other(Stated):
        async def execute(self, input_data, context):
            return 2

    assert version_of(Stated()) == version_of(Other()) is not None
    other = Other()
    other.version = "2"
    assert version_of(other) != version_of(Other())


def test_a_step_that_refers_to_itself_has_a_version():
    class Loop(WorkflowPrimitive):
        version = property(lambda self: version_of(self.function))

    step = Loop()
    step.function = lambda x: step
    assert version_of(step) is not None


def test_another_process_gives_the_same_version():
    code = textwrap.dedent(
        """
        from tta_notebook import LambdaPrimitive
        from tta_notebook.core.version import version_of
        WORDS = {"one", "two", "three"}
        CONFIG = {"a": {"b"}, "c": frozenset("xyz")}
        def f(x): return x in {"p", "q", "r"} and WORDS and CONFIG
        print(version_of(LambdaPrimitive(f) >> len))
        """
    )
    versions = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PATH": "/usr/bin"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "2")
    }
    assert len(versions) == 1
    assert len(versions.pop().strip()) == 40


# Watching

CELL = """
PROMPT = "a"
CONFIG = {"tone": "kind"}
count = 0
seen = []

def f(x):
    global count
    count += 1
    seen.append(x)
    return PROMPT + CONFIG["tone"] + g(x)

def g(x): return x
"""


def test_a_watch_follows_rebound_names_and_changed_contents_and_comes_back():
    names = cell(CELL).globals
    watch = VersionWatch(names["f"])
    first = watch.current()
    assert first == version_of(names["f"])
    for change, undo in [
        ({"PROMPT": "b"}, {"PROMPT": "a"}),
        ({"g": lambda x: x + x}, {"g": names["g"]}),
        ({"len": 1}, {}),
    ]:
        names.update(change)
        assert (watch.current() != first) == bool(undo)
        names.update(undo)
        assert watch.current() == first
    names["CONFIG"]["tone"] = "rude"
    assert watch.current() != first
    names["CONFIG"]["tone"] = "kind"
    assert watch.current() == first


def test_what_a_step_writes_while_it_runs_is_its_own():
    names = cell(CELL).globals
    watch = VersionWatch(names["f"])
    first = watch.current()
    watch.begin()
    names["f"]("x")
    assert watch.current() == first
    watch.end()
    names["f"]("y")
    assert names["count"] == 2
    assert watch.current() == first
    names["PROMPT"] = "b"
    second = watch.current()
    assert second != first
    # A process that starts now, with its records empty, has the same version.
    assert version_of(cell(CELL.replace('PROMPT = "a"', 'PROMPT = "b"')).f) == second


def test_a_list_changed_between_calls_is_no_record_of_the_steps_own():
    names = cell(CELL).globals
    watch = VersionWatch(names["f"])
    first = watch.current()
    names["seen"].append("by another cell")
    assert watch.current() != first


def test_a_watch_follows_a_steps_own_attributes():
    step = ask()
    watch = VersionWatch(step)
    first = watch.current()
    step.style = "y"
    assert watch.current() != first
    step.style = "x"
    assert watch.current() == first
    type(step).prompt = "Answer! "
    assert watch.current() != first


def test_a_closure_variable_that_is_bound_again_is_another_version():
    prompt = "a"

    def bind(value):
        nonlocal prompt
        prompt = value

    watch = VersionWatch(lambda x: prompt + x)
    first = watch.current()
    bind("b")
    assert watch.current() != first


def test_what_cannot_be_hashed_counts_as_that_very_object_for_a_watch():
    one, other = (x for x in []), (x for x in [])
    watch = VersionWatch(lambda x: one)
    assert not watch.is_whole
    assert watch.current() == VersionWatch(lambda x: one).current()
    before = watch.current()
    one = other
    assert watch.current() != before


def test_a_token_belongs_to_one_object():
    class Thing:
        pass

    one, other = Thing(), Thing()
    assert token_of(one) == token_of(one) != token_of(other)
    tokens = set()
    for _ in range(100):
        tokens.add(token_of(Thing()))
    assert len(tokens) == 100
    with pytest.raises(TypeError):
        token_of([])


# Steps of this package


@pytest.mark.parametrize(
    "make",
    [
        lambda step: RetryPrimitive(step, max_retries=2),
        lambda step: TimeoutPrimitive(step, 30.0),
        lambda step: FallbackPrimitive(step, [len]),
        CircuitBreakerPrimitive,
        CachePrimitive,
        lambda step: CachePrimitive(step).stale(),
        lambda step: CachePrimitive(RetryPrimitive(CachePrimitive(step) >> repr)),
    ],
    ids=["retry", "timeout", "fallback", "breaker", "cache", "stale", "nested"],
)
def test_what_a_wrapper_counts_and_remembers_is_no_part_of_its_version(make):
    wrapper = make(MockPrimitive(return_value=1))
    version = version_of(wrapper)
    assert version == version_of(make(MockPrimitive(return_value=1))) is not None
    assert version != version_of(make(MockPrimitive(return_value=2)))
    watch = VersionWatch(wrapper)
    if "stale" not in wrapper.name:
        run_virtual(lambda: wrapper("x"))
    assert version_of(wrapper) == watch.current() == version


def test_what_is_defined_in_main_is_the_users_own_also_where_a_package_is_run(monkeypatch):
    package = types.ModuleType("__main__")
    package.__file__ = "/usr/lib/python3/site-packages/pytest/__main__.py"
    monkeypatch.setitem(sys.modules, "__main__", package)
    assert changed("LIMIT = 3", "LIMIT = 4") != version_of(cell(BASE).f)


def test_a_module_of_ones_own_counts_by_what_is_read_of_it():
    helpers = types.ModuleType("helpers_of_a_test")
    exec("LIMIT = 1\nUNUSED = 1\ndef clean(x): return x", helpers.__dict__)  # noqa: S102 - a module
    f = cell("def f(x): return helpers.clean(x)[:helpers.LIMIT]", helpers=helpers).f
    watch = VersionWatch(f)
    first = watch.current()
    assert watch.is_whole
    assert first == version_of(f)
    helpers.UNUSED = 2
    assert watch.current() == first
    helpers.LIMIT = 2
    second = watch.current()
    assert second != first
    exec("def clean(x): return x.strip()", helpers.__dict__)  # noqa: S102 - loaded again
    assert watch.current() not in (first, second)


def test_what_is_large_is_hashed_once_and_then_watched_by_its_length():
    names = cell("DOCS = []\ndef f(x): return DOCS[x]").globals
    names["DOCS"] += ["word " * 10] * 10_000
    watch = VersionWatch(names["f"])
    first = watch.current()
    assert first == version_of(names["f"])
    names["DOCS"].append("one more")
    assert watch.current() != first
    names["DOCS"] = list(names["DOCS"])[:-1]
    assert watch.current() == first
    names["DOCS"][0] = "other"
    assert version_of(names["f"]) != first
