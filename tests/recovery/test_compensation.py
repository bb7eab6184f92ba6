"""CompensationPrimitive: what is undone, in which order, with what, and what cannot stop it."""

import asyncio
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tta_notebook import (
    ArgumentError,
    CircuitOpenError,
    CompensationFailedError,
    CompositionError,
    ConfigurationError,
    LambdaPrimitive,
    MockPrimitive,
    StepTimeoutError,
    WorkflowContext,
    WorkflowPrimitive,
    capture,
    current_context,
)
from tta_notebook.recovery.compensation import (
    CompensationPrimitive,
    SagaPrimitive,
    UnfinishedStep,
    current_saga_step,
)
from tta_notebook.recovery.timeout import TimeoutPrimitive
from tta_notebook.testing import Faults, cancel_everywhere, run_virtual


def now():
    return asyncio.get_running_loop().time()


class World:
    """What the steps of a saga have done: effects that undos take back, and a log of both."""

    def __init__(self):
        self.effects = set()
        self.log = []
        self.given = []

    def step(self, name, *, error=None, takes=0.0, undo_error=None, undo_takes=0.0):
        """Return a pair: a step that has an effect and one that takes it back."""

        async def forward(value):
            self.log.append(name)
            if takes:
                await asyncio.sleep(takes)
            if error is not None:
                raise error
            self.effects.add(name)
            return f"{value}>{name}"

        async def undo(value):
            self.given.append((name, value))
            if undo_takes:
                await asyncio.sleep(undo_takes)
            self.log.append(f"-{name}")
            if undo_error is not None:
                raise undo_error
            self.effects.discard(name)

        return LambdaPrimitive(forward, name=name), LambdaPrimitive(undo, name=f"undo {name}")


@pytest.fixture
def world():
    return World()


def noted(spans, name):
    return [dict(note.data) for span in spans for note in span.noted(name)]


BROKEN = ValueError("broken")


# Forward


def test_steps_run_in_order_each_with_the_output_before(world):
    saga = CompensationPrimitive([world.step("a"), world.step("b"), (str.upper, None)])
    assert saga.run_sync("in") == "IN>A>B"
    assert world.log == ["a", "b"]


def test_a_group_runs_at_once_on_the_same_input_and_gives_a_list(world):
    saga = CompensationPrimitive(
        [world.step("a"), [world.step("b", takes=2), world.step("c", takes=3)], (len, None)]
    )

    async def main():
        return await saga("in"), now()

    assert run_virtual(main) == (2, 3)
    assert world.effects == {"a", "b", "c"}


def test_a_step_may_itself_be_a_parallel(world):
    assert CompensationPrimitive([([str.upper, len], None)]).run_sync("ab") == ["AB", 2]


# Undo


def test_done_steps_are_undone_in_reverse_each_with_its_output(world):
    saga = CompensationPrimitive(
        [world.step("a"), world.step("b"), world.step("c", error=BROKEN), world.step("d")]
    )
    with pytest.raises(ValueError, match="broken") as caught:
        saga.run_sync("in")
    assert caught.value is BROKEN
    assert world.log == ["a", "b", "c", "-b", "-a"]
    assert world.given == [("b", "in>a>b"), ("a", "in>a")]
    assert world.effects == set()


def test_a_step_without_an_undo_is_passed_over(world):
    saga = CompensationPrimitive(
        [world.step("a"), (str.upper, None), world.step("c", error=BROKEN)]
    )
    with pytest.raises(ValueError, match="broken"):
        saga.run_sync("in")
    assert world.log == ["a", "c", "-a"]


def test_an_undo_sees_the_output_as_it_was_given():
    seen = []

    def spoil(order):
        order["items"].append("more")
        raise BROKEN

    saga = CompensationPrimitive([(lambda _: {"items": ["one"]}, seen.append), (spoil, None)])
    with pytest.raises(ValueError, match="broken"):
        saga.run_sync(0)
    assert seen == [{"items": ["one"]}]


