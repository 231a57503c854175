"""A simulated exchange on a bench: a deployment around it, a journal in memory, short questions."""

from bisect import bisect_left, bisect_right
from decimal import Decimal
from pathlib import Path
from typing import Any

from actors.exchange import wire
from actors.exchange.account import Account
from actors.exchange.actor import SimulatedExchange
from actors.exchange.ledger import TABLES
from actors.exchange.listing import Listing, Terms
from actors.exchange.matching import Matching
from actors.exchange.orders import Orders
from pipeline import codec, control, headers
from pipeline.actor import Send
from pipeline.amounts import amount
from pipeline.client import OpenOrder
from pipeline.deployment import Asset, Deployment, Exchange, Instrument
from pipeline.vocabulary import Flags, OrderKind, Side, TimeInForce

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
ASSETS = ["BTC", "USDT"]
SYMBOLS = ["BTCUSDT"]
BUY, SELL = Side.BUY, Side.SELL


class MemoryJournal:
    """The Journal port over plain dicts; rows are copied, as a database would."""

    def __init__(self, birth_id: int = 0xABCD) -> None:
        self.tail_lost = False
        self.birth_id = birth_id
        self.tables: dict[str, dict[Any, tuple[Any, ...]]] = {name: {} for name in TABLES}

    def put(self, table: str, row: tuple[Any, ...]) -> None:
        assert len(row) == TABLES[table].count(",") + 1, f"{row} is no row of {table}"
        self.tables[table][row[0]] = row

    def get(self, table: str, key: Any) -> tuple[Any, ...] | None:
        return self.tables[table].get(key)

    def range(self, table: str, low: Any, high: Any, limit: int) -> list[tuple[Any, ...]]:
        keys = sorted(self.tables[table])
        return [self.tables[table][k] for k in keys[bisect_left(keys, low) : bisect_right(keys, high)]][
            :limit
        ]

    def find(self, table: str, condition: str, *values: Any) -> list[tuple[Any, ...]]:
        raise NotImplementedError("the exchange asks by key alone")

    def forget(self, table: str, low: Any, high: Any) -> None:
        for key in [key for key in self.tables[table] if low <= key <= high]:
            del self.tables[table][key]


def instrument(**changes: Any) -> Instrument:
    values: dict[str, Any] = {
        "index": 0,
        "name": "btc_usdt",
        "symbol": "BTCUSDT",
        "base": "btc",
        "quote": "usdt",
        "price_step": amount("0.01"),
        "quantity_step": amount("0.001"),
        "quantity_min": amount("0.001"),
        "notional_min": amount("5"),
    }
    return Instrument(**(values | changes))


def deployment(simulation: dict[str, Any], path: Path = Path("bench.toml"), **changes: Any) -> Deployment:
    exchange = Exchange(
        index=0,
        name="alpha",
        venue="alpha",
        client="simulated",
        instruments=(instrument(**changes),),
        assets=(Asset(0, "btc", "BTC"), Asset(1, "usdt", "USDT")),
        simulation=simulation,
    )
    return Deployment(path, "bench", path.parent / "run", path.parent / "state", (exchange,), {"all": ("*",)})


# A market that does nothing within a test's time: fixed levels around 100, no trades.
STILL = {"model": "synthetic", "step_ms": 60_000, "volatility": 0.0, "trade_every_ms": 0}


