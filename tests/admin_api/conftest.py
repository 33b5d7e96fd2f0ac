"""The people who call the API."""

from tests.user_api.people import *  # noqa: F403 - fixtures
