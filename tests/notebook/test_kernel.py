"""In a real kernel: interrupts, cancellation, queued cells, the live view's protocol."""

import time

import nbformat
import pytest
from nbclient import NotebookClient

WAITING = """\
%%tta_workflow waiting
async def wait(x):
    print("waiting", x)
    try:
        await asyncio.sleep(60)
    finally:
        print("cleaned", x)
strip >> wait
"""
TALKING = """\
%%tta_workflow talk --input "x" {options}
async def talk(x, ctx):
    for n in range({words}):
        await asyncio.sleep(0.05)
        ctx.chunk(f"word{{n}} ")
    return x
strip >> talk
"""
BOTH = """\
%%tta_workflow both --input "x"
async def tick(x):
    await asyncio.sleep(0.05)
    return x
async def talk(x, ctx):
    for n in range(60):
        await asyncio.sleep(0.05)
        ctx.chunk(f"word{n} ")
ticks = LambdaPrimitive(tick, name="tick0")
for number in range(1, 30):
    ticks = ticks >> LambdaPrimitive(tick, name=f"tick{number}")
strip >> [ticks, talk]
"""
WIDGET = "application/vnd.jupyter.widget-view+json"


@pytest.fixture(autouse=True)
def workflows(kernel):
    kernel.on_message = None
    assert kernel.run(WAITING).status == "ok"


def test_the_value_is_the_run_with_text_and_html(kernel):
    done = kernel.run("%tta_run strip ' hi '")
    assert done.kinds() == ["execute_result"]
    assert "→ hi" in done.data("text/plain")[0]
    assert done.data("text/html")[0].startswith('<div class="tta-run"')


@pytest.mark.parametrize("source", ["%tta_run waiting 'a'", "await waiting('a')"])
def test_an_interrupt_of_an_idle_await_is_prompt_and_cleans_up(kernel, source):
    msg_id = kernel.begin(source)
    kernel.until_printed("waiting a")
    time.sleep(0.3)  # until the loop is idle in its selector, for real
    begun = time.monotonic()
    kernel.manager.interrupt_kernel()
    done = kernel.finish(msg_id)
    assert time.monotonic() - begun < 1.0
    assert done.status == "error"
    assert "cleaned a" in done.text
    assert kernel.run("1 + 1").data("text/plain") == ["2"]


def test_an_interrupted_run_ends_in_one_calm_line(kernel):
    msg_id = kernel.begin("%tta_run waiting 'a'")
    kernel.until_printed("waiting a")
    kernel.manager.interrupt_kernel()
    done = kernel.finish(msg_id)
    [error] = [content for kind, content in done.outputs if kind == "error"]
    assert error["ename"] == "RunInterrupted"
    assert len(error["traceback"]) == 1
    assert error["traceback"][0].startswith("waiting: interrupted after")
    assert "stopped in waiting > wait" in error["traceback"][0]


def test_queued_cells_run_in_order_one_after_the_other(kernel):
    first = kernel.begin("seen = ['first']\nawait asyncio.sleep(0.2)\nseen.append('first ends')")
    second = kernel.begin("%%tta_workflow q --input 'second'\nLambdaPrimitive(seen.append)")
    third = kernel.begin("seen")
    assert kernel.finish(first).status == "ok"
    assert kernel.finish(second).status == "ok"
    assert kernel.finish(third).data("text/plain") == ["['first', 'first ends', 'second']"]


def test_cells_queued_behind_a_cancelled_run_do_not_run(kernel):
    first = kernel.begin(
        "asyncio.get_running_loop().call_later(0.1, lambda: last_run().cancel())\n"
        "%tta_run waiting 'a'",
        stop_on_error=True,
    )
    second = kernel.begin("ran = True")
    assert kernel.finish(first).status == "error"
    assert kernel.finish(second).status == "aborted"


def test_usage_errors_and_user_errors_fail_the_cell(kernel):
    assert kernel.run("%%tta_workflow a --inptu 1\nstrip").status == "error"
    done = kernel.run("%%tta_workflow a --input 1\nLambdaPrimitive(lambda x: x / 0)")
    assert done.content["ename"] == "ZeroDivisionError"
    assert done.kinds() == ["display_data", "error"]


class FrontEnd:
    """The front end's half of the live view, as a double: it answers as live.js does."""

    def __init__(self, kernel, *, answers=True):
        self.kernel = kernel
        self.answers = answers
        self.states = []
        self.opened = set()
        self.closed = []
        self.shown = 0
        self.cancel_after = None
        self.cancelled_at = None
        kernel.on_message = self.hear

    def hear(self, message):
        kind, content = message["msg_type"], message["content"]
        if kind == "comm_open" and content["target_name"] == "jupyter.widget":
            state = content["data"]["state"]
            if state["_model_module"] == "anywidget":
                self.opened.add(content["comm_id"])
                if self.answers:
                    self.kernel.send_comm(content["comm_id"], {"type": "hello"})
        elif kind == "display_data" and WIDGET in content["data"]:
            self.shown += 1
            self.kernel.send_comm(content["data"][WIDGET]["model_id"], {"type": "ready"})
        elif kind == "comm_msg" and content["data"].get("method") == "custom":
            self.states.append(content["data"]["content"])
            if self.cancel_after == len(self.states):
                self.cancelled_at = time.monotonic()
                self.kernel.send_comm(content["comm_id"], {"type": "cancel"})
        elif kind == "comm_close" and content["comm_id"] in self.opened:
            # A view of a test before this one may say its farewell only now.
            self.closed.append(content["comm_id"])

    def text(self):
        return "".join(stream["add"] for state in self.states for stream in state["streams"])


