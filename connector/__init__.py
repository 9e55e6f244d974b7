"""Spawn and drive any agent that speaks the Agent Client Protocol."""

from connector.client import Client, Filled
from connector.connector import Connector, launch
from connector.errors import (
    AgentError,
    AgentExited,
    AgentNotFound,
    AgentTimeout,
    ConnectorError,
    NotOffered,
    SessionNotFound,
    SignInNeeded,
    VersionMismatch,
)
from connector.limits import Limits
from connector.permissions import Act, Answer, Decision, allow_once, allow_reads, ask, decide, deny_all
from connector.process import Command
from connector.rules import Rule, by_rules, in_order, no_opinion
from connector.session import Session
from connector.turn import Exchange, Turn, is_late, seq_of
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
    "Exchange",
    "Filled",
    "Limits",
    "NotOffered",
    "Rule",
    "Session",
    "SessionNotFound",
    "SignInNeeded",
    "Turn",
    "Vendor",
    "VersionMismatch",
    "Workspace",
    "allow_once",
    "allow_reads",
    "ask",
    "by_rules",
    "command_of",
    "decide",
    "deny_all",
    "in_order",
    "is_late",
    "launch",
    "no_opinion",
    "seq_of",
]
