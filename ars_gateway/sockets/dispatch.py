"""From a request to its answer: may the caller, are the parameters right, then the method. The one error boundary."""

from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

import anyio

from ars_gateway.access.scopes import ADMIN
from ars_gateway.call import Call, Caller, Method
from ars_gateway.clean import clean
from ars_gateway.errors import POLICY, UNAVAILABLE, MethodError, invalid, unavailable
from ars_gateway.index import is_busy
from ars_gateway.protocol.validate import problems

if TYPE_CHECKING:
    from ars_gateway.sockets.connection import Connection


def request(connection: "Connection", frame: dict[str, Any]) -> None:
    """Answers one well-formed request: now, or from a task where its method is a coroutine function."""
    caller = connection.caller
    assert caller is not None, "only after hello"
    gateway = connection.gateway
    name: str = frame["method"]
    method = gateway.methods.get(name)
    if (why := forbidden(method, name, caller)) is not None:
        connection.refuse(frame["id"], why)
        _count_unauthorised(connection, name)
        return
    assert method is not None, "an unknown method is forbidden"
    params = frame.get("params")
    if params is None:
        params = {}
    if method.params is not None and (wrong := problems(method.params or name, params)):
        connection.refuse(frame["id"], invalid(f"invalid {name} params: {wrong}"))
        return
    if method.rate is not None and (seconds := gateway.rate(method).wait(caller.name)):
        wait = round(seconds * 1000)
        connection.refuse(
            frame["id"], MethodError(UNAVAILABLE, f"{name}: too often", retryable=True, retry_after_ms=wait)
        )
        return
    call = Call(gateway, connection, caller, frame["id"])
    if is_async(method):
        if len(connection.calls) >= gateway.limits.calls:
            why = MethodError(UNAVAILABLE, "too many requests wait for their answers", retryable=True)
            connection.refuse(frame["id"], why)
            return
        # Before the task's first step, as the client may be gone by then.
        connection.calls.add(scope := anyio.CancelScope())
        gateway.spawn(_run, method, call, params, scope)
        return
    try:
        connection.answer(call.id, method.handler(call, params if isinstance(params, dict) else {}))
    except MethodError as error:
        connection.refuse(call.id, error, error.payload)
    except Exception as error:
        _failed(call, method, error)


async def _run(method: Method, call: Call, params: Any, scope: anyio.CancelScope) -> None:
    try:
        with scope:
            answer = await method.handler(call, params if isinstance(params, dict) else {})
            call.connection.answer(call.id, answer)
    except MethodError as error:
        call.connection.refuse(call.id, error, error.payload)
    except Exception as error:
        _failed(call, method, error)
    finally:
        call.connection.calls.discard(scope)


def forbidden(method: Method | None, name: str, caller: Caller) -> MethodError | None:
    """Why this caller may not call this; None where it may. An unknown method is admins' to know of."""
    if method is None:
        if caller.role != "operator":
            return invalid(f"unauthorized role: {caller.role}")
        return invalid(f"unknown method: {name[:200]}" if caller.has(ADMIN) else f"missing scope: {ADMIN}")
    if caller.role not in method.roles:
        return invalid(f"unauthorized role: {caller.role}")
    if caller.role == "operator" and not caller.has(method.scope):
        return invalid(f"missing scope: {method.scope}")
    return None


def is_async(method: Method) -> bool:
    """Whether a method is answered from a task."""
    found = _ASYNC.get(method.name)
    if found is None:
        found = _ASYNC[method.name] = iscoroutinefunction(method.handler)
    return found


_ASYNC: dict[str, bool] = {}


def _failed(call: Call, method: Method, error: Exception) -> None:
    if is_busy(error):
        why = MethodError(UNAVAILABLE, "another program holds the gateway's index (retry soon)", retryable=True)
        call.connection.refuse(call.id, why)
        return
    call.gateway.log.error("gateway.method_failed", method=method.name, conn=call.connection.id, exc_info=error)
    call.connection.refuse(call.id, unavailable("internal error: the gateway's log has it"))


def _count_unauthorised(connection: "Connection", name: str) -> None:
    gateway = connection.gateway
    now = gateway.clock()
    times = connection.unauthorised
    times.append(now)
    del times[: -gateway.limits.unauthorised_calls]
    gateway.sampled.warning("gateway.unauthorised_call", method=clean(name), conn=connection.id)
    if len(times) == gateway.limits.unauthorised_calls and now - times[0] < gateway.limits.unauthorised_seconds:
        connection.close(POLICY, "too many unauthorized calls")
