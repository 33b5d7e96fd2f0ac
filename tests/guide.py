"""The worked example of docs/add-a-feature.md: the diffs that stand in it.

    python -m tests.guide apply FOLDER            apply them to a checkout, as a reader does
    python -m tests.guide apply FOLDER --reject   apply what fits, and leave the rest in *.rej
    python -m tests.guide refresh FOLDER          write them again from a checkout with the feature

A block is refreshed with the changes of the files that it names.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
GUIDE = ROOT / "docs" / "add-a-feature.md"
BLOCK = re.compile(r"(?<=^```diff\n).*?(?=^```$)", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^diff --git a/(\S+) b/", re.MULTILINE)


def blocks(text: str) -> list[str]:
    """Return the diffs of the guide, in its order."""
    return BLOCK.findall(text)


def files(diff: str) -> list[str]:
    """Return the files that a diff changes or makes."""
    return FILE.findall(diff)


def apply(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Apply all diffs to a folder; its stderr names what does not fit."""
    return subprocess.run(
        ["git", "apply", *options, "-"],
        cwd=folder,
        input="".join(blocks(GUIDE.read_text(encoding="utf-8"))),
        capture_output=True,
        text=True,
        check=False,
    )


def refreshed(text: str, folder: Path) -> str:
    """Return the guide with each diff written again from a checkout that has the feature."""

    def again(block: re.Match[str]) -> str:
        names = files(block[0])
        for command in (["add", "--intent-to-add"], ["diff", "--unified=1", "--no-color", "HEAD"]):
            done = subprocess.run(
                ["git", *command, "--", *names],
                cwd=folder,
                capture_output=True,
                text=True,
                check=True,
            )
        # The hashes would change with each commit.
        return re.sub(
            r"^index [0-9a-f]+\.\.[0-9a-f]+( \d+)?\n", "", done.stdout, flags=re.MULTILINE
        )

    return BLOCK.sub(again, text)


def main(arguments: list[str]) -> int:
    match arguments:
        case ["apply", folder, *options]:
            done = apply(Path(folder), *options)
            print(done.stderr, end="", file=sys.stderr)
            return done.returncode
        case ["refresh", folder]:
            text = GUIDE.read_text(encoding="utf-8")
            GUIDE.write_text(refreshed(text, Path(folder)), encoding="utf-8")
            return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