def test_a_failed_step_is_undone_only_if_asked(world):
    pairs = [world.step("a"), world.step("b", error=BROKEN)]
    with pytest.raises(ValueError, match="broken"):
        CompensationPrimitive(pairs, compensate_failed_step=True).run_sync("in")
    (name, unfinished), _ = world.given
    assert name == "b"
    assert isinstance(unfinished, UnfinishedStep)
    assert (unfinished.input_data, unfinished.error) == ("in>a", BROKEN)
    assert not unfinished.is_ambiguous


class BookingError(Exception):
    pass


def wrapped(inner, *, explicit):
    try:
        try:
            raise inner  # noqa: TRY301 - the case
        except Exception as error:
            if explicit:
                raise BookingError from error
            raise BookingError  # noqa: B904 - the case
    except BookingError as error:
        return error


AMBIGUOUS = {
    "timeout": TimeoutError("late"),
    "connection": ConnectionResetError("lost"),
    "own timeout": StepTimeoutError("late", kind="own", primitive="x", timeout_s=1),
    "wrapped": wrapped(TimeoutError(), explicit=True),
    "in passing": wrapped(ConnectionError(), explicit=False),
    "grouped": ExceptionGroup("both", [ValueError(), ExceptionGroup("", [TimeoutError()])]),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_an_ambiguous_step_is_undone_with_what_is_known_of_it(world, case):
    error = AMBIGUOUS[case]
    saga = CompensationPrimitive([world.step("a"), world.step("b", error=error)])
    with capture() as spans, pytest.raises(type(error)):
        # Not run_sync: it handles a RuntimeError meanwhile, which would become the context.
        run_virtual(lambda: saga("in"))
    (name, unfinished), after = world.given
    assert name == "b"
    assert (unfinished.input_data, unfinished.error) == ("in>a", error)
    assert unfinished.is_ambiguous
    assert after == ("a", "in>a")
    assert [data["step"] for data in noted(spans, "uncertain")] == ["b"]


def test_a_refusal_to_ask_is_not_ambiguous_whatever_it_comes_from(world):
    refused = CircuitOpenError("open", primitive="breaker")
    refused.__cause__ = TimeoutError("of an earlier call")
    saga = CompensationPrimitive([world.step("a"), world.step("b", error=refused)])
    with pytest.raises(CircuitOpenError):
        saga.run_sync("in")
    assert world.log == ["a", "b", "-a"]


def test_an_error_handled_outside_makes_no_step_ambiguous(world):
    saga = CompensationPrimitive([world.step("a", error=ValueError("fresh"))])

    async def main():
        try:
            raise TimeoutError  # noqa: TRY301 - of another call
        except TimeoutError:
            await saga("in")

    with pytest.raises(ValueError, match="fresh"):
        run_virtual(main)
    assert world.log == ["a"]


def test_a_retry_that_failed_otherwise_in_the_end_may_have_arrived_before(world):
    error = ValueError("refused: exists already")
    error.attempts = [TimeoutError("first"), error]
    with pytest.raises(ValueError, match="exists"):
        CompensationPrimitive([world.step("a", error=error)]).run_sync("in")
    assert world.log == ["a", "-a"]


def test_an_error_that_leaves_its_context_behind_is_not_ambiguous(world):
    async def refused(_):
        try:
            raise TimeoutError  # noqa: TRY301 - the case
        except TimeoutError:
            raise BookingError from None

    saga = CompensationPrimitive([(refused, lambda _: world.log.append("-refused"))])
    with pytest.raises(BookingError):
        run_virtual(lambda: saga("in"))
    assert world.log == []


# The original's form


def test_one_pair_can_be_given_by_keywords_and_its_undo_gets_the_input(world):
    forward, undo = world.step("a", error=BROKEN)
    saga = SagaPrimitive(forward=forward, compensation=undo)
    assert saga.compensate_failed_step
    with pytest.raises(ValueError, match="broken"):
        saga.run_sync("in")
    assert world.given == [("a", "in")]


def test_the_pair_of_keywords_can_leave_a_failed_step_alone(world):
    forward, undo = world.step("a", error=BROKEN)
    saga = SagaPrimitive(forward=forward, compensation=undo, compensate_failed_step=False)
    with pytest.raises(ValueError, match="broken"):
        saga.run_sync("in")
    assert world.given == []


# Cancelled, timed out


def test_a_cancelled_saga_undoes_and_stays_cancelled(world):
    saga = CompensationPrimitive([world.step("a"), world.step("b", takes=10)])

    async def main():
        task = asyncio.ensure_future(saga("in"))
        await asyncio.sleep(5)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        return task.cancelling()

    assert run_virtual(main) == 1
    assert world.log == ["a", "b", "-b", "-a"]
    assert world.given[0][1].is_ambiguous
    assert world.effects == set()


def test_a_timed_out_saga_undoes_with_time_of_its_own(world):
    saga = CompensationPrimitive(
        [world.step("a", undo_takes=30), world.step("b", takes=10, undo_takes=20)]
    )

    async def main():
        with pytest.raises(StepTimeoutError, match="was stopped"):
            await TimeoutPrimitive(saga, 5)("in")
        return now()

    assert run_virtual(main) == 55
    assert world.log == ["a", "b", "-b", "-a"]


def test_the_deadline_of_the_context_does_not_stop_the_undo(world):
    left = []

    async def undo(_):
        left.append(current_context().remaining())
        await asyncio.sleep(30)
        world.log.append("undone")

    async def main():
        saga = CompensationPrimitive([(str.upper, undo), world.step("b", takes=10)])
        with pytest.raises(StepTimeoutError):
            await saga("in", WorkflowContext().within(5))

    run_virtual(main)
    assert world.log == ["b", "-b", "undone"]
    assert left == [pytest.approx(60, abs=1e-6)]


@pytest.mark.parametrize("times", [2, 3])
def test_further_cancellations_do_not_stop_the_undo(world, times):
    saga = CompensationPrimitive(
        [world.step("a", undo_takes=10), world.step("b", takes=10, undo_takes=10)]
    )

    async def main():
        task = asyncio.ensure_future(saga("in"))
        await asyncio.sleep(5)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(4)
        with pytest.raises(asyncio.CancelledError):
            await task
        return now(), task.cancelling()

    assert run_virtual(main) == (25, times)
    assert world.effects == set()


def test_a_cancellation_during_the_undo_of_a_failure_is_raised_when_it_is_through(world):
    saga = CompensationPrimitive([world.step("a", undo_takes=10), world.step("b", error=BROKEN)])

    async def main():
        task = asyncio.ensure_future(saga("in"))
        await asyncio.sleep(5)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as cancelled:
            return now(), cancelled.__cause__

    assert run_virtual(main) == (10, BROKEN)
    assert world.effects == set()


def test_a_cancellation_during_an_undo_that_fails_tells_of_both(world):
    saga = CompensationPrimitive(
        [world.step("a", undo_takes=10, undo_error=OSError("gone")), world.step("b", error=BROKEN)],
        undo_retries=0,
    )

    async def main():
        task = asyncio.ensure_future(saga("in"))
        await asyncio.sleep(5)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as cancelled:
            return cancelled

    cancelled = run_virtual(main)
    assert cancelled.__cause__.uncompensated == ("a",)
    assert cancelled.__cause__.__cause__ is BROKEN
    assert "'a' may still be done" in cancelled.__notes__[0]


def test_the_end_of_the_loop_waits_for_the_undo(world):
    saga = CompensationPrimitive([world.step("a", undo_takes=5), world.step("b", takes=10)])

    async def main():
        task = asyncio.ensure_future(saga("in"))
        await asyncio.sleep(1)
        world.task = task
        # Returning ends the loop, which cancels every task, those of undos included.

    run_virtual(main)
    assert world.effects == set()
    assert world.task.cancelled()


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_saga_is_undone_wherever_it_is_cancelled(seed):
    worlds = []

    def scenario():
        world = World()
        worlds.append(world)
        return CompensationPrimitive(
            [
                world.step("a", takes=1, undo_takes=1),
                [world.step("b", takes=1, undo_takes=1), world.step("c", takes=2)],
                world.step("d", takes=1, undo_takes=1),
            ]
        )("in")

    def check(run):
        assert worlds[-1].effects == ({"a", "b", "c", "d"} if run.outcome == "result" else set())

    assert cancel_everywhere(scenario, seed=seed, check=check).suspensions >= 3


def test_an_undo_is_completed_wherever_it_is_cancelled():
    worlds = []

    def scenario():
        world = World()
        worlds.append(world)
        return CompensationPrimitive(
            [
                world.step("a", undo_takes=1),
                [world.step("b", undo_takes=1), world.step("c", takes=1, undo_takes=1)],
                world.step("d", takes=1, error=BROKEN),
            ]
        )("in")

    def check(run):
        assert worlds[-1].effects == set()
        assert run.outcome == "cancelled"

    report = cancel_everywhere(scenario, raises=ValueError, check=check)
    assert report.suspensions >= 5


def test_tasks_of_the_saga_may_be_cancelled_from_outside_at_every_point():
    def scenario():
        world = World()
        return CompensationPrimitive(
            [
                world.step("a", undo_takes=1),
                [world.step("b", undo_takes=1), world.step("c", takes=1, undo_takes=1)],
                world.step("d", takes=1, error=BROKEN),
            ]
        )("in")

    assert cancel_everywhere(scenario, raises=ValueError, every_task=True).suspensions > 0


# Parallel groups


def test_branches_stop_and_clean_up_before_any_undo_begins(world):
    async def tidy(_):
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(3)
            world.log.append("tidied")

    saga = CompensationPrimitive(
        [
            world.step("a"),
            [
                world.step("b", takes=2),
                world.step("c", takes=1),
                world.step("d", takes=4, error=BROKEN),
                (tidy, lambda unfinished: world.given.append(("tidy", unfinished))),
            ],
        ]
    )
    with pytest.raises(ValueError, match="broken"):
        run_virtual(lambda: saga("in"))
    assert world.log == ["a", "b", "c", "d", "tidied", "-b", "-c", "-a"]
    name, unfinished = world.given[0]
    assert name == "tidy"
    assert unfinished.is_ambiguous  # it was cancelled in the middle
    assert isinstance(unfinished.error, asyncio.CancelledError)


# Undos that fail


def test_a_failed_undo_is_raised_with_the_cause_and_stops_no_other(world):
    undo_error = RuntimeError("no refund")
    saga = CompensationPrimitive(
        [
            world.step("a"),
            world.step("b", undo_error=undo_error),
            world.step("c"),
            world.step("d", error=BROKEN),
        ],
        undo_retries=0,
    )
    with pytest.raises(CompensationFailedError, match="'b' may still be done") as caught:
        run_virtual(lambda: saga("in"))
    assert caught.value.exceptions == (undo_error,)
    assert caught.value.uncompensated == ("b",)
    assert caught.value.__cause__ is BROKEN
    assert world.log[-3:] == ["-c", "-b", "-a"]
    assert world.effects == {"b"}


def test_failed_undos_are_tried_again_after_a_pause():
    undo = MockPrimitive("undo", side_effect=[OSError("1"), OSError("2"), None])
    saga = CompensationPrimitive([(str.upper, undo), (MockPrimitive(raise_error=BROKEN), None)])

    async def main():
        with pytest.raises(ValueError, match="broken"):
            await saga("in")
        return now()

    assert run_virtual(main) == pytest.approx(0.1 + 0.2)
    assert undo.call_count == 3


def test_an_undo_that_spoils_its_argument_gets_a_fresh_one_next_time():
    seen = []

    def undo(order):
        seen.append(dict(order))
        order.clear()
        if len(seen) == 1:
            raise OSError

    saga = CompensationPrimitive(
        [(lambda _: {"id": 7}, undo), (MockPrimitive(raise_error=BROKEN), None)]
    )
    with pytest.raises(ValueError, match="broken"):
        run_virtual(lambda: saga(0))
    assert seen == [{"id": 7}, {"id": 7}]


def test_a_cancelled_saga_with_a_failed_undo_stays_cancelled_and_tells(world):
    saga = CompensationPrimitive(
        [world.step("a", undo_error=OSError("gone")), world.step("b", takes=10)], undo_retries=0
    )

    async def main():
        task = asyncio.ensure_future(saga("in"))
        await asyncio.sleep(5)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError as cancelled:
            return cancelled

    cancelled = run_virtual(main)
    assert cancelled.__cause__.uncompensated == ("a",)
    assert "'a' may still be done" in cancelled.__notes__[0]


def test_a_timeout_tells_of_a_failed_undo(world):
    saga = CompensationPrimitive(
        [world.step("a", undo_error=OSError("gone")), world.step("b", takes=10)], undo_retries=0
    )
    with pytest.raises(StepTimeoutError) as caught:
        run_virtual(lambda: TimeoutPrimitive(saga, 5)("in"))
    assert isinstance(caught.value.__cause__, CompensationFailedError)
    assert caught.value.__cause__.uncompensated == ("a",)


def test_an_undo_that_is_cancelled_from_inside_has_failed_and_is_tried_again():
    undo = MockPrimitive("undo", return_value=None, faults=Faults(outcomes=["cancel"]))
    saga = CompensationPrimitive([(str.upper, undo), (MockPrimitive(raise_error=BROKEN), None)])
    with pytest.raises(ValueError, match="broken"):
        run_virtual(lambda: saga("in"))
    assert undo.call_count == 2


def test_an_undo_that_hangs_takes_its_share_of_the_time_and_no_more(world):
    saga = CompensationPrimitive(
        [
            world.step("a", undo_takes=24),
            world.step("b", undo_takes=1000),
            world.step("c", undo_takes=10),
            world.step("d", error=BROKEN),
        ],
        compensation_timeout=60,
    )

    async def main():
        with pytest.raises(CompensationFailedError) as caught:
            await saga("in")
        return caught.value, now()

    # c takes 10 of its 20 s; b is stopped after half of the 50 s left; a has the other 25 s.
    error, at = run_virtual(main)
    assert at == 10 + 25 + 24
    assert error.uncompensated == ("b",)
    assert isinstance(error.exceptions[0], StepTimeoutError)
    assert world.effects == {"b"}


def test_an_undo_may_have_all_the_time_there_is(world):
    saga = CompensationPrimitive(
        [world.step("a", undo_takes=10_000), world.step("b", error=BROKEN)],
        compensation_timeout=math.inf,
    )
    with pytest.raises(ValueError, match="broken"):
        run_virtual(lambda: saga("in"))
    assert world.effects == set()


# What steps know about themselves


def test_a_step_and_its_undo_know_who_they_are():
    seen = []

    def look(value):
        step = current_saga_step()
        seen.append((step.name, step.index, step.is_undo, step.idempotency_key))
        return value

    def fail(value):
        look(value)
        raise TimeoutError

    saga = CompensationPrimitive(
        [
            (LambdaPrimitive(look, name="a"), look),
            [(LambdaPrimitive(look, name="b"), look)],
            (LambdaPrimitive(fail, name="c"), seen.append),
        ],
        name="trip",
    )
    with pytest.raises(TimeoutError):
        saga.run_sync("in")
    key = seen[0][3].removesuffix("/0")
    assert seen[:3] == [
        ("a", 0, False, f"{key}/0"),
        ("b", 1, False, f"{key}/1"),
        ("c", 2, False, f"{key}/2"),
    ]
    assert seen[3].idempotency_key == f"{key}/2"
    assert seen[4:] == [("b", 1, True, f"{key}/1"), ("a", 0, True, f"{key}/0")]
    assert current_saga_step() is None


def test_after_a_saga_no_step_of_it_is_current():
    async def main():
        await CompensationPrimitive([(str.upper, None)])("in")
        return current_saga_step()

    assert run_virtual(main) is None


def test_every_execution_has_keys_of_its_own():
    keys = []

    def look(_):
        keys.append(current_saga_step().idempotency_key)

    saga = CompensationPrimitive([(look, None)])
    for _ in range(3):
        saga.run_sync(0)
    assert len(set(keys)) == 3


def test_a_saga_inside_a_saga_is_undone_by_its_own_rules(world):
    inner = CompensationPrimitive([world.step("b"), world.step("c")], name="inner")
    outer = CompensationPrimitive(
        [
            world.step("a"),
            (inner, lambda _: world.log.append("-inner")),
            world.step("d", error=BROKEN),
        ]
    )
    with pytest.raises(ValueError, match="broken"):
        outer.run_sync("in")
    assert world.log == ["a", "b", "c", "d", "-inner", "-a"]


# The trace


def test_the_trace_shows_the_undo(world):
    saga = CompensationPrimitive(
        [
            world.step("a"),
            world.step("b", undo_error=OSError("gone")),
            world.step("c", error=BROKEN),
        ],
        undo_retries=1,
        name="trip",
    )
    with capture() as spans, pytest.raises(CompensationFailedError):
        run_virtual(lambda: saga("in"))
    assert [(span.name, span.status) for span in spans] == [
        ("a", "ok"),
        ("b", "ok"),
        ("c", "error"),
        ("undo b", "error"),
        ("undo b", "error"),
        ("undo a", "ok"),
        ("trip", "error"),
    ]
    trip = spans[-1]
    assert all(span.parent is trip for span in spans[:-1])
    assert [(note.name, dict(note.data)) for note in trip.notes] == [
        ("compensating", {"steps": ["b", "a"], "because": "ValueError: broken"}),
        ("undo_failed", {"step": "b", "error": "OSError: gone"}),
        ("compensated", {"step": "a"}),
    ]


def test_the_picture_shows_steps_and_undos(world):
    saga = CompensationPrimitive([world.step("a"), (str.upper, None)])
    assert [(label, part.name) for label, part in saga.parts()] == [
        ("", "a"),
        ("undo", "undo a"),
        ("", "upper"),
    ]
    assert saga.name == "saga a >> upper"
    assert saga.graph() is not None


def test_a_stream_is_one_piece(world):
    saga = CompensationPrimitive([world.step("a")])

    async def main():
        return [chunk async for chunk in saga.stream("in")]

    (only,) = run_virtual(main)
    assert only.content == "in>a"


# Under attack


def test_a_thousand_at_once_undo_only_their_own():
    effects = set()

    async def do(number):
        effects.add(number)
        await asyncio.sleep(number % 7)
        return number

    async def fail(number):
        await asyncio.sleep(number % 5)
        if number % 3 == 0:
            raise BROKEN
        return number

    saga = CompensationPrimitive([(do, effects.discard), (fail, None)])

    async def main():
        async def one(number):
            try:
                return await saga(number)
            except ValueError:
                return None

        async with asyncio.TaskGroup() as group:
            for number in range(1000):
                group.create_task(one(number))

    run_virtual(main)
    assert effects == {number for number in range(1000) if number % 3}


def test_one_object_serves_two_loops(world):
    saga = CompensationPrimitive([world.step("a"), world.step("b", error=BROKEN)])
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            run_virtual(lambda: saga("in"))
    assert world.effects == set()


OUTCOMES = st.sampled_from(["ok", "fails", "times out", "is cancelled"])
STEPS = st.lists(
    st.tuples(OUTCOMES, st.booleans(), st.sampled_from(["ok", "fails", "recovers"])),
    min_size=1,
    max_size=5,
)


class Effect:
    """One step of a random saga, with what is left of it afterwards."""

    def __init__(self, name, effects, plan):
        self.name = name
        self.effects = effects
        self.outcome, self.has_undo, self.undo_outcome = plan
        self.undo_calls = 0

    async def forward(self, value):
        if self.outcome != "fails":
            self.effects.add(self.name)
        await asyncio.sleep(1)
        if self.outcome == "fails":
            raise ValueError(self.name)
        if self.outcome == "times out":
            raise TimeoutError(self.name)
        if self.outcome == "is cancelled":
            asyncio.current_task().cancel()
            await asyncio.sleep(0)
        return value

    async def undo(self, _):
        self.undo_calls += 1
        await asyncio.sleep(1)
        if self.undo_outcome == "fails" or (
            self.undo_outcome == "recovers" and self.undo_calls == 1
        ):
            raise OSError(self.name)
        self.effects.discard(self.name)

    def pair(self):
        undo = LambdaPrimitive(self.undo, name=f"undo {self.name}")
        return LambdaPrimitive(self.forward, name=self.name), undo if self.has_undo else None


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=4), st.integers(0, 5))
def test_whatever_happens_nothing_is_left_that_is_not_reported(plan, seed):
    effects = set()
    stages = [
        [Effect(f"{row}.{column}", effects, each) for column, each in enumerate(stage)]
        for row, stage in enumerate(plan)
    ]
    steps = [step for stage in stages for step in stage]
    saga = CompensationPrimitive(
        [[step.pair() for step in stage] if len(stage) > 1 else stage[0].pair() for stage in stages]
    )
    outcome = {}

    async def main():
        task = asyncio.ensure_future(saga("in"))
        await asyncio.wait({task})
        if task.cancelled():
            try:
                task.result()
            except asyncio.CancelledError as error:
                outcome["error"] = error
        else:
            outcome["error"] = task.exception()

    run_virtual(main, seed=seed)
    error = outcome["error"]
    if error is None:
        assert all(step.outcome == "ok" for step in steps)
        assert effects == {step.name for step in steps}
        return
    failed = error if isinstance(error, CompensationFailedError) else error.__cause__
    reported = set(failed.uncompensated) if isinstance(failed, CompensationFailedError) else set()
    by_name = {step.name: step for step in steps}
    assert {name for name in effects if by_name[name].has_undo} <= reported
    # A step that may have had an effect is reported, too, when its undo fails.
    assert all(by_name[name].undo_outcome == "fails" for name in reported)
    for step in steps:
        assert step.undo_calls <= 3


