"""Whether an agent, or a client, keeps the Agent Client Protocol: each requirement tried on the real program."""
