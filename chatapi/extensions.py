"""The Flask extension objects, made once and bound to an app by the factory."""

from __future__ import annotations

from flask_compress import Compress
from flask_login import LoginManager
from flask_pymongo import PyMongo
from flask_wtf.csrf import CSRFProtect

mongo = PyMongo()
login_manager = LoginManager()
# Flask-Login's session protection would guard an id in Flask's session, where none is kept.
login_manager.session_protection = None
csrf = CSRFProtect()
compress = Compress()
