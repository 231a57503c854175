"""`open`, `cancel` and `cancel-all`: one request each, watched on the feed until it is answered.

What is wrong with a request is found before anything is sent. The last line that is printed is the outcome.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, Literal

import click

from actors.command_line import terminal
from actors.command_line.exits import DONE, FAILED, WorkFailed, complain
from pipeline.amounts import amount
from pipeline.checks import check_request
from pipeline.deployment import Deployment, Exchange
from pipeline.engine import Engine, EngineError
from pipeline.headers import VERSION, Kind, RequestHeader
from pipeline.messages import (
    CancelAllDone,
    CancelOrder,
    Event,
    OpenOrder,
    OrderCancelled,
    OrderSnapshot,
    Refused,
)
from pipeline.naming import describe, describe_json_line, one_line, printable
from pipeline.vocabulary import Flags, OrderKind, OrderState, Side, TimeInForce

Until = Literal["answered", "finished"]
MARGIN_S: Final = 1.0  # what an answer may take beyond the request's own deadlines


@dataclass(frozen=True, slots=True)
class Wanted:
    """An order as it was typed."""

    exchange: str
    instrument: str
    side: str
    quantity: str
    price: str | None
    kind: str
    time_in_force: str
    post_only: bool
    cid: str | None


def patience_s(exchange: Exchange) -> float:
    """How long an answer can take: until the request's end, plus its timeout."""
    return (exchange.timing.expires_ms + exchange.timing.request_timeout_ms) / 1_000 + MARGIN_S


def known_exchange(deployment: Deployment, name: str) -> Exchange:
    """Raises click.UsageError."""
    try:
        return deployment.exchange(name)
    except KeyError:
        names = ", ".join(exchange.name for exchange in deployment.exchanges)
        raise click.UsageError(f"EXCHANGE: {printable(name, 64)!r} must be one of {names}") from None


