"""`make soak` in small: clients of every kind, accidents, a change of workers.

The program's own checks are the test: who was told what, unread counts, inboxes, open
connections, the log.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

from deploy import run

pytestmark = pytest.mark.long


def test_a_short_soak_ends_with_everything_in_agreement() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bench.soak"),
            *("--minutes", "1", "--clients", "40", "--rate", "10"),
        ],
        cwd=run.ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
    assert "VERDICT: PASS" in done.stdout
    assert "the workers are replaced" in done.stdout
