"""How magics say what they accept, and how their lines are read: one reader, no IPython.

A line is read raw, because a magic's input is a Python expression: IPython's own splitting would
break `--input f(x, y)` in two.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from dataclasses import dataclass, field
from datetime import timedelta
from difflib import get_close_matches

LIVE_MODES = ("auto", "widget", "html", "off")


class UsageMistake(ValueError):  # noqa: N818 - what the user did; the extension turns it into UsageError
    """A magic was written in a way that means nothing; one line says how to write it."""


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a magic.

    Attributes:
        flag: as it is written.
        help: one line for `-h`.
        value: what follows it; empty for a switch. "EXPR" is a Python expression.
        choices: the values it may have, if they are few.
    """

    flag: str
    help: str
    value: str = ""
    choices: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The name under which the reader gives its value."""
        return self.flag.lstrip("-")

    @property
    def synopsis(self) -> str:
        """How it is written, value included."""
        value = "|".join(self.choices) or self.value
        return f"{self.flag} {value}".rstrip()


@dataclass(frozen=True, slots=True)
class Magic:
    """One magic: its name, what it takes, and what it says about itself.

    Attributes:
        name: without per cent signs.
        prefix: "%" or "%%".
        summary: one line.
        positionals: what stands without a flag, in order: "NAME" (of a variable), "WORD" or "EXPR".
        options: what stands with one.
        synopsis: the positionals as `-h` shows them.
        details: the rest of `-h`.
        completes: what the first positional is, for completion: "workflows", "runs", "providers" or
            "settings".
        choices: what the first positional may be, if that is one of a few words.
        surplus: what to say of a word too many; by default that `-h` shows usage.
        actions: what it does, where its first word says which: each with a line of its own.
    """

    name: str
    prefix: str
    summary: str
    positionals: tuple[str, ...]
    options: tuple[Option, ...]
    synopsis: str
    details: str
    completes: str = ""
    choices: tuple[str, ...] = ()
    surplus: str = ""
    actions: tuple[Magic, ...] = ()

    @property
    def title(self) -> str:
        """The magic as it is typed."""
        return self.prefix + self.name

    def option(self, flag: str) -> Option:
        """Return the option written as `flag`.

        Raises:
            UsageMistake: there is none; the message names the closest one.
        """
        flags = {option.flag: option for option in self.options}
        if flag in flags:
            return flags[flag]
        close = get_close_matches(flag, list(flags), 1, 0.5)
        hint = f"did you mean {close[0]}?" if close else f"{self.title} -h lists the options."
        raise UsageMistake(f"{self.title}: unknown option {flag}; {hint}")

    def action(self, line: str) -> tuple[Magic | None, str]:
        """Return the action that a line names, and what stands behind its name."""
        word, rest = _FIRST_WORD.fullmatch(line).groups()  # type: ignore[union-attr]  # any text fits
        named = dict(zip(self.action_words, self.actions, strict=True))
        return named.get(word), rest

    @property
    def action_words(self) -> list[str]:
        """The words that name its actions."""
        return [action.name.rpartition(" ")[2] for action in self.actions]

    def help(self) -> str:
        """Return what `-h` prints."""
        if self.actions:
            return self._help_of_actions()
        usage = " ".join([self.title, self.synopsis, *(f"[{o.synopsis}]" for o in self.options)])
        width = max(len(option.synopsis) for option in self.options)
        table = "\n".join(f"  {o.synopsis:<{width}}  {o.help}" for o in self.options)
        return f"{self.summary}\n\nUsage: {_folded(usage)}\n\n{table}\n\n{self.details}"

    def _help_of_actions(self) -> str:
        lines = [(f"{a.title} {a.synopsis}".rstrip(), a.summary) for a in self.actions]
        width = max(len(usage) for usage, _ in lines)
        table = "\n".join(f"  {usage:<{width}}  {summary}" for usage, summary in lines)
        example = f"{self.actions[-1].title} -h"
        more = f"-h: show this help; behind any of them it has the rest, as in {example}."
        return f"{self.summary}\n\n{table}\n\n{more}"


@dataclass(slots=True)
class Arguments:
    """What one line says.

    Attributes:
        words: the positionals, in order.
        values: the options that were given; "" for a switch.
        is_silenced: whether the line ends in a semicolon.
    """

    words: list[str] = field(default_factory=list[str])
    values: dict[str, str] = field(default_factory=dict[str, str])
    is_silenced: bool = False


HELP = Option("-h", "show this help")
QUIET = Option("-q", "show nothing: no picture of the run, no value")
SHOW = Option("--show", "show it all the same where the setting quiet is on")
BACKGROUND = Option("--background", "go on with the next cells; the run is awaited later, or not")
NO_REUSE = Option("--no-reuse", "run every step anew, whatever the setting reuse says")
LIVE = Option("--live", "how to show the run while it goes on", "MODE", LIVE_MODES)
TIMEOUT = Option("--timeout", "stop the run after S seconds", "S")
BUDGET = Option("--budget", "spend at most this much on models in the run", "USD")

_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_SPACE = re.compile(r"\s*")
_FLAG = re.compile(r"--[A-Za-z][\w-]*|-[qho](?![\w.(\[])")
_FIRST_WORD = re.compile(r"\s*([\w-]*)(.*)", re.DOTALL)
_WORD = re.compile(r"'[^']*'|\"[^\"]*\"|[^\s;#]+")


def read(magic: Magic, line: str) -> Arguments:
    """Read the raw text behind a magic's name.

    Raises:
        UsageMistake: an unknown option, a missing or impossible value, a word too many.

    >>> from tta_notebook.notebook.tables.runs import RUN
    >>> read(RUN, "ask f(x, y) --timeout 3").words
    ['ask', 'f(x, y)']
    """
    found = Arguments()
    at = _skip(line, 0)
    while at < len(line) and line[at] not in ";#":
        if flag := _FLAG.match(line, at):
            at = _read_option(magic, line, flag, found)
        else:
            at = _read_positional(magic, line, at, found)
        at = _skip(line, at)
    found.is_silenced = line[at : at + 1] == ";"
    return found


def _read_option(magic: Magic, line: str, flag: re.Match[str], found: Arguments) -> int:
    option = magic.option(flag.group())
    if option.key in found.values:
        raise UsageMistake(f"{magic.title}: {option.flag} is given twice.")
    at = flag.end()
    text = ""
    if option.value:
        at = _skip(line, at + 1 if line[at : at + 1] == "=" else at)
        is_expression = option.value == "EXPR"
        text, at = _value(line, at, is_expression=is_expression)
        text = text if is_expression else text.strip("'\"")
        check_value(f"{magic.title}: {option.flag}", option, text)
    found.values[option.key] = text
    return at


def _read_positional(magic: Magic, line: str, at: int, found: Arguments) -> int:
    if len(found.words) == len(magic.positionals):
        raise UsageMistake(_word_too_many(magic, line[at:].strip()))
    is_expression = magic.positionals[len(found.words)] == "EXPR"
    text, end = _value(line, at, is_expression=is_expression)
    is_name = magic.positionals[len(found.words)] == "NAME"
    if is_name and not _is_dotted_name(text):
        raise UsageMistake(
            f"{magic.title}: {text!r} is not a name; write {magic.title} {magic.synopsis} …"
        )
    found.words.append(text)
    return end


def _word_too_many(magic: Magic, rest: str) -> str:
    hint = magic.surplus or f"{magic.title} -h shows usage"
    return f"{magic.title}: did not expect {rest!r}; {hint}."


def check_value(title: str, option: Option, text: str) -> None:
    """Refuse what an option cannot be.

    Raises:
        UsageMistake: the text is that; the message begins with the title.
    """
    if not text:
        raise UsageMistake(f"{title} needs a value: {option.synopsis}.")
    if option.choices and text not in option.choices:
        close = get_close_matches(text, option.choices, 1, 0.4)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise UsageMistake(f"{title} is one of {', '.join(option.choices)}, not {text!r}{hint}")
    if option.value == "S" and not _is_positive(text):
        raise UsageMistake(f"{title} is a number of seconds above 0, not {text!r}.")
    if option.value == "USD" and not _is_amount(text):
        raise UsageMistake(f"{title} is an amount in USD from 0, not {text!r}.")
    if option.value == "SPAN" and _SPAN.fullmatch(text) is None:
        raise UsageMistake(f"{title} is a length of time like 30m, 12h or 7d, not {text!r}.")
    if option.value == "N" and not (text.isdecimal() and int(text)):
        raise UsageMistake(f"{title} is a whole number from 1, not {text!r}.")
    if option.value == "VAR" and not text.isidentifier():
        raise UsageMistake(f"{title} is the name of a variable, not {text!r}.")
    if option.value == "EXPR":
        parse_expression(f"{title}", text)


def parse_expression(title: str, text: str) -> ast.expr:
    """Parse a Python expression that stands in a magic's line.

    Raises:
        UsageMistake: it is none; text without quotes gets the hint to quote it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the cell's own compilation warns, once
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError) as error:
        words = re.fullmatch(r"[\w ,.!?'-]+", text)
        why = error.msg if isinstance(error, SyntaxError) else str(error)
        hint = f'; is it text? Write "{text}".' if words and " " in text else "."
        raise UsageMistake(f"{title}: {text!r} is not a Python expression: {why}{hint}") from None


