"""The error tree: its shape, its data, its messages."""

import copy
import inspect
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import (
    CheapestRoute,
    CompositionError,
    ConditionalPrimitive,
    ConfigurationError,
    FastestRoute,
    LambdaPrimitive,
    LeastLoadedRoute,
    MapPrimitive,
    ModelError,
    ModelOutputError,
    ParallelPrimitive,
    RateLimitError,
    RouteError,
    RouterPrimitive,
    SequentialPrimitive,
    SwitchPrimitive,
    WorkflowContext,
    WorkflowError,
    WorkflowPrimitive,
    as_primitive,
)
from tta_notebook.core import errors
from tta_notebook.core.errors import Names

CLASSES = [
    thing
    for thing in vars(errors).values()
    if inspect.isclass(thing) and issubclass(thing, WorkflowError)
]


DATA = {
    "StepTimeoutError": {"kind": "own", "primitive": "slow", "timeout_s": 2.0},
    "CircuitOpenError": {"primitive": "breaker", "key": "eu", "retry_after": 3.0},
    "LimitExceededError": {"limit": "tier 1", "retry_after": 3.0},
    "BulkheadFullError": {"limit": "tier 1", "retry_after": 3.0},
    "CompensationFailedError": {"errors": [ValueError("undo")], "uncompensated": ["book"]},
    "CacheKeyError": {"path": "input['a']"},
    "StorageError": {"path": "runs.db"},
    "TravelError": {"part": "item 3"},
    "WorkerLostError": {"worker": "tcp://10.0.0.1:9", "index": 3, "attempts": 2},
    "BudgetExceededError": {
        "limit_usd": 10.0,
        "spent_usd": 4.0,
        "held_usd": 6.0,
        "scope": "user a",
        "budget": "each day",
    },
    "UnboundedCostError": {"model": "mystery"},
    "CassetteMissError": {"path": "a.jsonl", "nearest": {"model": "m"}, "difference": "seed"},
    "CassetteSecretError": {"path": "a.jsonl", "place": "request", "kind": "a key"},
    "EncodeError": {"path": "value['a']"},
}


def example(cls):
    if issubclass(cls, ModelError):
        return cls(
            "it failed",
            model="openai:gpt-5",
            provider="openai",
            status_code=429,
            retryable=True,
            retry_after=2.5,
            headers={"Retry-After": "2.5"},
        )
    if issubclass(cls, RouteError):
        return cls("it failed", route="fat", routes=["fast", "smart"])
    return cls("it failed", **DATA.get(cls.__name__, {}))


def drawn_tree():
    """Return {class: (parent, builtin or None)} as the docstring draws it."""
    found, path = {}, []
    for line in errors.__doc__.splitlines():
        match = re.match(r"([│├└─ ]*)(\w+Error)(?: \((\w+)\))?", line)
        if match is None:
            continue
        stem, name, builtin = match.groups()
        depth = len(stem) // 4
        path[depth:] = [name]
        found[name] = (path[depth - 1] if depth else None, builtin)
    return found


def defined_tree():
    def described(cls):
        ours = [base.__name__ for base in cls.__bases__ if base in CLASSES]
        theirs = [base.__name__ for base in cls.__bases__ if base not in CLASSES]
        builtin = next((name for name in theirs if name != "Exception"), None)
        return (ours[0] if ours else None), builtin

    return {cls.__name__: described(cls) for cls in CLASSES}


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    assert drawn_tree() == defined_tree()


def test_every_class_has_one_root_and_says_what_it_means():
    for cls in CLASSES:
        assert issubclass(cls, WorkflowError)
        assert cls.__doc__


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(
    "duplicate",
    [
        *(lambda error, p=p: pickle.loads(pickle.dumps(error, p)) for p in range(2, 6)),  # noqa: S301 - our own
        copy.copy,
        copy.deepcopy,
    ],
    ids=["2", "3", "4", "5", "copy", "deepcopy"],
)
def test_every_error_survives_pickling_and_copying(cls, duplicate):
    error = example(cls)
    error.add_note("Attempt 1 of 3.")
    again = duplicate(error)
    assert type(again) is cls
    assert (str(again), repr(again.args)) == (str(error), repr(error.args))
    assert vars(again) == vars(error)
    assert again.__notes__ == ["Attempt 1 of 3."]


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if issubclass(cls, ModelError)])
def test_model_errors_carry_their_data(cls):
    error = example(cls)
    assert (error.model, error.provider, error.status_code) == ("openai:gpt-5", "openai", 429)
    assert (error.retryable, error.retry_after) == (True, 2.5)
    assert error.headers == {"retry-after": "2.5"}
    assert str(error) == "it failed"
    plain = cls("it failed", model="m")
    assert (plain.provider, plain.status_code, plain.retry_after) == (None, None, None)
    assert (plain.retryable, plain.headers) == (cls.default_retryable, {})


def test_only_what_may_pass_is_retryable_by_default():
    retryable = {c.__name__ for c in CLASSES if getattr(c, "default_retryable", False)}
    assert retryable == {"ModelUnavailableError", "ModelTimeoutError", "RateLimitError"}
    assert not RateLimitError("no quota", model="m", retryable=False).retryable


def test_an_answer_that_does_not_fit_keeps_its_text():
    error = ModelOutputError("no JSON", model="m")
    assert error.text == ""
    error.text = "here you are: {"
    assert pickle.loads(pickle.dumps(error)).text == "here you are: {"  # noqa: S301 - our own


