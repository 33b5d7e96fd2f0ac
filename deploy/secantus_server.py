# SPDX-License-Identifier: GPL-2.0-only
"""Serve SecantusDB with what its own command line cannot switch.

    python secantus_server.py --port PORT --storage-path DIRECTORY [--password-file FILE]

SecantusDB 0.7.0b3 reads `ttl_sweep_seconds` from its configuration file and never passes it
on: each minute its sweeper then reads whole collections under the lock that every command
takes. Only the constructor switches the sweeper off.

With --password-file a login is required before any command. The one user is written before
the port is bound, so no connection was ever served without a login. The server refuses to
start when the directory holds any other user.
"""

import argparse
import logging
import signal
import sys
from pathlib import Path

from secantus.auth import SCRAM_SHA_256, derive_credentials
from secantus.server import SecantusDBServer

USER = "livechat"
USER_DATABASE = "admin"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Serve SecantusDB without its TTL sweeper.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--storage-path", required=True)
    parser.add_argument("--cache-size", default="256M")
    parser.add_argument("--log-level", default="WARNING")
    parser.add_argument("--password-file", type=Path)
    return parser.parse_args()


def require_only_our_user(server: SecantusDBServer, password: str) -> None:
    """Give our user this password. Exits when the directory holds another user."""
    users = server.storage.list_users(limit=1000)
    others = [
        f"{user['db']}.{user['user']}"
        for user in users
        if (user["db"], user["user"]) != (USER_DATABASE, USER)
    ]
    if others:
        server.stop()
        sys.exit(
            f"The database holds users that this product did not make: {', '.join(others)}. "
            "It is not served, because they could read everything."
        )
    server.storage.add_user(
        USER_DATABASE,
        USER,
        {
            "_id": f"{USER_DATABASE}.{USER}",
            "user": USER,
            "db": USER_DATABASE,
            "credentials": derive_credentials(password).to_doc(),
            "roles": [{"role": "root", "db": USER_DATABASE}],
            "mechanisms": [SCRAM_SHA_256],
        },
        replace=True,
    )


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    options = arguments()
    logging.basicConfig(
        level=options.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    password = options.password_file.read_text().strip() if options.password_file else ""
    if options.password_file and not password:
        sys.exit(f"{options.password_file} is empty.")
    server = SecantusDBServer(
        host=options.host,
        port=options.port,
        storage_path=options.storage_path,
        cache_size=options.cache_size,
        require_auth=bool(password),
        enable_test_commands=False,
        ttl_sweep_seconds=0,
    )
    if password:
        require_only_our_user(server, password)

    def stop(_number: int, _frame: object) -> None:
        server.stop()
        sys.exit(0)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    server.start()
    server.wait()


if __name__ == "__main__":
    main()
