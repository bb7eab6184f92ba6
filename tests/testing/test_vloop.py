"""The virtual clock: what time it shows, and when it gives up."""

import asyncio
import math
import socket
import threading
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook.core import clock
from tta_notebook.testing import DeadlockError, VirtualClockLoop, run_virtual, virtual_time

delays_s = st.just(0.0) | st.floats(min_value=1e-9, max_value=1e6)


def now():
    return asyncio.get_running_loop().time()


@given(st.lists(delays_s, min_size=1, max_size=30), st.none() | st.integers())
def test_sleeps_end_in_the_order_of_their_times_and_exactly_on_time(delays, seed):
    ended = []

    async def sleeper(delay_s):
        await asyncio.sleep(delay_s)
        ended.append((now(), delay_s))

    async def main():
        async with asyncio.TaskGroup() as group:
            for delay_s in delays:
                group.create_task(sleeper(delay_s))

    run_virtual(main, seed=seed)

    assert [delay_s for _, delay_s in ended] == sorted(delays)
    assert [time for time, _ in ended] == sorted(delays)


@given(st.integers(min_value=1, max_value=50))
def test_timers_for_the_same_instant_fire_in_the_order_in_which_they_were_set(number):
    fired = []

    async def main():
        loop = asyncio.get_running_loop()
        for index in range(number):
            loop.call_at(1.0, fired.append, index)
        await asyncio.sleep(2)

    run_virtual(main)
    assert fired == list(range(number))


@virtual_time(start=1e9)
async def test_a_clock_that_has_run_for_decades_still_moves():
    await asyncio.sleep(0.5)
    assert now() == 1e9 + 0.5
    asyncio.get_running_loop().call_at(now(), lambda: None)
    await asyncio.sleep(1e-12)


def test_a_program_that_sleeps_the_rest_of_a_float_reaches_its_deadline():
    async def main():
        deadline = clock.monotonic() + 0.1 + 0.2
        await asyncio.sleep(0.3)
        while clock.monotonic() < deadline:  # noqa: ASYNC110 - what such programs do
            await asyncio.sleep(deadline - clock.monotonic())
        return clock.monotonic() >= deadline

    assert run_virtual(main)


@given(st.lists(st.floats(min_value=1e-6, max_value=1e4), max_size=20))
def test_the_clock_of_the_core_follows_the_loop(delays):
    async def main():
        began_ns = clock.monotonic_ns()
        for delay_s in delays:
            await asyncio.sleep(delay_s)
        return clock.monotonic_ns() - began_ns, now()

    elapsed_ns, time_s = run_virtual(main)
    assert elapsed_ns == round(time_s * 1e9)


def test_the_clock_of_the_core_is_the_real_one_again_afterwards():
    source = clock.source
    run_virtual(lambda: asyncio.sleep(1))
    assert clock.source is source


@virtual_time()
async def test_a_timeout_ends_at_its_time():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await asyncio.Event().wait()
    assert now() == 30


@virtual_time()
async def test_a_cancelled_timer_does_not_attract_the_clock():
    asyncio.get_running_loop().call_later(10, lambda: None).cancel()
    await asyncio.sleep(20)
    assert now() == 20


@virtual_time()
async def test_a_hundred_thousand_timers_that_are_cancelled_leave_no_trace():
    loop = asyncio.get_running_loop()
    for _ in range(1000):
        for timer in [loop.call_later(3600, lambda: None) for _ in range(100)]:
            timer.cancel()
        await asyncio.sleep(0)
    assert len(loop._scheduled) < 1000


def test_a_deadlock_names_every_task_and_the_line_it_waits_at():
    async def waits_for_an_event():
        await asyncio.Event().wait()

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(waits_for_an_event(), name="reader")
            group.create_task(asyncio.Queue().get(), name="writer")

    with pytest.raises(DeadlockError) as caught:
        run_virtual(main, start=7.0)

    message = str(caught.value)
    line = waits_for_an_event.__code__.co_firstlineno + 1
    assert "at 7 s of virtual time" in message
    assert f"'reader' waits in Event.wait at {__file__}:{line} in " in message
    assert "'writer' waits" in message
    assert "Queue.get" in message


def test_sleeping_for_ever_with_nobody_else_around_is_a_deadlock():
    with pytest.raises(DeadlockError):
        run_virtual(lambda: asyncio.sleep(math.inf))


def test_a_deadlock_does_not_keep_finally_blocks_from_running():
    cleaned = []

    async def main():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            cleaned.append(now())

    with pytest.raises(DeadlockError):
        run_virtual(main)
    assert cleaned == [1.0]


def test_a_coroutine_may_be_given_instead_of_a_function():
    async def answer():
        return 42

    assert run_virtual(answer()) == 42
    assert run_virtual(answer) == 42


def test_errors_come_through():
    async def fail():
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        run_virtual(fail)


def test_the_decorator_passes_arguments_on():
    @virtual_time(start=5)
    async def with_time(value, *, more):
        return value, more, now()

    assert with_time("x", more="y") == ("x", "y", 5.0)


def test_async_generators_are_closed_at_the_end():
    closed = []

    async def numbers():
        try:
            yield 1
        finally:
            await asyncio.sleep(1)
            closed.append(now())

    async def main():
        generator = numbers()
        main.kept = generator
        return await anext(generator)

    assert run_virtual(main) == 1
    assert closed == [1.0]


def test_nothing_is_left_open():
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        loops = []

        async def main():
            loops.append(asyncio.get_running_loop())
            await asyncio.to_thread(int)

        run_virtual(main)
        (loop,) = loops
        assert loop.is_closed()
        assert not [thread for thread in threading.enumerate() if "asyncio" in thread.name]


def test_a_loop_inside_a_running_loop_works_from_a_thread_of_its_own():
    async def main():
        await asyncio.sleep(1)
        inner = run_virtual(lambda: asyncio.sleep(100, "inner"))
        return inner, now()

    assert run_virtual(main) == ("inner", 1.0)


def test_errors_inside_a_running_loop_reach_the_caller():
    async def inner():
        raise LookupError("gone")

    async def main():
        with pytest.raises(LookupError, match="gone"):
            run_virtual(inner)

    asyncio.run(main())


def test_while_a_socket_is_watched_time_runs_at_the_real_speed():
    async def main():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            loop = asyncio.get_running_loop()
            receiving = asyncio.create_task(loop.sock_recv(ours, 5))
            answering = threading.Timer(0.05, theirs.send, [b"hello"])
            answering.start()
            async with asyncio.timeout(60):
                data = await receiving
            answering.join()
            return data, now()

    data, time_s = run_virtual(main)
    assert data == b"hello"
    assert 0 < time_s < 30


def test_a_server_and_its_client_work_on_one_virtual_loop():
    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    async def main():
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        await asyncio.sleep(3600)
        return answer, now()

    answer, time_s = run_virtual(main, seed=1)
    assert answer == b"hello\n"
    assert time_s >= 3600


def test_the_loop_works_under_asyncios_own_runner_and_debug_mode():
    with asyncio.Runner(debug=True, loop_factory=VirtualClockLoop) as runner:
        assert runner.run(asyncio.sleep(1000, "x")) == "x"
