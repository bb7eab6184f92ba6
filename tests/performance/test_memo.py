"""Edit one step, run only what changed: what is answered without running, and what never is."""

import asyncio
import gc
import os
import random
import textwrap
import weakref

import pytest

from tta_notebook import (
    CachePrimitive,
    ConfigurationError,
    LambdaPrimitive,
    LLMPrimitive,
    RetryPrimitive,
    Usage,
    WorkflowContext,
    WorkflowPrimitive,
    as_primitive,
)
from tta_notebook.core.stream import stream
from tta_notebook.llm.backends.scripted import Reply, ScriptedModel
from tta_notebook.performance.memo import MAX_ANSWERS, Memo
from tta_notebook.testing import run_virtual


class Notebook:
    """Cells that define functions, and a memo over the runs of their workflows."""

    def __init__(self):
        self.names = {"__name__": "__main__", "asyncio": asyncio}
        self.calls = []
        self.memo = Memo()
        self._cells = 0

    def cell(self, source, **names):
        """Run a cell."""
        self._cells += 1
        self.names |= names
        code = compile(textwrap.dedent(source), f"<cell {self._cells}>", "exec")
        exec(code, self.names)  # noqa: S102 - a cell

    def run(self, workflow, data="x", context=None, **options):
        """Run what a cell would, and return which steps really ran."""
        context = context or WorkflowContext()
        context.using(step_store=self.memo.for_run(workflow, **options))
        run = run_virtual(lambda: workflow.run(data, context))
        self.last = run
        return ran(run)


def ran(run):
    """Return the names of the steps without steps inside that were not answered."""
    around = {span.parent for span in run.spans}
    leaves = [span for span in run.spans if span not in around]
    return [span.name for span in leaves if not span.noted("recalled")]


SLOW = """
    async def first(x):
        await asyncio.sleep(1)
        return x + "1"

    async def second(x):
        await asyncio.sleep(1)
        return x + "2"

    async def third(x):
        await asyncio.sleep(1)
        return x + "3"
"""


@pytest.fixture
def notebook():
    notebook = Notebook()
    notebook.cell(SLOW)
    return notebook


def chain(notebook, *names):
    steps = [LambdaPrimitive(notebook.names[name], name=name) for name in names]
    workflow = steps[0]
    for step in steps[1:]:
        workflow = workflow >> step
    return workflow.named("job")


ALL = ("first", "second", "third")


def test_after_an_edit_only_the_edited_step_and_what_gets_other_input_run(notebook):
    assert notebook.run(chain(notebook, *ALL)) == list(ALL)
    notebook.cell(
        """
        async def second(x):
            await asyncio.sleep(1)
            return x + "II"
        """
    )
    assert notebook.run(chain(notebook, *ALL)) == ["second", "third"]
    assert notebook.last.output == "x1II3"


def test_steps_after_an_edit_that_changes_no_output_are_answered_too(notebook):
    notebook.run(chain(notebook, *ALL))
    notebook.cell(
        """
        async def second(x):
            await asyncio.sleep(1)
            return f"{x}2"
        """
    )
    assert notebook.run(chain(notebook, *ALL)) == ["second"]


def test_who_runs_the_same_again_wants_it_anew(notebook):
    for _ in range(3):
        assert notebook.run(chain(notebook, *ALL)) == list(ALL)
    notebook.cell(SLOW)  # the cell again, unchanged
    assert notebook.run(chain(notebook, *ALL)) == list(ALL)


def test_reuse_can_be_asked_for_and_refused(notebook):
    assert notebook.run(chain(notebook, *ALL), reuse=True) == list(ALL)
    assert notebook.run(chain(notebook, *ALL), reuse=True) == []
    assert notebook.run(chain(notebook, "first", "third"), reuse=False) == ["first", "third"]


