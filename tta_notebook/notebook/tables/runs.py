"""What the magics accept that run workflows and show runs."""

from tta_notebook.notebook.options import BUDGET, HELP, LIVE, QUIET, TIMEOUT, Magic, Option

FORMATS = ("tree", "table", "json")
CASSETTE = Option("--cassette", "replay the run's calls to models from it, or record", "FILE")

WORKFLOW = Magic(
    "tta_workflow",
    "%%",
    "Define a workflow in a cell, and run it with --input.",
    ("NAME",),
    (
        Option("--input", "run it on this Python expression", "EXPR"),
        LIVE,
        BUDGET,
        TIMEOUT,
        CASSETTE,
        Option("--as", "also bind the Run to this variable", "VAR"),
        QUIET,
        HELP,
    ),
    "[NAME]",
    "The body is ordinary Python; its last expression is the workflow and is bound to NAME.\n"
    "With --input the cell's value is the Run, without it the workflow, shown as a picture.\n"
    "In plain Python: `NAME = ...; run = await NAME.run(EXPR)`.\n\n"
    "  %%tta_workflow ask --input {'question': 'why?'} --timeout 30\n"
    "  clean >> llm >> str.strip",
    surplus="the input goes behind --input",
)
RUN = Magic(
    "tta_run",
    "%",
    "Run a workflow; its value is the Run.",
    ("NAME", "EXPR"),
    (LIVE, BUDGET, TIMEOUT, CASSETTE, QUIET, HELP),
    "NAME EXPR",
    "In plain Python: `await NAME.run(EXPR)`.\n\n"
    "  %tta_run ask 'why?'\n"
    "  run = %tta_run ask questions[0] --timeout 30",
    completes="workflows",
)
TRACE = Magic(
    "tta_trace",
    "%",
    "Show what a run did, step by step; by default the last one.",
    ("EXPR",),
    (Option("--format", "how to show it", "FORMAT", FORMATS), HELP),
    "[RUN]",
    "RUN is a variable, an expression or an id as its picture shows it.\n"
    "In plain Python: `tta_notebook.notebook.display.run_text(run)`.",
    completes="runs",
)
GRAPH = Magic(
    "tta_graph",
    "%",
    "Draw a workflow without running it.",
    ("EXPR",),
    (HELP,),
    "NAME|EXPR",
    "In plain Python: `workflow.graph()`.",
    completes="workflows",
)
