import os
import shutil
import socket
import subprocess
import time

import pytest

HOW_TO_GET_IT = "no redis-server was found: install one (Debian: apt-get install redis-server)"


class RedisServer:
    """A Redis server of the tests' own, on the loopback interface, which can be killed."""

    def __init__(self, program, folder):
        self._program, self._folder = program, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process = None
        self.start()

    def start(self):
        nothing_kept = ["--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [
                self._program,
                *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self._folder)),
                *nothing_kept,
            ],
            stdout=subprocess.DEVNULL,
        )
        give_up = time.monotonic() + 10
        while time.monotonic() < give_up:
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.01)
        raise TimeoutError("redis-server does not listen")

    def kill(self):
        self._process.kill()
        self._process.wait()

    def pause(self):
        self._process.send_signal(19)  # SIGSTOP: it is there, and does not answer

    def go_on(self):
        self._process.send_signal(18)  # SIGCONT


@pytest.fixture
def redis_server(tmp_path):
    program = shutil.which("redis-server")
    if program is None:
        if os.environ.get("TTA_REQUIRE_SERVICES") == "1":
            pytest.fail(HOW_TO_GET_IT)
        pytest.skip(HOW_TO_GET_IT)
    server = RedisServer(program, tmp_path)
    yield server
    server.kill()