# Wrong arguments


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ([], ConfigurationError, "no steps were given"),
        ([[]], ConfigurationError, r"a group \[\] without steps"),
        ([len], CompositionError, "no pair of a step and its undo"),
        ([[len, None]], CompositionError, "a list is a group of such pairs"),
        ([(len,)], CompositionError, "has 1 parts instead of two"),
        ([(len, None, None)], CompositionError, "has 3 parts instead of two"),
        ([(None, len)], CompositionError, "None cannot be part of a workflow"),
        ([(len, 7)], CompositionError, "7 cannot be part of a workflow"),
        ("ab", CompositionError, "is no list of steps"),
        (7, CompositionError, "is no list of steps"),
    ],
    ids=repr,
)
def test_what_is_no_list_of_pairs_is_refused(given, error, said):
    with pytest.raises(error, match=said):
        CompensationPrimitive(given)


def test_steps_that_cannot_fit_are_refused():
    def give_int(x) -> int:
        return 1

    def take_list(x: list) -> int:
        return 1

    with pytest.raises(CompositionError, match="which never meet"):
        CompensationPrimitive([(give_int, None), (take_list, None)])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"forward": len},
        {"compensation": len},
        {"primitives": [(len, None)], "forward": len},
        {"primitives": [(len, None)], "compensation": len},
    ],
    ids=str,
)
def test_the_two_forms_exclude_each_other(options):
    with pytest.raises(ArgumentError):
        CompensationPrimitive(**options)


