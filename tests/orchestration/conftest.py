"""Makes the tests' own prices and models importable, and keeps the developer's keys out."""

import os
import sys
from pathlib import Path

import pytest

from tta_notebook.core.errors import LocalModelMissingError
from tta_notebook.llm.local import weights as local_weights

sys.path.insert(0, str(Path(__file__).parent))


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
