"""Where this package keeps files of the user: weights, histories, caches."""

import os
import sys
from pathlib import Path

_FOLDER = "tta_notebook"


def home() -> Path:
    """Return the package's folder: `TTA_HOME`, else the place the platform has for user data.

    The folder need not exist. Linux follows the XDG base directory specification, macOS and
    Windows their own guides; the working folder is never used.
    """
    if chosen := os.environ.get("TTA_HOME"):
        return Path(chosen).expanduser().absolute()
    return _user_data() / _FOLDER


def _user_data() -> Path:
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return Path(local) if local else Path.home() / "AppData" / "Local"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    # The specification says to ignore a relative path.
    xdg = Path(os.environ.get("XDG_DATA_HOME") or "")
    return xdg if xdg.is_absolute() else Path.home() / ".local" / "share"