def test_a_run_that_failed_goes_on_where_it_was(notebook):
    notebook.cell(
        """
        down = [True]

        async def second(x):
            await asyncio.sleep(1)
            if down[0]:
                raise ConnectionError
            return x + "2"
        """
    )
    workflow = chain(notebook, *ALL)
    with pytest.raises(ConnectionError):
        notebook.run(workflow)
    notebook.names["down"][0] = False
    assert notebook.run(workflow) == ["second", "third"]
    notebook.names["down"][0] = True
    with pytest.raises(ConnectionError):
        notebook.run(workflow, "y")
    with pytest.raises(ConnectionError):
        notebook.run(workflow, "y")  # not edited, and the last did not end well
    assert [bool(span.noted("recalled")) for span in recent()] == [False, True, False]


def recent():
    return stream.last_run.spans


def test_a_cancelled_run_goes_on_where_it_was(notebook):
    workflow = chain(notebook, *ALL)

    async def cancelled():
        store = notebook.memo.for_run(workflow)
        run = workflow.start("x", WorkflowContext().using(step_store=store))
        await asyncio.sleep(1.5)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    run_virtual(cancelled)
    assert notebook.run(workflow) == ["second", "third"]
    assert notebook.run(workflow) == list(ALL)


@pytest.mark.parametrize(
    "edit",
    [
        "RATE = 3",
        "table['a'] = 2",
        "def helper(x): return x + 'b'",
        "table = {'a': 1, 'b': 2}",
    ],
)
def test_a_step_whose_dependency_changed_runs(notebook, edit):
    notebook.cell(
        """
        RATE, table = 2, {"a": 1}

        def helper(x):
            return x + "a"

        async def second(x):
            await asyncio.sleep(1)
            return helper(x) * RATE + str(table)
        """
    )
    notebook.run(chain(notebook, *ALL))
    notebook.cell(edit)
    assert "second" in notebook.run(chain(notebook, *ALL))


def test_defaults_closures_and_arguments_count(notebook):
    def made(factor, suffix="!"):
        async def step(x, suffix=suffix):
            await asyncio.sleep(1)
            return x * factor + suffix

        return (LambdaPrimitive(step, name="step") >> str.upper).named("job")

    notebook.run(made(2))
    assert notebook.run(made(3)) == ["step", "upper"]
    assert notebook.run(made(3, "?")) == ["step", "upper"]
    assert notebook.run(made(2)) == ["upper"]  # as it was in the first run


def test_another_input_runs_and_the_old_one_is_still_known(notebook):
    notebook.run(chain(notebook, "first", "second"), "a")
    assert notebook.run(chain(notebook, *ALL), "b") == list(ALL)
    assert notebook.run(chain(notebook, "first", "third"), "a") == ["third"]


def test_what_holds_what_cannot_be_hashed_always_runs(notebook):
    def with_client(suffix):
        client = iter("client")

        async def ask(x):
            await asyncio.sleep(1)
            return x + str(type(client))

        return (LambdaPrimitive(ask, name="ask") >> (lambda x: x + suffix)).named("job")

    assert "ask" in notebook.run(with_client("a"), reuse=True)
    assert "ask" in notebook.run(with_client("a"), reuse=True)
    same = with_client("b")
    notebook.run(same, reuse=True)
    assert "ask" in notebook.run(same, reuse=True)


def test_quick_steps_run_so_that_what_they_read_is_read(notebook, tmp_path):
    file = tmp_path / "prompt.txt"
    notebook.cell("def load(_):\n    return file.read_text()", file=file)
    file.write_text("a")
    notebook.run(chain(notebook, "load", "first"))
    file.write_text("b")
    assert notebook.run(chain(notebook, "load", "first", "second")) == ["load", "first", "second"]
    assert notebook.last.output == "b12"
    assert notebook.run(chain(notebook, "load", "first", "third")) == ["load", "third"]


def test_models_are_answered_with_what_that_saves_and_are_not_paid_again(notebook):
    script = ScriptedModel([Reply("four words of text", usage=Usage(5, 4))] * 9)

    def ask(instructions, parse):
        model = LLMPrimitive("openai:m", backend=script, instructions=instructions)
        return (model >> parse).named("ask")

    notebook.run(ask("Be brief.", str.upper))
    first = notebook.last
    assert notebook.run(ask("Be brief.", str.title)) == ["title"]
    (note,) = [note for span in notebook.last.spans for note in span.noted("recalled")]
    assert (note.data["source"], note.data["saved"]) == ("memo", first.usage.total_tokens)
    assert notebook.last.usage is None
    assert notebook.last.output == "Four Words Of Text"
    assert len(notebook.run(ask("Be kind.", str.title))) == 2


