"""Which errors pass by themselves, and how long they ask to wait."""

import asyncio
import math
import ssl
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from http import HTTPStatus
from http.client import IncompleteRead, RemoteDisconnected
from io import UnsupportedOperation
from urllib.error import HTTPError, URLError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tta_notebook import (
    AuthenticationError,
    CacheMissError,
    CircuitOpenError,
    CompensationFailedError,
    ConfigurationError,
    LimitExceededError,
    LocalModelMissingError,
    ModelRequestError,
    ModelTimeoutError,
    ModelUnavailableError,
    RateLimitError,
    StepTimeoutError,
)
from tta_notebook.core import clock
from tta_notebook.recovery.retry_after import retry_after
from tta_notebook.recovery.transient import is_transient


def error(**attributes):
    made = Exception("made")
    vars(made).update(attributes)
    return made


class Thing:
    def __init__(self, **attributes):
        vars(self).update(attributes)


def client_error(module, name, *bases):
    """Return an error of a class as a client library defines it."""
    return type(name, bases or (Exception,), {"__module__": module})("made")


def described(failed):
    return f"{type(failed).__module__}.{failed!r}"


class RaisingError(Exception):
    @property
    def retryable(self):
        raise RuntimeError("no")

    status_code = status = code = response = headers = retry_after = retryable


@pytest.mark.parametrize(
    "passing",
    [
        ConnectionError(),
        ConnectionRefusedError(),
        BrokenPipeError(),
        TimeoutError(),
        OSError("network is unreachable"),
        RemoteDisconnected("gone"),
        IncompleteRead(b""),
        asyncio.IncompleteReadError(b"", 4),
        subprocess.TimeoutExpired("ls", 3),
        URLError("unreachable"),
        StepTimeoutError("late", kind="attempt", primitive="p", timeout_s=1),
        ModelUnavailableError("down", model="m"),
        ModelTimeoutError("late", model="m"),
        RateLimitError("busy", model="m"),
        LimitExceededError("full", limit="rpm"),
        client_error("httpx", "ReadTimeout", type(client_error("httpx", "TransportError"))),
        client_error("httpx._exceptions", "TransportError"),
        client_error("aiohttp.client_exceptions", "ClientConnectionError"),
        client_error("requests.exceptions", "ConnectionError", OSError),
        client_error("redis.exceptions", "ConnectionError"),
        client_error("openai", "APIConnectionError"),
        client_error("anthropic", "APIConnectionError"),
        client_error("botocore.exceptions", "HTTPClientError"),
    ],
    ids=described,
)
def test_what_may_pass_is_transient(passing):
    assert is_transient(passing)


@pytest.mark.parametrize(
    "lasting",
    [
        TypeError(),
        ValueError(),
        KeyError(),
        AttributeError(),
        AssertionError(),
        RecursionError(),
        NotImplementedError(),
        FileNotFoundError(),
        FileExistsError(),
        PermissionError(),
        IsADirectoryError(),
        NotADirectoryError(),
        UnsupportedOperation(),
        ssl.SSLCertVerificationError(),
        HTTPError("http://x", 404, "gone", {}, None),
        CircuitOpenError("open", primitive="p", retry_after=1),
        LimitExceededError("never", limit="rpm", retryable=False),
        AuthenticationError("no key", model="m"),
        ModelRequestError("refused", model="m"),
        LocalModelMissingError("not installed", model="m"),
        CacheMissError("no answer"),
        ConfigurationError("wrong"),
        CompensationFailedError("left done", [ConnectionError()]),
        client_error("httpx", "UnsupportedProtocol", type(client_error("httpx", "TransportError"))),
        client_error("requests.exceptions", "RequestException", OSError),
        client_error(
            "redis.exceptions",
            "AuthenticationError",
            type(client_error("redis.exceptions", "ConnectionError")),
        ),
        client_error("mine", "APIConnectionError"),
        asyncio.CancelledError(),
        KeyboardInterrupt(),
        GeneratorExit(),
        SystemExit(503),
    ],
    ids=described,
)
def test_what_lasts_is_not_transient(lasting):
    assert not is_transient(lasting)


