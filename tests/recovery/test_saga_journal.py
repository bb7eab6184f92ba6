"""The saga's journal: what killed processes have left is undone, once, by whoever comes first."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_notebook import (
    CompensationFailedError,
    ConfigurationError,
    EncodeError,
    LambdaPrimitive,
    StorageError,
    capture,
)
from tta_notebook.recovery.compensation import (
    CompensationPrimitive,
    UnfinishedStep,
    current_saga_step,
)
from tta_notebook.recovery.saga_journal import SagaJournal
from tta_notebook.recovery.saga_record import JournalRecord
from tta_notebook.recovery.saga_step import Ended
from tta_notebook.testing import cancel_everywhere, run_virtual

BROKEN = ValueError("broken")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "sagas.db"


@pytest.fixture
def journal(path):
    journal = SagaJournal(path, busy_timeout_s=0.05)
    yield journal
    journal.close()


@pytest.fixture
def other(path):
    """A journal on the same file, as another process has one."""
    other = SagaJournal(path, busy_timeout_s=0.05)
    yield other
    other.close()


def rows(journal, query="SELECT name, state, owner IS NULL FROM saga"):
    return journal.database.read_sync(lambda db: db.execute(query).fetchall(), missing=[])


def steps(journal):
    return rows(journal, "SELECT number, state FROM step ORDER BY number")


class World:
    """The effects of steps, which outlive the saga that had them."""

    def __init__(self):
        self.effects = set()
        self.given = []
        self.broken_undos = set()

    def step(self, name, *, error=None, takes=0.0, output=None):
        async def forward(value):
            self.effects.add(name)
            await asyncio.sleep(takes)
            if error is not None:
                raise error
            return f"{value}>{name}" if output is None else output

        async def undo(value):
            self.given.append((name, value, current_saga_step().idempotency_key))
            await asyncio.sleep(0)
            if name in self.broken_undos:
                raise OSError(name)
            self.effects.discard(name)

        return LambdaPrimitive(forward, name=name), LambdaPrimitive(undo, name=f"undo {name}")


@pytest.fixture
def world():
    return World()


def sagas(world, journal, *pairs, **options):
    return CompensationPrimitive(list(pairs), journal=journal, name="trip", **options)


async def abandoned(saga, until_s, value="in"):
    """Run a saga and drop it in the middle as a killed process does: without a word."""
    task = asyncio.ensure_future(saga(value))
    try:
        await asyncio.sleep(until_s)
    finally:
        task.get_coro().close()
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        task.cancel()


# What is written


def test_nothing_is_created_before_the_first_saga_runs(world, path):
    saga = CompensationPrimitive([world.step("a")], journal=path)
    assert run_virtual(saga.recover) == []
    assert not path.parent.exists()
    saga.run_sync("in")
    assert path.exists()
    saga.journal.close()


def test_the_journal_is_in_the_packages_folder_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setenv("TTA_HOME", str(tmp_path / "home"))
    assert SagaJournal().path == tmp_path / "home" / "sagas.db"


def test_a_finished_saga_is_done(world, journal):
    saga = sagas(world, journal, world.step("a"), [world.step("b"), world.step("c")])
    assert saga.run_sync("in") == ["in>a>b", "in>a>c"]
    assert rows(journal) == [("trip", "done", 1)]
    assert steps(journal) == [(0, "done"), (1, "done"), (2, "done")]
    assert run_virtual(saga.recover) == []


def test_a_step_is_written_before_the_next_one_begins(world, journal):
    seen = []

    def look(value):
        seen.append((rows(journal, "SELECT state FROM saga"), steps(journal)))
        return value

    sagas(world, journal, (look, None), (look, None), [(look, None)]).run_sync("in")
    assert seen == [
        ([("running",)], [(0, "started")]),
        ([("running",)], [(0, "done"), (1, "started")]),
        ([("running",)], [(0, "done"), (1, "done"), (2, "started")]),
    ]


def test_a_failed_saga_is_undone(world, journal):
    saga = sagas(world, journal, world.step("a"), world.step("b", error=BROKEN))
    with pytest.raises(ValueError, match="broken"):
        saga.run_sync("in")
    assert rows(journal) == [("trip", "undone", 1)]
    assert steps(journal) == [(0, "undone"), (1, "skipped")]
    assert run_virtual(saga.recover) == []


def test_an_undo_is_written_before_the_next_one_begins(world, journal):
    seen = []

    def look(_):
        seen.append((rows(journal, "SELECT state FROM saga"), steps(journal)))

    saga = sagas(
        world, journal, (len, look), (str, look), (lambda _: 1 / 0, None), compensation_timeout=9
    )
    with pytest.raises(ZeroDivisionError):
        saga.run_sync("in")
    assert seen == [
        ([("undoing",)], [(0, "done"), (1, "done"), (2, "skipped")]),
        ([("undoing",)], [(0, "done"), (1, "undone"), (2, "skipped")]),
    ]


def test_a_step_that_was_announced_and_never_begun_is_not_undone(world, journal):
    saga = sagas(world, journal, world.step("a"), world.step("b"))
    first, second = saga.stages

    async def main():
        record = JournalRecord(journal, "7f", "trip", '["a", "b"]')
        await record.begin("in", first)
        await record.ended_stage(first.steps[0], "out", second)
        # Cancelled here: the next step is announced already.
        await record.undoing([Ended(first.steps[0], lambda: "out", output="out")])
        await record.undo_ended(is_whole=False)
        record.close()
        assert steps(journal) == [(0, "done"), (1, "skipped")]
        return await saga.recover()

    (recovered,) = run_virtual(main)
    assert recovered.undone == ("a",)
    assert world.given == [("a", "out", "7f/0")]


def test_only_the_newest_finished_sagas_are_kept(world, path):
    journal = SagaJournal(path, keep_finished=3)
    saga = sagas(world, journal, world.step("a"))
    for _ in range(5):
        saga.run_sync("in")
    assert len(rows(journal)) == 3
    assert len(steps(journal)) == 3
    journal.close()


def test_every_write_waits_for_the_disk(journal):
    # 2 is FULL: sqlite.org/pragma.html#pragma_synchronous
    assert journal.database.run_sync(lambda db: db.execute("PRAGMA synchronous").fetchone()) == (2,)


# What cannot be written


def test_an_input_that_cannot_be_kept_is_refused_before_anything_runs(world, journal):
    saga = sagas(world, journal, world.step("a"))
    with pytest.raises(EncodeError, match="value cannot be encoded"):
        saga.run_sync(object())
    assert world.effects == set()


def test_an_output_that_cannot_be_kept_is_refused_before_the_next_step_and_undone(world, journal):
    odd = object()
    saga = sagas(world, journal, world.step("a"), world.step("b", output=odd), world.step("c"))
    with pytest.raises(EncodeError, match="value cannot be encoded"):
        saga.run_sync("in")
    assert [(name, value) for name, value, _ in world.given] == [("b", odd), ("a", "in>a")]
    assert world.effects == set()
    assert rows(journal) == [("trip", "undone", 1)]


def test_a_full_disk_stops_the_saga_which_is_undone(world, journal):
    def fill(value):
        pages = "PRAGMA max_page_count = 1"  # SQLite takes the pages there are as the least
        journal.database.run_sync(lambda db: None)
        with journal.database._session.lock:
            journal.database._session.connection.execute(pages)
        return value + "x" * 100_000

    saga = sagas(world, journal, world.step("a"), (fill, None), world.step("c"))
    with capture() as spans, pytest.raises(StorageError, match="no room left") as caught:
        saga.run_sync("in")
    assert caught.value.path == str(journal.path)
    assert world.effects == set()
    assert [name for name, *_ in world.given] == ["a"]
    assert spans[-1].noted("compensated")


def test_a_locked_journal_stops_the_saga_which_is_undone_and_told_later(world, journal, path):
    blocker = []

    def block(value):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN IMMEDIATE")
        blocker.append(connection)
        return value

    saga = sagas(world, journal, world.step("a"), (block, None), world.step("c"))
    with capture() as spans, pytest.raises(StorageError, match="held it locked"):
        saga.run_sync("in")
    assert world.effects == set()
    failed = spans[-1].noted("journal_failed")
    assert failed
    assert "held it locked" in failed[0].data["error"]
    blocker[0].close()
    # What it could not write is owed: nothing is undone a second time.
    assert run_virtual(saga.recover) == []
    assert [name for name, *_ in world.given] == ["a"]
    assert rows(journal) == [("trip", "undone", 1)]


@pytest.mark.parametrize("content", [b"this is no database, only a text" * 100, b"short"])
def test_a_damaged_journal_is_an_error_and_stays_as_it_is(world, path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    saga = sagas(world, path, world.step("a"))
    with pytest.raises(StorageError, match="was never a database"):
        saga.run_sync("in")
    with pytest.raises(StorageError, match="was never a database"):
        run_virtual(saga.recover)
    assert world.effects == set()
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    saga.journal.close()


def test_a_journal_that_is_a_folder_is_an_error(world, tmp_path):
    saga = sagas(world, tmp_path, world.step("a"))
    with pytest.raises(StorageError, match="it is a folder"):
        saga.run_sync("in")
    assert world.effects == set()


# What is left behind


def left_by_dead(world, journal, *pairs, until_s=5, **options):
    """Leave a saga in the journal whose process is gone."""
    dead = SagaJournal(journal.path)
    run_virtual(lambda: abandoned(sagas(world, dead, *pairs, **options), until_s))
    dead.close()
    return sagas(world, journal, *pairs, **options)


def test_the_steps_of_a_dead_process_are_undone_with_their_outputs(world, journal):
    saga = left_by_dead(world, journal, world.step("a"), world.step("b"), world.step("c", takes=60))
    assert world.effects == {"a", "b", "c"}
    (recovered,) = run_virtual(saga.recover)
    assert recovered.undone == ("c", "b", "a")
    assert recovered.uncompensated == ()
    key = f"{recovered.saga_id}/"
    (name, unfinished, own_key), *others = world.given
    assert (name, own_key) == ("c", f"{key}2")
    assert unfinished == UnfinishedStep("in>a>b", None, f"{key}2", is_ambiguous=True)
    assert others == [("b", "in>a>b", f"{key}1"), ("a", "in>a", f"{key}0")]
    assert world.effects == set()
    assert rows(journal) == [("trip", "undone", 1)]


def test_recovering_twice_undoes_once(world, journal):
    saga = left_by_dead(world, journal, world.step("a"), world.step("b", takes=60))
    assert len(run_virtual(saga.recover)) == 1
    assert run_virtual(saga.recover) == []
    assert len(world.given) == 2


def test_a_group_is_undone_in_the_order_in_which_it_ended(world, journal):
    saga = left_by_dead(
        world,
        journal,
        world.step("a"),
        [world.step("b", takes=3), world.step("c", takes=1), world.step("d", takes=60)],
    )
    run_virtual(saga.recover)
    assert [name for name, *_ in world.given] == ["d", "b", "c", "a"]
    assert world.given[0][1].input_data == "in>a"


def test_what_follows_a_group_gets_its_list(world, journal):
    saga = left_by_dead(
        world, journal, [world.step("a"), world.step("b")], world.step("c", takes=60)
    )
    run_virtual(saga.recover)
    assert world.given[0][1].input_data == ["in>a", "in>b"]


def test_the_one_pair_form_recovers_with_the_input(world, journal):
    forward, undo = world.step("a", takes=60)
    dead = SagaJournal(journal.path)
    options = {"forward": forward, "compensation": undo, "name": "one"}
    run_virtual(lambda: abandoned(CompensationPrimitive(**options, journal=dead), 5, {"id": 7}))
    dead.close()
    run_virtual(CompensationPrimitive(**options, journal=journal).recover)
    assert world.given[0][:2] == ("a", {"id": 7})


def test_the_saga_of_a_living_process_is_left_alone(world, journal, other):
    saga = sagas(world, journal, world.step("a"), world.step("b", takes=60))

    async def main():
        task = asyncio.ensure_future(saga("in"))
        await asyncio.sleep(5)
        assert await sagas(world, other, world.step("a"), world.step("b")).recover() == []
        assert await saga.recover() == []
        return await task

    assert run_virtual(main) == "in>a>b"
    assert world.given == []


def test_a_saga_that_this_process_dropped_is_recovered_by_it(world, journal):
    saga = sagas(world, journal, world.step("a"), world.step("b", takes=60))
    run_virtual(lambda: abandoned(saga, 5))
    (recovered,) = run_virtual(saga.recover)
    assert recovered.undone == ("b", "a")


def test_a_failed_undo_stays_and_is_tried_again(world, journal, other):
    world.broken_undos.add("a")
    pairs = world.step("a"), world.step("b"), world.step("c", error=BROKEN)
    saga = sagas(world, journal, *pairs, undo_retries=0)
    with pytest.raises(CompensationFailedError, match=r"recover\(\)"):
        run_virtual(lambda: saga("in"))
    assert rows(journal) == [("trip", "undoing", 1)]
    with pytest.raises(CompensationFailedError) as caught:
        run_virtual(saga.recover)
    assert caught.value.uncompensated == ("a",)
    world.broken_undos.clear()
    (recovered,) = run_virtual(sagas(world, other, *pairs).recover)  # it need not be the same one
    assert recovered.undone == ("a",)
    assert [name for name, *_ in world.given] == ["b", "a", "a", "a"]
    assert len({key for name, _, key in world.given if name == "a"}) == 1
    assert run_virtual(saga.recover) == []


def test_one_failed_undo_does_not_keep_other_sagas_from_being_undone(world, journal):
    pairs = world.step("a"), world.step("b", takes=60)
    left_by_dead(world, journal, *pairs)
    saga = left_by_dead(world, journal, *pairs, undo_retries=0)
    calls = []

    async def undo(value):
        calls.append(value)
        if len(calls) == 1:
            raise OSError

    recovering = sagas(world, journal, (pairs[0][0], undo), pairs[1], undo_retries=0)
    with pytest.raises(CompensationFailedError) as caught:
        run_virtual(recovering.recover)
    assert len(calls) == 2
    assert caught.value.uncompensated == ("a",)
    assert sorted(rows(journal, "SELECT state FROM saga")) == [("undoing",), ("undone",)]
    assert saga is not None


def test_a_step_that_surely_failed_is_undone_by_recovery_only_if_asked(world, journal):
    for is_asked in (False, True):
        world.given.clear()
        world.broken_undos.update("ab")
        options = {"compensate_failed_step": is_asked, "undo_retries": 0}
        saga = sagas(world, journal, world.step("a"), world.step("b", error=BROKEN), **options)
        with pytest.raises(CompensationFailedError):
            run_virtual(lambda saga=saga: saga("in"))
        world.broken_undos.clear()
        (recovered,) = run_virtual(saga.recover)
        assert recovered.undone == (("b", "a") if is_asked else ("a",))
    unfinished = next(value for name, value, _ in world.given[2:] if name == "b")
    assert str(unfinished.error) == "ValueError: broken"
    assert not unfinished.is_ambiguous


def test_another_definition_is_an_error_and_nothing_runs(world, journal):
    left_by_dead(world, journal, world.step("a"), world.step("b", takes=60))
    for pairs in ([world.step("a")], [world.step("a"), world.step("x")], [[world.step("a")]]):
        with pytest.raises(ConfigurationError, match="nobody can know which undo"):
            run_virtual(sagas(world, journal, *pairs).recover)
    assert world.given == []
    assert rows(journal, "SELECT state FROM saga") == [("running",)]


def test_sagas_of_other_names_are_left_alone(world, journal):
    left_by_dead(world, journal, world.step("a"), world.step("b", takes=60))
    stranger = CompensationPrimitive([world.step("a")], journal=journal, name="other")
    assert run_virtual(stranger.recover) == []
    assert world.given == []


def test_an_output_that_cannot_be_read_any_more_is_a_failed_undo(world, journal):
    saga = left_by_dead(world, journal, world.step("a"), world.step("b"), world.step("c", takes=60))
    spoil = "UPDATE step SET output = x'00' WHERE number = 0"
    journal.database.run_sync(lambda db: db.execute(spoil))
    with pytest.raises(CompensationFailedError, match="'a' may still") as caught:
        run_virtual(saga.recover)
    assert caught.value.uncompensated == ("a",)
    assert [name for name, *_ in world.given] == ["c", "b"]


def test_recovery_without_a_journal_is_an_error(world):
    with pytest.raises(ConfigurationError, match="the saga has no journal"):
        run_virtual(CompensationPrimitive([world.step("a")]).recover)


def test_recovery_is_in_the_trace(world, journal):
    saga = left_by_dead(world, journal, world.step("a"), world.step("b", takes=60))
    with capture() as spans:
        run_virtual(saga.recover)
    assert [span.name for span in spans] == ["undo b", "undo a", "recover trip"]
    assert [note.name for note in spans[-1].notes] == [
        "compensating",
        "uncertain",
        "compensated",
        "compensated",
    ]
    assert all(span.parent is spans[-1] for span in spans[:-1])


# Under attack


def test_two_that_recover_at_once_undo_once(world, path):
    journal, other = SagaJournal(path, busy_timeout_s=30), SagaJournal(path, busy_timeout_s=30)
    pairs = world.step("a"), world.step("b"), world.step("c", takes=60)
    for _ in range(5):
        left_by_dead(world, journal, *pairs)

    async def main():
        one, two = sagas(world, journal, *pairs), sagas(world, other, *pairs)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(saga.recover()) for saga in (one, two, one, two)]
        return [recovered.saga_id for task in tasks for recovered in task.result()]

    ids = run_virtual(main)
    assert len(ids) == len(set(ids)) == 5
    assert len(world.given) == 15
    assert len({key for *_, key in world.given}) == 15
    journal.close()
    other.close()


def test_a_saga_with_a_journal_is_undone_wherever_it_is_cancelled(path):
    journal = SagaJournal(path)
    worlds = []

    def scenario():
        world = World()
        worlds.append(world)
        pairs = [
            world.step("a", takes=1),
            [world.step("b", takes=1), world.step("c", takes=2)],
            world.step("d"),
        ]
        return sagas(world, journal, *pairs)("in")

    def check(run):
        left = worlds[-1].effects
        assert left == ({"a", "b", "c", "d"} if run.outcome == "result" else set())
        states = {state for (state,) in rows(journal, "SELECT state FROM saga")}
        assert states <= {"done", "undone"}, states

    assert cancel_everywhere(scenario, check=check).suspensions > 0
    journal.close()


def test_a_recovery_is_left_in_order_wherever_it_is_cancelled(path):
    journal = SagaJournal(path)
    worlds = []

    async def scenario():
        world = World()
        worlds.append(world)
        saga = sagas(world, journal, world.step("a"), world.step("b", takes=60))
        await abandoned(saga, 5)
        await saga.recover()

    def check(run):
        saga = sagas(worlds[-1], journal, worlds[-1].step("a"), worlds[-1].step("b"))
        run_virtual(saga.recover)
        assert worlds[-1].effects == set()
        names = [name for name, *_ in worlds[-1].given]
        assert sorted(names) == sorted(set(names))

    assert cancel_everywhere(scenario, check=check).suspensions > 0
    journal.close()


def test_a_hundred_sagas_share_a_journal(journal):
    effects = set()

    async def do(number):
        effects.add(number)
        await asyncio.sleep(number % 7)
        return number

    def fail(number):
        if number % 3 == 0:
            raise BROKEN
        return number

    saga = CompensationPrimitive([(do, effects.discard), (fail, None)], journal=journal)

    async def main():
        async def one(number):
            try:
                await saga(number)
            except ValueError:
                return

        async with asyncio.TaskGroup() as group:
            for number in range(100):
                group.create_task(one(number))

    run_virtual(main)
    assert effects == {number for number in range(100) if number % 3}
    counted = rows(journal, "SELECT state, count(*) FROM saga GROUP BY state ORDER BY state")
    assert counted == [("done", 66), ("undone", 34)]


OUTCOMES = st.sampled_from(["ok", "ok", "ok", "fails", "times out"])
PLANS = st.lists(
    st.lists(st.tuples(OUTCOMES, st.integers(0, 3)), min_size=1, max_size=3), max_size=4
)


@settings(max_examples=60, deadline=None)
@given(PLANS, st.integers(0, 12), st.integers(0, 3))
def test_whenever_a_random_saga_is_dropped_nothing_of_it_is_left(plan, until_s, seed):
    errors = {"fails": ValueError("broken"), "times out": TimeoutError("late"), "ok": None}
    world = World()
    stages = [[world.step("first")]]
    for row, stage in enumerate(plan):
        stages.append(
            [
                world.step(f"{row}.{column}", error=errors[outcome], takes=takes)
                for column, (outcome, takes) in enumerate(stage)
            ]
        )
    pairs = [stage if len(stage) > 1 else stage[0] for stage in stages]
    with tempfile.TemporaryDirectory() as folder:
        journal = SagaJournal(os.path.join(folder, "sagas.db"))  # noqa: PTH118 - a text is a path, too
        saga = sagas(world, journal, *pairs, compensate_failed_step=True)
        run_virtual(lambda: abandoned(saga, until_s + 0.5), seed=seed)
        run_virtual(saga.recover, seed=seed)
        states = rows(journal, "SELECT state FROM saga")
        everything = {pair[0].name for stage in stages for pair in stage}
        # Done before it was dropped, or undone: nothing between.
        assert states in ([("done",)], [("undone",)])
        assert world.effects == (everything if states == [("done",)] else set())
        assert run_virtual(saga.recover) == []
        undone = [key for *_, key in world.given]
        # Undone once, but for the one undo in which it may have been dropped.
        assert len(undone) - len(set(undone)) <= 1
        journal.close()


# Killed

CHILD = """
    import asyncio, sqlite3, sys
    from tta_notebook.recovery.compensation import CompensationPrimitive, current_saga_step

    world = sqlite3.connect(sys.argv[2], isolation_level=None, timeout=30)
    world.execute("PRAGMA synchronous = OFF")

    def step(name):
        def do(value):
            key = current_saga_step().idempotency_key
            world.execute("INSERT INTO effect VALUES (?)", (key,))
            return [*value, name]

        def undo(value):
            step = current_saga_step()
            world.execute("BEGIN IMMEDIATE")
            world.execute("DELETE FROM effect WHERE key = ?", (step.idempotency_key,))
            world.execute("INSERT INTO undone VALUES (?)", (step.idempotency_key,))
            world.execute("COMMIT")

        do.__name__ = name
        return do, undo

    async def fail(value):
        raise ValueError

    saga = CompensationPrimitive(
        [step("a"), [step("b"), step("c")], step("d"), (fail, None)],
        journal=sys.argv[1], name="trip",
    )

    async def work():
        while True:
            try:
                await saga([])
            except ValueError:
                print("undone", flush=True)

    async def recover():
        found = await saga.recover()
        print(len(found), flush=True)

    print("ready", flush=True)
    if sys.argv[3] == "wait":
        sys.stdin.readline()
    asyncio.run(work() if sys.argv[3] == "work" else recover())
    world.close()