@pytest.mark.parametrize(
    ("name", "odd"),
    [
        *[("compensation_timeout", odd) for odd in (0, -1, math.nan, True, "5", None)],
        *[("undo_retries", odd) for odd in (-1, 1.5, True, "2", None)],
        *[("compensate_failed_step", odd) for odd in (1, "yes", None)],
        *[("journal", odd) for odd in (7, "", True)],
    ],
)
def test_options_that_mean_nothing_are_refused(name, odd):
    with pytest.raises(ConfigurationError, match=f"CompensationPrimitive: {name}="):
        CompensationPrimitive([(len, None)], **{name: odd})


def test_types_are_those_of_the_ends():
    def first(x: str) -> int:
        return 1

    def last(x: int) -> list:
        return []

    saga = CompensationPrimitive([(first, None), (last, None)])
    assert (saga.input_type, saga.output_type) == (str, list)


class Own(WorkflowPrimitive):
    async def execute(self, input_data, context):
        context.state["seen"] = context.state.get("seen", 0) + 1
        return input_data


def test_undos_share_the_state_of_the_run():
    context = WorkflowContext()
    saga = CompensationPrimitive([(Own(), Own()), (MockPrimitive(raise_error=BROKEN), None)])
    with pytest.raises(ValueError, match="broken"):
        saga.run_sync(0, context)
    assert context.state["seen"] == 2
