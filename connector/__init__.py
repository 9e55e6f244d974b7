"""Spawn and drive any agent that speaks the Agent Client Protocol."""

from connector.client import Client, Filled
from connector.connector import Connector, launch
from connector.errors import (
    AgentError,
    AgentExited,
    AgentNotFound,
    AgentTimeout,
    ConnectorError,
    SignInNeeded,
    VersionMismatch,
)
from connector.limits import Limits
from connector.permissions import Act, Answer, Decision, allow_once, allow_reads, ask, decide, deny_all
from connector.process import Command
from connector.session import Session, Turn
from connector.vendors import VENDORS, Vendor, command_of
from connector.workspace import Workspace

__all__ = [
    "VENDORS",
    "Act",
    "AgentError",
    "AgentExited",
    "AgentNotFound",
    "AgentTimeout",
    "Answer",
    "Client",
    "Command",
    "Connector",
    "ConnectorError",
    "Decision",
    "Filled",
    "Limits",
    "Session",
    "SignInNeeded",
    "Turn",
    "Vendor",
    "VersionMismatch",
    "Workspace",
    "allow_once",
    "allow_reads",
    "ask",
    "command_of",
    "decide",
    "deny_all",
    "launch",
]
