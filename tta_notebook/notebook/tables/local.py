"""What the magic accepts that sees to the embedded model."""

from tta_notebook.notebook.options import HELP, Magic

LOCAL_ACTIONS = ("status", "install")

LOCAL = Magic(
    "tta_local",
    "%",
    "Say what the model `local` stands for, or install the embedded one.",
    ("WORD",),
    (HELP,),
    "[status|install]",
    "`install` fetches the weights of SmolLM2-135M (98 MB, Apache-2.0) into the user's own folder\n"
    "and checks them; what is there and intact is left alone.\n"
    "In a terminal: `tta local install`.\n\n"
    "  %tta_local\n"
    "  %tta_local install",
    choices=LOCAL_ACTIONS,
)
