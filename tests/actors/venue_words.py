"""Orders, trades and cancels in a venue's words, and an open in an engine's: made short for tests."""

from typing import Any

from pipeline import client
from pipeline.amounts import amount
from pipeline.messages import OpenOrder
from pipeline.vocabulary import OrderKind, Side, TimeInForce


def open_body(
    cid: str = "c-1",
    quantity: str = "1",
    price: str | None = "100",
    side: Side = Side.BUY,
    instrument: int = 0,
    exchange: int = 0,
    tif: TimeInForce = TimeInForce.GTC,
    tag: str | None = None,
) -> OpenOrder:
    kind = OrderKind.MARKET if price is None else OrderKind.LIMIT
    limit = None if price is None else amount(price)
    return OpenOrder(instrument, cid, side, kind, tif, 0, limit, amount(quantity), tag)


def order(cid: str, filled: str = "0", quantity: str = "1", **more: Any) -> client.Order:
    """An order in a venue's words."""
    terms: dict[str, Any] = {
        "instrument": "BTCUSD",
        "cid": cid,
        "id": f"v-{cid}",
        "side": Side.BUY,
        "kind": OrderKind.LIMIT,
        "time_in_force": TimeInForce.GTC,
        "price": amount("100"),
        "quantity": amount(quantity),
        "filled": amount(filled),
    }
    return client.Order(**(terms | more))


def fill(cid: str, id: str, quantity: str = "1", **more: Any) -> client.Trade:
    """A trade in a venue's words."""
    terms: dict[str, Any] = {
        "instrument": "BTCUSD",
        "side": Side.BUY,
        "id": id,
        "cid": cid,
        "order_id": f"v-{cid}",
        "price": amount("100"),
        "quantity": amount(quantity),
    }
    return client.Trade(**(terms | more))


def cancelled(cid: str, filled: str | None = None) -> client.OrderCancelled:
    return client.OrderCancelled("BTCUSD", cid, f"v-{cid}", None if filled is None else amount(filled))
