"""`%tta_cluster` in a shell of this process, on real workers."""

import os
import sys
import time

import psutil
import pytest
from ended_run import run_of
from IPython.core.completer import provisionalcompleter

from tta_notebook import Cluster, LambdaPrimitive, Run
from tta_notebook.core.events import Note
from tta_notebook.notebook.badges import badge_of
from tta_notebook.notebook.cell import transform
from tta_notebook.notebook.options import UsageMistake
from tta_notebook.notebook.stopped import RunCannotTravel, RunOverBudget
from tta_notebook.notebook.workers import Workers
from tta_notebook.scale import WorkerStatus

pytest.importorskip("distributed", reason="the extra dask is not installed")

PATIENCE_S = 20

WORK = """\
import os
async def work(x):
    await asyncio.sleep(0.02)
    return x * 2, os.getpid()
work = LambdaPrimitive(work)
"""


def rewritten(cell, **options):
    return "".join(transform(cell.splitlines(keepends=True), **options))


def workers_here():
    """Return the processes of this one, but for the one that multiprocessing keeps for itself."""
    children = psutil.Process().children(recursive=True)
    return {child.pid for child in children if is_worker(child)}


def is_worker(process):
    try:
        return "resource_tracker" not in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it has ended, and is perhaps still to be waited for
        return False


def until(holds):
    begun = time.monotonic()
    while not holds():
        assert time.monotonic() - begun < PATIENCE_S, "it did not come about in time"
        time.sleep(0.05)


def until_gone(pids):
    until(lambda: not any(map(psutil.pid_exists, pids)))


@pytest.fixture(scope="module")
def scheduler():
    """Return the address of a scheduler with two workers that last for all tests."""
    before = workers_here()
    with Cluster(workers=2) as cluster:
        pids = workers_here() - before
        assert len(pids) == 2
        yield cluster._client.scheduler.address
    until_gone(pids)


@pytest.fixture
def clustered(shell, scheduler):
    """The shell, connected to those workers, with a workflow `work`."""
    connected = shell.run(f"%tta_cluster connect {scheduler}")
    assert connected.out == f"Cluster: 2 workers of {scheduler}.\n"
    shell.run(WORK)
    return shell


@pytest.fixture
def local(shell):
    """The shell, which ends the workers that it starts."""
    shell.run(WORK)
    yield shell
    shell.run("%tta_cluster stop --cancel")


def said(cell):
    """Return the one line that a cell failed with."""
    assert cell.error is not None
    text = (cell.err + cell.out).strip()
    assert len(text.splitlines()) == 1, text
    return text


# Lines


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("%tta_cluster start", "await __tta__.cluster.start()"),
        ("%tta_cluster start 2", "await __tta__.cluster.start(workers=2)"),
        ("%tta_cluster start --as c", "c = await __tta__.cluster.start(is_bound=True)"),
        (
            "c = %tta_cluster start 4 --as d",
            "c = d = await __tta__.cluster.start(workers=4, is_bound=True)",
        ),
        (
            "%tta_cluster connect tcp://10.0.0.1:8786",
            "await __tta__.cluster.connect(address='tcp://10.0.0.1:8786')",
        ),
        ("%tta_cluster scale 3", "await __tta__.cluster.scale(workers=3)"),
        ("%tta_cluster stop --cancel", "await __tta__.cluster.stop(cancel=True)"),
        (
            "%tta_cluster map ask f(x, y)",
            "await __tta__.map_named('ask', lambda: ask, f(x, y))",
        ),
        (
            "%tta_cluster map ask 1, 2 --chunk 5 --concurrency 7 --collect --budget 0.10 -q",
            (
                "await __tta__.map_named('ask', lambda: ask, (1, 2), chunk_size=5, "
                "max_concurrency=7, collect=True, budget='0.10', quiet=True);"
            ),
        ),
        (
            "    r = %tta_cluster map a.b xs --background --as q --timeout 3 --live html",
            (
                "    r = (q := await __tta__.map_named('a.b', lambda: a.b, xs, live='html', "
                "timeout_s=3.0, background=True))"
            ),
        ),
    ],
)
def test_lines_become_awaits_at_their_place(line, call):
    indent = "async def g():\n" if line.startswith(" ") else ""
    assert rewritten(f"{indent}{line}\n") == f"{indent}{call}\n"


