"""Flask extensions as the product uses them; the factory creates one of each for an app."""

from __future__ import annotations

from flask import Flask, Response, current_app, request
from flask_compress import Compress
from flask_login import LoginManager

from chatapi.http import static_files


class Compressor(Compress):
    """Flask-Compress for dynamic responses; static files are compressed already."""

    def after_request(self, response: Response | None) -> Response:
        """Compress a response, unless the client refuses every coding (`gzip;q=0`)."""
        if response is None or static_files.is_static():
            return response or Response(status=204)
        length = response.content_length
        is_small = length is not None and length < current_app.config["COMPRESS_MIN_SIZE"]
        accepts = "HTTP_ACCEPT_ENCODING" in request.environ
        if is_small or not accepts or not static_files.choose_coding(self.enabled_algorithms):
            response.vary.add("Accept-Encoding")
            return response
        compressed: Response = super().after_request(response)
        return compressed


class Login(LoginManager):  # type: ignore[misc] # Flask-Login has no types
    """Flask-Login with the product's own token or cookie in each request."""

    def init_app(self, app: Flask, add_context_processor: bool = False) -> None:  # noqa: ARG002
        """Serve an app, without Flask-Login's cookie and its processor, which would ask the
        database for every page."""
        app.login_manager = self  # type: ignore[attr-defined]

    def _load_user(self) -> None:
        # Flask-Login would first look for a user's id in Flask's session and for its own cookie,
        # and hash the client's address to protect them. The product has neither.
        self._update_request_context_with_user(self._request_callback(request))
