"""What the tests of models share: the weights, a loop to run in, a server that misbehaves."""

import asyncio
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tta_notebook.core.errors import LocalModelMissingError
from tta_notebook.llm.local import weights as local_weights
from tta_notebook.llm.local.server import server_for


@pytest.fixture(autouse=True)
def _no_keys_of_the_developer(monkeypatch):
    for provider in ("OPENAI", "ANTHROPIC", "GOOGLE", "GEMINI", "OLLAMA"):
        monkeypatch.delenv(f"{provider}_API_KEY", raising=False)
        monkeypatch.delenv(f"{provider}_BASE_URL", raising=False)


@pytest.fixture
def weights():
    """The path of real weights, for tests marked local_model."""
    try:
        found = local_weights.resolve()
    except LocalModelMissingError:
        if os.environ.get("TTA_REQUIRE_SERVICES") == "1":
            raise
        pytest.skip("the embedded model is not installed: run `tta local install`")
    if isinstance(found, local_weights.RunningServer):
        pytest.skip("TTA_LOCAL_MODEL names a server: these tests need a file of weights")
    return found.path


@pytest.fixture
def server(weights):
    """The shared child process."""
    return asyncio.run(server_for(weights))


class Loopback:
    """An HTTP server that answers every request alike and remembers them."""

    def __init__(self):
        self.requests = []
        self.status, self.headers, self.body = 200, {}, b""
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                raw = self.rfile.read(int(self.headers.get("content-length", 0)))
                loopback.requests.append((self.path, dict(self.headers), json.loads(raw)))
                self.answer()

            def do_GET(self):
                loopback.requests.append((self.path, dict(self.headers), None))
                self.answer()

            def answer(self):
                self.send_response(loopback.status)
                for name, value in loopback.headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(loopback.body)))
                self.end_headers()
                self.wfile.write(loopback.body)

            def log_message(self, *_):
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def answers(self, status, body, **headers):
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = {"content-type": "application/json"}
        self.headers |= {name.replace("_", "-"): value for name, value in headers.items()}

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def loopback():
    server = Loopback()
    yield server
    server.close()
