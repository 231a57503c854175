"""The commands with their arguments, and nothing else; what each does is in a module of its own.

A command imports that module when it runs, so that `--help` and a mistyped command answer at once.
"""

import importlib.metadata
import os
import re
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.deployment import Deployment

CONFIG = click.argument("config", metavar="CONFIG")
JSON = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
WAIT = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 86_400),
    metavar="S",
    help="Wait for the answer at most S seconds.",
)
BECAUSE = click.option("--because", default="", metavar="TEXT", help="Why; it stays in the feed.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=lambda *it: _version(*it)
)
def orderwire() -> None:
    """Orders out, one numbered feed back; nothing guessed and nothing lost."""


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        try:
            number = importlib.metadata.version("orderwire")
        except importlib.metadata.PackageNotFoundError:
            number = "(not installed)"
        click.echo(f"orderwire {number}")
        context.exit()


def _load(config: str) -> "Deployment":
    from actors.clients import client_class
    from pipeline import deployment_file

    return deployment_file.load(Path(config), client_class)


def _wait_for(work: Coroutine[Any, Any, int]) -> int:
    import uvloop

    return uvloop.run(work)


def _engine_name() -> str:
    """A name of its own for every command: two of one name would fence each other."""
    return f"cli-{os.getpid()}"


@orderwire.command()
@CONFIG
@click.argument("process", required=False)
@click.option("--json", "as_json", is_flag=True, help="What is left at the end as one JSON line.")
def run(config: str, process: str | None, as_json: bool) -> int:
    """Run a deployment: every process of it, supervised, or the one named.

    At the end it says what each executor left; 0 only if no order is unknown.
    """
    deployment = _load(config)
    from actors.command_line.process import check_process, run_process
    from actors.command_line.supervisor import Supervisor

    if process is not None:
        check_process(deployment, process)
        return _wait_for(run_process(deployment, process, as_json=as_json))
    if len(deployment.processes) == 1:
        return _wait_for(run_process(deployment, next(iter(deployment.processes)), True, as_json))
    return _wait_for(Supervisor(deployment, as_json).run())


@orderwire.command()
@CONFIG
def check(config: str) -> int:
    """Validate a deployment file; print actors, links and endpoints, and the journals' health."""
    deployment = _load(config)
    from actors.command_line import overview

    return overview.check(deployment)


@orderwire.command()
@CONFIG
@click.option(
    "--from", "first", type=click.IntRange(min=1), default=1, metavar="SEQ", help="Begin at this number."
)
@click.option("--follow", is_flag=True, help="Go on with what comes.")
@JSON
def feed(config: str, first: int, follow: bool, as_json: bool) -> int:
    """Print the feed: from the running deployment, or from its journal."""
    deployment = _load(config)
    from actors.command_line import feed as feed_command

    return _wait_for(feed_command.feed(deployment, first, follow, as_json, _engine_name()))


@orderwire.command("open")
@CONFIG
@click.argument("exchange")
@click.argument("instrument")
@click.argument("side", type=click.Choice(["buy", "sell"]))
@click.argument("quantity")
@click.option("--price", metavar="P", help="A limit order's price.")
@click.option(
    "--kind", type=click.Choice(["limit", "market"]), help="Limit when there is a price, else market."
)
@click.option("--tif", type=click.Choice(["gtc", "day", "ioc", "fok"]), default="gtc", help="Time in force.")
@click.option("--post-only", is_flag=True, help="Rest or be rejected.")
@click.option("--cid", metavar="C", help="The order's client id; made up when left out.")
@WAIT
@click.option("--until", type=click.Choice(["answered", "finished"]), default="answered", help="When to end.")
@JSON
def open_order(
    config: str,
    exchange: str,
    instrument: str,
    side: str,
    quantity: str,
    price: str | None,
    kind: str | None,
    tif: str,
    post_only: bool,
    cid: str | None,
    wait_s: float | None,
    until: Any,
    as_json: bool,
) -> int:
    """Place one order and wait for what becomes of it."""
    deployment = _load(config)
    from actors.command_line import ordering

    kind = kind or ("market" if price is None else "limit")
    wanted = ordering.Wanted(exchange, instrument, side, quantity, price, kind, tif, post_only, cid)
    ordering.check_open(deployment, wanted)
    return _wait_for(ordering.open_order(deployment, wanted, wait_s, until, as_json, _engine_name()))


@orderwire.command()
@CONFIG
@click.argument("cid")
@click.option("--exchange", metavar="E", help="Where the order is; found by its cid while it is active.")
@WAIT
@JSON
def cancel(config: str, cid: str, exchange: str | None, wait_s: float | None, as_json: bool) -> int:
    """Cancel one order and wait for the answer."""
    deployment = _load(config)
    from actors.command_line import ordering

    ordering.check_cancel(deployment, cid, exchange)
    return _wait_for(ordering.cancel_order(deployment, cid, exchange, wait_s, as_json, _engine_name()))


