"""What the magics accept that run workflows and show runs."""

from tta_notebook.notebook.options import (
    BACKGROUND,
    BUDGET,
    HELP,
    LIVE,
    NO_REUSE,
    QUIET,
    SHOW,
    TIMEOUT,
    Magic,
    Option,
)

FORMATS = ("tree", "gantt", "table", "json")
CASSETTE = Option("--cassette", "replay the run's calls to models from it, or record", "FILE")
# In a terminal without `%gui asyncio` the loop stands still while IPython waits for a line.
_BESIDE = (
    "With --background the Run is there at once: `await run` gives its output or raises its\n"
    "error, `run.cancel()` stops it. In a terminal, `%gui asyncio` lets it go on between cells.\n"
)

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
        NO_REUSE,
        BACKGROUND,
        Option("--as", "also bind the Run to this variable", "VAR"),
        Option("--dry-run", "draw it and do not run it, whatever else the line says"),
        QUIET,
        SHOW,
        HELP,
    ),
    "[NAME]",
    "The body is ordinary Python; its last expression is the workflow and is bound to NAME.\n"
    "With --input the cell's value is the Run, without it the workflow, shown as a picture.\n"
    f"{_BESIDE}"
    "In plain Python: `NAME = ...; run = await NAME.run(EXPR)`; in the background\n"
    "`run = NAME.start(EXPR)`.\n\n"
    "  %%tta_workflow ask --input {'question': 'why?'} --timeout 30\n"
    "  clean >> llm >> str.strip",
    surplus="the input goes behind --input",
)
RUN = Magic(
    "tta_run",
    "%",
    "Run a workflow; its value is the Run.",
    ("NAME", "EXPR"),
    (LIVE, BUDGET, TIMEOUT, CASSETTE, NO_REUSE, BACKGROUND, QUIET, SHOW, HELP),
    "NAME EXPR",
    f"{_BESIDE}"
    "In plain Python: `await NAME.run(EXPR)`; in the background `NAME.start(EXPR)`.\n\n"
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
