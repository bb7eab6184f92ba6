"""What is kept, for how long, for whom, and what is handed out."""

import asyncio
import io
import math
import random

import pytest

from tta_notebook import (
    ArgumentError,
    CacheKeyError,
    CacheMissError,
    ConfigurationError,
    LambdaPrimitive,
    WorkflowContext,
    capture,
)
from tta_notebook.core.usage import Usage
from tta_notebook.llm.text import LLMText
from tta_notebook.performance import CachePrimitive
from tta_notebook.performance.entry import Entry, StoreCounters
from tta_notebook.performance.stores.memory import MemoryStore
from tta_notebook.testing import Faults, MockPrimitive, run_virtual


def counting(**kwargs):
    return MockPrimitive("model", **(kwargs or {"side_effect": lambda x: x}))


def notes(spans):
    return [note.data for span in spans for note in span.notes if note.name == "cache"]


class Broken(MemoryStore):
    """A store of which some operations fail."""

    get_now = put_now = None

    def __init__(self, *failing):
        super().__init__()
        self.failing = failing

    async def get(self, key):
        self.fail("get")
        return self._entries.get(key)

    async def put(self, key, entry):
        self.fail("put")
        MemoryStore.put_now(self, key, entry)

    def fail(self, operation):
        if operation in self.failing:
            raise OSError(f"cannot {operation}")


# Values


@pytest.mark.parametrize("value", [None, 0, False, "", [], {}, (), b""], ids=repr)
def test_falsy_values_and_none_are_values(value):
    model = counting(return_value=value)
    cache = CachePrimitive(model)
    assert [cache.run_sync("q") for _ in range(3)] == [value] * 3
    assert model.call_count == 1


def test_equal_inputs_in_another_order_are_one_question():
    model = counting(return_value="a")
    cache = CachePrimitive(model)
    cache.run_sync({"a": 1, "b": [{"c": 2, "d": 3}]})
    cache.run_sync({"b": [{"d": 3, "c": 2}], "a": 1})
    assert model.call_count == 1


@pytest.mark.parametrize(
    "question",
    ["", "é" * 100_000, "\ud800", {}, [], None, [[]] * 5000],
    ids=["empty text", "long", "surrogate", "empty dict", "empty list", "none", "many lists"],
)
def test_empty_huge_and_odd_inputs_are_questions(question):
    model = counting(return_value="a")
    cache = CachePrimitive(model)
    assert cache.run_sync(question) == cache.run_sync(question) == "a"
    assert model.call_count == 1


def test_an_answer_changed_by_its_reader_is_not_changed_for_the_next():
    cache = CachePrimitive(lambda x: {"items": [x], "deep": {"set": {1}}})
    first = cache.run_sync(1)
    first["items"].append("spoilt")
    second = cache.run_sync(1)
    assert second == {"items": [1], "deep": {"set": {1}}}
    second["deep"]["set"].add(2)
    assert cache.run_sync(1)["deep"]["set"] == {1}


def test_joined_callers_get_copies_too():
    async def step(x):
        await asyncio.sleep(1)
        return [x]

    async def main():
        first, second = await asyncio.gather(cache(1), cache(1))
        assert first == second == [1]
        assert first is not second

    cache = CachePrimitive(step)
    run_virtual(main)


def test_what_cannot_change_is_handed_out_as_it_is():
    answer = LLMText("hello", usage=Usage(1, 1))
    cache = CachePrimitive(lambda x: answer)
    assert cache.run_sync(1) is cache.run_sync(1) is answer


def test_without_copies_everybody_gets_the_same():
    cache = CachePrimitive(lambda x: [x], copy=False)
    assert cache.run_sync(1) is cache.run_sync(1)


def test_what_cannot_be_copied_is_given_and_not_kept():
    handle = io.BytesIO(b"x")
    handle_in_use = handle.getbuffer()  # which makes the buffer refuse to be copied
    model = counting(return_value={"buffer": handle_in_use})
    cache = CachePrimitive(model)
    with capture() as spans:
        assert cache.run_sync(1)["buffer"] is handle_in_use
        assert cache.run_sync(1)["buffer"] is handle_in_use
    assert model.call_count == 2
    [error, _] = [note for span in spans for note in span.noted("cache_error")]
    assert error.data["operation"] == "copy"
    assert cache.get_stats()["errors"] == 2
    handle_in_use.release()


