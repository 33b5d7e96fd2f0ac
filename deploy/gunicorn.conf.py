"""How gunicorn serves the product, on a developer's machine and in production.

Read by `gunicorn --config deploy/gunicorn.conf.py wsgi:app` in the top folder. The worker
imports wsgi after gevent has patched the standard library: keep preload_app off.
"""

import gc
import os
import resource
import time
from pathlib import Path
from typing import Any

# gevent would note for each greenlet who started it and where.
os.environ.setdefault("GEVENT_TRACK_GREENLET_TREE", "0")

wsgi_app = "wsgi:app"
_address = (os.environ.get("LISTEN_ADDRESS") or "127.0.0.1").strip()
if ":" in _address and not _address.startswith("["):
    _address = f"[{_address}]"  # IPv6
bind = f"{_address}:{os.environ.get('PORT', '8000')}"

# One process holds 10,000 streams. More workers use more cores; RATELIMIT_STORAGE_URI then
# has to name a storage that they share.
worker_class = "deploy.worker.Worker"  # gevent, with problem documents
workers = int(os.environ.get("WEB_CONCURRENCY", "1"))
# Without the streams: those are taken over from gunicorn and counted in services/feeds.py.
worker_connections = 11_000

# An idle connection outlives a client that polls every 3 s. A proxy has to give up its own
# idle connections earlier than this (keepalive_timeout in docs/deployment.md).
keepalive = 5
# Longer than `keepalive`, so that a stop or a reload cuts no request off.
graceful_timeout = 10
timeout = 60
SHUTDOWN_SECONDS = 3.0

# Errors and restarts go to stderr; the application writes its own line for each request.
accesslog = None
errorlog = "-"
loglevel = os.environ.get("LOG_LEVEL", "info").lower()

# The heartbeat files: in memory, because a slow disk would look like a hanging worker.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108

# It would be a socket in the home folder that nothing here uses.
control_socket_disable = True

# X-Forwarded-* is the application's business: TRUSTED_PROXIES says how many to believe.
forwarded_allow_ips = ""

# Each stream holds a descriptor, and the usual soft limit of 1,024 is far below the hard one.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
_wanted = 65_536 if _hard == resource.RLIM_INFINITY else min(_hard, 65_536)
if _soft != resource.RLIM_INFINITY and _soft < _wanted:
    resource.setrlimit(resource.RLIMIT_NOFILE, (_wanted, _hard))


def post_worker_init(worker: Any) -> None:
    """Follow the sessions, end the streams with the worker, and keep pauses short."""
    # Both work only in the worker, where the standard library is patched.
    import gevent  # noqa: PLC0415

    from chatapi.http.static_files import compress_all  # noqa: PLC0415
    from chatapi.transport import streams  # noqa: PLC0415

    def watch() -> None:
        while worker.alive:
            gevent.sleep(0.2)
        streams.close_all(worker.wsgi)

    gevent.spawn(watch)
    # In a thread of its own: the compressors let go of the interpreter's lock while they work.
    gevent.get_hub().threadpool.spawn(worker.wsgi.extensions["chat"].run, compress_all)
    streams.start(worker.wsgi)
    # Loaded objects stay. Checking them in garbage collection would pause all connections longer
    # than a message may take.
    gc.collect()
    gc.freeze()


def worker_exit(_: Any, worker: Any) -> None:
    """Close the streams, because gunicorn waits only for requests."""
    if worker.pid != os.getpid() or not worker.booted:
        return  # The master speaks of a worker that is gone.
    import gevent  # noqa: PLC0415

    from chatapi.transport import streams  # noqa: PLC0415

    streams.close_all(worker.wsgi)
    end = time.monotonic() + SHUTDOWN_SECONDS
    while streams.close_slow(worker.wsgi) and time.monotonic() < end:
        gevent.sleep(0.05)
