"""AI workflows from small primitives: composed in notebook cells, run unchanged in production.

Everything public can be imported from here. A name's module is loaded when the name is first used,
so that importing the package costs next to nothing and starts nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from tta_notebook.core import (
        Answer,
        ArgumentError,
        AuthenticationError,
        BulkheadFullError,
        CacheKeyError,
        CacheMissError,
        CacheRecursionError,
        CheapestRoute,
        CircuitOpenError,
        CompensationFailedError,
        CompositionError,
        ConditionalPrimitive,
        ConfigurationError,
        Edge,
        Embedder,
        Event,
        FastestRoute,
        Graph,
        Guard,
        Hold,
        InstallError,
        LambdaPrimitive,
        LeastLoadedRoute,
        LimitExceededError,
        LocalModelMissingError,
        MapPrimitive,
        ModelError,
        ModelOutputError,
        ModelRequestError,
        ModelTimeoutError,
        ModelUnavailableError,
        Node,
        Note,
        ParallelPrimitive,
        PlannedCall,
        RateLimitError,
        RouteError,
        RouterPrimitive,
        RoutingStrategy,
        Run,
        SequentialPrimitive,
        Sink,
        Span,
        StepStore,
        StepTimeoutError,
        StorageError,
        Store,
        StreamChunk,
        SwitchPrimitive,
        Usage,
        WorkflowContext,
        WorkflowError,
        WorkflowPrimitive,
        as_primitive,
        capture,
        collect,
        current_context,
        disable,
        enable,
        flush,
        last_run,
        subscribe,
        unsubscribe,
    )
    from tta_notebook.llm import (
        Backend,
        CountsTokens,
        FunctionBackend,
        LLMPrimitive,
        LLMText,
        LocalBackend,
        Message,
        ModelDelta,
        ModelRequest,
        PromptInput,
        ProviderBackend,
        Reply,
        ScriptedModel,
    )
    from tta_notebook.observability import (
        InstrumentedPrimitive,
    )
    from tta_notebook.testing import (
        MockPrimitive,
    )

__version__ = "0.1.0"

__all__ = [
    "Answer",
    "ArgumentError",
    "AuthenticationError",
    "Backend",
    "BulkheadFullError",
    "CacheKeyError",
    "CacheMissError",
    "CacheRecursionError",
    "CheapestRoute",
    "CircuitOpenError",
    "CompensationFailedError",
    "CompositionError",
    "ConditionalPrimitive",
    "ConfigurationError",
    "CountsTokens",
    "Edge",
    "Embedder",
    "Event",
    "FastestRoute",
    "FunctionBackend",
    "Graph",
    "Guard",
    "Hold",
    "InstallError",
    "InstrumentedPrimitive",
    "LLMPrimitive",
    "LLMText",
    "LambdaPrimitive",
    "LeastLoadedRoute",
    "LimitExceededError",
    "LocalBackend",
    "LocalModelMissingError",
    "MapPrimitive",
    "Message",
    "MockPrimitive",
    "ModelDelta",
    "ModelError",
    "ModelOutputError",
    "ModelRequest",
    "ModelRequestError",
    "ModelTimeoutError",
    "ModelUnavailableError",
    "Node",
    "Note",
    "ParallelPrimitive",
    "PlannedCall",
    "PromptInput",
    "ProviderBackend",
    "RateLimitError",
    "Reply",
    "RouteError",
    "RouterPrimitive",
    "RoutingStrategy",
    "Run",
    "ScriptedModel",
    "SequentialPrimitive",
    "Sink",
    "Span",
    "StepStore",
    "StepTimeoutError",
    "StorageError",
    "Store",
    "StreamChunk",
    "SwitchPrimitive",
    "Usage",
    "WorkflowContext",
    "WorkflowError",
    "WorkflowPrimitive",
    "as_primitive",
    "capture",
    "collect",
    "current_context",
    "disable",
    "enable",
    "flush",
    "last_run",
    "subscribe",
    "unsubscribe",
]

# Names that are not in the core, by the room they live in.
_ROOMS = {
    "Backend": "llm",
    "CountsTokens": "llm",
    "FunctionBackend": "llm",
    "LLMPrimitive": "llm",
    "LLMText": "llm",
    "LocalBackend": "llm",
    "Message": "llm",
    "ModelDelta": "llm",
    "ModelRequest": "llm",
    "PromptInput": "llm",
    "ProviderBackend": "llm",
    "Reply": "llm",
    "ScriptedModel": "llm",
    "InstrumentedPrimitive": "observability",
    "MockPrimitive": "testing",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_ROOMS.get(name, 'core')}")
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: "InteractiveShell") -> None:
    """Add the magics and displays to IPython: `%load_ext tta_notebook`."""
    import_module(f"{__name__}.notebook.extension").load(shell)


def unload_ipython_extension(shell: "InteractiveShell") -> None:
    """Remove everything that loading added: `%unload_ext tta_notebook`."""
    import_module(f"{__name__}.notebook.extension").unload(shell)
