"""The stores of bytes: a file, a server, and whatever else; none of them costs an answer."""

import asyncio
import dataclasses
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import redis.asyncio

from tta_notebook import (
    CachePrimitive,
    CircuitOpenError,
    CircuitState,
    ConfigurationError,
    DecodeError,
    LLMPrimitive,
    LLMText,
    MockPrimitive,
    Reply,
    ScriptedModel,
    StepTimeoutError,
    Usage,
    WorkflowContext,
    capture,
)
from tta_notebook.core.home import home
from tta_notebook.performance.entry import Entry, now_s
from tta_notebook.performance.stores.encoded import EncodedStore
from tta_notebook.performance.stores.redis import RedisStore
from tta_notebook.performance.stores.sqlite import SQLiteStore
from tta_notebook.storage import codec
from tta_notebook.storage.sqlite import Database
from tta_notebook.testing import run_virtual


@dataclasses.dataclass
class Point:
    x: int
    y: tuple[int, ...]


class Shelf:
    """Bytes in a dict, as slow and as broken as a test wants it."""

    def __init__(self, delay_s=0.0):
        self.kept, self.delay_s, self.error, self.asked = {}, delay_s, None, 0

    async def _work(self):
        self.asked += 1
        await asyncio.sleep(self.delay_s)
        if self.error is not None:
            raise self.error

    async def get(self, key):
        await self._work()
        return self.kept.get(key)

    async def put(self, key, value, ttl_s=None):
        await self._work()
        self.kept[key] = value

    async def delete(self, key):
        await self._work()
        self.kept.pop(key, None)

    async def clear(self):
        await self._work()
        self.kept.clear()


@pytest.fixture(params=["shelf", "sqlite", "redis"])
def make_store(request, tmp_path):
    """Return a function that opens the same store anew."""
    if request.param == "shelf":
        shelf = Shelf()
        yield lambda: EncodedStore(shelf, timeout_seconds=10)
        return
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
        kept = []  # a store that is dropped has its connections closed whenever it is collected

        def connect():
            # Patient: on a busy machine a thousand at once wait for more than half a second.
            kept.append(RedisStore(server.url, timeout_seconds=10))
            return kept[-1]

        yield connect
        return
    opened = []

    def open_it():
        opened.append(SQLiteStore(tmp_path / "answers.db", timeout_seconds=10))
        return opened[-1]

    yield open_it
    for store in opened:
        store.close()


def counted(answer):
    calls = []

    def ask(told):
        calls.append(told)
        return answer

    return ask, calls


# What every store does


ANSWERS = [
    "text",
    "",
    None,
    0,
    1.5,
    True,
    b"\x00\xff",
    [1, {"a": (2, None)}],
    {"b": 1, 2: "two"},
    Point(1, (2, 3)),
    "\ud800 lone",
    "naïve 漢字 🙂",
]


@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
def test_an_answer_comes_back_as_it_was(make_store, answer):
    ask, calls = counted(answer)
    for _ in range(2):  # another process would do the same
        found = CachePrimitive(ask, store=make_store(), version="1").run_sync("question")
        assert found == answer
        assert type(found) is type(answer)
    assert len(calls) == 1


def test_a_models_answer_keeps_its_particulars_and_is_not_paid_twice(make_store):
    usage = Usage(input_tokens=10, output_tokens=20)
    model = ScriptedModel([Reply("answer", usage=usage)])
    step = LLMPrimitive(model)

    async def main():
        first = await CachePrimitive(step, store=make_store(), version="1").run("question")
        cached = CachePrimitive(step, store=make_store(), version="1")
        second = await cached.run("question")
        return first, second, cached.get_stats()

    first, second, stats = asyncio.run(main())
    assert isinstance(second.output, LLMText)
    assert vars(second.output) == vars(first.output)
    assert (first.usage, second.usage) == (usage, None)
    assert stats["tokens_saved"] == 30


