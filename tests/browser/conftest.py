import os
import shutil
import sys
from pathlib import Path

import pytest

# Tests are no package, and pytest's importlib mode leaves sys.path alone.
sys.path.insert(0, str(Path(__file__).parent))

from lab_session import LabSession

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
def pictures(tmp_path_factory):
    """Where screenshots go: TTA_ARTIFACTS, where someone wants to look at them, or away."""
    named = os.environ.get("TTA_ARTIFACTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("pictures")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def lab(chromium, tmp_path, pictures):
    with LabSession(tmp_path, chromium=chromium, pictures=pictures) as session:
        yield session
