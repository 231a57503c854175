"""What a client's words must be made of: the right types, the venue's names, decimals, nothing left out.

Everything here raises `Broken` with one sentence that says what is wrong and what would be right.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NoReturn

from pipeline.amounts import amount
from pipeline.client import AssetBalance, OpenOrder, Order, OrderCancelled, Trade
from pipeline.vocabulary import Error, Liquidity, OrderKind, OrderState, Side, TimeInForce


class Broken(Exception):
    """The client did not keep its contract; the text says how."""


class NotSupported(Exception):
    """A row that cannot be played here; the text says why."""


def broken(what: str) -> NoReturn:
    raise Broken(what)


def check(condition: object, what: str) -> None:
    if not condition:
        raise Broken(what)


def state_of(order: Order) -> OrderState:
    """The state that the pipeline takes an order to be in: its own, or by what is left of it."""
    if order.state is not None:
        return order.state
    return OrderState.FullyFilled if order.filled >= order.quantity else OrderState.Open


def check_order(value: object, where: str) -> Order:
    if not isinstance(value, Order):
        broken(f"{where}: a {type(value).__name__} instead of an Order")
    _text(value.instrument, f"{where}: instrument")
    check(
        isinstance(value.cid, str), f'{where}: cid is {value.cid!r}: text, or "" where the venue knows none'
    )
    _text_or_none(value.id, f"{where}: id")
    _word(value.side, Side, f"{where}: side")
    _word(value.kind, OrderKind, f"{where}: kind")
    _word(value.time_in_force, TimeInForce, f"{where}: time_in_force")
    if value.price is not None:
        _decimal(value.price, f"{where}: price")
    _decimal(value.quantity, f"{where}: quantity")
    _decimal(value.filled, f"{where}: filled")
    check(0 <= value.filled <= value.quantity, f"{where}: filled {value.filled} of {value.quantity}")
    if value.state is not None:
        _word(value.state, OrderState, f"{where}: state")
    _time(value.exchange_at_ns, where)
    if value.failure is not None:
        _word(value.failure[0], Error, f"{where}: failure")
    return value


def check_cancelled(value: object, where: str) -> OrderCancelled:
    if not isinstance(value, OrderCancelled):
        broken(f"{where}: a {type(value).__name__} instead of an OrderCancelled")
    _text(value.instrument, f"{where}: instrument")
    if value.filled is not None:
        _decimal(value.filled, f"{where}: filled")
    _time(value.exchange_at_ns, where)
    return value


def check_trade(value: object, where: str) -> Trade:
    if not isinstance(value, Trade):
        broken(f"{where}: a {type(value).__name__} instead of a Trade")
    _text(value.instrument, f"{where}: instrument")
    _text(value.id, f"{where}: id")
    _word(value.side, Side, f"{where}: side")
    _word(value.liquidity, Liquidity, f"{where}: liquidity")
    check(isinstance(value.cid, str), f"{where}: cid is {value.cid!r}: text")
    _text_or_none(value.order_id, f"{where}: order_id")
    check(value.cid or value.order_id, f"{where}: neither cid nor order_id says whose trade {value.id} is")
    check(_decimal(value.price, f"{where}: price") > 0, f"{where}: a price of {value.price}")
    check(_decimal(value.quantity, f"{where}: quantity") > 0, f"{where}: a quantity of {value.quantity}")
    for fee in value.fees:
        check(
            isinstance(fee, tuple) and len(fee) == 2, f"{where}: fees are (asset, amount) pairs, not {fee!r}"
        )
        _text(fee[0], f"{where}: a fee's asset")
        _decimal(fee[1], f"{where}: a fee")
    _time(value.exchange_at_ns, where)
    return value


def check_balance(value: object, where: str, assets: Sequence[str]) -> AssetBalance:
    if not isinstance(value, AssetBalance):
        broken(f"{where}: a {type(value).__name__} instead of an AssetBalance")
    check(value.asset in assets, f"{where}: {value.asset!r} was not asked for: one of {', '.join(assets)}")
    total = _decimal(value.total, f"{where}: total of {value.asset}")
    free = _decimal(value.free, f"{where}: free of {value.asset}")
    check(free <= total, f"{where}: {free} {value.asset} free of {total}")
    _time(value.exchange_at_ns, where)
    return value


def check_echo(order: Order, request: OpenOrder, where: str) -> None:
    """An order that the client tells must be the one that was asked for."""
    for name in ("cid", "instrument", "side", "kind", "time_in_force", "quantity"):
        said, asked = getattr(order, name), getattr(request, name)
        check(said == asked, f"{where}: {name} is {said!r}, and the order has {asked!r}")
    if request.price is not None:
        check(
            order.price == request.price,
            f"{where}: price is {order.price}, and the order has {request.price}",
        )


def _decimal(value: Any, where: str) -> Decimal:
    if not isinstance(value, Decimal):
        broken(f"{where} is a {type(value).__name__}: give a Decimal")
    try:
        return amount(value)
    except ValueError as error:
        broken(f"{where}: {error}")


def _text(value: object, where: str) -> None:
    check(isinstance(value, str) and value, f"{where} is {value!r}: give the venue's text")


def _text_or_none(value: object, where: str) -> None:
    check(value is None or (isinstance(value, str) and value), f"{where} is {value!r}: text, or None")


def _word(value: object, kind: type, where: str) -> None:
    check(isinstance(value, kind), f"{where} is {value!r}: give a {kind.__name__}")


def _time(value: object, where: str) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    check(whole, f"{where}: exchange_at_ns is {value!r}: whole nanoseconds, 0 if unknown")
