"""Database: opening, migrating, transactions, threads and loops, and what goes wrong with files."""

import asyncio
import gc
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import weakref

import pytest

from tta_notebook import ConfigurationError, StorageError
from tta_notebook.storage.sqlite import Database
from tta_notebook.testing import cancel_everywhere, run_virtual

FIRST = "CREATE TABLE note (text TEXT PRIMARY KEY);"
SECOND = """
    -- a comment; with a semicolon
    ALTER TABLE note ADD COLUMN stars INTEGER DEFAULT 0;
    INSERT INTO note VALUES ('semicolon; in a text', 5)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "folder" / "notes.db"


def opened(path, *, migrations=(FIRST,), **options):
    return Database(path, migrations=migrations, busy_timeout_s=0.05, **options)


@pytest.fixture
def database(path):
    database = opened(path)
    yield database
    database.close()


def insert(text):
    return lambda db: db.execute("INSERT INTO note (text) VALUES (?)", (text,))


def texts(db):
    return [text for (text,) in db.execute("SELECT text FROM note ORDER BY text")]


def workers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("tta-")]


# Opening


def test_nothing_is_created_by_constructing_or_reading(database, path):
    assert database.read_sync(texts, missing=["none"]) == ["none"]
    assert run_virtual(lambda: database.read(texts, missing=["none"])) == ["none"]
    assert not path.parent.parent.exists()


def test_the_first_write_creates_file_and_folders(database, path):
    database.run_sync(insert("one"))
    assert database.read_sync(texts, missing=[]) == ["one"]
    assert path.exists()


def pragma(name):
    return lambda db: db.execute(f"PRAGMA {name}").fetchone()[0]


@pytest.mark.parametrize(("synchronous", "number"), [("NORMAL", 1), ("FULL", 2)])
def test_it_is_opened_as_promised(path, synchronous, number):
    database = opened(path, synchronous=synchronous)
    assert database.run_sync(pragma("journal_mode")) == "wal"
    assert database.run_sync(pragma("synchronous")) == number
    assert database.run_sync(pragma("foreign_keys")) == 1
    assert database.run_sync(pragma("busy_timeout")) == 50
    database.close()


def test_it_can_be_used_again_after_closing(database):
    database.run_sync(insert("one"))
    database.close()
    database.close()
    assert database.read_sync(texts, missing=[]) == ["one"]


def test_a_relative_path_does_not_follow_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = opened("notes.db")
    monkeypatch.chdir("/")
    database.run_sync(insert("one"))
    database.close()
    assert (tmp_path / "notes.db").exists()


def test_a_deleted_file_is_made_anew(database, path):
    database.run_sync(insert("one"))
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    database.run_sync(insert("two"))
    assert database.read_sync(texts, missing=[]) == ["two"]


# Migrations


def test_migrations_are_done_once_in_order(path):
    first = opened(path)
    first.run_sync(insert("one"))
    first.close()
    second = opened(path, migrations=[FIRST, SECOND])
    assert second.read_sync(texts, missing=[]) == ["one", "semicolon; in a text"]
    assert second.read_sync(pragma("user_version"), missing=0) == 2
    second.close()
    again = opened(path, migrations=[FIRST, SECOND])
    assert len(again.read_sync(texts, missing=[])) == 2
    again.close()


def test_a_failed_migration_changes_nothing(path):
    opened(path).run_sync(insert("one"))
    broken = opened(path, migrations=[FIRST, "CREATE TABLE other (x); CREATE TABLE note (y)"])
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        broken.run_sync(texts)
    whole = opened(path)
    assert whole.read_sync(texts, missing=[]) == ["one"]
    tables = "SELECT name FROM sqlite_master WHERE name = 'other'"
    assert whole.read_sync(lambda db: db.execute(tables).fetchall(), missing=None) == []
    for database in (broken, whole):
        database.close()


def test_a_newer_file_is_refused(path):
    newer = opened(path, migrations=[FIRST, SECOND])
    newer.run_sync(insert("one"))
    newer.close()
    older = opened(path)
    with pytest.raises(StorageError, match=r"version 2 of its tables.*knows 1.*Update") as caught:
        older.run_sync(texts)
    assert caught.value.path == str(path)
    older.close()


def test_a_database_of_another_program_is_refused_and_left_as_it_is(path):
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE invoice (x)")
    foreign.close()
    database = opened(path)
    with pytest.raises(StorageError, match="table 'invoice' that is not ours"):
        database.run_sync(texts)
    database.close()


def open_and_insert(path, start, name):
    database = Database(path, migrations=[FIRST, SECOND], busy_timeout_s=30)
    start.wait()
    database.run_sync(insert(name))
    database.close()


def test_several_processes_may_open_a_new_file_at_once(path):
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    # Two cores: four are enough for a crowd.
    crowd = [
        context.Process(target=open_and_insert, args=(path, start, f"p{number}"))
        for number in range(4)
    ]
    for process in crowd:
        process.start()
    start.set()
    for process in crowd:
        process.join(60)
    assert [process.exitcode for process in crowd] == [0] * 4
    database = opened(path, migrations=[FIRST, SECOND])
    assert len(database.read_sync(texts, missing=[])) == 5
    database.close()


# Transactions


def test_a_transaction_is_whole_or_nothing(database):
    def work(db):
        insert("one")(db)
        raise KeyError("own")

    with pytest.raises(KeyError, match="own"):
        database.run_sync(work)
    database.run_sync(insert("two"))
    assert database.read_sync(texts, missing=[]) == ["two"]


def test_a_mistake_in_what_was_asked_stays_the_callers(database):
    database.run_sync(insert("one"))
    with pytest.raises(sqlite3.IntegrityError):
        database.run_sync(insert("one"))
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        database.run_sync(lambda db: db.execute("SELECT * FROM nowhere"))


def test_an_error_of_the_work_stays_its_own(database):
    def work(db):
        raise FileNotFoundError("another file")

    with pytest.raises(FileNotFoundError, match="another file") as caught:
        database.run_sync(work)
    assert not isinstance(caught.value, StorageError)


def test_many_threads_share_it(database):
    def work(number):
        for each in range(20):
            database.run_sync(insert(f"{number}.{each}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(database.read_sync(texts, missing=[])) == 200


def test_a_thousand_at_once_each_have_their_turn_in_order(database):
    order = []

    async def main():
        def work(number):
            return lambda db: (order.append(number), insert(str(number))(db))

        async with asyncio.TaskGroup() as group:
            for number in range(1000):
                group.create_task(database.run(work(number)))

    run_virtual(main)
    assert order == list(range(1000))
    assert len(database.read_sync(texts, missing=[])) == 1000


def test_the_loop_goes_on_meanwhile(database):
    async def main():
        inside, go_on = threading.Event(), threading.Event()

        def work(db):
            inside.set()
            assert go_on.wait(10)
            return "done"

        task = asyncio.ensure_future(database.run(work))
        assert await asyncio.to_thread(inside.wait, 10)
        go_on.set()
        return await task

    assert asyncio.run(main()) == "done"


def test_a_cancelled_caller_does_not_tear_what_has_begun(database):
    async def main():
        inside, go_on = threading.Event(), threading.Event()

        def work(db):
            insert("half")(db)
            inside.set()
            assert go_on.wait(10)
            insert("whole")(db)

        begun = asyncio.ensure_future(database.run(work))
        waiting = asyncio.ensure_future(database.run(insert("never begun")))
        assert await asyncio.to_thread(inside.wait, 10)
        begun.cancel()
        waiting.cancel()
        await asyncio.wait({begun, waiting})
        assert begun.cancelled()
        assert waiting.cancelled()
        go_on.set()
        return await database.read(texts, missing=[])

    assert asyncio.run(main()) == ["half", "whole"]


def test_a_cancellation_is_one_at_every_point(path):
    database = opened(path)

    async def work():
        await database.run(lambda db: db.execute("INSERT OR IGNORE INTO note VALUES ('one')"))
        return await database.read(texts, missing=[])

    def check(_):
        assert database.run_sync(lambda db: db.in_transaction)  # of this one: no other is open

    cancel_everywhere(work, check=check)
    database.close()


def test_it_serves_several_loops_and_outlives_them(database):
    for number in range(3):
        run_virtual(lambda number=number: database.run(insert(str(number))))
        asyncio.run(database.run(insert(f"real {number}")))
    assert len(database.read_sync(texts, missing=[])) == 6
    assert len(workers()) == 1


# Letting go


def test_closing_ends_the_thread(database):
    run_virtual(lambda: database.run(insert("one")))
    assert len(workers()) == 1
    database.close()
    assert workers() == []


@pytest.mark.filterwarnings("error::ResourceWarning")
def test_a_forgotten_database_is_closed(path):
    database = opened(path)
    run_virtual(database.run(insert("one")))
    (worker,) = workers()
    session = weakref.ref(database._session)
    del database
    gc.collect()
    worker.join(10)
    assert not worker.is_alive()
    assert session() is None
    assert not path.with_name("notes.db-wal").exists()  # the last one out puts the log away


def test_a_program_that_forgets_it_ends_without_a_word(path):
    program = """
        import asyncio, sys
        from tta_notebook.storage.sqlite import Database
        database = Database(sys.argv[1], migrations=["CREATE TABLE note (text)"])
        asyncio.run(database.run(lambda db: db.execute("INSERT INTO note VALUES ('x')")))
    """
    code = textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not path.with_name("notes.db-wal").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_a_connection_of_its_own(database):
    database.run_sync(insert("parent"))
    connection = database._session.connection
    child = os.fork()
    if child == 0:
        try:
            database.run_sync(insert("child"))
            is_own = database._session.connection is not connection
            database.close()
            os._exit(0 if is_own else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    database.run_sync(insert("parent again"))
    assert database.read_sync(texts, missing=[]) == ["child", "parent", "parent again"]


# What goes wrong


def test_a_locked_file_is_an_error_that_says_so_and_passes(database, path):
    database.run_sync(insert("one"))
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match=r"writing it failed.*locked for more than 0.05 s.*wait"):
        run_virtual(lambda: database.run(insert("two")))
    assert database.read_sync(texts, missing=[]) == ["one"]  # readers do not wait for writers
    blocker.execute("ROLLBACK")
    blocker.close()
    database.run_sync(insert("two"))


def test_a_full_disk_is_an_error_that_says_so_and_changes_nothing(database):
    def fill(db):
        insert("small")(db)
        db.execute("PRAGMA max_page_count = 1")  # as few as there are already
        insert("x" * 100_000)(db)

    database.run_sync(insert("one"))
    with pytest.raises(StorageError, match=r"no room left on the disk.*Free some") as caught:
        database.run_sync(fill)
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    # The next one begins afresh, and there is room again.
    database.run_sync(insert("y" * 100_000))
    assert len(database.read_sync(texts, missing=[])) == 2


NO_DATABASE = b"This is a text and not a database, however long it may be. " * 100


def damaged(path):
    database = opened(path)
    for number in range(500):
        database.run_sync(insert(f"{number:0100}"))
    database.close()
    raw = bytearray(path.read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)  # all but the first page, which has the header
    path.write_bytes(raw)


def test_no_database_is_an_error_and_stays_as_it_is(database, path):
    path.parent.mkdir(parents=True)
    path.write_bytes(NO_DATABASE)
    for _ in range(2):
        with pytest.raises(StorageError, match=r"damaged, or was never a database.*Restore"):
            database.run_sync(insert("one"))
        with pytest.raises(StorageError, match="reading it failed"):
            database.read_sync(texts, missing=[])
    assert path.read_bytes() == NO_DATABASE


def test_a_damaged_file_is_an_error(database, path):
    damaged(path)
    with pytest.raises(StorageError, match="damaged"):
        database.read_sync(texts, missing=[])


@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(NO_DATABASE), damaged])
def test_a_damaged_file_can_be_set_aside(path, damage):
    path.parent.mkdir(parents=True)
    for number in (1, 2):
        damage(path)
        before = path.read_bytes()
        database = opened(path, on_corrupted="set_aside")
        assert database.read_sync(texts, missing=["none"]) == []
        database.run_sync(insert("one"))
        aside = path.with_name(f"notes.db.corrupt-{number}")
        assert database.set_aside == [aside]
        assert aside.read_bytes() == before
        assert database.read_sync(texts, missing=[]) == ["one"]
        database.close()
        path.unlink()


def test_a_folder_is_an_error_that_says_so(tmp_path):
    database = opened(tmp_path)
    with pytest.raises(StorageError, match=r"it is a folder.*Give the path of a file"):
        database.run_sync(texts)
    database.close()


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    database = opened(tmp_path / "file" / "notes.db")
    with pytest.raises(StorageError, match="its folder cannot be used"):
        database.run_sync(texts)
    database.close()


AS_NOBODY = """
    import os, sqlite3, sys
    from tta_notebook import StorageError
    from tta_notebook.storage.sqlite import Database
    database = Database(sys.argv[1], migrations=["CREATE TABLE note (text TEXT PRIMARY KEY)"])
    def use(call):
        try:
            print(call())
        except StorageError as error:
            print(error)
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)
    look = lambda db: db.execute("SELECT * FROM note").fetchall()
    use(lambda: database.read_sync(look, missing=[]))
    use(lambda: database.run_sync(lambda db: db.execute("INSERT INTO note VALUES ('new')")))
    database.close()