def test_an_answer_that_holds_itself_is_copied():
    knot = [1]
    knot.append(knot)
    cache = CachePrimitive(lambda x: knot)
    first, second = cache.run_sync(1), cache.run_sync(1)
    assert first is knot
    assert second is not knot
    assert second[1] is second


def test_an_input_changed_by_the_step_does_not_change_its_key():
    def step(x):
        x.append("changed")
        return len(x)

    model = MockPrimitive(side_effect=step)
    cache = CachePrimitive(model)
    assert cache.run_sync([1]) == cache.run_sync([1]) == 2
    assert model.call_count == 1


# Time


def test_an_answer_is_fresh_for_its_time_and_not_longer():
    model = counting()
    cache = CachePrimitive(model, ttl_seconds=10)

    async def main():
        await cache("q")
        await asyncio.sleep(9.9)
        await cache("q")
        assert model.call_count == 1
        await asyncio.sleep(0.2)
        await cache("q")
        assert model.call_count == 2

    run_virtual(main)
    stats = cache.get_stats()
    assert (stats["hits"], stats["misses"], stats["expirations"]) == (1, 2, 1)
    assert stats["hit_rate"] == pytest.approx(100 / 3)


def test_without_a_time_to_live_it_lives_for_ever():
    model = counting()
    cache = CachePrimitive(model, ttl_seconds=None)

    async def main():
        await cache("q")
        await asyncio.sleep(1e9)
        await cache("q")

    run_virtual(main)
    assert model.call_count == 1


def test_a_stale_answer_is_given_while_one_call_gets_a_new_one():
    model = MockPrimitive(side_effect=["old", "new"], faults=Faults(latency_s=1))
    cache = CachePrimitive(model, ttl_seconds=10, stale_while_revalidate=5)

    async def main():
        assert await cache("q") == "old"
        await asyncio.sleep(11)
        assert await asyncio.gather(*(cache("q") for _ in range(20))) == ["old"] * 20
        await cache.settled()
        return await cache("q")

    with capture() as spans:
        assert run_virtual(main) == "new"
    assert model.call_count == 2
    stats = cache.get_stats()
    assert (stats["stale"], stats["refreshes"], stats["misses"]) == (20, 1, 1)
    assert [data.get("stale") for data in notes(spans)] == [None] + [True] * 20 + [None]


def test_after_the_stale_window_the_call_is_waited_for():
    model = MockPrimitive(side_effect=["old", "new"])
    cache = CachePrimitive(model, ttl_seconds=10, stale_while_revalidate=5)

    async def main():
        await cache("q")
        await asyncio.sleep(15.1)
        return await cache("q")

    assert run_virtual(main) == "new"


def test_a_refresh_that_fails_is_counted_and_noted_and_leaves_the_old_answer():
    model = MockPrimitive("model", side_effect=["old", OSError("down"), "new"])
    cache = CachePrimitive(model, ttl_seconds=10, stale_while_revalidate=100)

    async def main():
        await cache("q")
        await asyncio.sleep(11)
        assert await cache("q") == "old"
        await cache.settled()
        assert cache.get_stats()["errors"] == 1
        assert await cache("q") == "old"
        await cache.settled()
        return await cache("q")

    with capture() as spans:
        assert run_virtual(main) == "new"
    [error] = [note for span in spans for note in span.noted("cache_error")]
    assert error.data == {"operation": "refresh", "error": "OSError: down"}


def test_a_refresh_does_not_inherit_a_deadline_that_is_nearly_over():
    async def step(x, context):
        seen.append(context.remaining())
        await asyncio.sleep(5)
        return len(seen)

    seen = []
    cache = CachePrimitive(step, ttl_seconds=10, stale_while_revalidate=100, version=1)

    async def main():
        await cache("q")
        await asyncio.sleep(11)
        assert await cache("q", WorkflowContext().within(1)) == 1
        await cache.settled()
        assert await cache("q") == 2

    run_virtual(main)
    assert seen == [None, None]


def test_an_input_changed_after_a_stale_answer_does_not_change_the_refresh():
    async def step(x):
        await asyncio.sleep(1)
        return list(x)

    cache = CachePrimitive(step, ttl_seconds=10, stale_while_revalidate=100)

    async def main():
        await cache(["a"])
        await asyncio.sleep(12)
        question = ["a"]
        await cache(question)
        question.append("b")
        await cache.settled()
        return await cache(["a"])

    assert run_virtual(main) == ["a"]


