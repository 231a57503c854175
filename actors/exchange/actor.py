"""The simulated exchange: calls come in on "calls", answers and the account stream leave there too.

What an operation did is in the ledger, committed by the host, before any answer or stream item about it
leaves: a killed exchange comes back as everybody knew it. At zero latency an answer leaves in the batch of
its question.
"""

import random
from collections.abc import Callable
from typing import Final

from actors.desk import DeskActor
from actors.exchange import settings as settings_file
from actors.exchange import wire
from actors.exchange.account import Account
from actors.exchange.calls import MS, Calls
from actors.exchange.faults import FaultError, Faults
from actors.exchange.gateway import Gateway, draw_ns
from actors.exchange.ledger import Ledger
from actors.exchange.listing import Listing, Terms
from actors.exchange.market import Market, SyntheticMarket
from actors.exchange.matching import Change, Matching
from actors.exchange.orders import Orders
from actors.exchange.recordings import RecordedMarket
from actors.exchange.settings import Range, Recordings
from actors.exchange.stream import Streams
from actors.exchange.timers import Timers
from pipeline import control, headers
from pipeline.actor import Journal, Outbox
from pipeline.client import Trade
from pipeline.codec import BodyError
from pipeline.deployment import ConfigError, Deployment, Exchange
from pipeline.headers import ControlHeader, HeaderError
from pipeline.messages import Message
from pipeline.vocabulary import Error

_MINUTE_NS: Final = 60_000 * MS
_DAY_NS: Final = 1_440 * _MINUTE_NS


