"""Between the venue's names and the pipeline's indices, for one exchange, in both directions.

Outwards every index was checked on the way in. Inwards anything can come: a name outside the deployment
file is an `Unindexed` that names it, so that the caller can count it and still answer whom it has to. A
trade is never lost for its fee's asset: fees travel by name.
"""

from decimal import Decimal
from enum import IntEnum
from typing import NoReturn, TypeVar

from pipeline import client, messages
from pipeline.amounts import EXACT, ZERO, Amount, amount
from pipeline.deployment import Exchange
from pipeline.identity import ADOPTED_PREFIX
from pipeline.messages import Balance, Failure, Fee
from pipeline.vocabulary import Error, Evidence, Liquidity, OrderKind, OrderState, Side, TimeInForce

_DETAIL_LIMIT = 200
FEE_PLACES = 18
_FEE_STEP = Decimal("1E-18")
_TEXT_LIMIT = 256

W = TypeVar("W", bound=IntEnum)


class Unindexed(Exception):
    """Something a client said that the deployment file has no place for; the text names it."""


def failure(error: Error, detail: str = "") -> Failure:
    """A failure whose words are short and printable, whoever wrote them."""
    words = detail if detail.isprintable() else "".join(c if c.isprintable() else "?" for c in detail)
    return Failure(error, words[:_DETAIL_LIMIT])