def _value(line: str, at: int, *, is_expression: bool) -> tuple[str, int]:
    if is_expression:
        end = _expression_end(line, at)
        return line[at:end].strip(), end
    word = _WORD.match(line, at)
    if word is None or _FLAG.match(line, at):
        return "", at
    return word.group(), word.end()


def _expression_end(line: str, start: int) -> int:
    """Find where the expression ends: at an option, `;` or a comment outside of brackets."""
    depth = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(line[start:]).readline):
            at = start + token.start[1]
            if token.type == tokenize.COMMENT or (depth == 0 and token.string == ";"):
                return at
            if depth == 0 and token.string == "-" and _is_flag(line, at):
                return at
            if token.type == tokenize.OP:
                depth += (token.string in "([{") - (token.string in ")]}")
    except (tokenize.TokenError, SyntaxError):
        pass  # not Python: whoever parses the expression says what is wrong with it
    return len(line)


def _is_flag(line: str, at: int) -> bool:
    return (at == 0 or line[at - 1].isspace()) and _FLAG.match(line, at) is not None


def _skip(line: str, at: int) -> int:
    space = _SPACE.match(line, at)
    return space.end() if space else at


def _is_dotted_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


def _is_amount(text: str) -> bool:
    try:
        return 0 <= float(text) < float("inf")
    except ValueError:
        return False


def seconds_in(span: str) -> float:
    """Return how many seconds a length of time has that is written as on our lines.

    >>> seconds_in("90s"), seconds_in("1.5h")
    (90.0, 5400.0)
    """
    found = _SPAN.fullmatch(span)
    assert found is not None, "the reader has checked it"
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]]


def timedelta_in(span: str) -> timedelta:
    """Return the same as a length of time; the longest one for what is longer.

    >>> timedelta_in("36h").days, timedelta_in("9" * 400 + "d") == timedelta.max
    (1, True)
    """
    try:
        return timedelta(seconds=seconds_in(span))
    except OverflowError:
        return timedelta.max


def _folded(usage: str, width: int = 92) -> str:
    """Break a usage line before its brackets, the rest indented under it."""
    lines = [""]
    for part in re.split(r" (?=\[)", usage):
        if lines[-1] and len(lines[-1]) + len(part) > width:
            lines.append("         ")
        lines[-1] += ("" if not lines[-1].strip() else " ") + part
    return "\n".join(lines)
