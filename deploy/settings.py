"""The settings of `make run`, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import config
from deploy.process import ROOT, Failure


@dataclass
class Settings:
    """The environment's settings with the defaults of `make run`."""

    data_dir: Path
    address: str  # an IPv6 address without its brackets
    port: int
    mongo_uri: str
    seed_demo: bool
    disk_reserve_mb: int

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings, or fail naming the variable that is wrong."""
        mongo_uri = environ.get("MONGO_URI", "")
        seed = environ.get("SEED_DEMO", "" if mongo_uri else "1")
        text = environ.get("PORT", "8000")
        if not text.isdecimal() or not 0 < int(text) < 65_536:
            raise Failure(f"PORT must be a number from 1 to 65535, not {text!r}.")
        reserve = environ.get("DISK_RESERVE_MB", str(config.Config.DISK_RESERVE_MB))
        low, high = config.RANGES["DISK_RESERVE_MB"]
        if not reserve.isdecimal() or not low <= int(reserve) <= high:
            raise Failure(f"DISK_RESERVE_MB must be a number from {low} to {high}.")
        address = (environ.get("LISTEN_ADDRESS") or "127.0.0.1").strip()
        return cls(
            data_dir=Path(environ.get("DATA_DIR") or ROOT / "var").resolve(),
            address=address.removeprefix("[").removesuffix("]"),
            disk_reserve_mb=int(reserve),
            port=int(text),
            mongo_uri=mongo_uri,
            seed_demo=seed.strip().lower() in {"1", "true", "yes", "on"},
        )

    @property
    def url(self) -> str:
        """The address to open on this machine."""
        # A server on all addresses is open on this machine's own.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.address, self.address)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def environment(self, mongo_uri: str) -> dict[str, str]:
        """Return the environment of flask and gunicorn."""
        # Of a database that is somewhere else the disk is not watched, unless the user says so.
        directory = {} if self.mongo_uri else {"DATABASE_DIRECTORY": str(self.data_dir / "db")}
        return {
            **os.environ,
            **directory,
            "MONGO_URI": mongo_uri,
            "DATA_DIR": str(self.data_dir),
            "PORT": str(self.port),
            "LISTEN_ADDRESS": self.address,
        }
