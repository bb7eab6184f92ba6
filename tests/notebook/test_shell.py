import inspect
import traceback
from pathlib import Path

import pytest
from IPython.core.completer import provisionalcompleter

import tta_notebook
from tta_notebook import Run, WorkflowPrimitive
from tta_notebook.core.stream import stream

FAILING = """\
%%tta_workflow bad --input " x "

def parse(text):
    # the next line fails
    return {}[text]

strip >> parse
"""


def test_a_cell_runs_its_workflow_and_its_value_is_the_run(shell):
    run = shell.value("%%tta_workflow ask --input ' hi '\nstrip >> str.upper")
    assert isinstance(run, Run)
    assert (run.output, run.workflow_name, run.spans[0].name) == ("HI", "ask", "ask")
    assert shell.value("_") is run
    assert shell.value("Out[max(Out)]") is run


def test_the_bound_name_is_the_workflow_and_runs_again(shell):
    shell.run("%%tta_workflow ask\nstrip >> str.upper")
    assert isinstance(shell.value("ask"), WorkflowPrimitive)
    assert shell.value("%tta_run ask ' a '").output == "A"
    assert shell.value("(await ask.run(' b ')).output") == "B"


def test_a_plain_function_becomes_a_workflow(shell):
    shell.run("%%tta_workflow shout\nstr.upper")
    assert shell.value("shout.name") == "shout"
    assert shell.value("await shout('x')") == "X"


def test_a_run_is_bound_by_as_and_silenced_by_quiet(shell):
    cell = shell.run("%%tta_workflow ask --input ' hi ' --as r -q\nstrip >> len")
    assert (cell.value, cell.out, cell.outputs) == (None, "", [])
    assert shell.value("r.output") == 2


def test_the_body_may_await_and_define(shell):
    source = (
        "%%tta_workflow ask --input await question()\n"
        "async def question():\n    await asyncio.sleep(0)\n    return 'q'\n"
        "warm = await question()\n"
        "LambdaPrimitive(lambda x: x + warm)"
    )
    assert shell.value(source).output == "qq"


def test_nested_magics_work_in_the_body(shell):
    cell = shell.run(
        "%%tta_workflow ask --input ' a '\n%time x = 1\n!echo shell\n"
        "%tta_run strip ' b '\nstrip >> len"
    )
    assert cell.value.output == 1
    assert "shell" in cell.out


def test_run_lines_work_in_loops_and_async_functions(shell):
    source = "%%tta_workflow up\nstr.upper"
    shell.run(source)
    shell.run("outs = []\nfor q in 'ab':\n    r = %tta_run up q\n    outs.append(r.output)")
    assert shell.value("outs") == ["A", "B"]
    shell.run("async def f(x):\n    local = up\n    r = %tta_run local x\n    return r.output")
    assert shell.value("await f('z')") == "Z"


def test_run_lines_in_plain_functions_block(shell):
    shell.run("%%tta_workflow up\nstr.upper")
    shell.run("def f(x):\n    r = %tta_run up x\n    return r.output")
    assert shell.value("f('z')") == "Z"


@pytest.mark.parametrize("magic", ["%%time", "%%capture --no-stderr captured"])
def test_another_cell_magic_runs_ours_synchronously(shell, magic):
    cell = shell.run(f"{magic}\n%%tta_workflow up --input 'x'\nstr.upper")
    assert cell.error is None
    assert shell.value("last_run().output") == "X"
    assert shell.value("up.name") == "up"


def test_behind_another_magic_a_body_that_awaits_is_a_usage_error(shell):
    cell = shell.run("%%time\n%%tta_workflow up --input 'x'\nawait asyncio.sleep(0)\nstr.upper")
    assert "Make it the first line of its cell" in cell.out + cell.err


def test_tracebacks_are_native_and_point_at_the_step(shell):
    cell = shell.run(FAILING)
    frames = traceback.extract_tb(cell.error.__traceback__)
    package = Path(tta_notebook.__file__).parent
    shown = [frame for frame in frames if package in Path(frame.filename).parents]
    assert shown == []
    assert [frame.lineno for frame in frames[-2:]] == [8, 5]
    assert cell.error.__notes__ == ["failing step: bad > parse"]
    assert "----> 5     return {}[text]" in cell.out
    assert "failing step: bad > parse" in cell.out
    assert "✗ bad > parse: KeyError" in cell.outputs[0].data["text/plain"]


