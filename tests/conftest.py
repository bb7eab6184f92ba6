"""What holds for all tests."""

import gc

import pytest


@pytest.fixture(scope="module", autouse=True)
def _a_heap_of_its_own():
    """Let a module's collections look at that module's objects alone.

    Many tests collect garbage to see that nothing is left of a run. Late in the suite each of these
    went through everything that was imported and kept before, plotly and pandas included, which
    took a second: the matrix alone ten minutes in place of forty seconds.
    """
    gc.collect()
    gc.freeze()
