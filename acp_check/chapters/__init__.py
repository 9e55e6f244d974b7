"""The requirements, a module per chapter; importing this one fills the table, in the order in which they are tried."""

from acp_check.chapters import (  # noqa: I001 (the order of the rows)
    handshake,
    wire,
    framing,
    sessions,
    options,
    signing_in,
    turns,
    permissions,
    capabilities,
    ends,
    always,
)

__all__ = [
    "always",
    "capabilities",
    "ends",
    "framing",
    "handshake",
    "options",
    "permissions",
    "sessions",
    "signing_in",
    "turns",
    "wire",
]