def test_wrappers_and_composites_run_and_what_is_in_them_is_answered(notebook):
    names = notebook.names

    def workflow(last):
        first = RetryPrimitive(LambdaPrimitive(names["first"], name="first"))
        second = CachePrimitive(LambdaPrimitive(names["second"], name="second"))
        return (first >> [second, LambdaPrimitive(names["third"], name="third")] >> last).named("j")

    assert notebook.run(workflow(str)) == ["first", "third", "second", "str"]
    assert notebook.run(workflow(repr)) == ["repr"]


def test_a_function_that_asks_others_runs_and_they_are_answered(notebook):
    first = LambdaPrimitive(notebook.names["first"], name="first")
    seen = []

    def workflow(last):
        async def outer(x):
            seen.append(last)
            return await first.execute(x)

        return (LambdaPrimitive(outer, name="outer") >> last).named("job")

    notebook.run(workflow(str.upper), reuse=True)
    assert notebook.run(workflow(str.title), reuse=True) == ["title"]
    assert seen == [str.upper, str.title]


async def draw(_):
    await asyncio.sleep(1)
    return random.random()  # noqa: S311 - chance, not secrecy


def test_several_answers_to_one_input_are_given_again_in_their_order(notebook):
    drawn = LambdaPrimitive(draw)

    def best_of_three(last):
        return ([drawn, drawn, drawn] >> as_primitive(last)).named("job")

    notebook.run(best_of_three(sorted), reuse=True)
    three = notebook.last.output
    assert len(set(three)) == 3
    assert notebook.run(best_of_three(list), reuse=True) == ["list"]
    assert sorted(notebook.last.output) == three


def test_a_fresh_run_takes_the_place_of_what_was_remembered(notebook):
    twice = ([LambdaPrimitive(draw), LambdaPrimitive(draw)] >> as_primitive(list)).named("job")
    outputs = []
    for _ in range(2):
        notebook.run(twice)
        outputs.append(notebook.last.output)
    assert not set(outputs[0]) & set(outputs[1])
    notebook.run(twice, reuse=True)
    assert notebook.last.output == outputs[1]


@pytest.mark.parametrize(
    "particulars",
    [{"state": {"a": 1}}, {"user_id": "u"}, {"tags": {"a": "b"}}, {"session_id": "s"}],
)
def test_a_run_that_knows_more_than_its_input_always_runs(notebook, particulars):
    for _ in range(2):
        context = WorkflowContext(**particulars)
        assert notebook.run(chain(notebook, *ALL), context=context, reuse=True) == list(ALL)


def test_what_comes_after_a_write_to_the_state_runs(notebook):
    class Remember(WorkflowPrimitive):
        async def execute(self, input_data, context):
            context.state["seen"] = input_data
            return input_data

    def workflow():
        first, second = (LambdaPrimitive(notebook.names[name], name=name) for name in ALL[:2])
        return (first >> Remember(name="remember") >> second).named("job")

    notebook.run(workflow(), reuse=True)
    assert notebook.run(workflow(), reuse=True) == ["remember", "second"]


def test_an_answer_that_was_changed_by_the_next_step_is_given_as_it_was(notebook):
    notebook.cell(
        """
        async def load(x):
            await asyncio.sleep(1)
            return [x]

        def spoil(items):
            items.append("spoilt")
            return list(items)
        """
    )
    for _ in range(3):
        notebook.run(chain(notebook, "load", "spoil"), reuse=True)
        assert notebook.last.output == ["x", "spoilt"]


def test_an_input_that_the_step_itself_changes_is_known_as_it_was(notebook):
    notebook.cell(
        """
        async def grow(items):
            items.append(len(items))
            await asyncio.sleep(1)
            return sum(items)
        """
    )
    assert notebook.run(chain(notebook, "grow"), [5], reuse=True) == ["job"]
    assert notebook.run(chain(notebook, "grow"), [5], reuse=True) == []
    assert notebook.run(chain(notebook, "grow"), [5, 1], reuse=True) == ["job"]


