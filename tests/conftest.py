"""What holds for all tests."""

import gc
import json

import pytest

from tta_notebook.core.stream import stream


@pytest.fixture(scope="module", autouse=True)
def _a_heap_of_its_own():
    """Let a module's collections look at that module's objects alone.

    Many tests collect garbage to see that nothing is left of a run. Late in the suite each of these
    went through everything that was imported and kept before, plotly and pandas included, which
    took a second: the matrix alone ten minutes in place of forty seconds. The newest run is let go
    first: frozen, it would keep open what its steps had opened.
    """
    stream.last_run = None
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def write_notebook():
    """Return what writes a notebook of code cells that was not executed yet, and gives its path."""

    def write(file, sources):
        cells = [
            {
                "cell_type": "code",
                "id": f"c{number}",
                "source": source,
                "execution_count": None,
                "metadata": {},
                "outputs": [],
            }
            for number, source in enumerate(sources)
        ]
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
        file.write_text(json.dumps(notebook), encoding="utf-8")
        return file

    return write