def test_a_stale_answer_stands_in_for_an_error():
    model = MockPrimitive(side_effect=["old", OSError("down"), OSError("down")])
    cache = CachePrimitive(model, ttl_seconds=10, stale_if_error=5)

    async def main():
        await cache("q")
        await asyncio.sleep(12)
        assert await cache("q") == "old"
        await asyncio.sleep(4)
        with pytest.raises(OSError, match="down"):
            await cache("q")

    run_virtual(main)
    assert cache.get_stats()["stale"] == 1


def test_early_refresh_follows_the_formula():
    # XFetch: refresh when now - delta * beta * ln(u) >= expiry. With delta = 2 s, beta = 1 and
    # u = e^-1 the answer is refreshed from 2 s before its expiry on.
    class Fixed(random.Random):
        def random(self):
            return 1 - math.exp(-1)

    model = MockPrimitive(side_effect=["old", "new"], faults=Faults(latency_s=2))
    cache = CachePrimitive(model, ttl_seconds=10, early_refresh=1, rng=Fixed())

    async def main():
        await cache("q")
        await asyncio.sleep(7.9)
        await cache("q")
        assert cache.get_stats()["refreshes"] == 0
        await asyncio.sleep(0.2)
        assert await cache("q") == "old"
        assert cache.get_stats()["refreshes"] == 1
        await cache.settled()
        return await cache("q")

    assert run_virtual(main) == "new"
    assert model.call_count == 2


# Errors


def test_errors_are_remembered_by_type_alone():
    model = MockPrimitive(side_effect=[LookupError("none"), OSError("down"), "found"])
    cache = CachePrimitive(model, negative_ttl={LookupError: 5})

    async def main():
        for _ in range(3):
            with pytest.raises(LookupError, match="none"):
                await cache("q")
        assert model.call_count == 1
        await asyncio.sleep(6)
        with pytest.raises(OSError, match="down"):
            await cache("q")
        return await cache("q")

    with capture() as spans:
        assert run_virtual(main) == "found"
    assert [data.get("negative") for data in notes(spans)] == [None, True, True, None, None]


def test_a_remembered_error_is_a_new_one_each_time():
    cache = CachePrimitive(MockPrimitive(raise_error=KeyError("x")), negative_ttl={KeyError: 5})
    caught = []
    for _ in range(3):
        with pytest.raises(KeyError) as error:
            cache.run_sync("q")
        caught.append(error.value)
    assert len({id(error) for error in caught}) == 3
    assert [error.args for error in caught] == [("x",)] * 3


@pytest.mark.parametrize("failing", [("get",), ("put",), ("get", "put")])
def test_a_store_that_fails_costs_a_miss_and_never_the_answer(failing):
    model = counting(return_value="paid")
    cache = CachePrimitive(model, store=Broken(*failing))
    with capture() as spans:
        assert [cache.run_sync("q") for _ in range(2)] == ["paid"] * 2
    assert model.call_count == 2
    assert cache.get_stats()["errors"] == 2 * len(failing)
    errors = [note.data for span in spans for note in span.noted("cache_error")]
    assert [error["operation"] for error in errors] == list(failing) * 2
    assert errors[0]["error"] == f"OSError: cannot {failing[0]}"


def test_a_store_that_fails_to_forget_says_so():
    class Stuck(MemoryStore):
        async def delete(self, key):
            raise OSError("stuck")

    cache = CachePrimitive(str.upper, store=Stuck())
    with pytest.raises(OSError, match="stuck"):
        asyncio.run(cache.invalidate("q"))


# Bounds


def test_it_is_bounded_and_the_least_recently_used_goes():
    model = counting()
    cache = CachePrimitive(model, max_size=2)
    for question in ("a", "b", "a", "c", "a", "b"):
        cache.run_sync(question)
    assert [call.input for call in model.calls] == ["a", "b", "c", "b"]
    stats = cache.get_stats()
    assert (stats["size"], stats["evictions"]) == (2, 2)


# Forgetting


def test_invalidate_forgets_one_answer_and_clear_all():
    model = counting()
    cache = CachePrimitive(model)

    async def main():
        for question in ("a", "b"):
            await cache(question)
        await cache.invalidate("a")
        await cache("b")
        assert model.call_count == 2
        await cache("a")
        assert model.call_count == 3
        await cache.clear()
        assert cache.get_stats()["size"] == 0
        await cache("b")
        assert model.call_count == 4

    asyncio.run(main())