class SimulatedExchange(DeskActor):
    """One account's exchange: matching engine, market, ledger and faults behind a message interface."""

    def __init__(self, name: str, deployment: Deployment, journal: Journal) -> None:
        """Raises ConfigError when the deployment's `simulation` table is not one."""
        super().__init__(name, deployment)
        self.outbox = Outbox()
        self.journal = journal
        self.epoch = journal.birth_id
        self.exchange = deployment.exchange(name.partition(".")[2])
        self.settings = settings_file.read(deployment, self.exchange)
        self.faults = Faults()
        self._switch_on_faults()
        self.timers = Timers()
        self.streams = Streams(
            self._send, self.timers, self.faults, self._latency(self.settings.stream_latency_ms)
        )
        self._random = random.Random(0)
        self._unwritten: list[Change] = []

    def _switch_on_faults(self) -> None:
        for name, arguments in self.settings.faults:
            try:
                self.faults.flip(name, arguments, 0)
            except FaultError as error:
                where = f"{self.deployment.path}: exchanges.{self.exchange.name}.simulation.faults"
                raise ConfigError(f"{where}: {error}") from None

    def _latency(self, latency: Range) -> Callable[[], int]:
        return lambda: draw_ns(self._random, latency)

    # ------------------------------------------------------------------------------------- life

    def on_start(self, now_ns: int, seed: int) -> None:
        """Rebuild book and balances from the ledger. Raises ConfigError when a recording cannot be played."""
        seed = seed if self.settings.seed is None else self.settings.seed
        self._random = random.Random(seed)
        for name in self.faults.on:
            self.faults.since_ns[name] = now_ns  # those of the deployment file begin with the exchange
        self.ledger = Ledger(self.journal)
        last_number, last_trade = self.ledger.counter("orders"), self.ledger.counter("trades")
        self.orders = Orders(self.journal.birth_id, self.ledger, last_number, last_trade)
        self.matching = self._make_matching()
        self.calls = Calls(self.matching, self.ledger, self.faults, self._write)
        self.gateway = Gateway(
            self.calls,
            self.faults,
            self.timers,
            self.count,
            self._latency(self.settings.latency_ms),
            self._send,
            self._told,
            self.streams.end_all,
        )
        self.gateway.start(max(now_ns, self.ledger.last_at_ns(self.settings.balances)))
        clock_ns = self.gateway.clock(now_ns)
        for order in list(self.ledger.open_orders()):
            self.matching.restore(order, clock_ns)
        self.ledger.open_account(self.matching.account, clock_ns)
        self.market = self._make_market(seed)
        self.market.start(now_ns)
        self._told(now_ns)
        self.timers.at(self._day_end_ns(now_ns), self._on_day_end)

    def _make_matching(self) -> Matching:
        settings = self.settings
        kept = {asset: self.ledger.balance(asset) for asset in settings.balances}
        totals = {
            asset: settings.balances[asset] if total is None else total for asset, total in kept.items()
        }
        terms = Terms(settings.maker_fee, settings.taker_fee, settings.open_orders_limit)
        return Matching(listings(self.exchange), Account(totals), terms, self.orders)

    def _make_market(self, seed: int) -> Market:
        model = self.settings.market
        if isinstance(model, Recordings):
            return RecordedMarket(model, self.settings.files, self.matching, self.gateway.clock)
        return SyntheticMarket(self.settings, model, self.matching, self.gateway.clock, seed)

    def on_batch_end(self, now_ns: int) -> None:
        self.calls.remember(now_ns)
        self._write()

    def on_stop(self, now_ns: int) -> None:
        self._write()

    def _write(self) -> None:
        if self._unwritten:
            self.ledger.write(self._unwritten, self.orders)
            self._unwritten.clear()
            self.orders.forget_surplus()

    def next_deadline_ns(self) -> int | None:
        timer, market = self.timers.next_ns(), self.market.next_ns()
        if timer is None or market is None:
            return timer if market is None else market
        return min(timer, market)

    def on_deadline(self, now_ns: int) -> None:
        self.timers.run(now_ns)
        due = self.market.next_ns()
        if due is not None and due <= now_ns:
            self.market.advance(now_ns)
            self._told(now_ns)

    def _on_day_end(self, now_ns: int) -> None:
        self._end_day(now_ns)
        self.timers.at(self._day_end_ns(now_ns), self._on_day_end)

    def _end_day(self, now_ns: int) -> None:
        self.matching.end_day(self.gateway.clock(now_ns))
        self._told(now_ns)

    def _day_end_ns(self, now_ns: int) -> int:
        """The next end of a trading day after now."""
        return now_ns - (now_ns - self.settings.day_ends_minute * _MINUTE_NS) % _DAY_NS + _DAY_NS

    def _told(self, now_ns: int) -> None:
        """Tell the streams what the matching engine did, and keep it for the ledger."""
        changes = self.matching.changes
        if changes:
            self._unwritten.extend(changes)
            self.streams.publish(changes, now_ns)
            changes.clear()

    # ------------------------------------------------------------------------------------- calls

    def on_question(self, link: str, peer: bytes, frame: bytes, now_ns: int) -> None:
        if link != "calls":
            super().on_question(link, peer, frame, now_ns)
            return
        try:
            header = headers.read_control(frame)
        except HeaderError:
            self.count("bad_frames")
            return
        if header.kind in wire.QUESTIONS:
            self._on_call(peer, header, frame, now_ns)
        else:
            self.count("bad_frames")

    def _on_call(self, peer: bytes, header: ControlHeader, frame: bytes, now_ns: int) -> None:
        token = header.token
        try:
            body = wire.body(header.kind, frame)
        except BodyError as error:
            self.count("bad_frames")
            self._send(peer, token, wire.Refusal(Error.OrderRejected, f"unreadable: {error}"[:200], False))
            return
        if header.fingerprint != self.deployment.fingerprint:
            detail = "another deployment's table: start both sides from one file"
            self._send(peer, token, wire.Refusal(Error.OrderRejected, detail, False))
        elif isinstance(body, wire.Subscribe):
            self.streams.subscribe(peer, token, (*body.assets, *body.instruments), self._past(), now_ns)
        elif isinstance(body, wire.Renew):
            self.streams.renew(peer, token, now_ns)
        elif isinstance(body, wire.Unsubscribe):
            self.streams.unsubscribe(peer, token)
        else:
            self.gateway.take(peer, token, body, now_ns)

    def _past(self) -> list[Trade]:
        """The trades that a new subscription begins with: none, but for a fault."""
        count = self.faults.number("replay_trades", "trades")
        if not count:
            return []
        self._write()
        trades, _, _ = self.ledger.trades(0, self.orders.last_trade - count, count)
        return trades

    def _send(self, peer: bytes, token: int, body: Message) -> None:
        frame = wire.frame(self.exchange.index, self.deployment.fingerprint, token, body)
        self.outbox.reply("calls", peer, frame)

    # ------------------------------------------------------------------------------------- control

    def on_command(self, header: ControlHeader, body: Message, now_ns: int) -> Message:
        if isinstance(body, control.SetFault):
            return self.set_fault(body, now_ns)
        return super().on_command(header, body, now_ns)

    def set_fault(self, body: control.SetFault, now_ns: int) -> control.Done | control.Failed:
        """Flip a fault; those that are done at once are done here."""
        try:
            said = self.faults.flip(body.name, body.arguments, now_ns)
        except FaultError as error:
            return control.Failed(str(error)[:1_000])
        if body.arguments == ["off"]:
            return control.Done(said)
        if body.name in ("disconnect", "flap"):
            self.streams.end_all(f"{body.name}: switched on")
        elif body.name == "end_day":
            self._end_day(now_ns)
        elif body.name == "stale_snapshot":
            self.calls.remember(now_ns)
        return control.Done(said)

    def gauges(self, now_ns: int) -> dict[str, int]:
        return {
            "open_orders": self.orders.open_count,
            "orders": self.orders.last_number,
            "trades": self.orders.last_trade,
            "subscriptions": len(self.streams.subscriptions),
            "waiting": len(self.timers),
            "stream_items_lost": self.streams.lost,
        }

    def notes(self) -> list[str]:
        return [f"the fault {name} is on" for name in self.faults.on]


def listings(exchange: Exchange) -> list[Listing]:
    """The exchange's instruments by the venue's symbols."""
    symbols = {asset.name: asset.symbol for asset in exchange.assets}
    return [
        Listing(
            i.symbol,
            symbols[i.base],
            symbols[i.quote],
            i.price_step,
            i.quantity_step,
            i.quantity_min,
            i.notional_min,
        )
        for i in exchange.instruments
    ]
