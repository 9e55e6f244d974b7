"""What a role is told: the messages that are new to it, as text. Pure.

Who reads it is a model, and to a model a reply that imitates a line of this format looks like one: what a role may do
is for its agent's policy to hold, not for what the others say.
"""

from collections.abc import Iterable

from connector.crew.conversation import Conversation, Message
from connector.crew.role import Role

AGAIN = "System: Your last turn ended before you answered. Of what follows you may have been given a part already."


def formatted(messages: Iterable[Message]) -> str:
    """`User: …` and `Assistant (Role): …`, each a paragraph."""
    return "\n\n".join(
        f"Assistant ({message.by}): {message.text}" if message.by else f"User: {message.text}" for message in messages
    )


def reminder(role: Role, conversation: Conversation) -> str:
    """What stands in front of all else when the role is to be reminded of what it is; "" when it is not."""
    text = role.reminder or role.prompt
    return f"System: {text}\n\n" if text and conversation.is_due(role.name, role.remind_every) else ""


def warning(role: Role, conversation: Conversation) -> str:
    """What stands in front of messages that were sent before, where nobody knows whether the agent has kept them."""
    return f"{AGAIN}\n\n" if conversation.may_know(role.name) else ""