def test_invalidate_forgets_the_answer_of_one_user():
    cache = CachePrimitive(model := counting())

    async def main():
        ann, bob = WorkflowContext(user_id="ann"), WorkflowContext(user_id="bob")
        await cache("q", ann)
        await cache("q", bob)
        await cache.invalidate("q", WorkflowContext(user_id="ann"))
        await cache("q", WorkflowContext(user_id="bob"))
        assert model.call_count == 2
        await cache("q", WorkflowContext(user_id="ann"))
        assert model.call_count == 3

    asyncio.run(main())


@pytest.mark.parametrize("forget", ["invalidate", "clear"])
def test_an_answer_under_way_when_it_is_forgotten_is_given_and_not_kept(forget):
    model = MockPrimitive(side_effect=["old", "new"], faults=Faults(latency_s=1))
    cache = CachePrimitive(model)

    async def main():
        old = asyncio.create_task(cache("q"))
        await asyncio.sleep(0.5)
        await (cache.invalidate("q") if forget == "invalidate" else cache.clear())
        assert await cache("q") == "new"
        assert await old == "old"
        assert await cache("q") == "new"

    run_virtual(main)


# Answers that are stale


def test_stale_gives_what_is_there_and_never_calls():
    model = MockPrimitive("model", side_effect=["kept"])
    cache = CachePrimitive(model, ttl_seconds=10, stale_if_error=20)
    stale = cache.stale()

    async def main():
        with pytest.raises(CacheMissError, match="there is none"):
            await stale("q")
        await cache("q")
        await asyncio.sleep(29)
        assert await stale("q") == "kept"
        with pytest.raises(CacheMissError, match="29 s old, and 5 s is the most"):
            await cache.stale(5)("q")
        await asyncio.sleep(2)
        with pytest.raises(CacheMissError):
            await stale("q")

    run_virtual(main)
    assert model.call_count == 1
    assert stale.name == "stale model"


# How it is made


@pytest.mark.parametrize("ttl", [0, -1, math.nan, True, "60", math.inf])
def test_a_time_to_live_that_means_nothing_is_refused(ttl):
    with pytest.raises(ConfigurationError, match="ttl_seconds"):
        CachePrimitive(str.upper, ttl_seconds=ttl)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("max_size", 0),
        ("max_size", True),
        ("max_size", 1.5),
        ("max_bytes", -1),
        ("stale_while_revalidate", -1),
        ("stale_if_error", math.nan),
        ("early_refresh", "1"),
        ("early_refresh", -0.5),
        ("negative_ttl", {OSError: 0}),
        ("negative_ttl", {"OSError": 1}),
        ("negative_ttl", {BaseException: 1}),
        ("negative_ttl", [OSError]),
        ("scope", "users"),
        ("namespace", 7),
        ("version", object()),
        ("store", {}),
        ("store", MemoryStore),
    ],
)
def test_an_argument_that_means_nothing_is_refused_by_name(argument, value):
    with pytest.raises(ConfigurationError, match=argument):
        CachePrimitive(str.upper, **{argument: value})


@pytest.mark.parametrize(
    "arguments",
    [
        {"key_fn": str, "cache_key_fn": str},
        {"store": MemoryStore(), "backend": MemoryStore()},
        {"store": MemoryStore(), "max_size": 5},
    ],
)
def test_saying_a_thing_twice_is_refused(arguments):
    with pytest.raises(ArgumentError):
        CachePrimitive(str.upper, **arguments)


def test_both_forms_of_the_catalogue_work():
    store = MemoryStore()
    cache = CachePrimitive(str.upper, 3600, 1000, str.lower)
    assert [cache.run_sync("A"), cache.run_sync("a")] == ["A", "A"]
    other = CachePrimitive(str.upper, cache_key_fn=str.lower, backend=store)
    assert [other.run_sync("A"), other.run_sync("a")] == ["A", "A"]
    assert len(store) == 1


