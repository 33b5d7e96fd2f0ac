"""What `make bench AGAINST=COMMIT` makes of its figures."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import pytest

from bench import against
from bench.__main__ import WIDE
from bench.against import Row
from bench.quiet import Floor
from config import Config


def a_row(**bounds: float) -> Row:
    row = Row("send", "a send", lambda _: (1.0, 1.0), **bounds)  # type: ignore[arg-type]
    row.found = [((2.0, 4.0), (1.0, 4.0)), ((3.0, 4.0), (1.2, 3.0)), ((2.0, 4.0), (1.8, 2.0))]
    return row


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    options = argparse.Namespace(against="v1", rounds=3, chats=1000)
    table = "\n".join(against.report("abc1234", [a_row(app=0.6, database=0.7)], {}, options))
    assert "| a send | app | 2.00 | 1.20 | 0.500 (0.450-0.700) | ≤ 0.6 |" in table
    assert "| a send | database | 4.00 | 3.00 | 0.750 (0.625-0.875) | **missed** ≤ 0.7 |" in table


def test_requests_and_bytes_of_pages_are_judged_apart() -> None:
    options = argparse.Namespace(against="v1", rounds=3, chats=1000)
    old = dict.fromkeys(against.WIRE_BOUNDS, (7, 20.2))
    new = dict.fromkeys(against.WIRE_BOUNDS, (3, 13.0))
    table = "\n".join(against.report("abc1234", [], {"old": old, "new": new}, options))
    assert "| widget closed | 7, 20.2 | 3, 13.0 | ≤ 3 requests, **missed** ≤ 12 kB |" in table


def test_a_row_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(SystemExit, match="sned"):
        against.choose("send,sned")


def test_a_commit_that_pins_something_else_gets_an_environment_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pytest==0.1 \\\n    --hash=sha256:0\nrequests\n")
    assert list(against.unmet(tmp_path)) == ["pytest==0.1"]


def test_the_floor_tells_a_quiet_machine_from_a_busy_one() -> None:
    with Floor() as floor:
        while len(floor.timer) < 2 or len(floor.echo) < 2:
            time.sleep(0.005)
    floor.timer, floor.echo, floor.others = [0.1] * 200, [0.2] * 200, 0.02
    judged = [floor.is_quiet]
    assert str(floor).endswith("echo p99 0.2, worst 0 ms; others used 0.02 cores: quiet")
    floor.others = 0.5
    judged.append(floor.is_quiet)
    floor.others = 0.02
    floor.echo[0] = 60.0
    judged.append(floor.is_quiet)
    floor.echo = []
    judged.append(floor.is_quiet)
    assert judged == [True, False, False, False]


def test_no_limit_refuses_what_is_measured() -> None:
    limits = {name for name in dir(Config) if name.startswith("LIMIT_")}
    assert limits <= set(WIDE)