@pytest.fixture
def fresh(kernel):
    """Forget that a front end has answered before."""
    module = "tta_notebook.notebook.follow"
    kernel.run(f"import {module} as follow\nfollow.WidgetView._is_answered = False", silent=True)
    return kernel


def test_the_live_view_streams_and_leaves_nothing_behind(fresh):
    front = FrontEnd(fresh)
    done = fresh.run(TALKING.format(words=30, options=""), allow_stdin=True)
    assert done.kinds() == ["display_data", "update_display_data", "execute_result"]
    assert done.outputs[1][1]["data"] == {}
    assert front.text().startswith("word0 word1 ")
    assert front.states[0]["order"] is not None
    assert all(state["order"] is None for state in front.states[1:])
    assert 3 <= len(front.states) <= 20  # 1.5 s at 10 Hz at most, minus the first moments
    assert len(front.closed) == 1


def test_cancel_from_the_front_end_works_while_the_cell_runs(fresh):
    front = FrontEnd(fresh)
    front.cancel_after = 3
    done = fresh.run(TALKING.format(words=1000, options=""), allow_stdin=True)
    assert time.monotonic() - front.cancelled_at < 1.0
    assert done.content["ename"] == "RunCancelled"
    assert "talk: cancelled after" in done.content["traceback"][0]


def test_pause_holds_back_what_has_not_begun_until_resume(fresh):
    class Pausing(FrontEnd):
        paused = ()

        def hear(self, message):
            before = len(self.states)
            super().hear(message)
            if len(self.states) == before:
                return
            is_paused = self.states[-1]["run"]["paused"]
            self.paused += (is_paused,)
            if len(self.states) == 3:
                self.kernel.send_comm(message["content"]["comm_id"], {"type": "pause"})
            if sum(self.paused) == 8:
                self.kernel.send_comm(message["content"]["comm_id"], {"type": "resume"})

    front = Pausing(fresh)
    done = fresh.run(BOTH, allow_stdin=True)
    assert done.status == "ok"
    first = front.paused.index(True)
    resumed = first + front.paused[first:].index(False)
    assert resumed - first >= 8
    held = front.states[first + 1 : resumed]

    def begun(states):
        return {row["name"] for state in states if "rows" in state for row in state["rows"]}

    # What had begun by the first word of the pause may end in it; nothing else begins.
    before = begun(front.states[: first + 1])
    assert begun(held) <= before
    assert "tick29" not in before
    assert "tick29" in begun(front.states[resumed:])
    assert any(stream["add"] for state in held for stream in state["streams"])
    assert "paused for" in done.data("text/plain")[0]


def test_without_an_answer_the_view_stays_static(fresh):
    front = FrontEnd(fresh, answers=False)
    done = fresh.run(TALKING.format(words=8, options=""), allow_stdin=True)
    assert done.kinds() == ["execute_result"]
    assert front.states == []


@pytest.mark.parametrize(
    ("options", "allow_stdin"), [("--live off", True), ("", False), ("-q", True)]
)
def test_no_widget_is_made_where_none_is_wanted(fresh, options, allow_stdin):
    opened = []
    fresh.on_message = lambda message: opened.append(message["msg_type"])
    done = fresh.run(TALKING.format(words=8, options=options), allow_stdin=allow_stdin)
    assert "comm_open" not in opened
    assert done.kinds() == ([] if options == "-q" else ["execute_result"])


def test_live_html_needs_no_widgets(fresh):
    done = fresh.run(TALKING.format(words=25, options="--live html"), allow_stdin=False)
    kinds = done.kinds()
    assert kinds[0] == "display_data"
    assert kinds[-1] == "execute_result"
    assert set(kinds[1:-1]) == {"update_display_data"}
    assert done.outputs[-2][1]["data"] == {}


def test_two_executions_of_a_notebook_have_the_same_structure(tmp_path):
    sources = [
        "%load_ext tta_notebook\nimport asyncio",
        (
            "%%tta_workflow ask --input ' hi '\n"
            "from tta_notebook import LambdaPrimitive\n"
            "async def slow(x):\n    await asyncio.sleep(0.3)\n    return x\n"
            "LambdaPrimitive(slow) >> [str.strip, len]"
        ),
        "%tta_trace",
        "ask",
    ]

    def executed():
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
        NotebookClient(
            notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}
        ).execute()
        return notebook

    def structure(notebook):
        return [
            [(output["output_type"], sorted(output.get("data", {}))) for output in cell["outputs"]]
            for cell in notebook["cells"]
        ]

    one, other = executed(), executed()
    assert structure(one) == structure(other)
    assert structure(one)[1] == [("execute_result", ["text/html", "text/plain"])]
    assert "widgets" not in one["metadata"]
    assert len(nbformat.writes(one)) < 20_000
