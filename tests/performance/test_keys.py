"""By what calls are told apart, and by what not."""

import asyncio

import pytest

from tta_notebook import CacheKeyError, LambdaPrimitive, WorkflowContext, configured
from tta_notebook.llm import LLMPrimitive, Reply, ScriptedModel
from tta_notebook.performance import CachePrimitive
from tta_notebook.performance.stores.memory import MemoryStore
from tta_notebook.testing import MockPrimitive, run_virtual

PROMPT = "Answer briefly: "


def calls(model):
    return [call.input for call in model.calls]


def echo():
    return MockPrimitive("echo", side_effect=lambda x: x)


def test_the_user_is_part_of_the_key():
    model = echo()
    cache = CachePrimitive(model)
    for user in ("ann", "bob", None, "ann", None, "", "bob"):
        cache.run_sync("q", WorkflowContext(user_id=user))
    assert len(calls(model)) == 4


@pytest.mark.parametrize("question", ["q", {"a": 1}])
def test_users_of_other_types_do_not_collide(question):
    model = echo()
    cache = CachePrimitive(model)
    for user in (1, True, 1.0, "1", 1, True, 1.0, "1"):
        cache.run_sync(question, WorkflowContext(user_id=user))
    assert len(calls(model)) == 4


def test_a_shared_scope_leaves_the_user_out():
    model = echo()
    cache = CachePrimitive(model, scope="shared")
    for user in ("ann", "bob", None):
        cache.run_sync("q", WorkflowContext(user_id=user))
    assert len(calls(model)) == 1


def test_a_scope_can_be_a_function_of_the_context():
    model = echo()
    cache = CachePrimitive(model, scope=lambda context: context.tags["tenant"])
    for tenant in ("a", "b", "a"):
        cache.run_sync("q", WorkflowContext(user_id=tenant * 2, tags={"tenant": tenant}))
    assert len(calls(model)) == 2


@pytest.mark.parametrize(
    "key_fn",
    [lambda data: data["id"], lambda data, context: (data["id"], context.session_id)],
    ids=["of the input", "of the context, too"],
)
def test_a_key_fn_stands_for_the_input_and_for_nothing_else(key_fn):
    model = echo()
    cache = CachePrimitive(model, key_fn=key_fn)
    cache.run_sync({"id": 1, "client": open})
    cache.run_sync({"id": 1, "client": print})
    assert len(calls(model)) == 1
    cache.run_sync({"id": 1}, WorkflowContext(user_id="ann"))
    assert len(calls(model)) == 2


def test_an_async_key_fn_is_awaited():
    async def key_fn(data):
        await asyncio.sleep(0)
        return data["id"]

    model = echo()
    cache = CachePrimitive(model, key_fn=key_fn)
    cache.run_sync({"id": 1, "x": 1})
    cache.run_sync({"id": 1, "x": 2})
    assert len(calls(model)) == 1


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"key_fn": lambda data: data["missing"]}, "key_fn(input)"),
        ({"key_fn": lambda data: {"f": [print]}}, "key_fn(input)['f'][0]"),
        ({"scope": lambda context: context.tags["tenant"]}, "scope(context)"),
        ({"scope": lambda context: print}, "scope(context)[3][1]"),
    ],
    ids=["key_fn fails", "key_fn gives a function", "scope fails", "scope gives a function"],
)
def test_a_key_that_cannot_be_made_is_an_error_that_says_where(arguments, path):
    model = echo()
    with pytest.raises(CacheKeyError) as caught:
        CachePrimitive(model, **arguments).run_sync({})
    assert caught.value.path == path
    assert not calls(model)


def test_a_key_fn_cannot_pass_for_an_input():
    store = MemoryStore()
    with_function = CachePrimitive(str.upper, key_fn=lambda data: "b", store=store)
    without = CachePrimitive(str.upper, store=store)
    assert with_function.run_sync("a") == "A"
    assert without.run_sync("b") == "B"


def test_caches_that_share_a_store_are_told_apart_by_name_and_by_code():
    store = MemoryStore()

    def make(function, **arguments):
        return CachePrimitive(function, store=store, **arguments)

    assert make(lambda x: x + 1).run_sync(1) == 2
    assert make(lambda x: x + 2).run_sync(1) == 3
    assert len(store) == 2
    make(lambda x: x + 1).run_sync(1)
    assert len(store) == 2
    make(lambda x: x + 1, namespace="other").run_sync(1)
    assert len(store) == 3


