"""The Agent Client Protocol, version 1, for both ends. Imports nothing of ours."""
