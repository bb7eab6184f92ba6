"""A sample of the interaction matrix in every run, and proof that it would notice."""

import asyncio
import random
import sys
from pathlib import Path

import pytest

# Tests are no package, and pytest's importlib mode leaves sys.path alone.
sys.path.insert(0, str(Path(__file__).parent))

import matrix
from matrix import PRIMITIVES, SCENARIOS, Cell, Wrapped, cells

from tta_notebook import WorkflowPrimitive
from tta_notebook.core.wrapper import WrapperPrimitive


@pytest.mark.parametrize("outer", PRIMITIVES, ids=lambda factory: factory.__name__)
@pytest.mark.parametrize("inner", PRIMITIVES, ids=lambda factory: factory.__name__)
def test_every_pair_holds_on_a_schedule_of_this_run(outer, inner):
    for scenario in SCENARIOS:
        cell = Cell(outer, inner, scenario, random.randrange(1000))  # noqa: S311 - chance, seeded by the run
        try:
            cell.run()
        except BaseException as error:
            error.add_note(f"In the matrix: {cell}")
            raise


def test_the_whole_matrix_has_every_ordered_pair():
    assert len(cells(2)) == len(PRIMITIVES) ** 2 * len(SCENARIOS) * 2
    assert len({(cell.outer, cell.inner) for cell in cells(1)}) == len(PRIMITIVES) ** 2


class Wrapper(WrapperPrimitive):
    def __init__(self, primitive):
        super().__init__(primitive, prefix="bad", name=None)


class LeavesATask(Wrapper):
    async def execute(self, input_data, context):
        result = await self.primitive(input_data, context)
        self.task = asyncio.create_task(asyncio.sleep(3600))
        return result


class SwallowsCancellation(Wrapper):
    async def execute(self, input_data, context):
        try:
            return await self.primitive(input_data, context)
        except asyncio.CancelledError:
            return f"answer to {input_data}"


class MixesAnswers(Wrapper):
    async def execute(self, input_data, context):
        result = await self.primitive(input_data, context)
        self.first = getattr(self, "first", result)
        return self.first


class AsksBehindTheBooks(Wrapper):
    async def execute(self, input_data, context):
        self.primitive.billed += 1
        return await self.primitive(input_data, context)


class LosesAnError(Wrapper):
    async def execute(self, input_data, context):
        asyncio.get_running_loop().create_future().set_exception(OSError("nobody asks"))
        return await self.primitive(input_data, context)


class InventsAnError(Wrapper):
    async def execute(self, input_data, context):
        await self.primitive(input_data, context)
        raise RuntimeError("out of nothing")


def plain(inner):
    return Wrapped(inner)


@pytest.mark.parametrize(
    ("bad", "scenario"),
    [
        (LeavesATask, "success"),
        (LeavesATask, "hundred"),
        (SwallowsCancellation, "cancel"),
        (MixesAnswers, "hundred"),
        (AsksBehindTheBooks, "success"),
        (AsksBehindTheBooks, "cancel"),
        (LosesAnError, "success"),
        (InventsAnError, "success"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_it_notices_what_must_not_be(bad, scenario):
    cell = Cell(plain, lambda inner: Wrapped(bad(inner)), scenario, 2)
    with pytest.raises((AssertionError, BaseExceptionGroup)):
        cell.run()


def test_it_notices_what_is_not_given_back():
    def never_back(inner):
        def check():
            raise AssertionError("a place is not back")

        return Wrapped(inner, check)

    with pytest.raises(AssertionError, match="not back"):
        Cell(plain, never_back, "success", 2).run()


def test_the_provider_keeps_its_own_books():
    assert issubclass(matrix.Provider, WorkflowPrimitive)
    Cell(plain, plain, "flaky", 2).run()
