"""The requests of a browser's pages that are not yet answered."""

from __future__ import annotations

from playwright.sync_api import BrowserContext, Page, Request

_waiting: dict[BrowserContext, set[Request]] = {}


def watch(context: BrowserContext) -> None:
    """Keep account of the requests of a context's pages until it is closed."""
    waiting = _waiting[context] = set()

    def begun(request: Request) -> None:
        # A stream is never answered to its end.
        if not request.url.partition("?")[0].endswith("/events"):
            waiting.add(request)

    def ended(request: Request) -> None:
        waiting.discard(request)

    def closed(context: BrowserContext) -> None:
        del _waiting[context]

    context.on("request", begun)
    context.on("requestfinished", ended)
    context.on("requestfailed", ended)
    context.on("close", closed)


def is_asking(page: Page) -> bool:
    """Tell whether the page, or another of its context, waits for an answer."""
    return bool(_waiting[page.context])
