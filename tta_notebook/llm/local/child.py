"""The process that serves the embedded model; run by `server.py`, never imported by it.

It takes its settings as one JSON line on standard input, answers with one JSON line on standard
output, and lives until standard input ends. The parent holds the other end of that pipe and the
system closes it however the parent ends, `kill -9` included.

Only the standard library and xllamacpp are imported: the process starts by path, without the
package.
"""

import json
import os
import signal
import sys
from importlib import import_module
from typing import Any


def main() -> None:
    """Serve until the parent is gone."""
    # An interrupt of the notebook is meant for the notebook.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = json.loads(sys.stdin.readline() or "null")
    if settings is None:
        return
    replies = _own_stdout()
    try:
        server: Any = _serve(settings)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent is told and shows it
        replies.write(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")
        replies.flush()
        return
    replies.write(json.dumps({"url": server.listening_address}) + "\n")
    replies.flush()
    sys.stdin.read()
    # Not sys.exit: unwinding would wait for answers nobody reads any more.
    os._exit(0)


def _own_stdout() -> Any:
    """Keep standard output for replies; what a library prints goes to standard error."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return replies


def _serve(settings: dict[str, Any]) -> Any:
    # Through import_module: it has no types. Its absence is an answer like any other.
    xllamacpp: Any = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.model_alias = [settings["alias"]]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["key"]]
    params.cors_origins = ""
    params.ui = False
    params.endpoint_slots = True
    params.n_parallel = settings["slots"]
    params.n_ctx = settings["slots"] * settings["context_tokens"]
    params.cache_ram_mib = settings["prompt_cache_mib"]
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.n_threads_http = settings["http_threads"]
    # A prompt is read in pieces of this size, and only between them does the server see that the
    # client has gone or that another slot has work: 128 tokens are about a second on a slow core.
    params.n_batch = params.n_ubatch = 128
    params.verbosity = 1  # errors alone
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
