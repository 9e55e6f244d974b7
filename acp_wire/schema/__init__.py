"""The messages of ACP v1 as pydantic models, the first two without pydantic; a module per chapter of the specification.

Import a chapter, never all of them: `acp_wire.methods` loads the one that a message needs.
"""