# The errors of well-known clients, by where their documentation puts them.
CLIENTS = {
    "aiohttp.client_exceptions": {
        "ClientConnectionError": True,
        "ClientPayloadError": True,
        "ClientConnectorCertificateError": False,
        "InvalidURL": False,
    },
    "anthropic": {"APIConnectionError": True, "AnthropicError": False},
    "botocore.exceptions": {
        "ConnectionError": True,
        "HTTPClientError": True,
        "SSLError": False,
        "ParamValidationError": False,
    },
    "httpcore": {"NetworkError": True, "TimeoutException": True, "RemoteProtocolError": True},
    "httpx": {"TransportError": True, "LocalProtocolError": False, "UnsupportedProtocol": False},
    "openai": {"APIConnectionError": True, "OpenAIError": False},
    "redis.exceptions": {
        "ConnectionError": True,
        "TimeoutError": True,
        "TryAgainError": True,
        "AuthenticationError": False,
        "AuthorizationError": False,
        "ResponseError": False,
    },
    "requests.exceptions": {
        "ConnectionError": True,
        "Timeout": True,
        "ChunkedEncodingError": True,
        "RequestException": False,
        "SSLError": False,
        "JSONDecodeError": False,
    },
    "urllib3.exceptions": {
        "ProtocolError": True,
        "TimeoutError": True,
        "LocationValueError": False,
    },
    "websockets.exceptions": {"ConnectionClosed": True, "InvalidURI": False},
}


@pytest.mark.parametrize("module", CLIENTS)
def test_errors_of_clients_are_known_by_their_names(module):
    for name, expected in CLIENTS[module].items():
        assert is_transient(client_error(module, name)) is expected, name


def test_of_an_errors_classes_the_most_derived_one_that_is_known_decides():
    for first, then in ((True, False), (False, True)):
        known = CLIENTS["redis.exceptions"]
        base, derived = (next(n for n in known if known[n] is says) for says in (first, then))
        parent = type(client_error("redis.exceptions", base))
        child = type(client_error("redis.exceptions", derived, parent))
        assert is_transient(type("Mine", (child,), {})()) is then


TRANSIENT_STATUSES = {408, 409, 425, 429, *range(500, 600)}


@pytest.mark.parametrize("status", [100, 200, 304, *range(400, 432), 499, 500, 503, 529, 599])
def test_a_status_decides_wherever_it_stands(status):
    expected = status in TRANSIENT_STATUSES
    for failed in (
        error(status_code=status),
        error(status=status),
        error(code=status),
        error(response=Thing(status_code=status)),
        error(response=Thing(status=status)),
        error(response={"ResponseMetadata": {"HTTPStatusCode": status}}),
    ):
        assert is_transient(failed) is expected


def test_a_status_goes_before_the_class():
    refused = ConnectionError()
    refused.status_code = 400
    assert not is_transient(refused)
    assert is_transient(error(status_code=HTTPStatus.SERVICE_UNAVAILABLE))


@pytest.mark.parametrize(
    "odd", [True, "503", 0, 99, 600, 503.0, None, pytest.param(object(), id="object")], ids=repr
)
def test_what_is_no_status_says_nothing(odd):
    assert not is_transient(error(status_code=odd))
    timeout = TimeoutError()
    timeout.status_code = odd
    assert is_transient(timeout)


@pytest.mark.parametrize("says", [True, False])
def test_what_the_error_says_itself_decides_over_all(says):
    assert is_transient(error(retryable=says, status_code=400 if says else 503)) is says
    assert is_transient(error(retryable="yes", status_code=503))