def test_streams_are_kept_with_their_pieces(make_store):
    model = ScriptedModel([Reply(["one ", "two"])])

    async def main():
        texts = []
        for _ in range(2):
            step = CachePrimitive(LLMPrimitive(model), store=make_store(), version="1")
            texts.append([chunk.content async for chunk in step.stream("question")])
        return texts

    assert asyncio.run(main()) == [["one ", "two", ""]] * 2


def test_users_and_versions_do_not_share(make_store):
    ask, calls = counted("x")
    for user, version in [("u-1", "1"), ("u-2", "1"), ("u-1", "2"), ("u-1", "1")]:
        step = CachePrimitive(ask, store=make_store(), version=version)
        step.run_sync("question", WorkflowContext(user_id=user))
    assert len(calls) == 3


def test_a_remembered_error_comes_back(make_store):
    mock = MockPrimitive("m", side_effect=KeyError("unknown", 3))
    for _ in range(2):
        step = CachePrimitive(mock, store=make_store(), version="1", negative_ttl={KeyError: 60.0})
        with pytest.raises(KeyError) as caught:
            step.run_sync("question")
        assert caught.value.args == ("unknown", 3)
    assert mock.call_count == 1


def test_forgetting_one_and_all(make_store):
    ask, calls = counted("x")

    async def main():
        step = CachePrimitive(ask, store=make_store(), version="1")
        for told in ("a", "b"):
            await step(told)
        await step.invalidate("a")
        await step("a")
        await step("b")
        assert calls == ["a", "b", "a"]
        await step.clear()
        await step("b")

    asyncio.run(main())
    assert calls == ["a", "b", "a", "b"]


def test_expired_answers_are_gone(make_store):
    async def main():
        store, now = make_store(), now_s()
        await store.put("k", Entry("x", now - 10, now - 5, now - 5))
        await store.put("l", Entry("x", now, now + 0.05, now + 0.05))
        assert await store.get("k") is None
        assert (await store.get("l")).value == "x"
        await asyncio.sleep(0.1)  # the real time of a real server
        return await store.get("l")

    assert asyncio.run(main()) is None


def test_an_answer_that_cannot_be_written_down_is_given_all_the_same(make_store):
    step = CachePrimitive(lambda _: object, store=make_store(), version="1", copy=False)
    with capture() as spans:
        assert step.run_sync("x") is object
    (note,) = spans[1].noted("cache_error")
    assert note.data["operation"] == "put"
    assert note.data["error"].startswith("EncodeError: value['value'] cannot be encoded")


def test_a_thousand_callers_at_once(make_store):
    ask, calls = counted("x")

    async def main():
        step = CachePrimitive(ask, store=make_store(), version="1")
        await asyncio.gather(*(step(f"question {number % 10}") for number in range(1000)))
        return step.get_stats()

    stats = asyncio.run(main())
    assert len(calls) == 10
    assert stats["errors"] == 0


@pytest.mark.parametrize("is_streamed", [False, True])
def test_who_looked_before_an_answer_was_kept_and_came_after_it_makes_no_second_call(is_streamed):
    class Slowing(Shelf):
        """The first look is slow, so that it sees nothing, and is over after the second's call."""

        async def get(self, key):
            self.asked += 1
            found, is_first = self.kept.get(key), self.asked == 1
            await asyncio.sleep(5 if is_first else 0)
            return found

    async def ask(step):
        if is_streamed:
            return "".join([chunk.content async for chunk in step.stream("question")])
        return await step("question")

    async def main():
        model = ScriptedModel([Reply(["an", "swer"])])
        store = EncodedStore(Slowing(), timeout_seconds=9)
        step = CachePrimitive(LLMPrimitive(model), store=store)
        first = asyncio.create_task(ask(step))
        await asyncio.sleep(1)
        assert await ask(step) == "answer"
        assert await first == "answer"
        return step.get_stats()

    stats = run_virtual(main)  # a second call would find the script at its end
    assert (stats["hits"], stats["misses"]) == (1, 1)


