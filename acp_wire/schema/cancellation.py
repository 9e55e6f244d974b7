"""Cancellation of one request, by either end: `$/cancel_request`."""

from acp_wire.schema._base import Model, RequestId


class CancelRequestNotification(Model):
    request_id: RequestId
