"""A budget in a file: processes share it, and none that dies gives back what it may have spent."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from provider import DOLLAR, Provider, llm

from tta_notebook import Budget, BudgetExceededError, StorageError, WorkflowContext
from tta_notebook.testing import run_virtual

HERE = Path(__file__).parent

PROGRAM = """
    import asyncio, json, os, sys
    sys.path.insert(0, sys.argv[1])
    from provider import DOLLAR, Provider, llm
    from tta_notebook import Budget, BudgetExceededError, Ledger, WorkflowContext

    budget = Budget(100, "day", path=sys.argv[2], name="shared", max_wait_seconds=5)
    provider, ledger = Provider(words=3, delay_s=0.001), Ledger()

    async def one():
        context = WorkflowContext().using(guards=(budget, ledger), prices=DOLLAR)
        try:
            await llm(provider)("x", context)
        except BudgetExceededError:
            pass

    async def main():
        {main}

    asyncio.run(main())
    budget.close()
    print(json.dumps({{"billed": provider.billed.output_tokens, "booked": ledger.total_usd}}))
"""


def start(path, main):
    program = textwrap.dedent(PROGRAM).format(main=main)
    return subprocess.Popen(
        [sys.executable, "-c", program, str(HERE), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process):
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "budgets.db"


@pytest.fixture
def budget(path):
    budget = Budget(100, "day", path=path, name="shared")
    yield budget
    budget.close()


def within(budget):
    return WorkflowContext().using(guards=(budget,), prices=DOLLAR)


def test_two_processes_share_one_budget(path, budget):
    begin = 'print("ready", flush=True); sys.stdin.readline()'
    calls = "await asyncio.gather(*(one() for _ in range(40)))"
    processes = [start(path, f"{begin}\n    {calls}") for _ in "ab"]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    results = [finished(process) for process in processes]
    status = budget.status()
    assert sum(result["billed"] for result in results) == status.spent_usd == 100
    assert all(result["billed"] == result["booked"] for result in results)
    assert (status.held_usd, status.lost_usd) == (0, 0)


def test_what_a_killed_process_had_set_aside_is_lost_and_never_refunded(path, budget):
    for delay in (0.0, 0.02, 0.05):
        process = start(
            path,
            "provider.delay_s = 0.03\n"
            "    task = asyncio.gather(*(one() for _ in range(9)))\n"
            f"    await asyncio.sleep({delay})\n"
            "    provider.delay_s = 100\n"
            "    await asyncio.sleep(0.05)\n"
            "    print('held', flush=True)\n"
            "    await task",
        )
        assert process.stdout.readline() == "held\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
    held = budget.status()
    at_stake = held.held_usd + held.lost_usd
    assert at_stake > 0
    provider = Provider(words=10)

    async def spend_the_rest():
        calls = (llm(provider)("x", within(budget)) for _ in range(12))
        return await asyncio.gather(*calls, return_exceptions=True)

    results = run_virtual(spend_the_rest)
    assert any(isinstance(result, BudgetExceededError) for result in results)
    status = budget.status()
    assert status.lost_usd == at_stake
    assert status.held_usd == 0
    assert status.spent_usd == held.spent_usd + provider.billed.output_tokens
    assert status.spent_usd + status.lost_usd <= 100


def test_it_outlives_the_process(path, budget):
    finished(start(path, "await one()"))
    assert budget.status().spent_usd == 3


def test_budgets_of_other_names_and_users_in_one_file_are_apart(path, budget):
    run_virtual(lambda: llm(Provider(words=3))("x", within(budget)))
    other = Budget(100, "day", "user", path=path, name="other")
    context = WorkflowContext(user_id="u").using(guards=(other,), prices=DOLLAR)
    run_virtual(lambda: llm(Provider(words=4))("x", context))
    assert (budget.status().spent_usd, other.status("u").spent_usd) == (3, 4)
    assert other.status("v").spent_usd == 0
    other.close()


def test_a_damaged_file_lets_nothing_through(path, budget):
    path.write_bytes(b"this is no database at all" * 100)
    provider = Provider()
    with pytest.raises(StorageError, match="damaged"):
        run_virtual(lambda: llm(provider)("x", within(budget)))
    assert provider.calls == 0


def test_a_payment_that_cannot_be_entered_stays_set_aside_and_costs_no_answer(path, budget, caplog):
    saved = {}

    class Vandal(Provider):
        async def stream(self, request):
            async for delta in super().stream(request):
                yield delta
            budget.close()
            saved["file"] = path.read_bytes()
            path.write_bytes(b"this is no database at all" * 100)

    assert run_virtual(lambda: llm(Vandal(words=3))("x", within(budget))) == "w w w "
    assert "stays set aside" in caplog.text
    budget.close()
    path.write_bytes(saved["file"])
    assert budget.status().held_usd == 10


def test_a_caller_that_is_cancelled_while_it_sets_aside_holds_nothing(budget):
    async def main():
        for rounds in range(12):
            call = asyncio.create_task(llm(Provider(words=1))("x", within(budget)))
            for _ in range(rounds):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        await asyncio.sleep(0.3)

    asyncio.run(main())
    assert budget.status().held_usd == 0
