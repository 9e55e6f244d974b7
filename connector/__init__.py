"""Spawn and drive any agent that speaks the Agent Client Protocol."""

from connector.approvals import Approvals, Question
from connector.backoff import Restarts
from connector.calls import ToolCall
from connector.client import Client, Filled
from connector.connector import Connector
from connector.errors import (
    AgentError,
    AgentExited,
    AgentInterrupted,
    AgentNotFound,
    AgentTimeout,
    AgentUnavailable,
    CallKnown,
    ConnectorError,
    ConversationHeld,
    NotOffered,
    NotSent,
    RecordUnusable,
    SessionNotFound,
    SignInNeeded,
    TurnInterrupted,
    VersionMismatch,
)
from connector.launching import launch
from connector.limits import Limits
from connector.paced import Paced
from connector.permissions import Act, Answer, Decision, allow_once, allow_reads, ask, decide, deny_all
from connector.process import Command
from connector.record import Record
from connector.rules import Rule, by_rules, in_order, no_opinion
from connector.session import Session
from connector.stored import keeping
from connector.supervised import State, Status, Supervised
from connector.supervisor import Supervisor
from connector.turn import Exchange, Turn, is_late, seq_of
from connector.vendors import VENDORS, Vendor, command_of
from connector.workspace import Workspace

__all__ = [
    "VENDORS",
    "Act",
    "AgentError",
    "AgentExited",
    "AgentInterrupted",
    "AgentNotFound",
    "AgentTimeout",
    "AgentUnavailable",
    "Answer",
    "Approvals",
    "CallKnown",
    "Client",
    "Command",
    "Connector",
    "ConnectorError",
    "ConversationHeld",
    "Decision",
    "Exchange",
    "Filled",
    "Limits",
    "NotOffered",
    "NotSent",
    "Paced",
    "Question",
    "Record",
    "RecordUnusable",
    "Restarts",
    "Rule",
    "Session",
    "SessionNotFound",
    "SignInNeeded",
    "State",
    "Status",
    "Supervised",
    "Supervisor",
    "ToolCall",
    "Turn",
    "TurnInterrupted",
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
    "keeping",
    "launch",
    "no_opinion",
    "seq_of",
]
