"""What the magics accept that ask recorded runs, models and caches."""

from tta_notebook.notebook.options import HELP, Magic, Option
from tta_notebook.notebook.tables.costs import PERIODS

STATUSES = ("running", "ok", "error", "cancelled", "lost")

_SINCE = Option("--since", "only the last so long: 90s, 30m, 12h, 7d", "SPAN")

HISTORY = Magic(
    "tta_history",
    "%",
    "List the runs that this and other notebooks have made, the newest last.",
    (),
    (
        _SINCE,
        Option("--workflow", "only runs of this workflow", "NAME"),
        Option("--status", "only runs that ended so", "STATUS", STATUSES),
        Option("--limit", "the newest so many; by default 20", "N"),
        HELP,
    ),
    "",
    "Its value is a pandas DataFrame. In plain Python: `History().df('runs')`; `.sql(…)` and\n"
    "`.costs(…)` ask for more.",
)
MODELS = Magic(
    "tta_models",
    "%",
    "List the models that were asked, what that came to, and what they cost now.",
    (),
    (_SINCE, HELP),
    "",
    "Its value is a pandas DataFrame, prices in USD per million tokens. In plain Python:\n"
    "`History().costs('model')` and `PriceBook().quote(MODEL)`.",
)
CACHE = Magic(
    "tta_cache",
    "%",
    "Show what the notebook's caches have saved, or forget what one keeps.",
    ("NAME", "NAME"),
    (HELP,),
    "[clear NAME]",
    "NAME is a workflow of the notebook: all caches in it are cleared.\n"
    "In plain Python: `cached.get_stats()`, `await cached.clear()`.",
)
COMPARE = Magic(
    "tta_compare",
    "%",
    "Show two runs side by side: answers, time, tokens, money, steps.",
    ("WORD", "WORD"),
    (HELP,),
    "RUN RUN",
    "RUN is a variable or an id as its picture shows it; what stands alone is compared with the\n"
    "newest run. In plain Python: `tta_notebook.notebook.compare.Comparison(run, other)`.",
    completes="runs",
)
WHATIF = Magic(
    "tta_whatif",
    "%",
    "Ask recorded runs what they would have cost otherwise; nothing is called.",
    ("WORD", "EXPR"),
    (
        Option("--run", "ask this run, in place of the history", "NAME"),
        _SINCE,
        Option("--ttl", "cache: how long answers are good for, in seconds", "S"),
        Option("--per", "budget: when it begins anew; by default total", "PERIOD", PERIODS),
        Option("--scope", "budget: one for each user, workflow, session or model", "SCOPE"),
        Option("--plot", "draw it"),
        HELP,
    ),
    "model 'NAME' | cache [SIZES] | retry N | budget USD",
    "In plain Python: `WhatIf(History()).reprice('NAME')`, `.cache(sizes)`, `.retry(n)` and\n"
    "`.budget(usd)`.\n\n"
    "  %tta_whatif model 'openai:gpt-5-mini' --since 7d\n"
    "  %tta_whatif cache [10, 100] --plot\n"
    "  %tta_whatif budget 5 --per day --scope user",
)
