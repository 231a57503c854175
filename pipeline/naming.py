"""Events for people: names in place of indices, words in place of numbers, decimals as text.

What `--json` prints is `describe`'s, and its keys are a contract: the message's own fields, with `kind` and
the place in the feed in front. Nothing that a peer wrote reaches a terminal as it stood.
"""

import json
from collections.abc import Sequence
from decimal import Decimal
from enum import IntFlag
from typing import Any, Protocol

from pipeline.amounts import text
from pipeline.deployment import Deployment
from pipeline.messages import (
    NO_EXCHANGE,
    Answers,
    Event,
    Message,
    Order,
    OrderCancelled,
    OrderSnapshot,
    Place,
)
from pipeline.vocabulary import Flags, Named, Word

Described = dict[str, Any]

_FLAG_LABELS = {int(flag): str(flag.name).lower().replace("_", "-") for flag in Flags}
_PLACE = ("kind", "seq", "exchange", "exchange_seq", "published_at_ns")
_LAST = ("exchange_at_ns", "received_at_ns", "evidence", "answers", "tag")


class _Entry(Protocol):
    @property
    def name(self) -> str: ...


def exchange_name(deployment: Deployment, index: int) -> str | None:
    """None for what concerns no one exchange; `#7` for an index that is not in the file."""
    return None if index == NO_EXCHANGE else _name(deployment.exchanges, index)


def instrument_name(deployment: Deployment, exchange: int, index: int) -> str:
    known = 0 <= exchange < len(deployment.exchanges)
    return _name(deployment.exchanges[exchange].instruments if known else (), index)


def asset_name(deployment: Deployment, exchange: int, index: int) -> str:
    known = 0 <= exchange < len(deployment.exchanges)
    return _name(deployment.exchanges[exchange].assets if known else (), index)


def describe(deployment: Deployment, event: Event, place: Place | None = None) -> Described:
    """An event as plain values: text, whole numbers, lists, dicts. `place`: for one not read from the feed.

    Orders' events repeat `cid`, `instrument` and `state` at the top, a failure its `error` and `detail`: the
    last line's `state`, or its `reason` for a refusal, is what became of a request.
    """
    place = place or event.place
    described: Described = {
        "kind": type(event).__name__,
        "seq": place.seq,
        "exchange": exchange_name(deployment, place.exchange),
        "exchange_seq": place.exchange_seq,
        "published_at_ns": place.published_at_ns,
    }
    if isinstance(event, OrderSnapshot):
        described |= _order_words(deployment, place.exchange, event.order)
    fields = _fields(deployment, place.exchange, event)
    described |= {name: value for name, value in fields.items() if name not in _LAST}
    if isinstance(event, OrderCancelled):
        described["state"] = event.order.state.label if event.order is not None else None
    if isinstance(event, (OrderSnapshot, OrderCancelled)):
        described["error"] = event.failure.error.label if event.failure is not None else None
        described["detail"] = event.failure.detail if event.failure is not None else ""
    return described | {name: fields[name] for name in _LAST}


def describe_json_line(deployment: Deployment, event: Event, place: Place | None = None) -> str:
    """One line, in ASCII: what a venue wrote can neither break the line nor move a cursor."""
    return json.dumps(describe(deployment, event, place))


def one_line(described: Described) -> str:
    """What `describe` gave, for a person at a terminal: number, exchange, kind, then what matters of it."""
    place = f"{described['seq']:>8} {described['exchange'] or '-'} {described['kind']}"
    words = [place, *_words(described)]
    answers = described.get("answers")
    if answers:
        words.append(f"answers {answers['engine']}/{answers['rid']}")
    if described.get("evidence", "none") != "none":
        words.append(f"by {described['evidence']}")
    if described.get("tag"):
        words.append(f"tag {described['tag']}")
    return printable(" ".join(words), 1000)


def printable(written: str, limit: int = 200) -> str:
    """Text that a terminal and a log can hold: what is not printable is escaped, what is too long is cut."""
    if len(written) > limit:
        written = written[:limit] + "..."
    if written.isprintable():
        return written
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in written)


def _words(described: Described) -> list[str]:
    kind = described["kind"]
    if kind in ("OrderSnapshot", "OrderCancelled"):
        words = [str(described["cid"]), str(described["instrument"]), *_terms(described.get("order"))]
        words.append(str(described["state"] or "no such order"))
        if described["error"]:
            words.append(_failure(described["failure"]))
        return words
    if kind == "Trade":
        fees = [f"fee {fee['amount']} {fee['asset']}" for fee in described["fees"]]
        return [
            f"{described['cid'] or '-'} {described['instrument']} {described['side']}",
            f"{described['quantity']} @ {described['price']} {described['liquidity']} id {described['id']}",
            *fees,
        ]
    if kind == "BalanceSnapshot":
        balance = described["balance"]
        return [f"{balance['asset']} total {balance['total']} free {balance['free']}"]
    if kind == "AccountSnapshot":
        part = f"generation {described['generation']} part {described['part']}/{described['parts']}"
        return [part, f"{len(described['balances'])} balances {len(described['orders'])} orders"]
    return [f"{name} {_word(value)}" for name, value in described.items() if _tells(name, value)]


def _tells(name: str, value: object) -> bool:
    return name not in _PLACE + _LAST and value is not None and value != ""


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict) and "error" in value:
        return _failure(value)
    return str(value)


def _failure(failure: Described) -> str:
    return f"{failure['error']}: {failure['detail']}" if failure["detail"] else str(failure["error"])


def _terms(order: Described | None) -> list[str]:
    if order is None:
        return []
    price = f"@ {order['price']}" if order["price"] is not None else "@ market"
    words = [order["side"], order["quantity"], price, order["time_in_force"], *order["flags"]]
    words.append(f"filled {order['filled']}")
    if order["pending"] != "none":
        words.append(f"{order['pending']} pending")
    return words


def _order_words(deployment: Deployment, exchange: int, order: Order) -> Described:
    return {
        "cid": order.cid,
        "instrument": instrument_name(deployment, exchange, order.instrument),
        "state": order.state.label,
    }


def _fields(deployment: Deployment, exchange: int, message: Message) -> Described:
    return {
        name: _value(deployment, exchange, name, getattr(message, name)) for name in message.__struct_fields__
    }


def _value(deployment: Deployment, exchange: int, name: str, value: object) -> object:
    if isinstance(value, (Word, Named)):
        return value.label
    if isinstance(value, Decimal):
        return text(value)
    if isinstance(value, Answers):
        return value._asdict()
    if isinstance(value, Message):
        return _fields(deployment, exchange, value)
    if isinstance(value, list):
        return [_value(deployment, exchange, name, item) for item in value]
    if type(value) is int or isinstance(value, IntFlag):
        if name == "instrument":
            return instrument_name(deployment, exchange, value)
        if name == "asset":
            return asset_name(deployment, exchange, value)
        if name == "flags":
            return flag_labels(value)
    return value


def flag_labels(flags: int) -> list[str]:
    """The set bits by name; bits without one by their number."""
    return [_FLAG_LABELS.get(1 << bit, f"#{bit}") for bit in range(flags.bit_length()) if flags >> bit & 1]


def _name(entries: Sequence[_Entry], index: int) -> str:
    return entries[index].name if 0 <= index < len(entries) else f"#{index}"
