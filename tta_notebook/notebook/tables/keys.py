"""What the magic accepts that asks for keys of providers."""

from tta_notebook.notebook.options import HELP, Magic, Option

KEY = Magic(
    "tta_key",
    "%",
    "Ask for the key of a provider without showing it; alone, list who has one.",
    ("WORD",),
    (
        Option("--keyring", "take it from the system's keyring, or ask and keep it there"),
        Option("--forget", "take it out of this kernel; with --keyring, out of there too"),
        HELP,
    ),
    "[PROVIDER]",
    "The key is kept in the environment variable that the provider's client reads, such as\n"
    "OPENAI_API_KEY, as long as the kernel lives. It is never written on the line: what stands in\n"
    "a cell stands in the notebook and in IPython's history.\n"
    "In plain Python: `os.environ['OPENAI_API_KEY'] = getpass.getpass()`, or Keys().ask('openai')\n"
    "of tta_notebook.notebook.keys.\n\n"
    "  %tta_key openai\n"
    "  %tta_key anthropic --keyring",
    completes="providers",
)
