"""What the magic accepts that records and replays calls to models."""

from tta_notebook.notebook.options import HELP, Magic, Option

MODES = ("none", "once", "all")

CASSETTE = Magic(
    "tta_cassette",
    "%",
    "Record calls to models in a file, or replay them from it; alone, say which one is on.",
    ("WORD",),
    (
        Option(
            "--mode",
            "once: replay, record if there is no file; none: only replay; all: record anew",
            "MODE",
            MODES,
        ),
        HELP,
    ),
    "[FILE | off]",
    "It serves every run of this kernel until `off`, another FILE or the end of the kernel. For\n"
    "one run there is `--cassette FILE` of %%tta_workflow and %tta_run.\n"
    "In plain Python: `with Cassette(FILE, MODE, repeat=True): …`.\n\n"
    "  %tta_cassette recordings.jsonl --mode none\n"
    "  %tta_cassette off",
)