def check_open(deployment: Deployment, wanted: Wanted) -> Exchange:
    """The exchange of an order that can be sent. Raises click.UsageError naming what is wrong with it."""
    exchange = known_exchange(deployment, wanted.exchange)
    try:
        instrument = exchange.instrument(wanted.instrument)
    except KeyError:
        names = ", ".join(each.name for each in exchange.instruments)
        typed = printable(wanted.instrument, 64)
        raise click.UsageError(f"INSTRUMENT: {typed!r} must be one of {names}") from None
    try:
        body = OpenOrder(
            instrument=instrument.index,
            cid=wanted.cid or "generated",
            side=Side[wanted.side.upper()],
            kind=OrderKind[wanted.kind.upper()],
            time_in_force=TimeInForce[wanted.time_in_force.upper()],
            flags=int(Flags.POST_ONLY) if wanted.post_only else 0,
            price=None if wanted.price is None else amount(wanted.price),
            quantity=amount(wanted.quantity),
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    _check(exchange, Kind.OpenOrder, body)
    return exchange


def check_cancel(deployment: Deployment, cid: str, exchange: str | None) -> None:
    """Raises click.UsageError."""
    of = deployment.exchanges[0] if exchange is None else known_exchange(deployment, exchange)
    _check(of, Kind.CancelOrder, CancelOrder(instrument=0, cid=cid))


def _check(exchange: Exchange, kind: Kind, body: OpenOrder | CancelOrder) -> None:
    wrong = check_request(exchange, RequestHeader(exchange.index, VERSION, kind, 0, 0, "cli", 1, 1, 1), body)
    if wrong is not None:
        raise click.UsageError(wrong[1])


async def open_order(
    deployment: Deployment,
    wanted: Wanted,
    wait_s: float | None,
    until: Until,
    as_json: bool,
    engine_name: str,
) -> int:
    exchange = check_open(deployment, wanted)
    try:
        async with Engine(deployment, engine_name) as engine:
            cid = engine.open(
                wanted.exchange,
                wanted.instrument,
                side=wanted.side,
                quantity=wanted.quantity,
                price=wanted.price,
                kind=wanted.kind,
                time_in_force=wanted.time_in_force,
                post_only=wanted.post_only,
                cid=wanted.cid,
            )
            watch = Watch(engine, as_json, cid, exchange.index)
            return await watch.outcome(patience_s(exchange) if wait_s is None else wait_s, until)
    except EngineError as error:
        raise WorkFailed(str(error)) from None


async def cancel_order(
    deployment: Deployment,
    cid: str,
    exchange: str | None,
    wait_s: float | None,
    as_json: bool,
    engine_name: str,
) -> int:
    check_cancel(deployment, cid, exchange)
    longest_s = max(patience_s(each) for each in deployment.exchanges)
    try:
        # Everything: the order is most likely another engine's.
        async with Engine(deployment, engine_name, everything=True) as engine:
            engine.cancel(cid, exchange)
            watch = Watch(engine, as_json, cid, None)
            return await watch.outcome(longest_s if wait_s is None else wait_s, "answered")
    except EngineError as error:
        raise WorkFailed(str(error)) from None


async def cancel_all(
    deployment: Deployment, exchange: str | None, external: bool, as_json: bool, engine_name: str
) -> int:
    """One CancelAll per exchange; prints each answer and their sum."""
    wanted = [e for e in deployment.exchanges if exchange in (None, e.name)]
    if not wanted:
        known_exchange(deployment, exchange or "")
    total = CancelAllDone(cancelled=0, failed=0, unknown=0)
    refused = 0
    try:
        async with Engine(deployment, engine_name) as engine:
            waiting = {
                engine.cancel_all(each.name, scope="all", external=external): each.name for each in wanted
            }
            try:
                async with asyncio.timeout(max(patience_s(each) for each in wanted)):
                    while waiting:
                        event = await anext(engine)
                        if event.answers is None or waiting.pop(_own_rid(engine, event), None) is None:
                            continue
                        show(deployment, event, as_json)
                        if isinstance(event, CancelAllDone):
                            total.cancelled += event.cancelled
                            total.failed += event.failed
                            total.unknown += event.unknown
                        else:
                            refused += 1
            except TimeoutError:
                pass
    except EngineError as error:
        raise WorkFailed(str(error)) from None
    if waiting:
        complain(f"no answer from {', '.join(waiting.values())}")
    if not as_json and len(wanted) > 1:
        counts = f"cancelled {total.cancelled}, failed {total.failed}, unknown {total.unknown}"
        terminal.line(f"together: {counts}")
    return FAILED if waiting or refused or total.failed or total.unknown else DONE


class Watch:
    """What the feed says of one order until its request is answered, printed as it comes."""

    def __init__(self, engine: Engine, as_json: bool, cid: str, exchange: int | None) -> None:
        self._engine = engine
        self._as_json = as_json
        self._cid = cid
        self._exchange = exchange

    async def outcome(self, wait_s: float, until: Until) -> int:
        """The exit code: what the last line says."""
        last: Event | None = None
        answered = finished = False
        try:
            async with asyncio.timeout(wait_s):
                while not (answered and (finished or until == "answered")):
                    event = await anext(self._engine)
                    if not self._concerns(event):
                        continue
                    show(self._engine.deployment, event, self._as_json, flush=True)
                    if isinstance(event, (OrderSnapshot, OrderCancelled, Refused)):
                        last = event
                    answered = answered or _own_rid(self._engine, event) != 0
                    order = getattr(event, "order", None)
                    finished = isinstance(event, Refused) or (order is not None and order.state.finished)
        except TimeoutError:
            complain(f"{self._cid}: not {until} within {wait_s:g} s")
            return FAILED
        return FAILED if last is None or failed(last) else DONE

    def _concerns(self, event: Event) -> bool:
        if _own_rid(self._engine, event):
            return True
        if self._exchange not in (None, event.exchange):
            return False
        order = getattr(event, "order", None)
        return self._cid == (order.cid if order is not None else getattr(event, "cid", ""))


def _own_rid(engine: Engine, event: Event) -> int:
    """The number of this engine's request that an event answers, 0 if none."""
    answers = event.answers
    return answers.rid if answers is not None and answers.engine == engine.name else 0


def failed(event: Event) -> bool:
    """Whether an outcome is a failure: refused, rejected, left unknown, or a cancel that was not done."""
    if isinstance(event, Refused):
        return True
    if isinstance(event, OrderCancelled):
        return event.failure is not None
    if isinstance(event, OrderSnapshot):
        bad = event.order.state in (OrderState.OpenFailed, OrderState.Unknown)
        return bad or (event.failure is not None and event.failure.error.rejected)
    return False


def show(deployment: Deployment, event: Event, as_json: bool, flush: bool = False) -> None:
    text = describe_json_line(deployment, event) if as_json else one_line(describe(deployment, event))
    terminal.line(text, flush)