def test_getsource_gives_the_cells_own_lines(shell):
    shell.run(FAILING)
    assert inspect.getsource(shell.ip.user_ns["parse"]).startswith(
        "def parse(text):\n    # the next"
    )


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("%%tta_workflow a --inptu 1\nstrip", "unknown option --inptu; did you mean --input?"),
        ("%tta_run sripp 1", "no workflow is called 'sripp'; there is 'strip' (did you mean"),
        ("%tta_graph sripp", "did you mean 'strip'?"),
        ("%tta_graph", "which one? There is 'strip'"),
        ("%tta_graph 1 +", "'1 +' is not a Python expression"),
        ("%tta_graph 3", "3 is a int, not a workflow"),
        ("%tta_trace --format tere", "not 'tere'; did you mean 'tree'?"),
        ("%tta_trace strip", "strip is a SequentialPrimitive, not a Run"),
        ("%tta_trace nowhere", "no run is called 'nowhere'"),
        ("%%tta_workflow a\n42", "a gives int, which is no workflow"),
    ],
)
def test_mistakes_are_one_line(shell, source, line):
    line = line.replace("SequentialPrimitive", type(shell.ip.user_ns["strip"]).__name__)
    cell = shell.run(source)
    shown = (cell.out + cell.err).strip()
    assert shown.startswith("UsageError: ")
    assert line in shown
    assert "\n" not in shown
    assert cell.error is not None


@pytest.mark.parametrize("name", ["%%tta_workflow", "%tta_run", "%tta_trace", "%tta_graph"])
def test_every_magic_has_real_help(shell, name):
    cell = shell.run(f"{name} -h\n")
    assert f"Usage: {name}" in cell.out
    assert cell.error is None
    assert shell.run(f"{name}?").error is None


def test_an_unknown_name_in_the_input_is_an_ordinary_error(shell):
    assert isinstance(shell.run("%tta_run strip nope").error, NameError)


def test_trace_shows_the_last_run_or_the_one_that_is_named(shell):
    shell.run("%%tta_workflow one --input ' a ' --as first\nstrip >> str.upper")
    shell.run("%%tta_workflow two --input ' b '\nstrip >> str.upper")
    assert shell.run("%tta_trace").out.startswith("two  ok")
    assert shell.run("%tta_trace first").out.startswith("one  ok")
    run = shell.ip.user_ns["first"]
    assert shell.run(f"%tta_trace {run.id}").out.startswith("one  ok")
    assert '"workflow": "one"' in shell.run("%tta_trace first --format json").out
    assert "  start  " in shell.run("%tta_trace first --format table").out


def test_workflows_and_runs_are_shown_as_pictures(shell):
    formatter = shell.ip.display_formatter
    shell.run("%%tta_workflow one --input ' a ' --as run\nstrip >> str.upper")
    data, _ = formatter.format(shell.ip.user_ns["run"])
    assert set(data) == {"text/plain", "text/html"}
    data, _ = formatter.format(shell.ip.user_ns["one"])
    assert data["text/html"].startswith("<svg")
    data, _ = formatter.format(shell.ip.user_ns["one"].graph())
    assert "one" in data["text/plain"]


def test_a_run_over_its_time_ends_in_one_calm_line(shell):
    shell.run("cleaned = []")
    cell = shell.run(
        "%%tta_workflow slow --input 1 --timeout 0.05\n"
        "async def wait(x):\n"
        "    try:\n        await asyncio.sleep(60)\n    finally:\n        cleaned.append(x)\n"
        "LambdaPrimitive(abs) >> wait"
    )
    assert isinstance(cell.error, TimeoutError)
    assert "slow: over its 0.05 s, stopped after" in cell.out
    assert "stopped in slow > wait" in cell.out
    assert "Traceback" not in cell.out
    assert shell.value("cleaned") == [1]


def test_a_timeout_of_the_users_own_keeps_its_traceback(shell):
    cell = shell.run(
        "%%tta_workflow t --input 1 --timeout 60\n"
        "def fail(x):\n    raise TimeoutError('mine')\nLambdaPrimitive(fail)"
    )
    assert str(cell.error) == "mine"
    assert "Traceback" in cell.out


