"""No test reaches beyond this machine, whatever the code under test tries."""

from __future__ import annotations

import socket

import pytest


def test_a_connection_to_another_machine_is_refused() -> None:
    # An address of a range that is reserved for documentation.
    with pytest.raises(UserWarning, match=r"host \"192\.0\.2\.1\""):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_this_machine_can_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=1).close()
