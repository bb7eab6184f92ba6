"""The algebra of workflows: what composes, runs and is observed. Standard library only."""

from typing import TYPE_CHECKING, Any

from tta_notebook.core.algebra import as_primitive
from tta_notebook.core.chunks import collect
from tta_notebook.core.conditional import ConditionalPrimitive
from tta_notebook.core.context import WorkflowContext, current_context
from tta_notebook.core.errors import (
    ArgumentError,
    AuthenticationError,
    BudgetExceededError,
    BulkheadFullError,
    CacheKeyError,
    CacheMissError,
    CacheRecursionError,
    CassetteMissError,
    CassetteSecretError,
    CircuitOpenError,
    CompensationFailedError,
    CompositionError,
    ConfigurationError,
    DecodeError,
    EncodeError,
    InstallError,
    LimitExceededError,
    LocalModelMissingError,
    ModelError,
    ModelOutputError,
    ModelRequestError,
    ModelTimeoutError,
    ModelUnavailableError,
    RateLimitError,
    RouteError,
    StepTimeoutError,
    StorageError,
    TravelError,
    UnboundedCostError,
    WorkerLostError,
    WorkflowError,
)
from tta_notebook.core.events import Event, Note, Sink, Span, StreamChunk
from tta_notebook.core.function import LambdaPrimitive
from tta_notebook.core.map import MapPrimitive
from tta_notebook.core.parallel import ParallelPrimitive
from tta_notebook.core.primitive import WorkflowPrimitive
from tta_notebook.core.protocols import (
    Answer,
    Embedder,
    Executor,
    Guard,
    Hold,
    PlannedCall,
    StepStore,
    Store,
)
from tta_notebook.core.router import RouterPrimitive, RoutingStrategy
from tta_notebook.core.routing import CheapestRoute, FastestRoute, LeastLoadedRoute
from tta_notebook.core.run import Run
from tta_notebook.core.sequential import SequentialPrimitive
from tta_notebook.core.standing import configure, configured
from tta_notebook.core.stream import (
    capture,
    disable,
    enable,
    flush,
    last_run,
    subscribe,
    unsubscribe,
)
from tta_notebook.core.switch import SwitchPrimitive
from tta_notebook.core.usage import Usage

if TYPE_CHECKING:
    from tta_notebook.core.graph import Edge, Graph, Node

__all__ = [
    "Answer",
    "ArgumentError",
    "AuthenticationError",
    "BudgetExceededError",
    "BulkheadFullError",
    "CacheKeyError",
    "CacheMissError",
    "CacheRecursionError",
    "CassetteMissError",
    "CassetteSecretError",
    "CheapestRoute",
    "CircuitOpenError",
    "CompensationFailedError",
    "CompositionError",
    "ConditionalPrimitive",
    "ConfigurationError",
    "DecodeError",
    "Edge",
    "Embedder",
    "EncodeError",
    "Event",
    "Executor",
    "FastestRoute",
    "Graph",
    "Guard",
    "Hold",
    "InstallError",
    "LambdaPrimitive",
    "LeastLoadedRoute",
    "LimitExceededError",
    "LocalModelMissingError",
    "MapPrimitive",
    "ModelError",
    "ModelOutputError",
    "ModelRequestError",
    "ModelTimeoutError",
    "ModelUnavailableError",
    "Node",
    "Note",
    "ParallelPrimitive",
    "PlannedCall",
    "RateLimitError",
    "RouteError",
    "RouterPrimitive",
    "RoutingStrategy",
    "Run",
    "SequentialPrimitive",
    "Sink",
    "Span",
    "StepStore",
    "StepTimeoutError",
    "StorageError",
    "Store",
    "StreamChunk",
    "SwitchPrimitive",
    "TravelError",
    "UnboundedCostError",
    "Usage",
    "WorkerLostError",
    "WorkflowContext",
    "WorkflowError",
    "WorkflowPrimitive",
    "as_primitive",
    "capture",
    "collect",
    "configure",
    "configured",
    "current_context",
    "disable",
    "enable",
    "flush",
    "last_run",
    "subscribe",
    "unsubscribe",
]


def __getattr__(name: str) -> Any:
    # Pictures are drawn on demand: loading what draws them would be a tenth of loading the core.
    if name in ("Edge", "Graph", "Node"):
        from tta_notebook.core import graph  # noqa: PLC0415 - the point of it

        return getattr(graph, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
