"""The users' chat component: the page /chat and the embeddable /widget.js.

It knows only the public API: nothing here imports a service or the store.
"""

from chat_ui.views import blueprint, files

__all__ = ["blueprint", "files"]