def test_one_store_serves_two_loops(make_store):
    ask, calls = counted("x")
    step = CachePrimitive(ask, store=make_store(), version="1")
    assert [step.run_sync("question"), step.run_sync("question")] == ["x", "x"]
    assert len(calls) == 1


# A store that is slow, broken or gone


@pytest.mark.parametrize("how", ["slow", "broken"])
def test_a_store_that_does_not_answer_costs_a_miss_and_soon_not_even_a_try(how):
    async def main():
        shelf = Shelf(delay_s=60 if how == "slow" else 0)
        if how == "broken":
            shelf.error = OSError("gone")
        store = EncodedStore(shelf, timeout_seconds=1, failure_threshold=4, recovery_timeout=10)
        step = CachePrimitive(MockPrimitive("m", return_value="x"), store=store)
        for _ in range(10):
            assert await step("question") == "x"
        assert store.circuit.state is CircuitState.OPEN
        waited_s, asked = asyncio.get_running_loop().time(), shelf.asked
        shelf.delay_s, shelf.error = 0, None
        await asyncio.sleep(10)
        await step("question")
        await step("question")
        return waited_s, asked, step.get_stats()

    waited_s, asked, stats = run_virtual(main)
    assert waited_s == (4 if how == "slow" else 0)
    assert asked == 4
    assert (stats["hits"], stats["misses"], stats["errors"]) == (1, 11, 20)


def test_a_cancelled_caller_is_no_failure_of_the_store():
    async def main():
        shelf = Shelf(delay_s=5)
        store = EncodedStore(shelf, timeout_seconds=9, failure_threshold=1)
        step = CachePrimitive(str.upper, store=store)
        for _ in range(3):
            task = asyncio.create_task(step("question"))
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.wait({task})
        return store.circuit.state

    assert run_virtual(main) is CircuitState.CLOSED


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[:-3], lambda data: b"", lambda data: b"?" * 99],
    ids=["cut", "empty", "other"],
)
def test_damaged_bytes_are_a_miss_and_are_forgotten(damage):
    async def main():
        shelf = Shelf()
        ask, calls = counted("x")
        step = CachePrimitive(ask, store=EncodedStore(shelf))
        await step("question")
        (key,) = shelf.kept
        shelf.kept[key] = damage(shelf.kept[key])
        assert await step("question") == "x"
        assert await step("question") == "x"
        return len(calls), step.get_stats()["errors"]

    assert run_virtual(main) == (2, 1)


def test_bytes_of_another_shape_are_a_miss():
    async def main():
        shelf = Shelf()
        step = CachePrimitive(str.upper, store=EncodedStore(shelf))
        await step("question")
        (key,) = shelf.kept
        for other in ([1, 2], {"value": 1}, {"error": None, "colour": "red"}):
            shelf.kept[key] = codec.encode(other)
            assert await step("question") == "QUESTION"
        return step.get_stats()["errors"]

    assert run_virtual(main) == 3


def test_an_error_of_a_class_that_is_no_error_here_is_a_miss():
    async def main():
        shelf = Shelf()
        step = CachePrimitive(str.upper, store=EncodedStore(shelf))
        await step("question")
        (key,) = shelf.kept
        fields = codec.decode(shelf.kept[key])
        for module, name in [("os", "system"), ("nowhere", "Error"), ("builtins", "SystemExit")]:
            packed = {"module": module, "name": name, "args": ["true"], "state": {}}
            shelf.kept[key] = codec.encode(fields | {"error": packed})
            assert await step("question") == "QUESTION"
        return step.get_stats()["errors"]

    assert run_virtual(main) == 3


# Redis


def test_a_server_killed_in_mid_run_costs_misses_and_no_answer(redis_server):
    async def main():
        store = RedisStore(redis_server.url)
        step = CachePrimitive(MockPrimitive("m", side_effect=str.upper), store=store)
        answers = []
        for number in range(60):
            if number == 20:
                redis_server.kill()
            answers.append(await step(f"question {number % 10}"))
        assert store.circuit.state is CircuitState.OPEN
        redis_server.start()
        store.circuit.close()  # instead of waiting for it
        await step("question 1")
        hits = step.get_stats()["hits"]
        await step("question 1")
        return answers, step.get_stats()["hits"] - hits

    answers, hits = asyncio.run(main())
    assert answers == [f"QUESTION {number % 10}" for number in range(60)]
    assert hits == 1


