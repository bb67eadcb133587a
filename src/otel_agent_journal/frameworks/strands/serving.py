"""Tool calls that need not be made again: their recorded results, as Strands itself has them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, cast

from otel_agent_journal.mapping.classes import CLASSES, classes_in, with_classes
from otel_agent_journal.mapping.converse import plain_result
from otel_agent_journal.pipeline.resuming import AlreadyHappened, Receipt, resumption


def receipt_for(context: Any) -> Receipt | None:
    """Return what stands for a tool call of a session that is gone on with; None where it is to be made.

    Args:
        context: of Strands' middleware.

    Raises:
        AlreadyHappened: the call is not to be made; the agent stops before its model is asked again.
        StoreUnreachable: and other errors of the store: the call is not made.
    """
    resumed = resumption()
    if resumed is None:
        return None
    use: Mapping[str, Any] = context.tool_use
    call_id = use.get("toolUseId")
    try:
        return resumed.receipt(
            tool=str(use.get("name")), call_id=None if call_id is None else str(call_id), arguments=use.get("input")
        )
    except AlreadyHappened as error:
        context.agent.cancel(message=str(error))
        raise


async def around_tool(context: Any, call: Any) -> AsyncGenerator[Any, None]:
    """Serve a tool call that need not be made again. Middleware for agents whose steps nobody journals."""
    receipt = receipt_for(context)
    if receipt is not None:
        yield served(receipt, context.tool_use.get("toolUseId"))
        return
    events = call(context)
    try:
        async for event in events:
            yield event
    finally:
        await events.aclose()


def served(receipt: Receipt, call_id: Any) -> Any:
    """Return the event by which Strands gets a result in place of a call."""
    from strands.types.events import ToolResultEvent

    return ToolResultEvent(cast("Any", result_of(receipt, call_id)))


def result_of(receipt: Receipt, call_id: Any) -> dict[str, Any]:
    """Return the result of a tool that a receipt has, for a call."""
    raw = cast("Mapping[str, Any]", receipt.raw or {})
    plain = {"result": raw["result"] if "result" in raw else _result(receipt.output)}
    found, _ = with_classes(plain, cast("Mapping[str, str]", raw.get(CLASSES) or {}), _made)
    return {**cast("dict[str, Any]", found["result"]), "toolUseId": call_id}


def raw_of_result(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a result does not follow from its plain form, under Strands' names."""
    own = dict(result)
    raw: dict[str, Any] = {} if _result(plain_result(own)) == own else {"result": own}
    classes = classes_in({"result": own})
    return {**raw, CLASSES: classes} if classes else raw


def _result(plain: Any) -> dict[str, Any]:
    content = plain.get("content")
    blocks = cast("list[Any]", content) if isinstance(content, list) else [{"text": content}] if content else []
    status = plain.get("status", "success")
    return {"toolUseId": plain.get("tool_call_id"), "status": status, "content": blocks}


def _made(name: str, plain: Any) -> Any:
    raise LookupError(name)