@orderwire.command("cancel-all")
@CONFIG
@click.option("--exchange", metavar="E", help="Only on this exchange.")
@click.option("--external", is_flag=True, help="Also orders that were adopted from the exchange.")
@JSON
def cancel_all(config: str, exchange: str | None, external: bool, as_json: bool) -> int:
    """Cancel every order of every engine."""
    deployment = _load(config)
    from actors.command_line import ordering

    return _wait_for(ordering.cancel_all(deployment, exchange, external, as_json, _engine_name()))


@orderwire.command()
@CONFIG
@JSON
def status(config: str, as_json: bool) -> int:
    """What every actor says of itself."""
    deployment = _load(config)
    from actors.command_line import status as status_command

    return _wait_for(status_command.status(deployment, as_json))


# A negative number is an argument of a fault, not an option.
@orderwire.command(context_settings={"ignore_unknown_options": True})
@CONFIG
@click.argument("exchange")
@click.argument("name")
@click.argument("arguments", nargs=-1)
def fault(config: str, exchange: str, name: str, arguments: tuple[str, ...]) -> int:
    """Flip a fault of a simulated exchange; `NAME off` and `clear` take faults back."""
    for argument in (name, *arguments):
        if re.match(r"--?[A-Za-z]", argument):
            raise click.NoSuchOption(argument)
    deployment = _load(config)
    from actors.command_line import operating

    return _wait_for(operating.fault(deployment, exchange, name, arguments))


@orderwire.command()
@CONFIG
@click.option("--exchange", metavar="E", help="Only on this exchange.")
@BECAUSE
def halt(config: str, exchange: str | None, because: str) -> int:
    """Refuse opens from now on; cancels pass."""
    deployment = _load(config)
    from actors.command_line import operating

    return _wait_for(operating.halt(deployment, exchange, because))


@orderwire.command()
@CONFIG
@click.option("--exchange", metavar="E", help="Only on this exchange.")
@BECAUSE
def resume(config: str, exchange: str | None, because: str) -> int:
    """Take opens again after a halt."""
    deployment = _load(config)
    from actors.command_line import operating

    return _wait_for(operating.resume(deployment, exchange, because))


@orderwire.command()
@CONFIG
@click.argument("cid")
@click.argument("outcome", type=click.Choice(["cancelled", "open-failed", "filled"]))
@click.option("--because", required=True, metavar="TEXT", help="Why; it stays in the feed with your name.")
def resolve(config: str, cid: str, outcome: str, because: str) -> int:
    """End an unknown order on your own word."""
    deployment = _load(config)
    from actors.command_line import operating

    return _wait_for(operating.resolve(deployment, cid, outcome, because))


@orderwire.command()
@CONFIG
@click.argument("exchange", required=False)
@click.option("--instrument", default="", metavar="NAME", help="What to trade; the first one when left out.")
@click.option("--price", metavar="P", help="About what it trades at; found out when left out.")
@click.option("--quantity", metavar="Q", help="Of each order; the least that may be when left out.")
@click.option("--partial-quantity", metavar="Q", help="More than stands at the best price.")
@click.option(
    "--patience",
    "patience_s",
    type=click.FloatRange(0.1, 600),
    default=5,
    show_default=True,
    metavar="S",
    help="How long anything may take.",
)
@JSON
def certify(
    config: str,
    exchange: str | None,
    instrument: str,
    price: str | None,
    quantity: str | None,
    partial_quantity: str | None,
    patience_s: float,
    as_json: bool,
) -> int:
    """Play the conformance suite against a deployment's clients. A live client trades, in small orders."""
    deployment = _load(config)
    from actors.command_line import certify as suite

    wanted = suite.Wanted(exchange, instrument, price, quantity, partial_quantity, patience_s)
    return _wait_for(suite.certify(deployment, suite.check(deployment, wanted), as_json))


@orderwire.command()
@click.option(
    "--seconds", type=click.FloatRange(1, 86_400), default=10, show_default=True, help="How long to trade."
)
@click.option(
    "--rate", type=click.FloatRange(1, 10_000), default=200, show_default=True, help="Requests a second."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="The market's and the maker's."
)
@click.option(
    "--market-data", "files", multiple=True, metavar="FILE", help="A recording; may be given again."
)
@click.argument("more_files", nargs=-1, metavar="")
def demo(seconds: float, rate: float, seed: int, files: tuple[str, ...], more_files: tuple[str, ...]) -> int:
    """Trade on two simulated exchanges and hold the feed against their ledgers."""
    if more_files and not files:
        raise click.UsageError(f"Got unexpected extra argument ({more_files[0]})")
    from actors.command_line import demo as demo_command

    plan = demo_command.Plan(seconds, rate, seed, tuple(Path(file) for file in (*files, *more_files)))
    return demo_command.demo(plan)