def test_throttling_at_aws_has_status_400_and_passes():
    def of(code):
        return error(
            response={"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
        )

    assert is_transient(of("ThrottlingException"))
    assert not is_transient(of("ValidationException"))


@pytest.mark.parametrize(
    ("state", "expected"), [("UNAVAILABLE", True), ("INVALID_ARGUMENT", False), (None, False)]
)
def test_grpc_says_its_state_by_a_method(state, expected):
    failed = client_error("grpc.aio", "AioRpcError")
    failed.code = lambda: Thing(name=state)
    assert is_transient(failed) is expected


def test_a_state_that_cannot_be_had_is_not_retried():
    def code():
        raise RuntimeError("no")

    failed = client_error("grpc", "RpcError", ConnectionError)
    failed.code = code
    assert not is_transient(failed)


def test_a_group_passes_only_if_all_of_it_does():
    assert is_transient(ExceptionGroup("all", [TimeoutError(), ConnectionError()]))
    assert not is_transient(ExceptionGroup("some", [TimeoutError(), TypeError()]))
    nested = ExceptionGroup("inner", [TypeError()])
    assert not is_transient(ExceptionGroup("outer", [TimeoutError(), nested]))
    assert not is_transient(BaseExceptionGroup("cancelled", [asyncio.CancelledError()]))


def test_an_error_whose_attributes_raise_is_judged_by_its_class():
    assert not is_transient(RaisingError())
    assert is_transient(type("Lost", (RaisingError, ConnectionError), {})())
    assert retry_after(RaisingError()) is None


def test_an_error_that_answers_anything_is_judged_without_raising():
    class AnythingError(Exception):
        def __getattr__(self, name):
            return AnythingError()

        def __call__(self):
            raise RuntimeError("no")

    assert not is_transient(AnythingError())
    assert retry_after(AnythingError()) is None


# How long to wait


class Shouting:
    """Headers that can only be asked, in one case."""

    def __init__(self, **values):
        self._values = values

    def get(self, name):
        return self._values.get(name.replace("-", "_")) if name.istitle() else None


@pytest.mark.parametrize(
    "asks",
    [
        error(retry_after=2),
        error(retry_after=2.0),
        error(retry_after="2"),
        error(retry_after=timedelta(seconds=2)),
        error(headers={"retry-after": "2"}),
        error(headers={"Retry-After": " 2 "}),
        error(headers={"RETRY-AFTER": 2}),
        error(headers={b"Retry-After": b"2"}),
        error(headers=[("Retry-After", "2")]),
        error(headers={"retry-after-ms": "2000", "retry-after": "9"}),
        pytest.param(error(headers=Shouting(Retry_After="2")), id="headers that are asked"),
        pytest.param(error(response=Thing(headers={"Retry-After": "2"})), id="a response's"),
        error(response={"ResponseMetadata": {"HTTPHeaders": {"retry-after": "2"}}}),
        error(retry_after=None, headers={"retry-after": "2"}),
        CircuitOpenError("open", primitive="p", retry_after=2),
        RateLimitError("busy", model="m", retry_after=2),
        RateLimitError("busy", model="m", headers={"Retry-After": "2"}),
    ],
    ids=lambda asks: str(vars(asks)),
)
def test_a_wait_is_read_wherever_it_stands(asks):
    assert retry_after(asks) == 2


@pytest.mark.parametrize(
    "odd",
    [
        *(-1, math.nan, math.inf, -math.inf, True, timedelta(seconds=-1), [3], object()),
        *("soon", "", "-3", "nan", "inf", "1e999", "9" * 5000, b"\xff"),
        "Mon, 99 Nov 2026 99:99:99 GMT",
    ],
    ids=lambda odd: repr(odd)[:15],
)
def test_an_unreadable_wait_is_ignored_and_reported(odd):
    told = []
    asks = error(retry_after=odd, headers={"retry-after": odd, "retry-after-ms": odd})
    assert retry_after(asks, lambda place, value: told.append((place, value))) is None
    places = ["retry_after", "retry-after-ms", "retry-after"]
    assert [place for place, _ in told] == places
    assert retry_after(error(retry_after=odd, headers={"retry-after": "7"})) == 7


@pytest.mark.parametrize("zone", [UTC, None, timezone(timedelta(hours=2))])
def test_a_date_counts_from_now(zone):
    with clock.use(lambda: 5_000_000_000):
        moment = datetime.fromtimestamp(clock.wall_ns(5_000_000_000) // 10**9 + 90, UTC)
        local = moment.replace(tzinfo=None) if zone is None else moment.astimezone(zone)
        text = format_datetime(local)
        assert 89 <= retry_after(error(headers={"Retry-After": text})) <= 90


def test_a_date_in_the_past_asks_for_nothing():
    past = "Fri, 31 Dec 1999 23:59:59 GMT"
    assert retry_after(error(headers={"Retry-After": past})) == 0


def test_an_error_that_asks_for_nothing_gives_none():
    told = []
    for silent in (error(), error(headers={}), error(headers=3), error(response=Thing())):
        assert retry_after(silent, lambda *seen: told.append(seen)) is None
    assert told == []


@given(st.recursive(st.none() | st.text() | st.floats() | st.binary(), st.lists, max_leaves=4))
def test_whatever_is_asked_the_answer_is_none_or_a_duration(odd):
    found = retry_after(error(retry_after=odd, headers=odd, response=odd))
    assert found is None or 0 <= found < math.inf
    assert is_transient(error(status=odd, response=odd)) in {True, False}