def test_a_server_that_hangs_costs_a_short_wait(redis_server):
    async def main():
        store = RedisStore(redis_server.url, timeout_seconds=0.05)
        step = CachePrimitive(str.upper, store=store)
        await step("a")
        redis_server.pause()
        began_s = time.monotonic()
        try:
            answers = [await step(str(number)) for number in range(20)]
        finally:
            redis_server.go_on()
        return answers, time.monotonic() - began_s

    answers, took_s = asyncio.run(main())
    assert answers == [str(number) for number in range(20)]
    assert took_s < 2  # five waits of 0.05 s, and then none


def test_a_server_that_was_never_there_costs_misses():
    step = CachePrimitive(str.upper, store=RedisStore("redis://127.0.0.1:1/0"))
    assert step.run_sync("hello") == "HELLO"
    assert step.get_stats()["errors"] == 2


def test_others_keys_are_left_alone(redis_server):
    async def main():
        mine = RedisStore(redis_server.url, prefix="m*:")
        theirs = RedisStore(redis_server.url, prefix="my:")
        for store in (mine, theirs):
            for number in range(3):
                await store.put(f"k{number}", Entry("x", now_s()))
        await mine.clear()
        assert await mine.get("k1") is None
        return (await theirs.get("k1")).value

    assert asyncio.run(main()) == "x"


@pytest.mark.parametrize("odd", ["localhost", "http://localhost", "", 3, None], ids=repr)
def test_a_url_that_is_none_is_refused_without_being_shown(odd):
    with pytest.raises(ConfigurationError, match="RedisStore: the url"):
        RedisStore(odd)


def test_a_password_is_in_no_message():
    store = RedisStore("redis://user:secret@127.0.0.1:1/0")
    step = CachePrimitive(str.upper, store=store)
    with capture() as spans:
        step.run_sync("x")
    said = [str(note) for span in spans for note in span.notes]
    assert said
    assert "secret" not in repr(store) + "".join(said)


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'tta-notebook\[redis\]'"):
        RedisStore()


def test_a_prefix_that_is_none_is_refused():
    with pytest.raises(ConfigurationError, match="RedisStore: prefix=''"):
        RedisStore(prefix="")


# SQLite


def test_the_file_is_bounded_and_the_least_recently_used_go_first(tmp_path):
    async def main():
        store = SQLiteStore(tmp_path / "answers.db", max_size=10)
        for number in range(35):
            await store.put(f"k{number}", Entry(number, now_s()))
        kept = [number for number in range(35) if await store.get(f"k{number}") is not None]
        counted = store.counters()
        store.close()
        return kept, counted.size, counted.evictions

    kept, size, evictions = asyncio.run(main())
    assert size == len(kept) <= 20  # it is looked over every ten puts
    assert kept[-5:] == [30, 31, 32, 33, 34]
    assert evictions == 35 - size


def test_it_lives_in_the_users_folder_by_default(monkeypatch, tmp_path):
    monkeypatch.setenv("TTA_HOME", str(tmp_path / "home"))
    store = SQLiteStore()
    assert store.path == home() / "cache.db"
    assert not store.path.exists()  # nothing is made before it is used
    assert CachePrimitive(str.upper, store=store).run_sync("x") == "X"
    assert store.path.exists()
    store.close()


def test_a_damaged_file_is_set_aside(tmp_path):
    path = tmp_path / "answers.db"
    path.write_bytes(b"this is no database at all, " * 100)
    store = SQLiteStore(path)
    step = CachePrimitive(str.upper, store=store)
    assert [step.run_sync("x") for _ in range(2)] == ["X", "X"]
    assert step.get_stats()["hits"] == 1
    store.close()
    assert (tmp_path / "answers.db.corrupt-1").exists()


