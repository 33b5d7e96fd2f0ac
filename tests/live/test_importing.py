"""To import the product starts no thread, changes nothing of the process, and makes no app."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.test_imports import ROOT, modules

# It makes the app that gunicorn serves: that is what it is for.
ENTRY_POINT = "wsgi"
LOOK = """
import atexit, gc, importlib, json, signal, sys, threading
# What the libraries do by themselves is not ours.
import argon2, flask, flask_compress, flask_limiter, flask_login, flask_pymongo, flask_wtf
import gevent, marshmallow, pymongo, structlog, werkzeug
before = {
    "hooks": atexit._ncallbacks(),
    "signals": [str(signal.getsignal(each)) for each in signal.valid_signals()],
}
for name in sys.argv[1:]:
    importlib.import_module(name)
from chatapi.domain.runtime import Runtime
from chatapi.http.login_limits import LoginAttempts
from chatapi.http.counters import WorkerMemory
from chatapi.realtime.followers import Follower
from chatapi.realtime.hub import Hub
from chatapi.services.feeds import FeedRegistry
from chatapi.realtime.hashing_pool import HashingPool
from chatapi.store.cache import CachedTotal
from chatapi.transport.connections import ConnectionRegistry
from flask import Flask
from flask.signals import appcontext_pushed, got_request_exception, request_started
kinds = (
    *(Runtime, LoginAttempts, WorkerMemory, Follower, Hub, FeedRegistry, HashingPool),
    *(CachedTotal, ConnectionRegistry, Flask, pymongo.MongoClient, flask_pymongo.PyMongo),
    *(flask_limiter.Limiter, flask_login.LoginManager, flask_compress.Compress),
    flask_wtf.CSRFProtect,
)
print(json.dumps({
    "threads": [each.name for each in threading.enumerate()],
    "made": [type(each).__name__ for each in gc.get_objects() if isinstance(each, kinds)],
    "hooks": atexit._ncallbacks() - before["hooks"],
    "signals": before["signals"] == [
        str(signal.getsignal(each)) for each in signal.valid_signals()
    ],
    "receivers": sum(
        len(each.receivers) for each in (appcontext_pushed, got_request_exception, request_started)
    ),
    "log": structlog.is_configured(),
}))
"""


def test_importing_every_module_starts_and_registers_nothing() -> None:
    names = sorted(set(modules()) - {ENTRY_POINT})
    assert len(names) > 100
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *names], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == {
        "threads": ["MainThread"],
        "made": [],
        "hooks": 0,
        "signals": True,
        "receivers": 0,
        "log": False,
    }
