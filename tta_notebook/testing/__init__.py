"""Tools to test workflows with: no waiting, no chance, no missed cancellation.

- `run_virtual`, `virtual_time` and `VirtualClockLoop` run asyncio code on a virtual clock: an hour
  of waiting takes no time, a deadlock is an error, and a seed chooses the schedule.
- `cancel_everywhere` cancels code at every point at which it can be cancelled.
- `MockPrimitive` stands in for a step; `Faults` make it slow, failing or cancelled, by a seed.
- `capture` collects the spans of what runs, to assert on.

They need nothing but the standard library and work with any test runner, or none.

>>> import asyncio
>>> from tta_notebook.testing import Faults, MockPrimitive, capture, run_virtual
>>> model = MockPrimitive("model", return_value="hello", faults=Faults(latency_s=2.0))
>>> with capture() as spans:
...     print(run_virtual(lambda: model("hi")))
hello
>>> spans[0].name, spans[0].status, spans[0].duration_s
('model', 'ok', 2.0)
"""

from tta_notebook.core.stream import capture
from tta_notebook.testing.calls import MockCall
from tta_notebook.testing.cancel import (
    CancellationError,
    CancellationReport,
    CancelledRun,
    cancel_everywhere,
)
from tta_notebook.testing.faults import Fault, Faults, InjectedFaultError
from tta_notebook.testing.mock import MockPrimitive
from tta_notebook.testing.vloop import (
    DeadlockError,
    VirtualClockLoop,
    run_virtual,
    virtual_time,
)

__all__ = [
    "CancellationError",
    "CancellationReport",
    "CancelledRun",
    "DeadlockError",
    "Fault",
    "Faults",
    "InjectedFaultError",
    "MockCall",
    "MockPrimitive",
    "VirtualClockLoop",
    "cancel_everywhere",
    "capture",
    "run_virtual",
    "virtual_time",
]
