"""`verify`: the customer's deployment checklist, run for real.

Sections 1 to 10, the smoke tests and the production data validation are tried on this
configuration, its database and a running instance. For that three accounts are made, and
removed afterwards however the run ends, with all their chats. Nothing else is changed, no limit
is tried out, and what is secret is never shown.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from pymongo.errors import PyMongoError

from acceptance import people
from acceptance.checklist import CHECKLIST, Item, Section
from acceptance.instance import Unreachable
from acceptance.product import CommandFailed, Product
from acceptance.results import Failed, NotApplicable, NotRun
from acceptance.run import Run

PASSED, FAILED, NOT_RUN = "passed", "failed", "not run"
LEFT_OUT, NOT_APPLICABLE, CONFIRM = "left out", "not applicable", "for you to confirm"
# These two fail the run: what was not tried is not known to be right.
BAD = frozenset({FAILED, NOT_RUN})
SIGNS = {PASSED: "✓", FAILED: "✗", NOT_RUN: "✗"}
LOOK_AT_DATABASE = "Look at the database; docs/troubleshooting.md."
COLOURS = {PASSED: "green", FAILED: "red", NOT_RUN: "red"}


@dataclass(frozen=True)
class Outcome:
    """What came of one item."""

    section: str
    title: str
    status: str
    detail: str
    remedy: str = ""


@click.command("verify")
@click.option("--url", help="The running instance.  [default: PUBLIC_URL, or this machine's PORT]")
@click.option("--offline", is_flag=True, help="Leave out what needs a running instance.")
@click.option("--only", metavar="TEXT", help="Only items whose section or title has this text.")
@click.option(
    "--response-ms",
    type=click.FloatRange(min=0, min_open=True),
    default=500.0,
    show_default=True,
    help="What the 99th percentile of response times must stay below.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program to read.")
@click.pass_obj
def verify(
    product: Product | None,
    url: str | None,
    offline: bool,
    only: str | None,
    response_ms: float,
    as_json: bool,
) -> None:
    """Run the deployment checklist against this configuration and a running instance.

    Exit status 0 only if nothing failed. Items that only a person can judge are listed as
    "for you to confirm" and never count as passed.
    """
    if url and not url.startswith(("http://", "https://")):
        raise click.BadParameter("must begin with http:// or https://", param_hint="--url")
    chosen = _chosen(only)
    product = product or Product()
    try:
        config = product.configuration["settings"]
    except CommandFailed as error:
        raise click.ClickException(str(error)) from None
    address = url or config["PUBLIC_URL"] or f"http://127.0.0.1:{config['PORT']}"
    run = Run(product, address.rstrip("/"), offline, response_ms)
    started, begun = datetime.now(UTC), time.monotonic()
    outcomes: list[Outcome] = []
    alone = _single_instance(Path(config["DATA_DIR"]))
    with alone, _graceful_signals(), contextlib.closing(run), _cleaned_up(run):
        for section in chosen:
            if not as_json:
                click.echo(click.style(f"\n{section.title}", bold=True))
            for item in section.items:
                outcome = _outcome(run, section, item)
                outcomes.append(outcome)
                if not as_json:
                    _show(outcome)
    seconds = time.monotonic() - begun
    if as_json:
        facts = {"url": run.url, "environment": config["APP_ENV"], "version": config["VERSION"]}
        when = {"startedAt": _iso(started), "seconds": round(seconds, 1)}
        _print_json(facts | when, outcomes)
    else:
        _sum_up(run, outcomes, seconds)
    if any(outcome.status in BAD for outcome in outcomes):
        sys.exit(1)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _chosen(only: str | None) -> list[Section]:
    """Return the sections with the items that were asked for."""
    if only is None:
        return list(CHECKLIST)
    wanted = only.casefold()
    found = []
    for section in CHECKLIST:
        whole = wanted in section.title.casefold()
        items = [item for item in section.items if whole or wanted in item.title.casefold()]
        if items:
            found.append(Section(section.title, tuple(items)))
    if not found:
        raise click.ClickException(f"No item of the checklist has {only!r} in it.")
    return found


def _outcome(run: Run, section: Section, item: Item) -> Outcome:
    """Run one check. An exception is an outcome, except KeyboardInterrupt."""

    def outcome(status: str, detail: str, remedy: str = "") -> Outcome:
        return Outcome(section.title, item.title, status, detail, remedy)

    if item.check is None:
        return outcome(CONFIRM, item.confirm)
    try:
        return outcome(PASSED, item.check(run))
    except NotApplicable as reason:
        return outcome(NOT_APPLICABLE, str(reason))
    except NotRun as reason:
        if run.offline:
            return outcome(LEFT_OUT, "needs a running instance (--offline)")
        return outcome(NOT_RUN, reason.reason, reason.remedy)
    except Failed as failure:
        return outcome(FAILED, failure.reason, failure.remedy)
    except Unreachable as error:
        return outcome(FAILED, f"The instance broke the connection off ({error}).")
    except PyMongoError as error:
        refused = f"The database refused ({type(error).__name__})."
        return outcome(NOT_RUN, run.product.database_failure() or refused, LOOK_AT_DATABASE)
    except CommandFailed as error:
        if why := run.product.database_failure():
            return outcome(NOT_RUN, why, LOOK_AT_DATABASE)
        return outcome(FAILED, f"A command of the product failed: {error}")
    except Exception as error:  # noqa: BLE001 - a check that breaks must not hide the others
        return outcome(FAILED, f"The check broke ({type(error).__name__}: {error}).")


def _show(outcome: Outcome) -> None:
    sign = click.style(SIGNS.get(outcome.status, "–"), fg=COLOURS.get(outcome.status))
    if outcome.status == PASSED:
        click.echo(f"  {sign} {outcome.title:<61} {click.style(outcome.detail, dim=True)}")
    elif outcome.status in BAD:
        click.echo(f"  {sign} {click.style(outcome.title, fg='red')}")
        click.echo(f"      {_stated(outcome)}")
        if outcome.remedy:
            click.echo(f"      → {outcome.remedy}")
    else:
        click.echo(f"  {sign} {outcome.title:<61} {click.style(_stated(outcome), dim=True)}")


def _stated(outcome: Outcome) -> str:
    if outcome.status in {CONFIRM, NOT_RUN}:
        return f"{outcome.status}: {outcome.detail}"
    return outcome.detail


def _counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    found = dict.fromkeys((PASSED, FAILED, NOT_RUN, LEFT_OUT, NOT_APPLICABLE, CONFIRM), 0)
    for outcome in outcomes:
        found[outcome.status] += 1
    return found


def _print_json(facts: dict[str, Any], outcomes: Sequence[Outcome]) -> None:
    body = {
        **facts,
        "ok": not any(outcome.status in BAD for outcome in outcomes),
        "counts": _counts(outcomes),
        "items": [asdict(outcome) for outcome in outcomes],
    }
    click.echo(json.dumps(body, ensure_ascii=False, indent=2))


def _sum_up(run: Run, outcomes: Sequence[Outcome], seconds: float) -> None:
    bad = [outcome for outcome in outcomes if outcome.status in BAD]
    said = ", ".join(f"{count} {name}" for name, count in _counts(outcomes).items() if count)
    where = "without a running instance" if run.offline else run.url
    click.echo(f"\n{where}, {run.config['APP_ENV']}: {said}; {seconds:.0f} s.")
    if not bad:
        click.echo(click.style("Nothing failed.", fg="green", bold=True))
        return
    click.echo(click.style("Failed:", fg="red", bold=True))
    for outcome in bad:
        click.echo(f"  ✗ {outcome.section} / {outcome.title}")


@contextlib.contextmanager
def _single_instance(data_dir: Path) -> Iterator[None]:
    """Let one run at a time use this data directory: the next one tidies up after the last."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "verify.lock").open("w")
    except OSError as error:
        raise click.ClickException(f"DATA_DIR {data_dir}: {error.strerror}.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise click.ClickException("Another verify is running here. Wait for it.") from None
        yield


class _Stopped(BaseException):
    """A signal asked this process to end."""


@contextlib.contextmanager
def _graceful_signals() -> Iterator[None]:
    """Let the signals that ask for an end leave the block as an exception.

    Also Ctrl-C's: a shell starts what it puts into the background deaf to it.
    """

    def stop(*_: object) -> None:
        raise _Stopped

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except _Stopped:
        raise click.Abort from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _cleaned_up(run: Run) -> Iterator[None]:
    """Remove the accounts of this run when the block ends, however it ends."""
    try:
        yield
    finally:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        try:
            if run.needs_removal:
                people.remove_all(run.product)
        except CommandFailed as error:
            click.echo(
                f"Accounts named verify-… may be left in the database ({error}). "
                "The next run removes them.",
                err=True,
            )
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
