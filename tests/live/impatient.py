"""The application with short intervals, for tests that cannot wait for the real ones."""

from chatapi.services import caretaker
from chatapi.user_api import events, lines, sockets
from wsgi import app

__all__ = ["app"]

lines.PULSE_SECONDS = 0.1
caretaker.CARE_SECONDS = 0.5
caretaker.STUCK_SECONDS = 2.0
events.HEARTBEAT_SECONDS = 1.5
events.AGENT_HEARTBEAT_SECONDS = 0.5
sockets.PING_SECONDS, sockets.SILENCE_SECONDS = 1.0, 3.0
sockets.AGENT_PING_SECONDS, sockets.AGENT_SILENCE_SECONDS = 0.5, 1.5
