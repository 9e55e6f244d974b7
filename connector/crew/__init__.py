"""Several agents in one conversation, each in a role of its own."""

from connector.crew.agents import Agents, Ensures
from connector.crew.conversation import Conversation, Message, Reply, Spent
from connector.crew.crew import Crew, open_crew, read_crew
from connector.crew.needs import Sessions
from connector.crew.role import Budget, Role
from connector.crew.rounds import ROUNDS, Agreed, Floor, Round, all_end_with, debate, parallel, pipeline, sequential
from connector.crew.talk import Talk

__all__ = [
    "ROUNDS",
    "Agents",
    "Agreed",
    "Budget",
    "Conversation",
    "Crew",
    "Ensures",
    "Floor",
    "Message",
    "Reply",
    "Role",
    "Round",
    "Sessions",
    "Spent",
    "Talk",
    "all_end_with",
    "debate",
    "open_crew",
    "parallel",
    "pipeline",
    "read_crew",
    "sequential",
]