def test_a_store_of_ones_own_fits_by_its_methods():
    class Bytes:
        """Gives a new object each time, as a store of bytes does."""

        keeps_objects = False

        def __init__(self):
            self.kept = {}

        async def get(self, key):
            stored = self.kept.get(key)
            return None if stored is None else Entry([*stored[0]], *stored[1:])

        async def put(self, key, entry):
            self.kept[key] = (entry.value, entry.stored_at_s, entry.expires_at_s, entry.drop_at_s)

        async def delete(self, key):
            self.kept.pop(key, None)

        async def clear(self):
            self.kept.clear()

        def counters(self):
            return StoreCounters(len(self.kept))

    cache = CachePrimitive(lambda x: [x], store=Bytes())
    first, second = cache.run_sync(1), cache.run_sync(1)
    first.append(2)
    second.append(3)
    assert cache.run_sync(1) == [1]
    assert cache.get_stats()["size"] == 1


def test_a_lookup_makes_one_note():
    cache = CachePrimitive(LambdaPrimitive(lambda x: x, name="model"))

    async def main():
        await cache("q")
        await asyncio.sleep(3)
        await cache("q")

    with capture() as spans:
        run_virtual(main)
    first, second = notes(spans)
    assert first == {"hit": False, "key": second["key"]}
    assert second == {"hit": True, "age_s": pytest.approx(3), "saved": 0, "key": first["key"]}
    assert [span.name for span in spans] == ["model", "cache model", "cache model"]


def test_an_input_of_which_no_key_can_be_made_is_an_error_before_the_call():
    model = counting()
    with pytest.raises(CacheKeyError) as caught:
        CachePrimitive(model).run_sync({"messages": [{"client": open}]})
    assert caught.value.path == "input['messages'][0]['client']"
    assert model.call_count == 0


def test_a_copy_under_another_name_shares_the_answers():
    cache = CachePrimitive(model := counting())
    cache.run_sync("q")
    other = cache.named("other")
    assert other.run_sync("q") == "q"
    assert model.call_count == 1
    assert other.get_stats()["hits"] == cache.get_stats()["hits"] == 1


def test_a_stale_step_says_what_it_is_and_what_it_found():
    async def main():
        cached = CachePrimitive(str.upper, ttl_seconds=10, stale_if_error=100)
        step = cached.stale(max_age_seconds=20)
        assert step.name == "stale upper"
        with pytest.raises(CacheMissError) as missing:
            await step("x")
        await cached("x")
        await asyncio.sleep(15)
        assert await step("x") == "X"
        await asyncio.sleep(10)
        with pytest.raises(CacheMissError) as old:
            await step("x")
        return str(missing.value), str(old.value)

    what = "'cache upper' was asked for a stored answer to this input, but "
    then = ". Nothing was called; call the step itself, or put another fallback behind this one."
    assert run_virtual(main) == (
        f"{what}there is none{then}",
        f"{what}it is 25 s old, and 20 s is the most{then}",
    )
    with pytest.raises(ConfigurationError, match=r"^StalePrimitive: max_age_seconds=-1"):
        CachePrimitive(str.upper).stale(max_age_seconds=-1)


def test_an_error_that_cannot_be_copied_is_raised_and_not_remembered():
    class StubbornError(Exception):
        def __reduce_ex__(self, protocol):
            raise TypeError("never")

    mock = MockPrimitive("m", side_effect=StubbornError("once"))
    cached = CachePrimitive(mock, negative_ttl={StubbornError: 60}, version="1")

    async def main():
        for _ in range(2):
            with pytest.raises(StubbornError):
                await cached("x")

    with capture() as spans:
        run_virtual(main)
    assert mock.call_count == 2
    notes = [note.data for span in spans for note in span.noted("cache_error")]
    assert notes == [{"operation": "copy", "error": "TypeError: never"}] * 2


def test_an_input_that_cannot_be_copied_is_refreshed_as_it_is():
    class Input:
        def __tta_key__(self):
            return "the same"

        def __deepcopy__(self, memo):
            raise TypeError("never")

    asked = []

    def ask(told):
        asked.append(told)
        return len(asked)

    async def main():
        cached = CachePrimitive(ask, ttl_seconds=10, stale_while_revalidate=100, version="1")
        told = Input()
        answers = [await cached(told)]
        for _ in range(2):
            await asyncio.sleep(11)
            answers.append(await cached(told))
            await cached.settled()
        assert asked == [told] * 3
        return answers, cached.get_stats()

    with capture() as spans:
        answers, stats = run_virtual(main)
    assert answers == [1, 1, 2]
    assert (stats["refreshes"], stats["errors"]) == (2, 2)
    notes = [note.data for span in spans for note in span.noted("cache_error")]
    assert notes == [{"operation": "copy", "error": "TypeError: never"}] * 2