def test_route_errors_carry_the_choice_and_the_choices():
    error = example(RouteError)
    assert (error.route, error.routes) == ("fat", ("fast", "smart"))


@pytest.mark.parametrize(
    ("builtin", "cls"),
    [(LookupError, RouteError), (TypeError, CompositionError), (ValueError, ConfigurationError)],
)
def test_builtin_handlers_catch_them(builtin, cls):
    with pytest.raises(builtin):
        raise example(cls)


class Nothing(WorkflowPrimitive):
    pass


async def give_int(x) -> int:
    return 1


def take_list(x: list[int]) -> int:
    return 1


# What was attempted and found, why it cannot work, what to do next: in that order.
MESSAGES = {
    "empty sequence": (
        lambda: SequentialPrimitive([]),
        ["SequentialPrimitive([])", "no steps", "nothing to do", "Give at least one"],
    ),
    "empty parallel": (
        lambda: ParallelPrimitive({}),
        ["ParallelPrimitive({})", "no branches", "nothing to run", "Give at least one"],
    ),
    "no step": (
        lambda: as_primitive(len) >> 7,
        ["7", "a int is neither", "Give a primitive"],
    ),
    "misfit": (
        lambda: as_primitive(give_int) >> take_list,
        ["'give_int' >> 'take_list'", "gives int", "takes list[int]", "never meet", "Put a step"],
    ),
    "no cases": (
        lambda: SwitchPrimitive(len, {}),
        ["SwitchPrimitive(cases={})", "nothing to choose", "Give at least one"],
    ),
    "no routes": (
        lambda: RouterPrimitive({}, len),
        ["RouterPrimitive(routes={})", "nothing to choose", "Give at least one"],
    ),
    "unknown default": (
        lambda: RouterPrimitive({"fast": len}, len, default="fats"),
        ["default='fats'", "no such route", "'fast'", "did you mean 'fast'", "Name one of these"],
    ),
    "unknown route": (
        lambda: RouterPrimitive({"a": len, "b": len}, lambda x: "c", name="t").run_sync(""),
        ["RouterPrimitive 't'", "returned 'c'", "routes are 'a', 'b'", "Return one of these"],
    ),
    "unknown case": (
        lambda: SwitchPrimitive(len, {1: len}).run_sync(""),
        ["SwitchPrimitive", "gave 0", "cases are 1", "Add a case"],
    ),
    "limit": (
        lambda: ParallelPrimitive([len], max_concurrency=float("nan")),
        ["ParallelPrimitive", "max_concurrency=nan", "cannot be a number of places", "Give"],
    ),
    "mode": (
        lambda: MapPrimitive(len, mode="colect"),
        ["MapPrimitive", "mode='colect'", "modes are", "did you mean 'collect'"],
    ),
    "one value": (
        lambda: MapPrimitive(len).run_sync("text"),
        ["'map len'", "got str 'text'", "one value", "Give a list"],
    ),
    "name": (
        lambda: LambdaPrimitive(len, name=" "),
        ["name=' '", "must be a text", "Leave it out"],
    ),
    "arguments": (
        lambda: as_primitive(lambda a, b, c: 0),
        ["LambdaPrimitive", "lambda(a, b, c)", "called as (input)", "functools.partial"],
    ),
    "condition": (
        lambda: ConditionalPrimitive("yes", len),
        ["ConditionalPrimitive(condition=…)", "'yes'", "a str cannot be called", "Give"],
    ),
    "thread": (
        lambda: LambdaPrimitive(give_int, thread=True),
        ["LambdaPrimitive", "async already", "functions that block", "Leave thread out"],
    ),
    "no execute": (
        lambda: Nothing().run_sync(0),
        ["Nothing.execute()", "does not say what it does", "cannot run", "Override"],
    ),
    "start": (
        lambda: as_primitive(len).start(""),
        ["'len'", "no event loop is running", "Use run_sync()"],
    ),
    "costs": (
        lambda: CheapestRoute({"a": float("nan")}),
        ["CheapestRoute", "'a' is nan", "compared", "Give a number"],
    ),
    "smoothing": (
        lambda: FastestRoute(["a"], smoothing=2),
        ["FastestRoute(smoothing=2)", "between 0 and 1", "The default is"],
    ),
    "strategy without routes": (
        lambda: LeastLoadedRoute([]),
        ["LeastLoadedRoute", "no routes", "Name at least one"],
    ),
    "deadline": (
        lambda: WorkflowContext("ask").within(float("nan")),
        ["WorkflowContext(workflow_id='ask').within(nan)", "cannot be compared", "Give a number"],
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_messages_say_what_was_found_why_it_fails_and_what_to_do(case):
    do, parts = MESSAGES[case]
    with pytest.raises(WorkflowError) as caught:
        do()
    message = str(caught.value)
    places = [message.find(part) for part in parts]
    assert -1 not in places, message
    assert places == sorted(places), message
    assert message.rstrip(")?").endswith((".", "'")), message


@given(st.lists(st.text(), max_size=20), st.text())
def test_any_names_can_be_shown(names, wrong):
    assert Names(names).instead_of(wrong)


def test_long_lists_of_names_are_cut():
    assert str(Names(range(100))).endswith("11, …")
    assert str(Names([])) == "none"
