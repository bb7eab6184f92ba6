"""The child process: one, ours alone, and gone with us."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tta_notebook.core.errors import LocalModelMissingError, ModelUnavailableError
from tta_notebook.llm.local import server as local_server
from tta_notebook.llm.local.server import LocalServer, ServerConfig, server_for

pytestmark = pytest.mark.local_model

SMALL = ServerConfig(slots=1, context_tokens=512)
PATIENCE_S = 20


def status_of(url, key=None, body=None):
    headers = {"content-type": "application/json"}
    if key is not None:
        headers["authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - loopback
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def until(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)  # another process is waited for, which no clock of ours moves


def is_listening(url):
    try:
        return status_of(f"{url}/health") == 200
    except OSError:
        return False


def program(source, *arguments):
    """Start a Python program that prints one JSON line."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(source), *map(str, arguments)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )


# Who may talk to it


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/slots", "/tokenize"])
@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_request_without_the_key_is_refused(server, path, key):
    body = None if path == "/slots" else b"{}"
    assert status_of(server.url + path, key, body) == 401


def test_the_key_is_not_on_the_command_line(server):
    command = Path(f"/proc/{server.pid}/cmdline")
    if not command.exists():
        pytest.skip("this system shows no command lines under /proc")
    assert server.key.encode() not in command.read_bytes()


def test_it_listens_on_the_loopback_interface_alone(server):
    table = Path(f"/proc/{server.pid}/net/tcp")
    if not table.exists():
        pytest.skip("this system shows no sockets under /proc")
    port = f"{int(server.url.rpartition(':')[2]):04X}"
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    listening = {row[1] for row in rows if row[3] == "0A" and row[1].endswith(":" + port)}
    assert listening == {f"0100007F:{port}"}


# How many there are


def test_calls_from_several_loops_share_one_process(weights):
    assert asyncio.run(server_for(weights)) is asyncio.run(server_for(weights))


def test_concurrent_first_calls_start_one_process(weights):
    async def main():
        return await asyncio.gather(*(server_for(weights, SMALL) for _ in range(10)))

    assert len(set(asyncio.run(main()))) == 1


def test_a_caller_that_gives_up_leaves_the_start_to_the_others(weights):
    config = ServerConfig(slots=1, context_tokens=256)

    async def main():
        impatient = asyncio.create_task(server_for(weights, config))
        patient = asyncio.create_task(server_for(weights, config))
        await asyncio.sleep(0)
        impatient.cancel()
        server = await patient
        assert impatient.cancelled()
        return server

    server = asyncio.run(main())
    assert server.is_alive
    server.stop()


def test_the_loop_runs_on_while_it_starts(weights):
    config = ServerConfig(slots=1, context_tokens=300)

    async def main():
        starting = asyncio.create_task(server_for(weights, config))
        turns = 0
        while not starting.done():
            await asyncio.sleep(0.001)
            turns += 1
        return turns, starting.result()

    turns, server = asyncio.run(main())
    server.stop()
    assert turns > 20


def test_one_that_died_is_replaced(weights):
    config = ServerConfig(slots=1, context_tokens=320)
    first = asyncio.run(server_for(weights, config))
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not first.is_alive)
    assert first.ending == "was ended by signal 9"
    second = asyncio.run(server_for(weights, config))
    assert second is not first
    assert second.is_alive
    second.stop()


# How it ends


PARENT = """
    import asyncio, json, os, sys, time
    from pathlib import Path
    from tta_notebook.llm.local.server import ServerConfig, server_for
    config = ServerConfig(slots=1, context_tokens=256)
    server = asyncio.run(server_for(Path(sys.argv[1]), config))
    print(json.dumps({"pid": server.pid, "url": server.url}), flush=True)
"""


def test_it_dies_with_a_parent_that_is_killed(weights):
    with program(PARENT + "    time.sleep(600)", weights) as parent:
        child = json.loads(parent.stdout.readline())
        assert is_listening(child["url"])
        parent.kill()
    until(lambda: not is_listening(child["url"]))


def test_it_dies_with_a_parent_that_ends(weights):
    with program(PARENT, weights) as parent:
        child = json.loads(parent.stdout.readline())
    assert parent.returncode == 0
    until(lambda: not is_listening(child["url"]))


def test_it_dies_with_its_parent_although_a_fork_of_that_lives_on(weights):
    forking = """
    import warnings; warnings.simplefilter("ignore")
    child = os.fork()
    if child == 0:
        time.sleep(600)
    print(child, flush=True)
    time.sleep(600)
    """
    with program(PARENT + textwrap.indent(textwrap.dedent(forking), "    "), weights) as parent:
        child = json.loads(parent.stdout.readline())
        fork = int(parent.stdout.readline())
        try:
            parent.kill()
            until(lambda: not is_listening(child["url"]))
        finally:
            os.kill(fork, signal.SIGKILL)


def test_a_fork_starts_its_own_and_leaves_its_parents_alone(weights):
    forking = """
    import warnings; warnings.simplefilter("ignore")
    if os.fork() == 0:
        mine = asyncio.run(server_for(Path(sys.argv[1]), config))
        print(json.dumps({"pid": mine.pid}), flush=True)
        mine.stop()
        os._exit(0)
    os.wait()
    print(json.dumps({"is_alive": server.is_alive}), flush=True)
    """
    with program(PARENT + textwrap.indent(textwrap.dedent(forking), "    "), weights) as parent:
        first, second, after = map(json.loads, parent.stdout)
    assert first["pid"] != second["pid"]
    assert after["is_alive"]


def test_an_interrupt_of_the_notebook_does_not_reach_it(weights):
    server = LocalServer(weights, SMALL)
    os.kill(server.pid, signal.SIGINT)
    assert is_listening(server.url)
    assert os.getpgid(server.pid) != os.getpgid(0)
    server.stop()
    assert not server.is_alive


# What goes wrong


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_weights_that_cannot_be_loaded_are_a_clear_error(weights, tmp_path, content):
    damaged = tmp_path / "damaged.gguf"
    with weights.open("rb") as file:
        damaged.write_bytes(file.read(100_000) if content is None else content)
    with pytest.raises(ModelUnavailableError) as caught:
        asyncio.run(server_for(damaged))
    assert "damaged.gguf" in str(caught.value)
    assert "tta local install" in str(caught.value)
    assert not caught.value.retryable


def test_without_xllamacpp_the_error_names_the_command(weights, monkeypatch):
    monkeypatch.setattr(local_server.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LocalModelMissingError, match=r"pip install 'tta-notebook\[local\]'"):
        LocalServer(weights, SMALL)
