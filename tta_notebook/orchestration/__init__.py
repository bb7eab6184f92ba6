"""Orchestration: who does a task, and what that costs."""

from tta_notebook.orchestration.asking_model import ModelClassifier
from tta_notebook.orchestration.classifying import Classifier, TaskKind
from tta_notebook.orchestration.delegation import (
    DelegationPrimitive,
    DelegationRequest,
    DelegationResponse,
)
from tta_notebook.orchestration.models import STANDARD_MODELS, ModelProfile, ModelTable
from tta_notebook.orchestration.multi_model import (
    MultiModelRequest,
    MultiModelResponse,
    MultiModelWorkflow,
)
from tta_notebook.orchestration.nearest import NearestClassifier
from tta_notebook.orchestration.rules import RuleClassifier
from tta_notebook.orchestration.task_classifier import (
    TaskClassification,
    TaskClassifierPrimitive,
    TaskClassifierRequest,
)
from tta_notebook.orchestration.words import (
    STANDARD_DEMANDING,
    STANDARD_HARD_WORDS,
    STANDARD_WORDS,
)

__all__ = [
    "STANDARD_DEMANDING",
    "STANDARD_HARD_WORDS",
    "STANDARD_MODELS",
    "STANDARD_WORDS",
    "Classifier",
    "DelegationPrimitive",
    "DelegationRequest",
    "DelegationResponse",
    "ModelClassifier",
    "ModelProfile",
    "ModelTable",
    "MultiModelRequest",
    "MultiModelResponse",
    "MultiModelWorkflow",
    "NearestClassifier",
    "RuleClassifier",
    "TaskClassification",
    "TaskClassifierPrimitive",
    "TaskClassifierRequest",
    "TaskKind",
]
