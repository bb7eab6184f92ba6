"""What `%tta_config` accepts."""

from tta_notebook.notebook.options import HELP, Magic

SETTINGS = {
    "loop": ("native", "nest"),
    "history": ("on", "off"),
}

CONFIG = Magic(
    "tta_config",
    "%",
    "Show or change how the extension works in this kernel.",
    ("WORD", "WORD"),
    (HELP,),
    "[loop=native|nest] [history=on|off]",
    "loop=nest patches asyncio, for the whole process, so that synchronous code in a cell can\n"
    "turn the kernel's loop: asyncio.run(...), and run_sync with clients that belong to that\n"
    "loop. A cell that awaits needs none of it. history=off keeps no more runs in the user's\n"
    "folder.\n"
    "In plain Python: `import nest_asyncio2; nest_asyncio2.apply()`, `History().start()`.",
)
