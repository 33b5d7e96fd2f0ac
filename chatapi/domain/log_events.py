"""The names of the log's events, each declared once. docs/logging.md says what each means."""

from enum import StrEnum


class LogEvent(StrEnum):
    """Name an event of the log: what happened, in the past tense or as a state."""

    REQUEST_FINISHED = "request_finished"
    REQUEST_REJECTED = "request_rejected"
    REQUEST_FAILED = "request_failed"
    PASSWORD_LINK_CREATED = "password_link_created"  # noqa: S105 - a name, not a password
    STREAM_INTERRUPTED = "stream_interrupted"
    STREAM_FAILED = "stream_failed"
    CHANGE_DELIVERY_FAILED = "change_delivery_failed"
    CHANGE_STREAMS_UNSUPPORTED = "change_streams_unsupported"
    RESUME_TOKEN_LOST = "resume_token_lost"  # noqa: S105 - a name, not a password
    FOLLOWER_FAILED = "follower_failed"
    PURGE_INTERRUPTED = "purge_interrupted"
    REAPER_INTERRUPTED = "reaper_interrupted"
    REAPER_FAILED = "reaper_failed"
    LEASE_NOT_RENEWED = "lease_not_renewed"
