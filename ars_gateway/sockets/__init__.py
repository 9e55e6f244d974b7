"""Connections of WebSocket clients, from the first byte to the last event."""