def test_a_rebound_global_is_another_version():
    global PROMPT  # noqa: PLW0603 - as another cell does
    asked = []

    async def step(x):
        asked.append(x)
        return PROMPT + x

    cache = CachePrimitive(step)
    first = cache.run_sync("why?")
    assert cache.run_sync("why?") == first
    PROMPT = "Answer at length: "
    try:
        assert cache.run_sync("why?") == "Answer at length: why?"
    finally:
        PROMPT = "Answer briefly: "
    assert cache.run_sync("why?") == "Answer briefly: why?"
    assert len(asked) == 2


def test_a_counter_of_the_steps_own_does_not_make_another_version():
    count, seen = 0, []

    async def step(x):
        nonlocal count
        count += 1
        seen.append(x)
        await asyncio.sleep(0)
        return count

    cache = CachePrimitive(step)
    assert [cache.run_sync("q") for _ in range(3)] == [1, 1, 1]
    assert seen == ["q"]


def test_what_a_step_refers_to_is_looked_at_again_before_every_call():
    style = {"text": "brief"}

    def step(x):
        return style["text"]

    cache = CachePrimitive(LambdaPrimitive(step) >> len)
    assert cache.run_sync("q") == 5
    style["text"] = "long"
    assert cache.run_sync("q") == 4
    assert cache.get_stats()["misses"] == 2


def test_an_answer_made_while_its_step_changed_is_given_and_not_kept():
    async def step(x):
        await asyncio.sleep(1)
        return PROMPT

    cache = CachePrimitive(step)

    async def main():
        global PROMPT  # noqa: PLW0603 - as another cell does
        asking = asyncio.create_task(cache("q"))
        await asyncio.sleep(0.5)
        PROMPT = "Answer at length: "
        try:
            assert await asking == PROMPT
        finally:
            PROMPT = "Answer briefly: "
        assert await cache("q") == "Answer briefly: "

    run_virtual(main)


def test_what_cannot_be_hashed_is_reused_by_that_very_object_alone():
    store = MemoryStore()
    numbers = (number for number in range(10))
    step = LambdaPrimitive(lambda x: next(numbers))
    one, same = CachePrimitive(step, store=store), CachePrimitive(step, store=store)
    assert one.run_sync("q") == one.run_sync("q") == same.run_sync("q") == 0
    others = (number for number in range(10))
    other = CachePrimitive(LambdaPrimitive(lambda x: next(others)), store=store)
    assert other.run_sync("q") == 0
    assert len(store) == 2


def test_a_stated_version_takes_the_place_of_the_code():
    store = MemoryStore()
    CachePrimitive(lambda x: 1, version="1", store=store).run_sync("q")
    assert CachePrimitive(lambda x: 2, version="1", store=store).run_sync("q") == 1
    assert CachePrimitive(lambda x: 2, version=1, store=store).run_sync("q") == 2


def test_a_run_with_other_backends_gets_other_answers():
    asked = []

    def model(prompt):
        asked.append(prompt)
        return "real"

    cache = CachePrimitive(LLMPrimitive(model, name="llm"))
    assert cache.run_sync("q") == "real"
    scripted = ScriptedModel([Reply("scripted"), Reply("not asked")])
    for _ in range(2):
        context = WorkflowContext().using(backends={"*": scripted})
        assert cache.run_sync("q", context) == "scripted"
    other = WorkflowContext().using(backends={"*": ScriptedModel([Reply("other")])})
    assert cache.run_sync("q", other) == "other"
    assert cache.run_sync("q") == "real"
    assert asked == ["q"]


def test_a_text_and_what_looks_like_it_are_two_questions():
    model = echo()
    cache = CachePrimitive(model)
    for question in ("1", 1, b"1", ["1"], ("1",), {"1": None}, {1: None}):
        cache.run_sync(question)
    assert len(calls(model)) == 7


@pytest.mark.parametrize("key_fn", [None, str.upper])
def test_answers_of_standing_backends_and_of_the_models_own_are_apart(key_fn):
    step = CachePrimitive(LLMPrimitive(ScriptedModel("live", name="m")), key_fn=key_fn)
    one, other = ({"*": ScriptedModel(text, name="m")} for text in ("one", "other"))

    def ask():
        return step.run_sync("q")

    with configured(backends=one):
        assert (ask(), ask()) == ("one", "one")
    assert ask() == "live"
    with configured(backends=other):
        assert ask() == "other"
    with configured(backends=one):
        assert ask() == "one"
    stats = step.get_stats()
    assert (stats["hits"], stats["misses"]) == (2, 3)
