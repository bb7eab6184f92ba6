"""What runs cost, in the cells that run them."""

import pytest
from IPython.core.error import UsageError

from tta_notebook import BudgetExceededError, History, Run
from tta_notebook.core.standing import standing


@pytest.fixture
def shell(priced):
    return priced


def test_a_run_shows_what_it_cost_by_step_and_in_all(shell):
    cell = shell.run("%%tta_workflow ask --input 'x'\nmodel >> str.upper")
    assert cell.value.cost_usd == 3
    text = shell.run("%tta_trace").out
    assert text.splitlines()[0].endswith("5 → 3 tokens  $3.00")
    assert text.count("$3.00") == 2
    table = shell.run("%tta_trace --format table").out
    assert table.splitlines()[0].endswith("cost")
    assert '"cost_usd": 3.0' in shell.run("%tta_trace --format json").out
    html = shell.ip.display_formatter.format(cell.value)[0]["text/html"]
    assert html.count("$3.00") == 2
    assert '<th scope="col">cost</th>' in html


def test_a_run_without_costs_has_no_column_for_them(shell):
    cell = shell.run("%%tta_workflow up --input 'x'\nstr.upper")
    html = shell.ip.display_formatter.format(cell.value)[0]["text/html"]
    assert ">cost<" not in html
    assert "$" not in shell.run("%tta_trace").out


def test_a_cells_budget_stops_its_run_without_a_traceback(shell):
    cell = shell.run(
        "%%tta_workflow ask --input 'x' --budget 4.5\n"
        "two = LLMPrimitive(ScriptedModel([Reply('a', usage=Usage(0, 3))] * 9, name='m'),"
        " max_output_tokens=3, name='two')\n"
        "model >> two >> two"
    )
    assert isinstance(cell.error, BudgetExceededError)
    assert "Traceback" not in cell.out
    assert "stopped by a budget" in cell.out
    assert "of $4.50" in cell.out
    assert "at a cost of $6.00" in cell.out  # the script bills three tokens whatever it may


def test_the_line_form_takes_a_budget_too(shell):
    shell.run("%%tta_workflow ask\nmodel")
    assert shell.value("%tta_run ask 'x' --budget 3").cost_usd == 3
    assert isinstance(shell.run("%tta_run ask 'x' --budget 0.5").error, BudgetExceededError)
    cell = shell.run("%tta_run ask 'x' --budget lots")
    assert isinstance(cell.error, UsageError)
    assert "--budget is an amount in USD" in cell.err


def test_costs_of_all_runs_are_booked_and_outlive_the_kernel(shell):
    shell.run("%%tta_workflow ask --input 'x'\nmodel")
    shell.run("await model('x')")
    report = shell.value("%tta_costs")
    assert report.total.cost_usd == 6
    assert "$6.00" in str(report)
    assert "by user" in str(report)
    by = str(shell.value("%tta_costs --by workflow --since 1h"))
    assert "ask" in by
    assert "by user" not in by
    shell.run("%unload_ext tta_notebook")
    shell.run("await model('x')")
    shell.run("%load_ext tta_notebook")
    assert shell.value("%tta_costs").total.cost_usd == 6


def test_costs_are_drawn(shell):
    shell.run("await model('x')")
    chart = shell.value("%tta_costs --plot --by model")
    bundle = shell.ip.display_formatter.format(chart)[0]
    assert {"text/plain", "text/html", "application/vnd.plotly.v1+json"} <= set(bundle)
    assert "<script" not in bundle["text/html"]
    assert "m" in bundle["text/plain"]


@pytest.mark.parametrize("line", ["--by people", "--since yesterday", "--since -1h", "x"])
def test_what_costs_cannot_show_is_a_usage_error(shell, line):
    cell = shell.run(f"%tta_costs {line}")
    assert isinstance(cell.error, UsageError)
    assert "Traceback" not in cell.out


def test_a_budget_stands_over_every_run_until_it_is_cleared(shell):
    assert "none is set" in shell.run("%tta_budget").out
    assert "$0.00 of $4.00" in shell.run("%tta_budget set 2 * 2").out
    shell.run("await model('x')")
    assert "$3.00 of $4.00 is spent" in shell.run("%tta_budget").out
    assert isinstance(shell.run("[await model('x'), await model('x')]").error, BudgetExceededError)
    assert "none is set" in shell.run("%tta_budget clear").out
    assert shell.run("await model('x')").error is None


def test_a_days_budget_goes_on_in_the_next_kernel(shell):
    shell.run("%tta_budget set 5 --per day")
    shell.run("await model('x')")
    shell.run("%unload_ext tta_notebook")
    assert standing.guards == ()
    shell.run("%load_ext tta_notebook")
    assert "$3.00 of $5.00 is spent" in shell.run("%tta_budget set 5 --per day").out
    assert (
        "$5.00 per day for each user" in shell.run("%tta_budget set 5 --per day --scope user").out
    )


@pytest.mark.parametrize(
    "line", ["set", "set -1", "set 'x'", "show 3", "clear --per day", "set 5 --per week", "raise"]
)
def test_a_budget_that_means_nothing_is_a_usage_error(shell, line):
    cell = shell.run(f"%tta_budget {line}")
    assert isinstance(cell.error, UsageError), cell.out
    assert "Traceback" not in cell.out


def test_magics_of_money_answer_h(shell):
    assert "Usage: %tta_costs" in shell.run("%tta_costs -h").out
    assert "Usage: %tta_budget [set USD | clear]" in shell.run("%tta_budget -h").out


def test_a_run_has_its_budget_in_its_trace(shell):
    run = shell.value("%%tta_workflow ask --input 'x' --budget 9\nmodel")
    assert isinstance(run, Run)
    (note,) = run.spans[-1].noted("budget")
    assert (note.data["spent_usd"], note.data["limit_usd"]) == (3, 9)
    assert "budget $3.00 of $9.00" in shell.run("%tta_trace").out


def test_every_run_of_a_notebook_is_in_its_history(shell):
    shell.run("%%tta_workflow ask --input 'x'\nmodel >> str.upper")
    shell.run("%unload_ext tta_notebook")
    history = History()
    (run,) = history.runs(workflow="ask")
    assert (run.status, run.cost_usd, len(run.spans)) == ("ok", 3, 3)
    assert history.df("spans", kind="llm")["output"].to_list() == ["yes"]
    history.stop()
