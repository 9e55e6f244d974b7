"""Which scope each route asks for. A route without a row does not answer: what nobody thought of is closed."""

from ars_gateway.access.scopes import APPROVALS, READ, WRITE

ANYBODY = None

ACCESS: dict[tuple[str, str], str | None] = {
    ("GET", "/healthz"): ANYBODY,
    ("GET", "/readyz"): ANYBODY,
    ("GET", "/openapi.json"): ANYBODY,
    ("GET", "/health"): READ,
    ("GET", "/metrics"): READ,
    ("POST", "/auth/token"): READ,
    ("POST", "/agent/message"): WRITE,
    ("POST", "/agent/message/stream"): WRITE,
    ("GET", "/agent/stream"): READ,
    ("POST", "/agent/tool_result"): WRITE,
    ("POST", "/agent/approval"): APPROVALS,
    ("POST", "/agent/form"): WRITE,
    ("POST", "/agent/abort"): WRITE,
    ("POST", "/v1/chat/completions"): WRITE,
    ("GET", "/v1/models"): READ,
    ("GET", "/v1/models/{model:path}"): READ,
    ("POST", "/acp"): WRITE,
    ("GET", "/acp"): WRITE,
    ("DELETE", "/acp"): WRITE,
}
