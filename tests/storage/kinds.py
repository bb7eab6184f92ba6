"""Classes for the codec's tests; at the top of a module, as the codec wants them."""

import enum
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import pydantic


class Color(enum.Enum):
    RED = 1
    ROSE = 1  # noqa: PIE796 - another name for the same
    BLUE = ("b", 2)


class Rank(enum.IntEnum):
    LOW = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Wide(enum.IntFlag):
    ONE = 1
    TWO = 2


class Guessing(enum.Enum):
    ONLY = 1

    @classmethod
    def _missing_(cls, value):
        raise AssertionError("code of a class was run")


class Point(NamedTuple):
    x: Any
    y: Any = None


class Subpoint(Point):
    pass


@dataclass
class Order:
    item: Any
    count: Any = 1
    made: list[Any] = field(default_factory=list, init=False)

    def __post_init__(self):
        self.made.append("by __init__")

    @cached_property
    def total(self):
        return 7


@dataclass(frozen=True, slots=True)
class Frozen:
    a: Any
    b: Any = None

    class Inner:
        pass


@dataclass
class Text(str):  # noqa: SLOT000 - the case
    extra: int = 0

    def __new__(cls, *_):
        return str.__new__(cls, "text")


class Hooked:
    def __init__(self, inside):
        self.inside = inside

    def __eq__(self, other):
        return type(other) is Hooked and other.inside == self.inside

    def __hash__(self):
        return 1

    def __tta_encode__(self):
        return {"inside": self.inside}

    @classmethod
    def __tta_decode__(cls, data):
        return cls(data["inside"])


class HookedText(str):
    __slots__ = ()

    def __tta_encode__(self):
        return str(self)

    @classmethod
    def __tta_decode__(cls, data):
        return cls(data)


class Part(pydantic.BaseModel):
    name: str


class SpecialPart(Part):
    size: float


class Model(pydantic.BaseModel):
    parts: list[Part]
    other: Any = None
    named: str = pydantic.Field(default="", alias="theName")
    _secret: int = pydantic.PrivateAttr(default=0)

    @pydantic.field_validator("other")
    @classmethod
    def _upper(cls, value):
        return value.upper() if isinstance(value, str) else value


class OpenModel(pydantic.BaseModel, extra="allow"):
    known: int = 0


class Plain:
    pass


def function():
    raise AssertionError("it was called")
