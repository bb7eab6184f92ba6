"""The live view's script and style as they are sent: the files in order, without what people need.

Every run sends them to the browser, so comments and indentation stay here.
"""

from __future__ import annotations

from pathlib import Path

from tta_notebook.notebook.picture import stylesheet

_HERE = Path(__file__).parent
# Later files use what earlier ones define.
_FILES = ("dom", "row", "axis", "steps", "view", "main")


def script() -> str:
    """Return the script, an ES module."""
    texts = [(_HERE / "script" / f"{name}.js").read_text(encoding="utf-8") for name in _FILES]
    lines = (line.strip() for text in texts for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.startswith("//"))


def style() -> str:
    """Return the style: that of the static picture, and what only the live view has."""
    text = stylesheet() + (_HERE / "live.css").read_text(encoding="utf-8")
    return "".join(text.splitlines())