class Indexer:
    """One exchange's table, from names to indices and back."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._instruments = {instrument.symbol: instrument.index for instrument in exchange.instruments}
        self._assets = {asset.symbol: asset.index for asset in exchange.assets}
        self._asset_names = {asset.symbol: asset.name for asset in exchange.assets}
        self.symbols = tuple(instrument.symbol for instrument in exchange.instruments)
        self.asset_symbols = tuple(asset.symbol for asset in exchange.assets)

    def open_order(self, body: messages.OpenOrder, venue_cid: str, expires_at_ns: int) -> client.OpenOrder:
        return client.OpenOrder(
            instrument=self.symbols[body.instrument],
            cid=venue_cid,
            side=body.side,
            kind=body.kind,
            time_in_force=body.time_in_force,
            flags=body.flags,
            price=body.price,
            quantity=body.quantity,
            expires_at_ns=expires_at_ns,
        )

    def instrument(self, symbol: str) -> int:
        """Raises Unindexed."""
        index = self._instruments.get(symbol) if isinstance(symbol, str) else None
        return self._unknown("instrument", symbol) if index is None else index

    def order(self, said: client.Order) -> messages.Order:
        """An order as the venue tells it. What is left decides the state where the client does not say.
        Raises Unindexed.
        """
        quantity, filled = self._amount(said.quantity), self._amount(said.filled)
        if (
            type(said.side) is not Side
            or type(said.kind) is not OrderKind
            or type(said.time_in_force) is not TimeInForce
            or type(said.flags) is not int
            or not 0 <= said.flags < 65_536
        ):
            terms = f"{said.side}, {said.kind}, {said.time_in_force}, {said.flags}"
            raise Unindexed(f"an order whose side, kind, time in force and flags are {terms[:90]!r}")
        cid, id = _text("cid", said.cid), said.id
        if id is not None:
            _text("id", id)
        if not cid and not id:
            raise Unindexed(f"an order of {self._exchange.name} with neither cid nor id")
        if said.state is not None:
            state = _word(OrderState, said.state)
        else:
            state = OrderState.FullyFilled if filled >= quantity else OrderState.Open
        return messages.Order(
            instrument=self.instrument(said.instrument),
            cid=cid or f"{ADOPTED_PREFIX}{id}",
            engine="",
            venue_cid=cid or None,
            id=id,
            side=said.side,
            kind=said.kind,
            time_in_force=said.time_in_force,
            flags=said.flags,
            price=None if said.price is None else self._amount(said.price),
            quantity=quantity,
            filled=filled,
            state=state,
        )

    def snapshot_of(
        self, said: client.Order, evidence: Evidence, received_at_ns: int
    ) -> messages.OrderSnapshot:
        """Raises Unindexed."""
        return messages.OrderSnapshot(
            exchange_at_ns=_count("exchange_at_ns", said.exchange_at_ns),
            received_at_ns=received_at_ns,
            evidence=evidence,
            order=self.order(said),
            failure=None if said.failure is None else failure(*said.failure),
        )

    def trade(self, said: client.Trade, evidence: Evidence, received_at_ns: int) -> messages.Trade:
        """Raises Unindexed (never for a fee's asset)."""
        order_id = None if said.order_id is None else _text("order id", said.order_id)
        return messages.Trade(
            exchange_at_ns=_count("exchange_at_ns", said.exchange_at_ns),
            received_at_ns=received_at_ns,
            evidence=evidence,
            instrument=self.instrument(said.instrument),
            side=_word(Side, said.side),
            id=_text("trade id", said.id),
            cid=_text("cid", said.cid) or (f"{ADOPTED_PREFIX}{order_id}" if order_id else ""),
            order_id=order_id,
            price=self._amount(said.price),
            quantity=self._amount(said.quantity),
            fees=[Fee(self._asset_name(asset), self._fee(paid)) for asset, paid in said.fees],
            liquidity=_word(Liquidity, said.liquidity),
        )

    def trade_voided(
        self, said: client.TradeVoided, evidence: Evidence, received_at_ns: int
    ) -> messages.TradeVoided:
        """Raises Unindexed."""
        return messages.TradeVoided(
            exchange_at_ns=_count("exchange_at_ns", said.exchange_at_ns),
            received_at_ns=received_at_ns,
            evidence=evidence,
            instrument=self.instrument(said.instrument),
            side=_word(Side, said.side),
            id=_text("trade id", said.id),
            cid=_text("cid", said.cid),
        )

    def balance(self, said: client.AssetBalance) -> Balance:
        """Raises Unindexed."""
        index = self._assets.get(said.asset) if isinstance(said.asset, str) else None
        if index is None:
            self._unknown("asset", said.asset)
        total, free = self._amount(said.total), self._amount(said.free)
        return Balance(index, total, free, _count("exchange_at_ns", said.exchange_at_ns))

    def _asset_name(self, symbol: str) -> str:
        return self._asset_names.get(symbol) or _text("fee's asset", symbol)

    def _amount(self, value: Decimal) -> Amount:
        try:
            # A zero may come with any exponent; nothing at all is no zero.
            return ZERO if isinstance(value, Decimal) and not value else amount(value)
        except (ValueError, TypeError) as error:
            raise Unindexed(f"amount {str(value)[:40]!r} of {self._exchange.name}: {error}") from None

    def _fee(self, paid: Decimal) -> Amount:
        """A fee with more places than travel is rounded: a trade is never lost for it."""
        if isinstance(paid, Decimal) and paid.is_finite() and paid.adjusted() < FEE_PLACES:
            paid = paid.quantize(_FEE_STEP, context=EXACT)
        return self._amount(paid)

    def _unknown(self, what: str, name: object) -> NoReturn:
        raise Unindexed(
            f"{what} {str(name)[:40]!r} is not in the deployment file under {self._exchange.name}"
        )


# What a client hands over was checked by nobody, and what does not travel would cost the whole event.


def _word(cls: type[W], value: object) -> W:
    if type(value) is cls:
        return value
    raise Unindexed(f"{cls.__name__} {str(value)[:40]!r} is none of {', '.join(cls.__members__)}")


def _text(what: str, value: object) -> str:
    if type(value) is str and len(value) <= _TEXT_LIMIT and value.isprintable():
        return value
    raise Unindexed(f"{what} {str(value)[:40]!r} is no printable text of up to {_TEXT_LIMIT} characters")


def _count(what: str, value: object) -> int:
    if type(value) is int and 0 <= value < 2**63:
        return value
    raise Unindexed(f"{what} {str(value)[:40]!r} is no whole number from 0 on")
