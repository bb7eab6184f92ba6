"""What the magic accepts that runs maps on many processes."""

from dataclasses import replace

from tta_notebook.notebook.options import (
    BACKGROUND,
    BUDGET,
    HELP,
    LIVE,
    QUIET,
    SHOW,
    TIMEOUT,
    Arguments,
    Magic,
    Option,
    UsageMistake,
    check_value,
    parse_expression,
    read,
)

_NUMBER = Option("N", "a number of workers", "N")
_AS = Option("--as", "also bind the Cluster to this variable", "VAR")

STATUS = Magic(
    "tta_cluster status",
    "%",
    "Show the workers: address, places, machine, memory.",
    (),
    (HELP,),
    "",
    "In plain Python: `cluster.status()`.",
)
START = Magic(
    "tta_cluster start",
    "%",
    "Start workers on this machine, by default one for each core.",
    ("WORD",),
    (_AS, HELP),
    "[N]",
    "They take the place of the cluster that was open. They end with `%tta_cluster stop`,\n"
    "`%unload_ext tta_notebook` and the kernel. In plain Python:\n"
    "`cluster = await Cluster(workers=N).open()`.\n\n"
    "  %tta_cluster start 2\n"
    "  %tta_cluster start 4 --as cluster",
)
CONNECT = Magic(
    "tta_cluster connect",
    "%",
    "Use the workers of a Dask scheduler that runs somewhere.",
    ("WORD",),
    (_AS, HELP),
    "ADDRESS",
    "They need the releases of this kernel, and keys of their own. `%tta_cluster stop` leaves\n"
    "them running. In plain Python: `cluster = await Cluster(ADDRESS).open()`.\n\n"
    "  %tta_cluster connect tcp://10.0.0.1:8786",
)
SCALE = Magic(
    "tta_cluster scale",
    "%",
    "Start or end workers on this machine, so that there are N.",
    ("WORD",),
    (HELP,),
    "N",
    "What a worker was at when it is ended begins again on another one.\n"
    "In plain Python: `cluster.scale(N)`.",
)
STOP = Magic(
    "tta_cluster stop",
    "%",
    "End the workers that were started here, or leave those of a scheduler.",
    (),
    (Option("--cancel", "cancel the maps that run on them first"), HELP),
    "",
    "In plain Python: `await cluster.aclose()`.",
)
MAP = Magic(
    "tta_cluster map",
    "%",
    "Run a workflow for every item, on the workers; its value is the Run.",
    ("NAME", "EXPR"),
    (
        Option("--chunk", "how many items go out together; by default made of their number", "N"),
        Option("--concurrency", "how many items run at once, on all workers together", "N"),
        Option("--collect", "put an item's error in its place, and go on"),
        *(LIVE, BUDGET, TIMEOUT, BACKGROUND),
        Option("--as", "also bind the Run to this variable", "VAR"),
        *(QUIET, SHOW, HELP),
    ),
    "NAME EXPR",
    "EXPR gives the items: a list, or any iterable, async ones included. Every item runs anew,\n"
    "and an item whose worker was lost runs again. A cassette cannot go along.\n"
    "In plain Python: `await MapPrimitive(NAME, executor=cluster).run(EXPR)`, or\n"
    "`await NAME.map(EXPR, executor=cluster)` for the outputs alone.\n\n"
    "  %tta_cluster map ask questions --budget 2\n"
    "  run = %tta_cluster map ask open('questions.txt') --collect",
    completes="workflows",
)
CLUSTER = Magic(
    "tta_cluster",
    "%",
    "Run maps on many processes, on this machine or on others; alone, show the workers.",
    ("WORD",),
    (HELP,),
    "[start [N] | connect ADDRESS | status | scale N | stop | map NAME EXPR]",
    "",
    actions=(START, CONNECT, STATUS, SCALE, STOP, MAP),
)

_COUNTED = (START, SCALE)
# It is read, so that its refusal can say why; it is not offered.
_CASSETTE = Option("--cassette", "", "FILE")
_READ_MAP = replace(MAP, options=(*MAP.options, _CASSETTE))


def read_action(action: Magic, rest: str) -> Arguments:
    """Read what stands behind an action of `%tta_cluster`.

    Raises:
        UsageMistake: it means nothing.

    >>> read_action(MAP, "ask range(3) --chunk 2").words
    ['ask', 'range(3)']
    """
    arguments = read(_READ_MAP if action is MAP else action, rest)
    if "h" in arguments.values:
        return arguments
    if "cassette" in arguments.values:
        raise UsageMistake(
            f"{action.title}: --cassette cannot be had: one process plays and writes a cassette, "
            "and these are many. Record here, with `await NAME.map(EXPR)` inside of "
            "`with Cassette(FILE):`."
        )
    is_short = len(arguments.words) < len(action.positionals)
    if is_short and action is not START:
        raise UsageMistake(f"{action.title}: write {action.title} {action.synopsis}.")
    if action in _COUNTED and arguments.words:
        check_value(f"{action.title}: N", _NUMBER, arguments.words[0])
    if action is MAP:
        parse_expression(action.title, arguments.words[1])
    return arguments