@pytest.mark.parametrize(
    "cell",
    [
        "%tta_cluster",
        "%tta_cluster status",
        "%tta_cluster strat",
        "%tta_cluster -h",
        "%tta_cluster map -h",
        "%tta_cluster?",
        "def f():\n    %tta_cluster start",
        "text = '''\n%tta_cluster start\n'''",
    ],
)
def test_lines_that_need_no_await_or_cannot_have_one_stay_as_they_are(cell):
    assert rewritten(f"{cell}\n") == f"{cell}\n"


def test_the_setting_quiet_holds_for_maps_alone():
    assert rewritten("%tta_cluster map ask x\n", quiet=True).endswith("quiet=True);\n")
    assert "quiet" not in rewritten("%tta_cluster map ask x --show\n", quiet=True)
    assert "quiet" not in rewritten("%tta_cluster start 2\n", quiet=True)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("map", "write %tta_cluster map NAME EXPR."),
        ("map ask", "write %tta_cluster map NAME EXPR."),
        ("map 1x [1]", "'1x' is not a name"),
        ("map ask what was it", 'Write "what was it"'),
        ("map ask x --chonk 3", "unknown option --chonk; did you mean --chunk?"),
        ("map ask x --chunk 0", "--chunk is a whole number from 1, not '0'."),
        ("map ask x --concurrency nan", "--concurrency is a whole number from 1, not 'nan'."),
        ("map ask x --timeout nan", "--timeout is a number of seconds above 0, not 'nan'."),
        ("map ask x --cassette f", "--cassette cannot be had: one process plays and writes"),
        ("map ask x --no-reuse", "unknown option --no-reuse"),
        ("start 0", "N is a whole number from 1, not '0'."),
        ("start zwölf", "N is a whole number from 1, not 'zwölf'."),
        ("start -1", "N is a whole number from 1, not '-1'."),
        ("start 2 3", "did not expect '3'"),
        ("start --chunk 3", "unknown option --chunk"),
        ("start --as 3", "--as is the name of a variable, not '3'."),
        ("connect", "write %tta_cluster connect ADDRESS."),
        ("scale", "write %tta_cluster scale N."),
        ("stop now", "did not expect 'now'"),
    ],
)
def test_a_line_that_means_nothing_says_what_would(line, words):
    with pytest.raises(UsageMistake) as caught:
        rewritten(f"%tta_cluster {line}\n")
    assert str(caught.value).startswith(f"%tta_cluster {line.split()[0]}: ")
    assert words in str(caught.value).replace("; is it text? ", "; ")


# The shell, without workers


def test_a_wrong_word_is_told_with_the_right_ones(shell):
    assert "did you mean 'start'?" in said(shell.run("%tta_cluster strat 2"))
    assert "'map'" in said(shell.run("%tta_cluster 2"))


def test_without_a_cluster_lines_say_how_to_have_one(shell):
    assert "`%tta_cluster start` starts workers" in shell.run("%tta_cluster").out
    assert shell.run("%tta_cluster status").out == shell.run("%tta_cluster").out
    for line in ("map strip ['a']", "scale 2"):
        assert "no cluster is open. `%tta_cluster start` starts" in said(
            shell.run(f"%tta_cluster {line}")
        )
    assert shell.run("%tta_cluster stop").out == "Cluster: none is open.\n"


