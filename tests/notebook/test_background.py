"""--background in a real kernel: the run goes on beside the cells that follow."""

import time

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient

WIDGET = "application/vnd.jupyter.widget-view+json"
COUNTING = """\
%%tta_workflow count
go = asyncio.Event()
async def count(x, ctx):
    n = 0
    try:
        while n < x["times"] or x.get("waits") and not go.is_set():
            ctx.chunk(f"word{n} ")
            await asyncio.sleep(0.05)
            n += 1
        if x.get("fails"):
            raise LookupError("the page is gone")
        return x["times"]
    finally:
        print("cleaned")
LambdaPrimitive(dict) >> count
"""
START = "%tta_run count {{'times': {times}{more}}} --background {options}"


class FrontEnd:
    """A front end that says hello, is ready, and keeps what it is shown of each display."""

    def __init__(self, kernel, *, answers=True):
        self.kernel, self.answers = kernel, answers
        self.shown, self.batches, self.models, self.updates = {}, [], set(), []
        self.printed = []
        kernel.on_message = self.hear

    def hear(self, message):
        kind, content = message["msg_type"], message["content"]
        if kind == "comm_open" and content["data"]["state"].get("_model_module") == "anywidget":
            self.models.add(content["comm_id"])
            if self.answers:
                self.kernel.send_comm(content["comm_id"], {"type": "hello"})
        elif kind == "stream":
            self.printed.append((content["text"], message["parent_header"].get("msg_id")))
        elif kind in ("display_data", "update_display_data"):
            self.updates.append((kind, message["parent_header"].get("msg_id")))
            self.shown[content["transient"].get("display_id")] = content["data"]
            if WIDGET in content["data"]:
                self.kernel.send_comm(content["data"][WIDGET]["model_id"], {"type": "ready"})
        elif kind == "comm_msg" and content["comm_id"] in self.models:
            self.batches.append(content["data"].get("content"))

    def cancel(self):
        [model] = self.models
        self.kernel.send_comm(model, {"type": "cancel"})

    def until(self, is_so):
        begun = time.monotonic()
        while not is_so():
            assert time.monotonic() - begun < self.kernel.PATIENCE_S
            self.hear(self.kernel.client.get_iopub_msg(timeout=self.kernel.PATIENCE_S))

    def has_shown(self, text):
        return any(text in data.get("text/plain", "") for data in self.shown.values())


@pytest.fixture
def fresh(kernel):
    kernel.on_message = None
    assert kernel.run(COUNTING).status == "ok"
    module = "tta_notebook.notebook.follow"
    kernel.run(f"import {module} as follow\nfollow.WidgetView._is_answered = False", silent=True)
    yield kernel
    kernel.on_message = None
    kernel.run("[r.cancel() for r in __tta__.recent_runs()]\nawait asyncio.sleep(0.2)")


def start(times, more="", options=""):
    return START.format(times=times, more=more, options=options)


def held(times):
    """Start a run that goes on until a later cell says `go`."""
    return start(times, ", 'waits': True")


def test_the_cell_returns_at_once_and_later_cells_run_meanwhile(fresh):
    done = fresh.run("r = " + held(20))
    assert done.status == "ok"
    assert fresh.run("r.status, r.done()").data("text/plain") == ["('running', False)"]
    assert fresh.run("go.set()\nawait r").data("text/plain") == ["20"]
    assert fresh.run("r.status, r.output").data("text/plain") == ["('ok', 20)"]


def test_its_view_goes_on_in_its_cell_and_leaves_the_record_there(fresh):
    front = FrontEnd(fresh)
    cell = fresh.begin(held(20), allow_stdin=True)
    done = fresh.finish(cell)
    assert done.kinds() == ["display_data", "execute_result"]
    assert done.data("text/plain")[0].startswith("count was started in the background. ")
    assert not front.batches
    meanwhile = fresh.begin("await asyncio.sleep(0.2)", allow_stdin=True)
    assert fresh.finish(meanwhile).kinds() == []
    front.until(lambda: len(front.batches) >= 3)
    fresh.run("go.set()")
    assert [WIDGET in data for data in front.shown.values()] == [True]
    front.until(lambda: front.has_shown("→ 20"))
    [record] = front.shown.values()
    assert record["text/html"].startswith('<div class="tta-run"')
    assert record["text/plain"].startswith("count  ok")
    assert {cell_of for _, cell_of in front.updates} == {cell}
    assert front.printed == [("cleaned\n", cell)]


