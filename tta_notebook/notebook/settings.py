"""The settings of the extension: one place for `%config`, `%tta_config` and pyproject.toml."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from traitlets import HasTraits, TraitError, TraitType
from traitlets.config import Config, Configurable

from tta_notebook.notebook.ipython import Shell
from tta_notebook.notebook.options import UsageMistake
from tta_notebook.notebook.tables.config import SETTINGS, default_of, read_setting, setting_named

TABLE = "tool.tta_notebook"


class Setting(TraitType[str, object]):
    """A setting as a trait: what `read_setting` takes, kept as text."""

    info_text = "a setting of tta_notebook"

    def set(self, obj: HasTraits, value: object) -> None:
        """Set it, and do what that takes.

        Raises:
            TraitError: it cannot be that; it stays as it was.
        """
        assert isinstance(obj, TTAMagics)
        try:
            text = read_setting("TTAMagics", self.name or "", value)
            # Before it changes: what cannot be done must not be shown as if it were so.
            obj.put_into_effect(self.name or "", text)
        except UsageMistake as mistake:
            raise TraitError(str(mistake)) from None
        super().set(obj, text)
        obj.sources[self.name or ""] = obj.speaker


def _trait(name: str) -> Setting:
    option = SETTINGS[name]
    about = f"{option.help[0].upper()}{option.help[1:]}: {'|'.join(option.choices) or option.value}"
    return Setting(default_of(name), help=about).tag(config=True)


class TTAMagics(Configurable):
    """How the magics of tta_notebook work in this kernel.

    An option of a magic counts more than its setting. The defaults come from the table
    [tool.tta_notebook] of the nearest pyproject.toml.
    """

    live = _trait("live")
    budget = _trait("budget")
    timeout = _trait("timeout")
    history = _trait("history")
    loop = _trait("loop")
    quiet = _trait("quiet")
    reuse = _trait("reuse")

    # The docstring above is what `%config TTAMagics` prints. `sources` says who has set what,
    # `speaker` who is setting now, `effects` what has to be done when a setting changes; each of
    # them raises UsageMistake where it cannot be.

    def __init__(self, shell: Shell) -> None:
        self.sources: dict[str, str] = {}
        self.effects: dict[str, Callable[[str], None]] = {}
        self.speaker = "IPython's configuration"
        super().__init__(parent=shell)
        self.speaker = "%config"

    def __getitem__(self, name: str) -> str:
        """Return a setting by its name."""
        return cast("str", getattr(self, name))

    def put_into_effect(self, name: str, value: str) -> None:
        """Do what a change of a setting takes, if it is one."""
        if name in self.effects and value != self[name]:
            self.effects[name](value)

    def change(self, values: Mapping[str, object], source: str) -> None:
        """Set some settings.

        Args:
            values: by name.
            source: who says so.

        Raises:
            UsageMistake: there is no such setting, or it cannot be that; those before it are set.
        """
        with self._spoken_by(source):
            for name, value in values.items():
                setting_named(source, name)
                try:
                    setattr(self, name, value)
                except TraitError as error:
                    raise UsageMistake(str(error).replace("TTAMagics", source, 1)) from None

    def update_config(self, config: Config) -> None:
        """Take what `%config` says; traitlets would only warn of a name that there is not."""
        said: Mapping[str, Any] = cast("Any", config).get("TTAMagics", {})
        for name in said:
            try:
                setting_named("TTAMagics", name)
            except UsageMistake as mistake:
                raise TraitError(str(mistake)) from None
        super().update_config(config)

    def source_of(self, name: str) -> str:
        """Return who has set a setting."""
        return self.sources.get(name, "default")

    @contextmanager
    def _spoken_by(self, source: str) -> Generator[None]:
        before, self.speaker = self.speaker, source
        try:
            yield
        finally:
            self.speaker = before

    def take_defaults(self, folder: Path | None = None) -> list[str]:
        """Take the settings of the nearest pyproject.toml where nobody has said otherwise.

        Args:
            folder: where to begin to look; by default the working folder.

        Returns:
            what is wrong with them, a line each; that counts for nothing, and the rest counts.
        """
        try:
            file, table = _project_table(folder)
        except _BadTableError as problem:
            return [str(problem)]
        problems: list[str] = []
        for name, value in table.items():
            if name in self.sources:
                continue
            try:
                self.change({name: value}, f"{file}")
            except UsageMistake as mistake:
                problems.append(f"{mistake} It is in [{TABLE}], and left out.")
        return problems


class _BadTableError(Exception):
    """A pyproject.toml cannot be read, or its table is none."""


def _project_table(folder: Path | None) -> tuple[str, Mapping[str, object]]:
    try:
        start = (folder or Path.cwd()).absolute()
    except OSError:  # the working folder was deleted
        return "", {}
    for place in (start, *start.parents):
        file = place / "pyproject.toml"
        if file.is_file():
            return file.name, _table_in(file)
    return "", {}


def _table_in(file: Path) -> Mapping[str, object]:
    import tomllib  # noqa: PLC0415 - only where there is a file

    try:
        # Numbers as they are written: a float of 0.1 is another amount.
        whole = tomllib.loads(file.read_text(encoding="utf-8"), parse_float=str)
    except (OSError, ValueError) as error:
        raise _BadTableError(
            f"{file.name} cannot be read, so its [{TABLE}] does not count: {error}."
        ) from None
    found: object = whole
    for part in TABLE.split("."):
        found = cast("dict[str, object]", found).get(part, {}) if isinstance(found, dict) else found
    if not isinstance(found, dict):
        raise _BadTableError(
            f"{file.name}: {TABLE} is a {type(found).__name__}, not a table, so it does not count."
        )
    return cast("dict[str, object]", found)