def test_without_dask_a_line_says_what_to_install(shell, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'tta-notebook[dask]'" in said(shell.run("%tta_cluster start 2"))


def test_an_address_that_is_none_is_one_line(shell):
    assert "%tta_cluster connect: missing port" in said(shell.run("%tta_cluster connect here"))
    assert "none is open" in shell.run("%tta_cluster").out


def test_help_lists_the_actions_and_the_options_of_each(shell):
    text = shell.run("%tta_cluster -h").out
    for usage in ("start [N]", "connect ADDRESS", "status", "scale N", "stop", "map NAME EXPR"):
        assert f"  %tta_cluster {usage} " in text
    assert "--concurrency N" in shell.run("%tta_cluster map -h").out
    assert "Cluster(workers=N)" in shell.run("%tta_cluster start -h").out


def test_completion_offers_actions_options_and_workflows(shell):
    def complete(line):
        with provisionalcompleter():
            return [found.text for found in shell.ip.Completer.completions(line, len(line))]

    assert complete("%tta_cluster s") == ["start", "status", "scale", "stop"]
    assert complete("%tta_cluster map st") == ["strip"]
    assert complete("r = %tta_cluster map strip ['a'] --c") == [
        "--chunk",
        "--concurrency",
        "--collect",
    ]
    assert complete("%tta_cluster map strip x --live w") == ["widget"]
    assert complete("%tta_cluster start --") == ["--as"]
    assert complete("%tta_cluster stop --") == ["--cancel"]


def test_the_table_of_workers_is_text_and_html_in_one_order():
    one = WorkerStatus("tcp://10.0.0.2:40001", 1, "10.0.0.2", 78_508_032)
    other = WorkerStatus("tcp://10.0.0.1:40001", 12, "<b>", 0)
    table = Workers([one, other])
    assert str(table) == (
        "worker                places  machine   memory\n"
        "tcp://10.0.0.1:40001      12  <b>\n"
        "tcp://10.0.0.2:40001       1  10.0.0.2   79 MB"
    )
    html = table._repr_html_()
    assert html.index("10.0.0.1") < html.index("10.0.0.2")
    assert "&lt;b&gt;" in html
    assert "<script" not in html


@pytest.mark.parametrize(
    ("note", "badge"),
    [
        (("elsewhere", {"worker": "tcp://10.0.0.1:4"}), ("on 10.0.0.1:4", "neutral")),
        (
            ("worker_lost", {"worker": "tcp://10.0.0.1:4", "items": 1, "open_calls": 0}),
            ("lost 10.0.0.1:4 with 1 item", "warn"),
        ),
        (
            ("worker_lost", {"worker": "tcp://10.0.0.1:4", "items": 50, "open_calls": 2}),
            ("lost 10.0.0.1:4 with 50 items, 2 calls under way counted as spent", "warn"),
        ),
        (("worker_lost", {"mine": "x"}), ("worker_lost x", "neutral")),
        (("unclean_end", {"error": "OSError: gone"}), ("at the end: OSError: gone", "warn")),
    ],
)
def test_notes_about_workers_are_badges(note, badge):
    name, data = note
    span = run_of(LambdaPrimitive(str), "x").root
    text, tone, _ = badge_of(Note(name, 0, data), span)
    assert (text, tone) == badge


# Workers of this machine


def test_workers_start_are_listed_and_end(local):
    before = workers_here()
    started = local.run("%tta_cluster start 2 --as c")
    assert (started.value, started.out) == (None, "Cluster: 2 workers on this machine.\n")
    pids = workers_here() - before
    assert len(pids) == 2
    assert isinstance(local.value("c"), Cluster)
    table = local.value("%tta_cluster")
    assert [worker.address for worker in table.workers] == [
        w.address for w in local.value("c.status()")
    ]
    assert local.run("%tta_cluster scale 1").out == "Cluster: 1 worker.\n"
    until(lambda: len(workers_here() - before) == 1)
    assert local.run("%tta_cluster stop").out == "Cluster: none is open.\n"
    until_gone(pids)


def test_a_second_start_takes_the_place_of_the_first(local):
    before = workers_here()
    local.run("%tta_cluster start 1 --as first")
    pids = workers_here() - before
    local.run("%tta_cluster start 1 --as second")
    until_gone(pids)
    assert len(workers_here() - before) == 1
    run = local.value("%tta_cluster map work [3]")
    assert run.output[0][0] == 6
    assert {run.output[0][1]} == workers_here() - before


def test_two_starts_at_once_are_one_start_and_one_line(local):
    cell = local.run(
        "first = asyncio.create_task(__tta__.cluster.start(1))\n"
        "await asyncio.sleep(0)\n"
        "try:\n"
        "    %tta_cluster start 1\n"
        "finally:\n"
        "    await first"
    )
    assert "another cell starts or ends workers just now" in cell.err + cell.out
    assert len(local.value("%tta_cluster").workers) == 1


def test_unloading_ends_the_workers(local):
    before = workers_here()
    local.run("%tta_cluster start 1")
    pids = workers_here() - before
    assert pids
    local.run("%unload_ext tta_notebook")
    until_gone(pids)
    local.run("%load_ext tta_notebook")
    assert "none is open" in local.run("%tta_cluster").out


def test_a_start_that_is_cancelled_leaves_nothing_behind(local):
    before = workers_here()
    cell = local.run(
        "task = asyncio.create_task(__tta__.cluster.start(1))\n"
        "await asyncio.sleep(0.2)\n"
        "task.cancel()\n"
        "await task"
    )
    assert type(cell.error).__name__ == "ChangeInterrupted"
    assert str(cell.error) == "%tta_cluster start: interrupted; what it began ends."
    begun = time.monotonic()
    while (
        workers_here() - before or local.value("len([*__import__('threading').enumerate()])") > 99
    ):
        assert time.monotonic() - begun < PATIENCE_S
        time.sleep(0.1)
    assert "none is open" in local.run("%tta_cluster").out


def test_unloading_while_workers_start_leaves_nothing_behind(local):
    before = workers_here()
    cell = local.run(
        "starting = asyncio.create_task(__tta__.cluster.start(1))\n"
        "await asyncio.sleep(0.2)\n"
        "%unload_ext tta_notebook\n"
        "await starting"
    )
    assert "the extension was unloaded meanwhile" in said(cell)
    until_gone(workers_here() - before)
    local.run("%load_ext tta_notebook")


# Maps


def test_a_map_runs_on_the_workers_and_its_value_is_the_run(clustered):
    run = clustered.value("r = %tta_cluster map work range(40) --chunk 10\nr")
    assert isinstance(run, Run)
    assert (run.status, run.workflow_name) == ("ok", "map work")
    assert [double for double, _ in run.output] == [2 * n for n in range(40)]
    pids = {pid for _, pid in run.output}
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert clustered.value("_") is run


def test_the_trace_says_on_which_worker_each_item_ran(clustered):
    addresses = {worker.address for worker in clustered.value("%tta_cluster").workers}
    run = clustered.value("%tta_cluster map work range(4)")
    noted = [span.noted("elsewhere")[0].data["worker"] for span in run.spans[1:]]
    assert len(noted) == 4
    assert set(noted) <= addresses
    text = clustered.run("%tta_trace").out
    assert f"on {noted[0].removeprefix('tcp://')}" in text


def test_many_items_are_one_line_of_the_trace(clustered):
    clustered.run("%tta_cluster map work range(300) --concurrency 300 -q")
    lines = clustered.run("%tta_trace").out.splitlines()
    assert "300 \N{MULTIPLICATION SIGN} work" in lines[2]
    assert len(lines) < 10


def test_items_go_out_in_chunks_of_the_size_that_was_asked_for(clustered):
    run = clustered.value("%tta_cluster map work range(6) --chunk 3")
    pids = [pid for _, pid in run.output]
    assert pids == [pids[0]] * 3 + [pids[3]] * 3
    assert pids[0] != pids[3]
    assert run.root.primitive.executor._chunk_size == 3


def test_no_more_items_run_at_once_than_were_allowed(clustered, tmp_path):
    clustered.ip.user_ns["journal"] = str(tmp_path / "journal")
    clustered.run(
        "async def count(x):\n"
        "    with open(journal, 'a') as file: file.write('+')\n"
        "    await asyncio.sleep(0.05)\n"
        "    with open(journal, 'a') as file: file.write('-')\n"
        "count = LambdaPrimitive(count)"
    )
    clustered.value("%tta_cluster map count range(8) --concurrency 2 --chunk 1")
    running = most = 0
    for mark in (tmp_path / "journal").read_text():
        running += 1 if mark == "+" else -1
        most = max(most, running)
    assert (running, most) == (0, 2)


def test_quiet_and_as(clustered):
    cell = clustered.run("%tta_cluster map work [1] -q --as r")
    assert (cell.value, cell.out, cell.outputs) == (None, "", [])
    assert clustered.value("r.output[0][0]") == 2


@pytest.mark.parametrize(
    ("items", "count"),
    [
        ("[]", 0),
        ("range(0)", 0),
        ("(n for n in range(3))", 3),
        ("{'ä': 1, 'ß': 2}", 2),
        ("numbers()", 3),
        ("range(1_000)", 1_000),
    ],
)
def test_items_may_be_any_iterable(clustered, items, count):
    clustered.run("async def numbers():\n    for n in range(3):\n        yield n")
    run = clustered.value(f"%tta_cluster map work {items} --concurrency 500")
    assert (run.status, len(run.output)) == ("ok", count)


def test_a_text_is_one_value_and_not_a_collection(clustered):
    cell = clustered.run("%tta_cluster map work 'abc'")
    assert type(cell.error).__name__ == "CompositionError"
    assert "not a collection of items" in str(cell.error)
    assert "tta_notebook/" not in cell.out


def test_an_error_of_an_item_points_at_the_worker_without_our_frames(clustered):
    clustered.run("def divide(x):\n    return 1 / (x - 2)\ndivide = LambdaPrimitive(divide)")
    cell = clustered.run("%tta_cluster map divide range(4)")
    assert isinstance(cell.error, ZeroDivisionError)
    assert "failing step: map divide > divide" in cell.out
    assert "Raised on the worker tcp://" in cell.out
    assert "dealing.py" not in cell.out
    run = clustered.value("%tta_cluster map divide range(4) --collect")
    assert [type(each) for each in run.output] == [float, float, ZeroDivisionError, float]


def test_an_unknown_workflow_is_told_with_the_known_ones(clustered):
    assert "did you mean 'work'?" in said(clustered.run("%tta_cluster map wrok [1]"))


def test_a_plain_function_becomes_a_workflow(clustered):
    clustered.run("def shout(text):\n    return text.upper()")
    assert clustered.value("%tta_cluster map shout ['ä', 'b']").output == ["Ä", "B"]
    assert clustered.value("type(shout).__name__") == "LambdaPrimitive"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "import threading\nlock = threading.Lock()\nheld = strip >> (lambda x: lock.locked())",
            "the step 'lambda' (LambdaPrimitive)",
        ),
        (
            "held = strip >> LambdaPrimitive(lambda x, lines=iter(os.scandir()): x, name='lines')",
            "the step 'lines' (LambdaPrimitive)",
        ),
    ],
)
def test_what_cannot_travel_says_so_in_one_line(clustered, source, words):
    clustered.run(source)
    cell = clustered.run("%tta_cluster map held [1]")
    assert isinstance(cell.error, RunCannotTravel)
    assert cell.error._render_traceback_() == [str(cell.error)]
    assert words in str(cell.error)


