"""Who is at the front end of a shell: a person, or a program that runs notebooks."""

from __future__ import annotations


def takes_input(shell: object) -> bool:
    """Tell whether a person may answer and turn controls: programs say that they take no input.

    Of a kernel it holds for the cell that runs now; in a terminal there is nothing to turn.
    """
    return bool(getattr(getattr(shell, "kernel", None), "_allow_stdin", False))