def test_the_cancel_button_works_between_cells(fresh):
    front = FrontEnd(fresh)
    fresh.run("r = " + start(2000), allow_stdin=True)
    front.until(lambda: front.batches)
    front.cancel()
    front.until(lambda: front.has_shown("stopped in count"))
    assert fresh.run("r.status").data("text/plain") == ["'cancelled'"]


def test_cancel_ends_it_and_awaiting_it_says_so_in_a_line(fresh):
    fresh.run("r = " + start(2000))
    assert fresh.run("r.cancel()").data("text/plain") == ["True"]
    for _ in range(2):
        done = fresh.run("await r")
        assert done.content["ename"] == "RunCancelled"
        [line] = done.content["traceback"]
        assert line.startswith("count: cancelled after")


def test_an_error_is_raised_by_who_awaits_and_reported_nowhere_else(fresh):
    front = FrontEnd(fresh, answers=False)
    fresh.run("r = " + start(2, ", 'fails': True"), allow_stdin=True)
    front.until(lambda: front.has_shown("✗ count > count: LookupError: the page is gone"))
    quiet = fresh.run("import gc\ngc.collect()\nawait asyncio.sleep(0.1)")
    assert "exception" not in quiet.text
    texts = []
    for _ in range(2):
        done = fresh.run("await r")
        assert done.content["ename"] == "LookupError"
        assert done.content["evalue"] == "the page is gone"
        texts.append("\n".join(done.content["traceback"]))
    assert "failing step: count > count" in texts[0]
    assert "tta_notebook" not in texts[0]
    assert texts[0].count("\n") == texts[1].count("\n")  # it does not grow with each await


def test_a_run_that_nobody_awaits_reports_nothing(fresh):
    fresh.run(start(1, ", 'fails': True", "-q"))
    done = fresh.run("await asyncio.sleep(0.5)\nimport gc\n_ = gc.collect()\nprint('end')")
    assert done.text == "end\n"


def test_an_interrupt_of_a_later_cell_leaves_it_alone(fresh):
    fresh.run("r = " + held(30))
    for source in ("print('now')\nawait r", "print('now')\nawait asyncio.sleep(60)"):
        cell = fresh.begin(source)
        fresh.until_printed("now")
        time.sleep(0.2)
        fresh.manager.interrupt_kernel()
        assert fresh.finish(cell).status == "error"
        assert fresh.run("r.status").data("text/plain") == ["'running'"]
    assert fresh.run("go.set()\nawait r").data("text/plain") == ["30"]


def test_its_timeout_and_its_budget_hold_without_a_cell(fresh):
    fresh.run("r = " + start(2000, options="--timeout 0.3"))
    done = fresh.run("await r")
    assert done.content["ename"] == "RunTimedOut"
    assert "count: over its 0.3 s, stopped after" in done.content["traceback"][0]
    fresh.run(
        "from tta_notebook import LLMPrimitive, Price, PriceBook, Reply, ScriptedModel, Usage\n"
        "from tta_notebook import configure\n"
        "configure(prices=PriceBook(overrides={'m': Price(input_per_1m=1, output_per_1m=1)}))\n"
        "reply = Reply('yes', usage=Usage(input_tokens=5, output_tokens=3))\n"
        "dear = LLMPrimitive(ScriptedModel([reply] * 9, name='m'), max_output_tokens=3)\n"
        "r = %tta_run dear 'really?' --background --budget 0.0000001"
    )
    done = fresh.run("await r")
    assert done.content["ename"] == "RunOverBudget"
    assert "dear: stopped by a budget" in done.content["traceback"][0]


def test_its_cassette_is_closed_with_it(fresh, tmp_path):
    file = tmp_path / "calls.jsonl"
    fresh.run(
        "from tta_notebook import LLMPrimitive, Reply, ScriptedModel\n"
        "model = LLMPrimitive(ScriptedModel(['yes'], name='m'))\n"
        f"r = %tta_run model 'really?' --background --cassette '{file}'"
    )
    assert fresh.run("await r").data("text/plain") == ["'yes'"]
    assert '"yes"' in file.read_text()
    fresh.run(f"r = %tta_run model 'really?' --background --cassette '{file}'")
    done = fresh.run("(await r).source, [n for n in __tta__.background._works]")
    assert done.data("text/plain") == ["('replay', [])"]


def test_rebinding_the_name_leaves_the_run_alone(fresh):
    fresh.run("r = " + start(10))
    fresh.run("%%tta_workflow count --input 'x'\nstr.upper")
    assert fresh.run("await r, count.name").data("text/plain") == ["(10, 'count')"]


