"""What the magics accept that are about money."""

from tta_notebook.notebook.options import HELP, Magic, Option

DIMENSIONS = ("model", "workflow", "user", "step", "session", "day")
PERIODS = ("request", "run", "day", "month", "total")

COSTS = Magic(
    "tta_costs",
    "%",
    "Show what calls to models have cost, in this notebook and in others before.",
    (),
    (
        Option("--by", "add up by one thing only", "WHAT", DIMENSIONS),
        Option("--since", "only the last so long: 90s, 30m, 12h, 7d", "SPAN"),
        Option("--plot", "draw it"),
        HELP,
    ),
    "",
    "In plain Python: `ledger.report()` of the Ledger in `configure(guards=[ledger])`.",
)
STANDING_BUDGET = Magic(
    "tta_budget",
    "%",
    "Show, set or clear the budget that all runs of this notebook keep to.",
    ("NAME", "EXPR"),
    (
        Option("--per", "when it begins anew; by default total", "PERIOD", PERIODS),
        Option("--scope", "one for each user, workflow, model, tag, …", "SCOPE"),
        Option("--timezone", "whose midnight ends a day or month; by default UTC", "ZONE"),
        HELP,
    ),
    "[set USD | clear]",
    "Budgets per day and month go on when the kernel is started anew, and other notebooks share\n"
    "them. In plain Python: `configure(guards=[Budget(USD, per='day')])`.\n\n"
    "  %tta_budget set 5 --per day\n"
    "  %tta_budget",
)
