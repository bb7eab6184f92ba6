"""The settings of the extension, and what `%tta_config` accepts."""

from __future__ import annotations

from typing import Final

from tta_notebook.core.errors import Names
from tta_notebook.notebook.options import HELP, LIVE_MODES, Magic, Option, UsageMistake, check_value

_SWITCH = ("on", "off")

SETTINGS: Final = {
    option.key: option
    for option in (
        Option("live", "how runs are shown while they go on", "MODE", LIVE_MODES),
        Option("budget", "USD that each run may spend on models; empty: no limit", "USD"),
        Option("timeout", "seconds that each run may take; empty: no limit", "S"),
        Option("history", "whether runs are kept in the user's folder", "SWITCH", _SWITCH),
        Option("loop", "nest patches asyncio for synchronous code", "LOOP", ("native", "nest")),
        Option("quiet", "whether runs show nothing, as with -q", "SWITCH", _SWITCH[::-1]),
        Option("reuse", "whether unchanged steps may be answered again", "SWITCH", _SWITCH),
    )
}
"""By name. The first choice is the default; what has no choices is empty by default."""


def default_of(name: str) -> str:
    """Return what a setting is where nobody has said anything."""
    return SETTINGS[name].choices[0] if SETTINGS[name].choices else ""


def read_setting(owner: str, name: str, value: object) -> str:
    """Return a setting's value as the text that it is kept as.

    Args:
        owner: where it was written, for the message.
        name: the setting's.
        value: a text, or what else says the same: a number, True for "on", None for empty.

    Raises:
        UsageMistake: there is no such setting, or it cannot have the value.

    >>> read_setting("here", "budget", 0.5), read_setting("here", "quiet", True)
    ('0.5', 'on')
    """
    option = setting_named(owner, name)
    text = _text_of(value)
    if text or option.choices:
        check_value(f"{owner}: {name}", option, text)
    return text


def setting_named(owner: str, name: str) -> Option:
    """Return a setting by its name.

    Raises:
        UsageMistake: there is none; the message names the closest one.
    """
    if name not in SETTINGS:
        known = Names(SETTINGS).instead_of(name)
        raise UsageMistake(f"{owner}: there is no setting {name!r}; there is {known}.")
    return SETTINGS[name]


def _text_of(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value).strip()


CONFIG = Magic(
    "tta_config",
    "%",
    "Show or change how the extension works in this kernel.",
    ("WORD",) * len(SETTINGS),
    (HELP,),
    "[NAME=VALUE …]",
    "\n".join(
        [
            *(
                f"  {name + '=' + ('|'.join(option.choices) or option.value):<27} {option.help}"
                for name, option in SETTINGS.items()
            ),
            "",
            "A magic's own option counts more than a setting. `%config TTAMagics` has the same",
            "ones; the table [tool.tta_notebook] of pyproject.toml gives their defaults.",
            "loop=nest patches asyncio, for the whole process, so that synchronous code in a cell",
            "can turn the kernel's loop: asyncio.run(...), and run_sync with clients of that loop.",
            "A cell that awaits needs none of it.",
            "In plain Python: `import nest_asyncio2; nest_asyncio2.apply()`, `History().start()`,",
            "`NAME.run(EXPR, budget=Budget(USD))`.",
        ]
    ),
    completes="settings",
)
