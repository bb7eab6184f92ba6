"""What the magic accepts that writes modules."""

from tta_notebook.notebook.options import HELP, Magic, Option

EXPORT = Magic(
    "tta_export",
    "%",
    "Write workflows of this notebook, and what they need, to a plain Python module.",
    ("NAME",) * 20,
    (
        Option("-o", "the module to write", "FILE"),
        Option("--check", "import it in a new process and run the last input again"),
        Option("--tests", "write test_FILE from the recorded runs beside it, too"),
        Option("--force", "write over a file that is there"),
        HELP,
    ),
    "NAME …",
    "It takes the definitions from the cells as they were run: imports, functions, classes,\n"
    "constants. What exists only in the kernel is named, and no module is written then.\n"
    "In plain Python: `tta_notebook.notebook.export.export_module([NAME], FILE)`.\n\n"
    "  %tta_export ask -o ask.py --check\n"
    "  %tta_export ask shout -o flows.py --tests",
    completes="workflows",
)
