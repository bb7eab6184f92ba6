"""The workers of a cluster as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tta_notebook.scale.cluster import WorkerStatus

_HEAD = ("worker", "places", "machine", "memory")
_TEXTS = (0, 2)


@dataclass(frozen=True)
class Workers:
    """What a cluster had when it was asked.

    Attributes:
        workers: each of them.
    """

    workers: Sequence[WorkerStatus]

    def __str__(self) -> str:
        table = [_HEAD, *self._rows()]
        widths = [max(len(row[column]) for row in table) for column in range(len(_HEAD))]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if column in _TEXTS else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        )

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col" style="{_align(i)}">{h}</th>' for i, h in enumerate(_HEAD))
        body = "".join(map(_html_row, self._rows()))
        return (
            '<table class="tta-workers" style="border-collapse:collapse;color:inherit">'
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _rows(self) -> list[tuple[str, ...]]:
        # In one order whatever order they came in.
        return sorted(
            (worker.address, f"{worker.places:,}", worker.host, _bytes(worker.memory_bytes))
            for worker in self.workers
        )


def _html_row(row: tuple[str, ...]) -> str:
    first, *rest = (escape(cell) for cell in row)
    cells = "".join(f'<td style="{_align(i)}">{cell}</td>' for i, cell in enumerate(rest, 1))
    return f'<tr><th scope="row" style="{_align(0)}">{first}</th>{cells}</tr>'


def _align(column: int) -> str:
    return f"text-align:{'left' if column in _TEXTS else 'right'};padding:.1em .8em"


def _bytes(size: int) -> str:
    """Return a size in the unit that suits it.

    >>> _bytes(78_508_032), _bytes(2_340_000_000), _bytes(0)
    ('79 MB', '2.34 GB', '')
    """
    if not size:
        return ""  # a worker that has only come has not said it yet
    return f"{size / 1e6:.0f} MB" if size < 999_500_000 else f"{size / 1e9:.3g} GB"  # noqa: PLR2004 - units change where three digits no longer suffice