def test_several_go_on_at_once(fresh):
    source = "rs = []\nfor n in (1, 5, 9):\n    r = %tta_run count {'times': n} --background\n"
    fresh.run(source + "    rs.append(r)")
    done = fresh.run("import asyncio\n[await r for r in rs]")
    assert done.data("text/plain") == ["[1, 5, 9]"]


def test_as_binds_the_run_and_quiet_shows_nothing(fresh):
    done = fresh.run(
        "%%tta_workflow quiet --input {'times': 3} --background --as mine -q\ncount",
        allow_stdin=True,
    )
    assert done.kinds() == []
    assert fresh.run("await mine, mine.workflow_name").data("text/plain") == ["(3, 'quiet')"]


def test_programs_that_run_notebooks_get_the_same_every_time(tmp_path):
    sources = [
        "%load_ext tta_notebook\nimport asyncio\nfrom tta_notebook import LambdaPrimitive",
        (
            "%%tta_workflow slow --input 1 --background --as run\n"
            "async def slow(x):\n    await asyncio.sleep(0.3)\n    return x\n"
            "LambdaPrimitive(slow)"
        ),
        "await asyncio.sleep(0.5)",
        "await run",
    ]

    def outputs():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
        resources = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(notebook, timeout=60, resources=resources).execute()
        assert "widgets" not in notebook["metadata"]
        return [[out.get("data", out.get("text")) for out in c.outputs] for c in notebook.cells]

    one, other = outputs(), outputs()
    assert one == other
    assert one[1][0]["text/plain"].startswith("slow was started in the background")
    assert one[2:] == [[], [{"text/plain": "1"}]]


LOOKED = """\
async with asyncio.timeout(30):
    while len(looks) < 3:
        await asyncio.sleep(0.05)
r.status
"""
QUIET = """\
r.cancel()
async with asyncio.timeout(30):
    while looks:
        looks.clear()
        await asyncio.sleep(1)
"""


def test_dashboards_stay_live_meanwhile(fresh):
    fresh.run(
        "from tta_notebook.notebook.dashboards import ResilienceDashboard\n"
        "board = ResilienceDashboard(auto_refresh_s=0.1)\nboard"
    )
    fresh.run("looks = []\nread = board._read\nboard._read = lambda: looks.append(1) or read()")
    fresh.run("r = " + start(10_000))
    done = fresh.run(LOOKED)
    assert done.data("text/plain") == ["'running'"], done.content
    assert fresh.run(QUIET).status == "ok"
    fresh.run("board.close()")


@pytest.fixture
def own_kernel(tmp_path):
    """A kernel to end."""
    manager = KernelManager(kernel_name="python3")
    log = (tmp_path / "log").open("wb")
    manager.start_kernel(cwd=str(tmp_path), stderr=log, stdout=log)
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    try:
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        log.close()


LOADING = "%load_ext tta_notebook"
ENDING = """\
import asyncio
from pathlib import Path
from tta_notebook import LambdaPrimitive
async def wait(x):
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0.05)
        Path("cleaned").write_text("yes")
w = LambdaPrimitive(wait)
r = %tta_run w 1 --background
await asyncio.sleep(0.1)
"""


def test_the_end_of_the_kernel_cancels_it_and_lets_it_clean_up(own_kernel, tmp_path):
    manager, client = own_kernel
    client.execute(LOADING, reply=True, timeout=60)
    reply = client.execute(ENDING, reply=True, timeout=60)
    assert reply["content"]["status"] == "ok"
    begun = time.monotonic()
    manager.shutdown_kernel()
    assert time.monotonic() - begun < 4
    assert (tmp_path / "cleaned").read_text() == "yes"
    said = (tmp_path / "log").read_text()
    assert "Traceback" not in said
    assert "destroyed" not in said


def test_unloading_cancels_it_and_its_history_gets_its_end(own_kernel, tmp_path):
    _, client = own_kernel
    shown = []

    def run(source):
        reply = client.execute_interactive(source, timeout=60, output_hook=shown.append)
        return reply["content"]

    run(LOADING)
    assert run(ENDING)["status"] == "ok"
    ended = "try:\n    await r\nexcept asyncio.CancelledError as error:\n    print(error)"
    assert run(f"%reload_ext tta_notebook\n{ended}")["status"] == "ok"
    assert (tmp_path / "cleaned").read_text() == "yes"
    run("frame = %tta_history\nprint(r.status, list(frame.status)[-1])")
    texts = [m["content"]["text"] for m in shown if m["msg_type"] == "stream"]
    assert texts[0].startswith("w: cancelled after")
    assert texts[1:] == ["cancelled cancelled\n"]
    assert "Traceback" not in (tmp_path / "log").read_text()