def test_a_cancelled_run_stops_the_cell_past_except_exception(shell):
    cell = shell.run(
        "async def wait(x):\n    await asyncio.sleep(60)\n"
        "waiting = LambdaPrimitive(wait)\ntries = []\n"
        "for i in range(3):\n    try:\n        tries.append(i)\n"
        "        asyncio.get_running_loop().call_later(0.01, lambda: last_run().cancel())\n"
        "        %tta_run waiting i\n    except Exception:\n        pass\n"
    )
    assert "waiting: cancelled after" in cell.out
    assert "Traceback" not in cell.out
    assert shell.value("tries") == [0]


def test_completion_offers_what_fits_and_nothing_elsewhere(shell):
    shell.run("%%tta_workflow ask --input ' a ' --as run\nstrip >> len")

    def offered(line):
        with provisionalcompleter():
            return [found.text for found in shell.ip.Completer.completions(line, len(line))]

    assert offered("%%tta_workflow ask --in") == ["--input"]
    assert offered("%tta_run as") == ["ask"]
    assert offered("r = %tta_run ask 1 --live w") == ["widget"]
    assert "tree" in offered("%tta_trace --format ")
    assert "--format" in offered("%tta_trace --")
    assert "--input" not in offered("x --")


def test_loading_is_silent_and_idempotent(bare_shell):
    assert bare_shell.run("%load_ext tta_notebook").out == ""
    transforms = list(bare_shell.ip.input_transformers_cleanup)
    bare_shell.run("%reload_ext tta_notebook\nimport tta_notebook")
    bare_shell.run("tta_notebook.load_ipython_extension(get_ipython())")
    assert len(bare_shell.ip.input_transformers_cleanup) == len(transforms)


def test_unloading_removes_everything(bare_shell):
    def state():
        ip = bare_shell.ip
        return {
            "magics": {kind: set(found) for kind, found in ip.magics_manager.magics.items()},
            "registry": set(ip.magics_manager.registry),
            "transforms": len(ip.input_transformers_cleanup),
            "matchers": len(ip.Completer.custom_matchers),
            "events": {name: len(found) for name, found in ip.events.callbacks.items()},
            "formatters": {
                mime: set(found.type_printers)
                for mime, found in ip.display_formatter.formatters.items()
            },
            "configurables": len(ip.configurables),
            "names": set(ip.user_ns),
            "recording": (stream.is_recording, stream.with_previews),
        }

    bare_shell.run("%unload_ext tta_notebook")  # IPython loads its own magic for that
    before = state()
    bare_shell.run("%load_ext tta_notebook")
    assert state()["recording"] == (True, True)
    assert state()["magics"] != before["magics"]
    bare_shell.run("%unload_ext tta_notebook")
    after = state()
    after["names"] -= {name for name in after["names"] if name.startswith("_i")}
    before["names"] -= {name for name in before["names"] if name.startswith("_i")}
    assert after == before
    assert "not found" in "".join(bare_shell.run("%tta_trace").err)


def test_the_runtime_is_hidden_from_who(shell):
    assert "__tta__" not in shell.run("%who").out


def test_a_terminal_waits_for_the_end_of_the_cell(shell):
    check = shell.ip.input_transformer_manager.check_complete
    assert check("%%tta_workflow ask --input 1\nstrip")[0] == "incomplete"
    assert check("%%tta_workflow ask --input 1\nstrip\n\n")[0] == "complete"


def test_a_dry_run_defines_and_draws_and_runs_nothing(shell):
    shell.run("seen = []")
    cell = shell.run("%%tta_workflow ask --input seen.append(1) --dry-run\nstrip >> seen.append")
    assert cell.error is None
    assert isinstance(cell.value, WorkflowPrimitive)
    assert cell.value is shell.value("ask")
    assert shell.value("seen") == []


def test_a_step_that_is_out_of_time_has_all_of_it_to_clean_up(shell):
    shell.run(
        "cleaned = []\n"
        "async def slow(x):\n"
        "    try:\n"
        "        await asyncio.sleep(30)\n"
        "    finally:\n"
        "        await asyncio.sleep(0.05)\n"
        "        cleaned.append(x)\n"
        "slow = LambdaPrimitive(slow)"
    )
    cell = shell.run("%tta_run slow 1 --timeout 0.05")
    assert type(cell.error).__name__ == "RunTimedOut"
    assert shell.value("cleaned") == [1]
