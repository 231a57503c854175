"""Between the venue's names and the pipeline's indices, for one exchange, in both directions.

Outwards every index was checked on the way in. Inwards anything can come: a name outside the deployment
file is an `Unindexed` that names it, so that the caller can count it and still answer whom it has to. A
trade is never lost for its fee's asset: fees travel by name.
"""

from decimal import Decimal
from typing import NoReturn

from pipeline import client, messages
from pipeline.amounts import ZERO, Amount, amount
from pipeline.deployment import Exchange
from pipeline.messages import Balance, Failure, Fee
from pipeline.vocabulary import Error, Evidence, OrderState

_DETAIL_LIMIT = 200


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
        index = self._instruments.get(symbol)
        return self._unknown("instrument", symbol) if index is None else index

    def order(self, said: client.Order) -> messages.Order:
        """An order as the venue tells it. What is left decides the state where the client does not say.
        Raises Unindexed.
        """
        quantity, filled = self._amount(said.quantity), self._amount(said.filled)
        state = said.state
        if state is None:
            state = OrderState.FullyFilled if filled >= quantity else OrderState.Open
        return messages.Order(
            instrument=self.instrument(said.instrument),
            cid=said.cid or f"ext-{said.id}",
            engine="",
            venue_cid=said.cid or None,
            id=said.id,
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
            exchange_at_ns=said.exchange_at_ns,
            received_at_ns=received_at_ns,
            evidence=evidence,
            order=self.order(said),
            failure=None if said.failure is None else failure(*said.failure),
        )

    def trade(self, said: client.Trade, evidence: Evidence, received_at_ns: int) -> messages.Trade:
        """Raises Unindexed (never for a fee's asset)."""
        return messages.Trade(
            exchange_at_ns=said.exchange_at_ns,
            received_at_ns=received_at_ns,
            evidence=evidence,
            instrument=self.instrument(said.instrument),
            side=said.side,
            id=said.id,
            cid=said.cid or (f"ext-{said.order_id}" if said.order_id else ""),
            order_id=said.order_id,
            price=self._amount(said.price),
            quantity=self._amount(said.quantity),
            fees=[Fee(self._asset_names.get(asset, asset), self._amount(paid)) for asset, paid in said.fees],
            liquidity=said.liquidity,
        )

    def trade_voided(
        self, said: client.TradeVoided, evidence: Evidence, received_at_ns: int
    ) -> messages.TradeVoided:
        """Raises Unindexed."""
        return messages.TradeVoided(
            exchange_at_ns=said.exchange_at_ns,
            received_at_ns=received_at_ns,
            evidence=evidence,
            instrument=self.instrument(said.instrument),
            side=said.side,
            id=said.id,
            cid=said.cid,
        )

    def balance(self, said: client.AssetBalance) -> Balance:
        """Raises Unindexed."""
        index = self._assets.get(said.asset)
        if index is None:
            self._unknown("asset", said.asset)
        return Balance(index, self._amount(said.total), self._amount(said.free), said.exchange_at_ns)

    def _amount(self, value: Decimal) -> Amount:
        try:
            return amount(value) if value else ZERO
        except (ValueError, TypeError) as error:
            raise Unindexed(f"amount {str(value)[:40]!r} of {self._exchange.name}: {error}") from None

    def _unknown(self, what: str, name: str) -> NoReturn:
        raise Unindexed(f"{what} {name[:40]!r} is not in the deployment file under {self._exchange.name}")
