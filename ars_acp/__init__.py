"""ars-acp: the agent. It thinks; the editor on the other end of the connection does."""

__version__ = "0.1.0"
