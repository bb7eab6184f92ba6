"""Recovery: steps that go on when others fail, stop when others hang, and undo what was done."""

from tta_notebook.recovery.bulkhead import BulkheadPrimitive
from tta_notebook.recovery.circuit import Circuit, CircuitState
from tta_notebook.recovery.circuit_breaker import CircuitBreakerPrimitive
from tta_notebook.recovery.circuit_config import CircuitBreakerConfig
from tta_notebook.recovery.compensation import (
    CompensationPrimitive,
    RecoveredSaga,
    SagaPrimitive,
    SagaStep,
    UnfinishedStep,
    current_saga_step,
)
from tta_notebook.recovery.fallback import FallbackPrimitive
from tta_notebook.recovery.hedge import HedgePrimitive
from tta_notebook.recovery.rate import RateLimit
from tta_notebook.recovery.rate_limit import RateLimitPrimitive
from tta_notebook.recovery.retry import RetryPrimitive
from tta_notebook.recovery.retry_budget import RetryBudget
from tta_notebook.recovery.retry_strategy import RetryStrategy
from tta_notebook.recovery.saga_journal import SagaJournal
from tta_notebook.recovery.timeout import TimeoutPrimitive
from tta_notebook.recovery.transient import is_transient
from tta_notebook.recovery.tries import Attempt

__all__ = [
    "Attempt",
    "BulkheadPrimitive",
    "Circuit",
    "CircuitBreakerConfig",
    "CircuitBreakerPrimitive",
    "CircuitState",
    "CompensationPrimitive",
    "FallbackPrimitive",
    "HedgePrimitive",
    "RateLimit",
    "RateLimitPrimitive",
    "RecoveredSaga",
    "RetryBudget",
    "RetryPrimitive",
    "RetryStrategy",
    "SagaJournal",
    "SagaPrimitive",
    "SagaStep",
    "TimeoutPrimitive",
    "UnfinishedStep",
    "current_saga_step",
    "is_transient",
]
