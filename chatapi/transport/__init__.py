"""Connections taken over from gunicorn: server-sent events, WebSocket, long-poll. No routes."""