def test_a_bulkhead_is_divided_among_the_workers(clustered):
    clustered.run(
        "from tta_notebook import BulkheadPrimitive\n"
        "wide = BulkheadPrimitive(work, max_concurrent=2, max_queue=None)\n"
        "narrow = BulkheadPrimitive(work, max_concurrent=1, max_queue=None)"
    )
    assert len(clustered.value("%tta_cluster map wide range(6)").output) == 6
    cell = clustered.run("%tta_cluster map narrow range(6)")
    assert "divided among 2 worker processes" in str(cell.error)
    assert "dealing.py" not in cell.out


def test_a_cassette_that_is_on_says_that_it_stays_here(clustered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clustered.run("%tta_cassette calls.jsonl")
    line = said(clustered.run("%tta_cluster map work [1]"))
    assert "`%tta_cassette off`" in line
    assert "`await NAME.map(EXPR)`" in line
    clustered.run("%tta_cassette off")
    assert len(clustered.value("%tta_cluster map work [1]").output) == 1


def test_a_budget_holds_for_all_workers_together(priced, scheduler):
    priced.run(f"%tta_cluster connect {scheduler}")
    cell = priced.run("%tta_cluster map model ['q'] * 9 --budget 6 --concurrency 1")
    assert isinstance(cell.error, RunOverBudget)
    run = priced.value("__tta__.runs[-1]")
    assert run.cost_usd == 6
    assert "budget $6.00 of $6.00" in priced.run("%tta_trace").out
    assert "map model" in priced.run("%tta_costs").value.to_html()


def test_every_map_runs_anew_and_is_in_the_history(clustered, tmp_path):
    clustered.ip.user_ns["journal"] = str(tmp_path / "journal")
    clustered.run(
        "async def slow(x):\n"
        "    with open(journal, 'a') as file: file.write('.')\n"
        "    await asyncio.sleep(0.15)\n"
        "    return x\n"
        "slow = LambdaPrimitive(slow)"
    )
    for _ in range(2):
        assert clustered.value("%tta_cluster map slow range(3)").output == [0, 1, 2]
    assert (tmp_path / "journal").read_text() == "." * 6
    history = clustered.value("%tta_history --workflow 'map slow'")
    assert list(history["status"]) == ["ok", "ok"]
    assert list(history["spans"]) == [4, 4]


def test_two_maps_at_once_share_the_workers(clustered):
    clustered.run(
        "async def count(n):\n    r = %tta_cluster map work range(n) -q\n    return len(r.output)"
    )
    assert clustered.value("await asyncio.gather(count(3), count(200))") == [3, 200]


def test_behind_another_magic_and_in_a_plain_function_a_map_blocks(clustered):
    cell = clustered.run("%%time\n%tta_cluster map work [1]")
    assert (cell.error, cell.value.output[0][0]) == (None, 2)
    clustered.run("def plain(x):\n    r = %tta_cluster map work [x] --as bound\n    return r")
    assert clustered.value("plain(4)").output[0][0] == 8
    assert clustered.value("bound.output[0][0]") == 8
    refused = clustered.run("def later():\n    %tta_cluster map work [1] --background\nlater()")
    assert "--background cannot be had" in refused.err + refused.out


def test_a_map_over_its_time_stops_and_lets_its_steps_clean_up(clustered, tmp_path):
    clustered.ip.user_ns["journal"] = tmp_path / "journal"
    clustered.run(
        "async def slow(x):\n"
        "    try:\n"
        "        await asyncio.sleep(30)\n"
        "    finally:\n"
        "        await asyncio.sleep(0.1)\n"
        "        journal.write_text('cleaned')\n"
        "slow = LambdaPrimitive(slow)"
    )
    cell = clustered.run("%tta_cluster map slow [1] --timeout 0.5")
    assert type(cell.error).__name__ == "RunTimedOut"
    assert (tmp_path / "journal").read_text() == "cleaned"
    assert not clustered.value("__tta__.runs[-1].root.noted('worker_lost')")


def test_a_map_that_begins_after_the_cluster_was_left_opens_no_other_one(clustered):
    before = workers_here()
    cell = clustered.run(
        "mapped = __tta__.mapped('work', lambda: work)\n%tta_cluster stop\nawait mapped([1])"
    )
    assert "the cluster was stopped before the map began" in str(cell.error)
    assert workers_here() == before