class Bench:
    """One exchange actor, driven by hand: every answer and stream item it sends is in `sent`."""

    def __init__(
        self, simulation: dict[str, Any] | None = None, journal: MemoryJournal | None = None
    ) -> None:
        self.journal = journal or MemoryJournal()
        self.deployment = deployment({"seed": 1, "market": STILL} | (simulation or {}))
        self.now_ns = START_NS
        self.token = 0
        self.build()

    def build(self) -> None:
        """A new exchange on the same journal: as after a crash."""
        self.exchange = SimulatedExchange("exchange.alpha", self.deployment, self.journal)
        self.exchange.on_start(self.now_ns, 1)
        self.exchange.on_batch_end(self.now_ns)
        self.levels = self.exchange.matching.books["BTCUSDT"].shown

    def frames(self) -> list[Send]:
        found, self.exchange.outbox.frames = self.exchange.outbox.frames, []
        return found

    def bodies(self) -> list[Any]:
        """What left since last asked, decoded."""
        return [
            wire.body(headers.read_control(s.frame).kind, s.frame) for s in self.frames() if s.link == "calls"
        ]

    def ask(self, body: Any, peer: bytes = b"executor") -> list[Any]:
        """One question in one batch; everything that left in that batch."""
        self.token += 1
        frame = wire.frame(0xFFFF, self.deployment.fingerprint, self.token, body)
        self.exchange.on_question("calls", peer, frame, self.now_ns)
        self.exchange.on_batch_end(self.now_ns)
        return self.bodies()

    def control(self, body: Any) -> Any:
        frame = headers.control(0, codec.KINDS[type(body)], self.deployment.fingerprint, 7) + codec.encode(
            body
        )
        self.exchange.on_question("control", b"operator", frame, self.now_ns)
        answers = [s for s in self.exchange.outbox.frames if s.link == "control"]
        self.exchange.outbox.frames = [s for s in self.exchange.outbox.frames if s.link != "control"]
        self.exchange.on_batch_end(self.now_ns)
        header = headers.read_control(answers[-1].frame)
        assert header.token == 7
        return codec.read_control_body(header.kind, answers[-1].frame)

    def fault(self, *words: str) -> Any:
        return self.control(control.SetFault(words[0], list(words[1:])))

    def wait(self, ms: int) -> list[Any]:
        """Let time pass, waking the exchange whenever it asks for it."""
        end_ns = self.now_ns + ms * MS
        while (due := self.exchange.next_deadline_ns()) is not None and due <= end_ns:
            self.now_ns = max(self.now_ns, due)
            self.exchange.on_deadline(self.now_ns)
            self.exchange.on_batch_end(self.now_ns)
        self.now_ns = end_ns
        return self.bodies()

    def subscribe(self, peer: bytes = b"reconnector") -> list[Any]:
        return self.ask(wire.Subscribe(ASSETS, SYMBOLS), peer)

    def open(self, cid: str, side: Side, quantity: str, price: str | None, **more: Any) -> list[Any]:
        return self.ask(open_body(cid, side, quantity, price, self.now_ns, **more))

    def cancel(self, cid: str, id: str | None = None) -> list[Any]:
        return self.ask(wire.Cancel("BTCUSDT", cid, id))

    def trade(self, price: str, quantity: str, aggressor: Side) -> list[Any]:
        """A trade of the market, in a batch of its own."""
        matching = self.exchange.matching
        matching.trade(
            "BTCUSDT", Decimal(price), Decimal(quantity), aggressor, self.exchange.gateway.clock(self.now_ns)
        )
        self.exchange._told(self.now_ns)
        self.exchange.on_batch_end(self.now_ns)
        return self.bodies()


def open_body(
    cid: str,
    side: Side,
    quantity: str,
    price: str | None,
    sent_at_ns: int = START_NS,
    tif: TimeInForce = TimeInForce.GTC,
    flags: Flags = Flags.NONE,
    expires_at_ns: int = 0,
) -> wire.Open:
    kind = OrderKind.MARKET if price is None else OrderKind.LIMIT
    return wire.Open(
        "BTCUSDT",
        cid,
        side,
        kind,
        tif,
        int(flags),
        None if price is None else amount(price),
        amount(quantity),
        expires_at_ns,
        sent_at_ns,
    )


def request(
    cid: str,
    side: Side,
    quantity: str,
    price: str | None,
    tif: TimeInForce = TimeInForce.GTC,
    flags: Flags = Flags.NONE,
) -> OpenOrder:
    kind = OrderKind.MARKET if price is None else OrderKind.LIMIT
    limit = None if price is None else amount(price)
    return OpenOrder("BTCUSDT", cid, side, kind, tif, int(flags), limit, amount(quantity), 0)


def engine(
    btc: str = "10", usdt: str = "100000", maker: str = "0", taker: str = "0", open_orders_limit: int = 100
) -> Matching:
    """A matching engine by itself, with nothing shown."""
    listing = Listing(
        "BTCUSDT", "BTC", "USDT", Decimal("0.01"), Decimal("0.001"), Decimal("0.001"), Decimal("5")
    )
    account = Account({"BTC": Decimal(btc), "USDT": Decimal(usdt)})
    terms = Terms(Decimal(maker), Decimal(taker), open_orders_limit)
    return Matching([listing], account, terms, Orders())


def show(matching: Matching, side: Side, *levels: tuple[str, str]) -> None:
    """Set what the market shows on one side: (price, quantity) pairs."""
    matching.books["BTCUSDT"].shown[side].replace((Decimal(p), Decimal(q)) for p, q in levels)