"""


def start(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "world.db"
    world = sqlite3.connect(path, isolation_level=None, timeout=30)
    world.execute("PRAGMA journal_mode = WAL")
    world.execute("CREATE TABLE effect (key)")
    world.execute("CREATE TABLE undone (key)")
    yield path, world
    world.close()


def finish(process, said=None):
    out, err = process.communicate(said, timeout=60)
    assert process.returncode == 0, err
    assert err == ""
    return out.split()


def killed_after(delay_s, path, world_path):
    """Start a child that runs sagas all the time, and kill it in the middle."""
    child = start(CHILD, path, world_path, "work")
    assert child.stdout.readline() == "ready\n"
    assert child.stdout.readline() == "undone\n"
    time.sleep(delay_s)
    child.send_signal(signal.SIGKILL)
    child.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_process_may_be_killed_at_any_moment(path, database):
    world_path, world = database
    chance = Random(5)  # noqa: S311 - reproducible on purpose
    recovered = 0
    for _ in range(20):
        killed_after(chance.uniform(0.005, 0.1), path, world_path)
        ready, count = finish(start(CHILD, path, world_path, "recover"))
        assert ready == "ready"
        recovered += int(count)
        assert world.execute("SELECT count(*) FROM effect").fetchone() == (0,)
    # Nearly every kill hits a saga in the middle: it does nothing else.
    assert recovered >= 10
    again = world.execute("SELECT count(*) - count(DISTINCT key) FROM undone").fetchone()[0]
    assert again <= 20  # at most the one undo that each kill has cut off


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_two_processes_that_recover_at_once_undo_once(path, database):
    world_path, world = database
    for _ in range(4):
        killed_after(0.05, path, world_path)
    before = world.execute("SELECT count(*) FROM undone").fetchone()[0]
    twins = [start(CHILD, path, world_path, "wait") for _ in range(2)]
    for twin in twins:
        assert twin.stdout.readline() == "ready\n"
    for twin in twins:
        twin.stdin.write("go\n")
        twin.stdin.flush()
    counts = [int(finish(twin)[0]) for twin in twins]
    assert 1 <= sum(counts) <= 4
    assert world.execute("SELECT count(*) FROM effect").fetchone() == (0,)
    added = world.execute("SELECT key FROM undone LIMIT -1 OFFSET ?", (before,)).fetchall()
    assert len(added) == len(set(added))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_does_not_keep_its_dead_parents_saga(path, database):
    world_path, world = database
    work = "async def work():"
    fork = """
        import os, time
        _ = saga.journal.owner.id
        if os.fork() == 0:
            print(os.getpid(), flush=True)
            time.sleep(30)
            os._exit(0)"""
    program = CHILD.replace(work, work + fork)
    assert program != CHILD
    parent = start(program, path, world_path, "work")
    assert parent.stdout.readline() == "ready\n"
    # Its parent may have undone a saga before the child came to write this.
    child = int(next(line for line in parent.stdout if line != "undone\n"))
    try:
        time.sleep(0.1)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        _, count = finish(start(CHILD, path, world_path, "recover"))
        assert int(count) <= 1
        assert world.execute("SELECT count(*) FROM effect").fetchone() == (0,)
        assert world.execute("SELECT count(*) FROM undone").fetchone()[0] > 0
    finally:
        os.kill(child, signal.SIGKILL)
        parent.communicate()