"""


@pytest.fixture
def open_folder(tmp_path):
    """A folder that everybody may pass through."""
    folder = tmp_path
    changed = []
    while folder != folder.parent and folder.stat().st_uid == os.getuid():
        changed.append((folder, folder.stat().st_mode))
        folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent
    yield tmp_path
    for folder, mode in changed:
        folder.chmod(mode)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "read", "write"),
    [
        (0o444, 0o777, "[('one',)]", "the file is read-only"),
        (0o000, 0o777, "may not open or create it", "may not open or create it"),
        (None, 0o555, "[]", "may not open or create it"),
        (0o666, 0o000, "its folder cannot be used", "may not open or create it"),
    ],
)
def test_what_may_not_be_used_is_an_error_that_says_so(
    open_folder, file_mode, folder_mode, read, write
):
    path = open_folder / "folder" / "notes.db"
    if file_mode is None:
        path.parent.mkdir()
    else:
        database = opened(path)
        database.run_sync(insert("one"))
        database.close()
        path.chmod(file_mode)
    path.parent.chmod(folder_mode)
    code = textwrap.dedent(AS_NOBODY)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    path.parent.chmod(0o777)
    first, second = done.stdout.splitlines()
    assert read in first
    assert write in second


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"synchronous": "OFF"}, "synchronous='OFF' means nothing"),
        ({"on_corrupted": "delete"}, "on_corrupted='delete' means nothing"),
        ({"busy_timeout_s": -1}, "busy_timeout_s=-1"),
        ({"busy_timeout_s": True}, "busy_timeout_s=True"),
    ],
)
def test_options_that_mean_nothing_are_refused(path, options, said):
    with pytest.raises(ConfigurationError, match=said):
        Database(path, migrations=[FIRST], **options)


@pytest.mark.parametrize("odd", [7, "", None, True], ids=repr)
def test_what_is_no_path_is_refused(odd):
    with pytest.raises(ConfigurationError, match="this names no file"):
        Database(odd, migrations=[FIRST])
