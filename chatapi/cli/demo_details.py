"""Random details for the demo's texts: order numbers, places, measurements."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from chatapi.cli.demo_people import Person

_CITIES = [
    "Basel",
    "Bergen",
    "Cork",
    "Gdańsk",
    "Ghent",
    "Izmir",
    "Leeds",
    "Lyon",
    "Porto",
    "Tampere",
    "Trieste",
    "Utrecht",
    "Valencia",
]
_PLANTERS = ("Fernhill One", "Fernhill Mini", "Fernhill Trio", "Fernhill Shelf")
_WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
_STREETS = ("Kanalweg 12", "14 Orchard Lane", "Rua das Flores 8", "Plaza Mayor 3", "Torvet 21")


class Details:
    """Makes details up from a source of random numbers: the same ones for the same source."""

    def __init__(self, source: random.Random, now: datetime) -> None:
        self.random = source
        self.now = now

    def of_chat(self, owner: Person, agent: Person) -> dict[str, Any]:
        """Return what a customer and an agent talk about."""
        number = self.random.randint
        return {
            "name": owner.called,
            "email": owner.email,
            "agent": agent.called,
            "order": f"FH-{number(100000, 999999)}",
            "invoice": f"{self.now.year}-{number(10000, 99999)}",
            "tracking": f"FX{number(10**8, 10**9 - 1)}NL",
            "serial": f"{number(2, 9)}K{number(10, 99)}-{number(1000, 9999)}",
            "version": f"{number(3, 5)}.{number(0, 12)}.{number(0, 9)}",
            "amount": f"€{number(9, 249)}.{self.random.choice(('00', '50', '90', '95'))}",
            "count": number(12, 40),
            "product": self.random.choice(_PLANTERS),
            "city": self.random.choice(_CITIES),
            "street": self.random.choice(_STREETS),
            "day": self.random.choice(_WEEKDAYS),
        }

    def measurements(self, plants: Sequence[str]) -> dict[str, Any]:
        """Return what the customer of the long chat has measured."""
        number, exact = self.random.randint, self.random.uniform
        return {
            "shelf": f"{self.random.choice('ABCD')}{number(1, 6)}",
            "plant": self.random.choice(plants),
            "ph": f"{exact(5.6, 6.7):.1f}",
            "ec": f"{exact(1.1, 2.3):.2f}",
            "temp": f"{exact(17, 25):.1f}",
            "percent": number(31, 92),
            "small": number(2, 19),
            "litres": number(3, 38),
            "watt": number(4, 12) * 10,
            "grams": number(110, 990),
            "grams2": number(110, 990),
            "grams3": number(40, 300),
            "kwh": f"{exact(3, 7):.1f}",
            "count": number(6, 40),
            "batch": f"{self.random.choice('KLMNP')}-{number(10, 99)}",
            "time": f"{number(6, 21):02d}:{number(0, 59):02d}",
            "version": f"2.{number(0, 9)}.{number(0, 9)}",
            "serial": f"{number(2, 9)}K{number(10, 99)}-{number(1000, 9999)}",
            "day": self.random.choice(_WEEKDAYS),
            "db": number(28, 37),
        }