def test_a_locked_file_costs_misses(tmp_path):
    path = tmp_path / "answers.db"
    store = SQLiteStore(path, timeout_seconds=0.05)
    step = CachePrimitive(str.upper, store=store)
    step.run_sync("kept")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert step.run_sync("new") == "NEW"
    assert step.run_sync("kept") == "KEPT"  # readers are not held up by a writer
    other.execute("ROLLBACK")
    other.close()
    assert step.get_stats()["errors"] >= 1
    store.close()


def test_a_full_disk_costs_misses(tmp_path, monkeypatch):
    prepare = Database._prepare

    def prepare_small(self, connection):
        prepare(self, connection)
        # A file that may not grow behaves as a full disk does: SQLite says SQLITE_FULL.
        connection.execute("PRAGMA max_page_count = 12")

    monkeypatch.setattr(Database, "_prepare", prepare_small)
    store = SQLiteStore(tmp_path / "answers.db")
    step = CachePrimitive(lambda told: told * 10_000, store=store)
    for number in range(6):
        assert step.run_sync(str(number)) == str(number) * 10_000
    errors = step.get_stats()["errors"]
    assert errors >= 3
    assert step.run_sync("0") == "0" * 10_000
    assert step.get_stats()["hits"] == 1
    store.close()


def test_a_file_that_cannot_be_made_costs_misses(tmp_path):
    (tmp_path / "file").write_text("in the way")
    step = CachePrimitive(str.upper, store=SQLiteStore(tmp_path / "file" / "answers.db"))
    assert step.run_sync("x") == "X"
    assert step.get_stats()["errors"] >= 1


WRITER = """
    import asyncio, sys
    from tta_notebook import CachePrimitive
    from tta_notebook.performance.stores.sqlite import SQLiteStore

    async def main():
        step = CachePrimitive(
            lambda told: told * 1000,
            store=SQLiteStore(sys.argv[1]),
            namespace="answers",
            version="1",
        )
        number = 0
        while True:
            await step(str(number))
            print(number, flush=True)
            number += 1

    asyncio.run(main())
"""


def test_the_file_survives_processes_that_are_killed_at_random_points(tmp_path):
    path = tmp_path / "answers.db"
    script = tmp_path / "writer.py"
    script.write_text(textwrap.dedent(WRITER))
    told = -1
    for kill in range(6):
        writer = subprocess.Popen(
            [sys.executable, str(script), str(path)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)},
        )
        for _ in range(told + 5 + 7 * kill):  # past what the ones before have done
            told = max(told, int(writer.stdout.readline()))
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.stdout.close()
        writer.wait()
        told = max([told, *map(int, rest)])
    asked = []

    def ask(told):
        asked.append(told)
        return told * 1000

    store = SQLiteStore(path)
    step = CachePrimitive(ask, store=store, namespace="answers", version="1")

    async def main():
        return [await step(str(number)) for number in range(told + 1)]

    assert asyncio.run(main()) == [str(number) * 1000 for number in range(told + 1)]
    assert asked == [], "what a killed process had said was kept is not there"
    assert store._table.database.run_sync(
        lambda db: db.execute("PRAGMA integrity_check").fetchone()
    ) == ("ok",)
    store.close()


@pytest.mark.parametrize("odd", [0, -1, 1.5, True, "3"], ids=repr)
def test_a_file_of_no_size_is_refused(tmp_path, odd):
    with pytest.raises(ConfigurationError, match="SQLiteStore: max_size="):
        SQLiteStore(tmp_path / "answers.db", max_size=odd)


@pytest.mark.parametrize("odd", [0, -1, float("nan"), True, "3"], ids=repr)
def test_no_time_is_refused(odd):
    with pytest.raises(ConfigurationError, match="EncodedStore: timeout_seconds="):
        EncodedStore(Shelf(), timeout_seconds=odd)


