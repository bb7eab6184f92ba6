"""A terminal, for runs that go on while its prompt waits: its loop turns, and its end is told."""

from __future__ import annotations

from collections.abc import Callable

from tta_notebook.notebook.ipython import Shell

_LOOP = "asyncio"


class Prompt:
    """Lets the loop turn under the prompt, as `%gui asyncio` does, and sees its user leave.

    A kernel's loop always turns. In the `ipython` terminal the prompt has a loop of its own while
    it waits, unless it is told to wait on the loop of the cells.
    """

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._has_turned_on = False
        self._ask_exit: Callable[[], None] | None = None

    def turn(self) -> bool:
        """Let the loop turn while the prompt waits; tell whether it does."""
        shell = self._shell
        if getattr(shell, "kernel", None) is not None:
            return True
        # A simple prompt (`input`) holds the thread, and so does the loop of another toolkit.
        if getattr(shell, "pt_app", None) is None:
            return False
        if shell.active_eventloop is None:
            shell.enable_gui(_LOOP)
            self._has_turned_on = True
        return bool(shell.active_eventloop == _LOOP)

    def before_exit(self, act: Callable[[], object]) -> None:
        """Call something when its user leaves, with their names still there.

        IPython empties the namespace before `atexit` comes, and a step that cleans up needs it.
        """
        shell = self._shell
        leave: Callable[[], None] | None = getattr(shell, "ask_exit", None)
        if getattr(shell, "kernel", None) is not None or leave is None:
            return

        def ask_exit() -> None:
            act()
            leave()

        shell.ask_exit = self._ask_exit = ask_exit

    def rest(self) -> None:
        """Let the prompt wait as before, from the next one on, and leave without us."""
        if self._ask_exit is not None and self._shell.__dict__.get("ask_exit") is self._ask_exit:
            del self._shell.ask_exit
        self._ask_exit = None
        if self._has_turned_on and self._shell.active_eventloop == _LOOP:
            self._shell.enable_gui(None)
        self._has_turned_on = False
