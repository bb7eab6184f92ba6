import os
import shutil
import sys
from pathlib import Path

import pytest

# Tests are no package, and pytest's importlib mode leaves sys.path alone.
sys.path.insert(0, str(Path(__file__).parent))

from lab_session import LabSession
from workbench import Workbench, running_browser, running_server

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
HOW_TO_GET_IT = (
    "no Chromium was found: install one (Debian: apt-get install chromium) or point CHROMIUM at it"
)


def find_chromium():
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@pytest.fixture(scope="session")
def chromium():
    found = find_chromium()
    if found is None:
        if os.environ.get("TTA_REQUIRE_SERVICES") == "1":
            pytest.fail(HOW_TO_GET_IT)
        pytest.skip(HOW_TO_GET_IT)
    return found


@pytest.fixture(scope="session")
def pictures():
    """Where screenshots go: TTA_ARTIFACTS. Without it none are taken: they take time."""
    named = os.environ.get("TTA_ARTIFACTS")
    if named is None:
        return None
    folder = Path(named)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One JupyterLab for all tests: to start it takes as long as a short test."""
    with running_server(tmp_path_factory.mktemp("lab")) as server:
        yield server


@pytest.fixture(scope="module")
def browser(chromium):
    # Not for the session: playwright keeps a loop running in this thread, in which tests of other
    # files could run none.
    with running_browser(chromium) as browser:
        yield browser


@pytest.fixture(scope="module")
def bench(server, browser):
    with Workbench(server, browser) as bench:
        yield bench


@pytest.fixture
def lab(bench, tmp_path, pictures):
    with LabSession(bench, tmp_path.name, pictures=pictures) as session:
        yield session
