"""The application with short intervals, for tests that cannot wait for the real ones."""

from chatapi.transport import connections, event_stream, reaper, web_socket
from wsgi import app

__all__ = ["app"]

connections.TICK_SECONDS = 0.1
reaper.TICK_SECONDS = 0.5
reaper.SLOW_SECONDS = 2.0
event_stream.HEARTBEAT_SECONDS = 1.5
event_stream.AGENT_HEARTBEAT_SECONDS = 0.5
web_socket.PING_SECONDS, web_socket.SILENCE_SECONDS = 1.0, 3.0
web_socket.AGENT_PING_SECONDS, web_socket.AGENT_SILENCE_SECONDS = 0.5, 1.5
