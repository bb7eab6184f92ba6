"""`%tta_cluster` in a real kernel: interrupts, lost workers, background runs, and the end."""

import time
from contextlib import contextmanager, suppress
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

pytest.importorskip("distributed", reason="the extra dask is not installed")

PATIENCE_S = 20
START = (
    "%load_ext tta_notebook\nimport asyncio, os, signal\nfrom tta_notebook import LambdaPrimitive"
)
# Each item leaves a sign in the journal when it begins, and another when it has cleaned up.
WORK = """\
def mark(sign):
    with open("journal", "a") as file:
        file.write(sign)
async def work(x):
    mark("+")
    try:
        await asyncio.sleep(0.3)
    finally:
        mark("-")
    return x, os.getpid()
work = LambdaPrimitive(work)
"""
BEGIN = "b = %tta_cluster map work range({count}) --background\nawait asyncio.sleep(0.8)"


class Notebook:
    """A kernel of a folder, with its journal and its workers."""

    def __init__(self, kernel, folder):
        self.folder = Path(folder)
        self.kernel = kernel
        self.process = psutil.Process(self.kernel.manager.provisioner.process.pid)

    def value(self, source):
        done = self.kernel.run(source)
        assert done.status == "ok", done.content
        return "".join(done.data("text/plain")) or done.text

    def interrupted(self, source, after_s):
        begun = self.kernel.begin(source)
        time.sleep(after_s)
        self.kernel.manager.interrupt_kernel()
        return self.kernel.finish(begun)

    def workers(self):
        with suppress(psutil.NoSuchProcess):
            children = self.process.children(recursive=True)
            return {
                child.pid
                for child in children
                if "resource_tracker" not in " ".join(child.cmdline())
            }
        return set()

    @property
    def journal(self):
        file = self.folder / "journal"
        return file.read_text() if file.exists() else ""


def until(holds):
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < PATIENCE_S, "it did not come about in time"
        time.sleep(0.05)


def are_gone(pids):
    return not any(map(psutil.pid_exists, pids))


@contextmanager
def notebook(new_kernel, folder):
    book = Notebook(new_kernel(folder), folder)
    try:
        book.value(START)
        book.value(WORK)
        yield book
    finally:
        pids = book.workers()
        book.kernel.close()
        until(lambda: are_gone(pids))


@pytest.fixture(scope="module")
def shared(new_kernel, tmp_path_factory):
    with notebook(new_kernel, tmp_path_factory.mktemp("cluster")) as book:
        yield book


@pytest.fixture
def book(shared):
    """The kernel of all tests with two workers, which nothing runs on, and an empty journal."""
    shared.value("%load_ext tta_notebook\n%tta_cluster stop --cancel\n%tta_cluster start 2")
    (shared.folder / "journal").write_text("")
    return shared


def test_an_interrupted_map_ends_in_a_line_and_its_workers_go_on(book):
    workers = book.workers()
    done = book.interrupted("%tta_cluster map work range(4000)", 1.0)
    [error] = [content for kind, content in done.outputs if kind == "error"]
    assert error["ename"] == "RunInterrupted"
    assert len(error["traceback"]) == 1
    assert error["traceback"][0].startswith("map work: interrupted after")
    assert book.journal.count("+") == book.journal.count("-") > 0
    begun = book.journal.count("+")
    time.sleep(1.0)
    assert book.journal.count("+") == begun
    assert "lost" not in book.value("%tta_trace")
    assert book.workers() == workers
    assert "→ [(0," in book.value("%tta_cluster map work range(4)")


@pytest.mark.parametrize("after_s", [0.1, 0.5])
def test_an_interrupted_start_is_a_line_and_leaves_no_process(book, after_s):
    book.value("%tta_cluster stop")
    assert not book.workers()
    done = book.interrupted("%tta_cluster start 2", after_s)
    assert (done.status, done.content["ename"]) == ("error", "ChangeInterrupted")
    assert done.kinds() == ["error"]
    until(lambda: not book.workers())
    assert "none is open" in book.value("%tta_cluster")


def test_an_interrupt_while_the_cluster_before_is_left_is_a_line_too(book):
    workers = book.workers()
    done = book.interrupted("%tta_cluster start 2", 0.02)
    assert (done.status, done.content["ename"]) == ("error", "ChangeInterrupted")
    until(lambda: are_gone(workers) and not book.workers())