def test_a_store_that_is_too_slow_is_told_of_in_full():
    async def main():
        store = EncodedStore(Shelf(delay_s=60), timeout_seconds=1.5, failure_threshold=1)
        with pytest.raises(StepTimeoutError) as slow:
            await store.get("k")
        with pytest.raises(CircuitOpenError) as left_alone:
            await store.get("k")
        return slow.value, left_alone.value

    slow, left_alone = run_virtual(main)
    assert str(slow) == (
        "EncodedStore: the store did not answer in 1.5 s. Look whether it is overloaded, or allow "
        "more with timeout_seconds=…."
    )
    assert (slow.kind, slow.primitive, slow.timeout_s) == ("own", "EncodedStore", 1.5)
    assert str(left_alone) == (
        "EncodedStore: the store was not asked. It has failed (1 failures in a row), and is left "
        "alone for 10 s more."
    )
    assert (left_alone.primitive, left_alone.retry_after) == ("EncodedStore", 10)


class Outer:
    class InnerError(Exception):
        def __init__(self, code, *, hint):
            super().__init__(code)
            self.hint = hint


def test_an_error_comes_back_with_its_class_and_all_that_it_says():
    async def main():
        store = EncodedStore(Shelf())
        error = Outer.InnerError(3, hint="try later")
        await store.put("k", Entry(None, now_s(), error=error))
        return (await store.get("k")).error

    error = run_virtual(main)
    assert type(error) is Outer.InnerError
    assert (error.args, error.hint) == ((3,), "try later")


def test_an_error_that_is_not_loaded_is_told_of_in_full():
    async def main():
        shelf = Shelf()
        store = EncodedStore(shelf)
        await store.put("k", Entry(None, now_s(), error=KeyError("x")))
        fields = codec.decode(shelf.kept["k"])
        fields["error"] |= {"module": "gone", "name": "GoneError"}
        shelf.kept["k"] = codec.encode(fields)
        with pytest.raises(DecodeError) as caught:
            await store.get("k")
        assert not shelf.kept  # it is forgotten
        return str(caught.value)

    assert run_virtual(main) == (
        "an error of the class gone.GoneError was kept, which is not loaded here. Import its "
        "module, or call again."
    )


def test_redis_forgets_by_itself(redis_server):
    async def main():
        store = RedisStore(redis_server.url)
        now = now_s()
        await store.put("short", Entry("x", now, now + 0.5, now + 0.5))
        await store.put("ever", Entry("x", now))
        client = redis.asyncio.from_url(redis_server.url)
        short_ms, ever_ms = [await client.pttl(f"tta:cache:{key}") for key in ("short", "ever")]
        await client.aclose()
        return short_ms, ever_ms

    short_ms, ever_ms = asyncio.run(main())
    assert 0 < short_ms <= 500
    assert ever_ms == -1  # no time at all


def test_redis_has_few_connections(redis_server):
    async def main():
        step = CachePrimitive(str.upper, store=RedisStore(redis_server.url, timeout_seconds=5))
        await asyncio.gather(*(step(str(number)) for number in range(500)))
        client = redis.asyncio.from_url(redis_server.url)
        clients = (await client.info("clients"))["connected_clients"]
        await client.aclose()
        return clients

    assert asyncio.run(main()) <= 33


def test_a_copy_of_a_redis_store_finds_what_the_original_has_stored(redis_server):
    asked = []

    def answer(text):
        asked.append(text)
        return text.upper()

    async def main():
        cached = CachePrimitive(
            answer, store=RedisStore(redis_server.url, prefix="a:", timeout_seconds=5), version=1
        )
        await cached("hello")
        # By reference, so that both ask the same function.
        store = pickle.loads(pickle.dumps(cached.store))  # noqa: S301 - our own bytes
        copy = CachePrimitive(answer, store=store, version=1)
        return await copy("hello"), copy.get_stats()["hits"], repr(store), store.timeout_seconds

    assert asyncio.run(main()) == ("HELLO", 1, "<RedisStore 'a:'>", 5)
    assert asked == ["hello"]
