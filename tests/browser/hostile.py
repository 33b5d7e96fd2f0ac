"""What an attacker may write, and how a page shows that it did nothing.

One corpus for the console and the users' chat. Whatever runs sets `window.hacked`; whatever
becomes an element has the id `injected` or is one that no page of ours holds.
"""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route

TEXTS = [
    "<script>window.hacked=1</script>",
    '"><img src=x onerror="window.hacked=1">',
    "' onmouseover='window.hacked=1",
    '" autofocus onfocus="window.hacked=1" id="injected',
    "</textarea></title></template></noscript><svg onload=window.hacked=1>",
    "--><iframe srcdoc='<script>parent.hacked=1</script>'></iframe>",
    "<a id='injected' href='javascript:window.hacked=1'>x</a>",
    "<style id='injected'>* { display: none }</style>",
    "<hx-partial hx-target='#main'><b id='injected'>x</b></hx-partial>",
    "<b hx-get='/admin' hx-trigger='load' id='injected'>x</b>",
    "</head><body id='injected'>",
    "&lt;script&gt;window.hacked=1&lt;/script&gt;",
    "{{ 7 * 7 }}${window.hacked=1}{% raw %}",
    "javascript:window.hacked=1",
    "https://x.example/'onmouseover='window.hacked=1",
    'https://x.example/"onmouseover="window.hacked=1',
    "https://x.example/<b id='injected'>",
]

# The API accepts no image address but a web address: these are what a front end must
# withstand if one ever gets into the database. The last two are on a host of IMAGE_HOSTS.
IMAGES = [
    "javascript:window.hacked=1",
    "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='window.hacked=1'/>",
    'x" onerror="window.hacked=1',
    "//x.example/a.png",
    "http://x.example/a.png",
    "http://[",
    "ftp://x.example/a.png",
    "/admin/logout",
    "https://elsewhere.example/a.png",
    "https://x.example.elsewhere.example/a.png",
    "https://x.example:8443/a.png",
    "https://x.example@elsewhere.example/a.png",
    "https://elsewhere.example/@x.example/a.png",
    "https://elsewhere.example\\@x.example/a.png",
    'https://x.example/"><script id="injected">window.hacked=1</script>',
    "https://x.example/a.png' onload='window.hacked=1",
]
LOADED = set(IMAGES[-2:])
IMAGE_HOSTS = "x.example"

_PICTURE = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"


def serve_pictures(page: Page) -> None:
    """Answer what the page asks of https://x.example with a picture."""

    def answer(route: Route) -> None:
        route.fulfill(content_type="image/svg+xml", body=_PICTURE)

    page.route(re.compile(r"^https://x\.example/"), answer)


def assert_harmless(page: Page) -> None:
    """Check that nothing that was written has run or become part of the page."""
    assert page.evaluate("window.hacked") is None
    assert page.locator("#injected, iframe, hx-partial, main svg[onload]").count() == 0
    assert page.locator("main :is(script, style, body)").count() == 0
