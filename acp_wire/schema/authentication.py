"""Signing in and out: `authenticate`, `logout`."""

from acp_wire.schema._base import Empty, Model


class AuthenticateRequest(Model):
    method_id: str


AuthenticateResponse = Empty
LogoutRequest = Empty
LogoutResponse = Empty