@pytest.mark.parametrize(
    "data", [object(), float("nan"), iter("ab")], ids=["object", "nan", "iterator"]
)
def test_an_input_or_an_output_that_cannot_be_compared_or_copied_runs(notebook, data):
    async def slow(x):
        await asyncio.sleep(1)
        return (letter for letter in x) if isinstance(x, str) else 1

    workflow = LambdaPrimitive(slow, name="slow").named("job")
    for _ in range(2):
        assert notebook.run(workflow, "x", reuse=True) == ["job"]
    runs = [notebook.run(workflow, data, reuse=True) for _ in range(2)]
    assert runs[0] == ["job"]
    assert runs[1] == ([] if data != data else ["job"])  # noqa: PLR0124 - NaN is a value like any


def test_a_dependency_that_changes_while_the_step_runs_is_of_neither_version(notebook):
    notebook.cell(
        """
        RATE = 1

        async def slow(x):
            await asyncio.sleep(1)
            return x * RATE
        """
    )
    workflow = chain(notebook, "slow", "first")

    async def edited_meanwhile():
        store = notebook.memo.for_run(workflow, reuse=True)
        run = workflow.start("x", WorkflowContext().using(step_store=store))
        await asyncio.sleep(0.5)
        notebook.names["RATE"] = 2
        return await run

    assert run_virtual(edited_meanwhile) == "xx1"
    assert notebook.run(workflow, reuse=True) == ["slow"]


def test_runs_at_once_each_get_their_answers(notebook):
    workflow = chain(notebook, *ALL)

    async def crowd(reuse):
        async def one(number):
            store = notebook.memo.for_run(workflow, reuse=reuse)
            run = workflow.start(f"{number}-", WorkflowContext().using(step_store=store))
            assert await run == f"{number}-123"
            return ran(run)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number)) for number in range(200)]
        return [task.result() for task in tasks]

    assert run_virtual(lambda: crowd(False)) == [list(ALL)] * 200
    assert run_virtual(lambda: crowd(True)) == [[]] * 200


def test_a_memo_is_bounded(notebook):
    notebook.memo = Memo(max_size=2)
    workflow = chain(notebook, "first")
    for data in "abc":
        notebook.run(workflow, data, reuse=True)
    assert notebook.run(workflow, "a", reuse=True) == ["job"]
    assert notebook.run(workflow, "c", reuse=True) == []
    assert repr(notebook.memo) == "<Memo of 2 steps with their inputs>"
    notebook.memo.clear()
    assert notebook.run(workflow, "c", reuse=True) == ["job"]


def test_no_more_than_a_hundred_answers_to_one_input_are_remembered(notebook):
    many = as_primitive([LambdaPrimitive(draw)] * (MAX_ANSWERS + 20)).named("job")
    notebook.run(many, reuse=True)
    assert len(notebook.run(many, reuse=True)) == 20


def test_a_step_that_fails_is_not_remembered(notebook):
    async def flaky(x):
        await asyncio.sleep(1)
        if os.environ["DOWN"] == "yes":
            os.environ["DOWN"] = "no"
            raise ConnectionError
        return x

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOWN", "yes")
        retry = RetryPrimitive(LambdaPrimitive(flaky), initial_delay=0.1).named("job")
        assert notebook.run(retry, reuse=True) == ["flaky", "flaky"]
        assert notebook.run(retry, reuse=True) == []
    assert notebook.last.output == "x"


def test_recalled_steps_are_forgotten_by_nothing_that_holds_their_cells(notebook):
    workflow = chain(notebook, *ALL)
    notebook.run(workflow)
    gone = weakref.ref(workflow)
    notebook.last = None
    stream.last_run = None
    del workflow
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("name", ["max_size", "max_bytes"])
@pytest.mark.parametrize("value", [0, -1, True, "many", float("nan")])
def test_bounds_that_mean_nothing_are_refused(name, value):
    with pytest.raises(ConfigurationError, match=name):
        Memo(**{name: value})
