"""The ids in examples of the OpenAPI document, the same for the same object."""

from __future__ import annotations

CHAT = {"example": "6921a7f05c1d4e0012ab34cd"}

USER = {"example": "6921a7c15c1d4e0012ab34aa"}

ADMIN = {"example": "69207e3b5c1d4e0012ab1234"}

MESSAGE = {"example": "6921a7f05c1d4e0012ab34ce"}

SESSION = {"example": "6921a7c15c1d4e0012ab34ab"}

AVATAR = {"example": "https://shop.example/people/ana.jpg"}
