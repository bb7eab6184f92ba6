"""What to say of a request that a cassette lacks."""

from __future__ import annotations

from pathlib import Path

from tta_notebook.core.errors import CassetteMissError
from tta_notebook.llm.cassettes.nearest import nearest
from tta_notebook.llm.cassettes.request import Asked, Matching
from tta_notebook.llm.cassettes.shelf import Shelf

_AGAIN = "Record again with mode='all', or add what is missing with mode='once', on_stale='record'."


def miss(path: Path, asked: Asked, shelf: Shelf, matching: Matching) -> CassetteMissError:
    """Return the error for a request of which the shelf holds nothing, or nothing more."""
    times = shelf.recorded(asked)
    if times:
        return CassetteMissError(
            f"{path}: a request was made once more than it is recorded ({_times(times)}), so there "
            "is no answer left for it. Begin again with cassette.rewind(), give the recordings "
            f"again and again with repeat=True, or make new ones. {_AGAIN}",
            path=str(path),
            nearest=asked.fields,
        )
    recorded = [each.asked for each in shelf.recordings if each.asked.kind == asked.kind]
    found = nearest(matching.counted(asked), [matching.counted(each) for each in recorded])
    if found is None:
        what = "conversation" if asked.kind == "chat" else "embedding"
        return CassetteMissError(
            f"{path}: a model was to be asked from this cassette, which holds no {what}"
            f"{'' if path.exists() else ' because there is no such file'}. {_AGAIN}",
            path=str(path),
        )
    return CassetteMissError(
        f"{path}: a model was to be asked from this cassette, which does not hold the request. The "
        f"nearest one is another: {found.difference}. Ask what was recorded, or record what is "
        f"asked now. {_AGAIN}",
        path=str(path),
        nearest=recorded[found.place].fields,
        difference=found.difference,
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
