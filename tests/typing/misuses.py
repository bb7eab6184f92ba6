"""What type checkers must reject: an unused ignore means that a misuse has been accepted.

Nothing here is run. mypy reports an ignore without an error under `warn_unused_ignores`, pyright
under `reportUnnecessaryTypeIgnoreComment`.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true, reportUnusedExpression=false

from tta_notebook import LambdaPrimitive, WorkflowContext, WorkflowPrimitive


class Parse(WorkflowPrimitive[str, int]):
    async def execute(self, input_data: str, context: WorkflowContext) -> int:
        return int(input_data)


class Show(WorkflowPrimitive[int, str]):
    async def execute(self, input_data: int, context: WorkflowContext) -> str:
        return str(input_data)


class Loud(WorkflowPrimitive[bytes, bytes]):
    async def execute(self, input_data: bytes, context: WorkflowContext) -> bytes:
        return input_data.upper()


def read(text: str) -> int:
    return len(text)


async def read_soon(text: str) -> int:
    return len(text)


def three(a: int, b: int, c: int) -> int:
    return a + b + c


async def misuses() -> None:
    """Compose and call what does not fit."""
    Parse() >> Parse()  # type: ignore[operator]
    Show() >> Loud()  # type: ignore[operator]
    Parse() >> read  # type: ignore[operator]
    Parse() >> read_soon  # type: ignore[operator]
    Parse() >> three  # type: ignore[operator]
    Parse() >> 7  # type: ignore[operator]
    Parse().then(read)  # type: ignore[arg-type]
    Show() >> Show() >> Parse()  # type: ignore[operator]
    Show().then(lambda text: text.no_such_method())  # type: ignore[attr-defined]
    read >> Parse()  # type: ignore[operator]
    read_soon >> Parse()  # type: ignore[operator]
    read >> Loud() >> Loud()  # type: ignore[operator]
    await Parse()(5)  # type: ignore[arg-type]
    await Parse().run(5)  # type: ignore[arg-type]
    Parse().run_sync(5)  # type: ignore[arg-type]
    Parse().start(5)  # type: ignore[arg-type]
    Parse().run_sync("5", {"state": {}})  # type: ignore[arg-type]
    LambdaPrimitive(three)  # type: ignore[arg-type]
    LambdaPrimitive(7)  # type: ignore[call-overload]
    LambdaPrimitive(read, nmae="x")  # type: ignore[call-overload]
    WorkflowContext(state=[1])  # type: ignore[arg-type]
    WorkflowContext(tags={"a": 1})  # type: ignore[dict-item]
    _: str = Parse().run_sync("5")  # type: ignore[assignment]
    (await Parse().run("5")).output.bit_count()  # type: ignore[union-attr]


class Wrong(WorkflowPrimitive[str, int]):
    """An override that gives what its class does not promise."""

    async def execute(self, input_data: str, context: WorkflowContext) -> str:  # type: ignore[override]
        return input_data
