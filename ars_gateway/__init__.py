"""The Gateway: ACP agents behind the Gateway WebSocket protocol v3, for many clients at once."""
