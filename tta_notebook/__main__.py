"""`python -m tta_notebook` is the command `tta`."""

import sys

from tta_notebook.cli import main

sys.exit(main())