def test_the_loop_turns_while_workers_start(book):
    book.value("%tta_cluster stop")
    source = (
        "ticks = []\n"
        "async def tick():\n"
        "    while True:\n"
        "        ticks.append(1)\n"
        "        await asyncio.sleep(0.01)\n"
        "ticking = asyncio.create_task(tick())\n"
        "%tta_cluster start 1\n"
        "ticking.cancel()\n"
        "len(ticks) > 10"
    )
    assert book.value(source).endswith("True")


def test_a_worker_that_is_killed_in_the_middle_costs_no_item(book):
    victim = min(book.workers())
    book.value(BEGIN.format(count=800))
    text = book.value(
        f"os.kill({victim}, signal.SIGKILL)\nout = await b\n[x for x, _ in out] == [*range(800)]"
    )
    assert text == "True"
    assert "lost 127.0.0.1:" in book.value("%tta_trace b").splitlines()[1]
    until(lambda: len(book.workers()) == 2)  # another one takes its place
    assert victim not in book.workers()


def test_workers_are_not_taken_from_a_map_unless_asked_to(book):
    workers = book.workers()
    book.value(BEGIN.format(count=4000))
    for line in ("stop", "start 1", "connect tcp://127.0.0.1:1"):
        done = book.kernel.run(f"%tta_cluster {line}")
        assert done.status == "error"
        assert "'map work' runs on the workers. Await it or cancel it first" in done.text
    assert book.workers() == workers
    assert book.value("b.status") == "'running'"
    assert book.value("%tta_cluster stop --cancel") == "Cluster: none is open.\n"
    assert book.value("b.status") == "'cancelled'"
    assert book.journal.count("+") == book.journal.count("-")
    until(lambda: are_gone(workers))


def test_unloading_in_the_middle_cancels_the_map_and_ends_the_workers(book):
    workers = book.workers()
    book.value(BEGIN.format(count=4000))
    book.value("%unload_ext tta_notebook")
    until(lambda: are_gone(workers))
    assert book.value("b.status") == "'cancelled'"
    begun = book.journal.count("+")
    time.sleep(0.6)
    assert book.journal.count("+") == begun


def test_unloading_under_a_map_that_a_task_awaits_ends_it_soon(book):
    book.value(
        "async def go():\n"
        "    %tta_cluster map work range(4000)\n"
        "going = asyncio.create_task(go())\n"
        "await asyncio.sleep(0.8)\n"
        "%unload_ext tta_notebook"
    )
    begun = time.monotonic()
    done = book.kernel.run("await going")
    assert (done.status, done.content["ename"]) == ("error", "RunCancelled")
    assert time.monotonic() - begun < PATIENCE_S / 2


def test_two_background_maps_share_the_workers(book):
    source = (
        "a = %tta_cluster map work range(20) --background\n"
        "b = %tta_cluster map work range(30) --background\n"
        "len(await a), len(await b)"
    )
    assert book.value(source).endswith("(20, 30)")


def test_a_kernel_that_shuts_down_takes_its_workers_along(new_kernel, tmp_path):
    with notebook(new_kernel, tmp_path) as book:
        book.value("%tta_cluster start 2")
        book.value(BEGIN.format(count=4000))
        workers = book.workers()
        assert len(workers) == 2
        book.kernel.manager.shutdown_kernel()
        until(lambda: are_gone(workers))
        begun = book.journal.count("+")
        time.sleep(0.6)
        assert book.journal.count("+") == begun


def test_a_kernel_that_is_killed_takes_its_workers_along(new_kernel, tmp_path):
    with notebook(new_kernel, tmp_path) as book:
        book.value("%tta_cluster start 2")
        workers = book.workers()
        assert len(workers) == 2
        assert not are_gone(workers)
        book.process.kill()
        until(lambda: are_gone(workers))


def test_a_notebook_that_is_executed_has_the_same_outputs_every_time(tmp_path):
    sources = [
        START,
        "%tta_cluster start 2",
        "double = LambdaPrimitive(lambda x: x * 2)\nr = %tta_cluster map double range(4)\nr.output",
        "%tta_cluster map double range(40)",
        "%tta_cluster stop",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in sources])
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=60, resources=resources).execute()
    [started] = notebook.cells[1].outputs
    [output] = notebook.cells[2].outputs
    [run] = notebook.cells[3].outputs
    [stopped] = notebook.cells[4].outputs
    assert started.text == "Cluster: 2 workers on this machine.\n"
    assert output.data["text/plain"] == "[0, 2, 4, 6]"
    assert set(run.data) == {"text/plain", "text/html"}
    assert "40 \N{MULTIPLICATION SIGN} double" in run.data["text/plain"]
    assert stopped.text == "Cluster: none is open.\n"
