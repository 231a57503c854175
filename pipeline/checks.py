"""Everything that can be wrong with a request and depends on nothing but its bytes and the deployment file.

The same request gets the same verdict at any time, so a router may refuse a resend for what is found here.
What depends on an order's state, an account or a clock is the executor's. The text names the field, its value
and what would be right.
"""

from typing import Final

from pipeline.amounts import EXACT, ZERO, Amount
from pipeline.codec import BodyError, read_request_body
from pipeline.deployment import Deployment, Exchange, Instrument
from pipeline.headers import REQUEST_KINDS, VERSION, Kind, RequestHeader
from pipeline.identity import (
    ADOPTED_PREFIX,
    CID_GRAMMAR,
    COUNT_LIMIT,
    GENERATED_PREFIX,
    generated_cid,
    is_engine_name,
)
from pipeline.messages import CancelAll, CancelOrder, OpenOrder, Request
from pipeline.naming import printable
from pipeline.vocabulary import Flags, OrderKind, Refusal, TimeInForce

TAG_LIMIT: Final = 128
DETAIL_LIMIT: Final = 200

Verdict = tuple[Refusal, str]

_REQUESTS: Final = REQUEST_KINDS.intersection(Kind)
_KNOWN_FLAGS: Final = int(Flags.POST_ONLY | Flags.REDUCE_ONLY)
_REDUCE_ONLY: Final = int(Flags.REDUCE_ONLY)
_POST_ONLY: Final = int(Flags.POST_ONLY)
_NAME_RULE: Final = "letters, digits, '.', '_' and '-'"

_remainder = EXACT.remainder
_multiply = EXACT.multiply
_cid_matches = CID_GRAMMAR.fullmatch


def check_identity(header: RequestHeader) -> str | None:
    """What is wrong with the identity: a request without a good one has no sender who could be answered."""
    if not is_engine_name(header.engine):
        return _words("engine", header.engine, f"1 to 24 {_NAME_RULE}")
    if not 0 < header.session <= COUNT_LIMIT:
        return _words("session", header.session, f"a number from 1 to {COUNT_LIMIT}")
    if not 0 < header.rid <= COUNT_LIMIT:
        return _words("rid", header.rid, f"a number from 1 to {COUNT_LIMIT}")
    return None


def check_header(deployment: Deployment, header: RequestHeader) -> Verdict | None:
    """None for a request of this version, of a kind that exists, for a table that is ours."""
    if header.version != VERSION:
        return Refusal.WrongVersion, f"version: {header.version} must be {VERSION}"
    if header.kind not in _REQUESTS:
        return Refusal.UnknownKind, f"kind: {header.kind} is no request of version {VERSION}"
    if header.fingerprint != deployment.fingerprint:
        words = f"fingerprint: {header.fingerprint:#010x} must be {deployment.fingerprint:#010x}: "
        return Refusal.FingerprintMismatch, words + "load the deployment file that the router runs with"
    if header.exchange >= len(deployment.exchanges):
        right = f"one of 0 to {len(deployment.exchanges) - 1}"
        return _refused(Refusal.UnknownExchange, "exchange", header.exchange, right)
    if header.kind == Kind.ReplaceOrder:
        return Refusal.Unsupported, "kind: ReplaceOrder is not built yet: cancel, then open anew"
    return None


def read_checked(
    deployment: Deployment, exchange: Exchange, header: RequestHeader, frame: bytes
) -> Request | Verdict:
    """The body of a request to one exchange, or why not: only what could do harm behind the router, which
    has checked the rest. It is not the only way to an executor.
    """
    verdict = check_header(deployment, header)
    if verdict is not None:
        return verdict
    if header.exchange != exchange.index:
        right = f"{exchange.index}, which is {exchange.name}"
        return _refused(Refusal.UnknownExchange, "exchange", header.exchange, right)
    try:
        body = read_request_body(header.kind, frame)
    except BodyError as error:
        return Refusal.InvalidRequest, f"body: {error}"
    if not isinstance(body, CancelAll):
        verdict = check_named(exchange, header, body)
    return body if verdict is None else verdict


def check_request(exchange: Exchange, header: RequestHeader, body: Request) -> Verdict | None:
    """None for a request that may go on to its executor, else why not and what to mend."""
    fault = check_identity(header)
    if fault is not None:
        return Refusal.InvalidRequest, fault
    if header.expires_at_ns > COUNT_LIMIT:
        return _invalid("expires_at_ns", header.expires_at_ns, f"UTC nanoseconds up to {COUNT_LIMIT}")
    tag = body.tag
    if tag is not None and not (len(tag) <= TAG_LIMIT and tag.isascii() and tag.isprintable()):
        return _invalid("tag", tag, f"up to {TAG_LIMIT} printable ASCII characters")
    if isinstance(body, OpenOrder):
        return _check_open(exchange, header, body)
    if isinstance(body, CancelOrder):
        return check_named(exchange, header, body)
    return None


def check_named(exchange: Exchange, header: RequestHeader, body: OpenOrder | CancelOrder) -> Verdict | None:
    """None for an instrument that the exchange has and a cid that this request may name."""
    known = len(exchange.instruments)
    if not 0 <= body.instrument < known:
        right = f"an instrument of {exchange.name}: 0 to {known - 1}"
        return _refused(Refusal.UnknownInstrument, "instrument", body.instrument, right)
    if not _cid_matches(body.cid):
        return _invalid("cid", body.cid, f"1 to 64 {_NAME_RULE}")
    return _check_prefix(header, body.cid) if isinstance(body, OpenOrder) else None


def _check_prefix(header: RequestHeader, cid: str) -> Verdict | None:
    if cid.startswith(GENERATED_PREFIX):
        own = generated_cid(header.engine, header.session, header.rid)
        if cid != own:
            return _invalid("cid", cid, f"{own} if it begins with {GENERATED_PREFIX!r}")
    elif cid.startswith(ADOPTED_PREFIX):
        return _invalid("cid", cid, f"without the {ADOPTED_PREFIX!r} in front, which marks adopted orders")
    return None


def _check_open(exchange: Exchange, header: RequestHeader, body: OpenOrder) -> Verdict | None:
    verdict = check_named(exchange, header, body)
    if verdict is not None:
        return verdict
    instrument = exchange.instruments[body.instrument]
    if body.flags:
        verdict = _check_flags(instrument, body)
        if verdict is not None:
            return verdict
    return _check_amounts(instrument, body)


def _check_flags(instrument: Instrument, body: OpenOrder) -> Verdict | None:
    flags = body.flags
    if flags & ~_KNOWN_FLAGS:
        return _refused(Refusal.Unsupported, "flags", flags, f"made of the known bits {_KNOWN_FLAGS}")
    if flags & _REDUCE_ONLY and instrument.kind == "spot":
        right = f"without reduce-only: {instrument.name} is spot"
        return _refused(Refusal.Unsupported, "flags", flags, right)
    rests = body.kind is OrderKind.LIMIT and body.time_in_force in (TimeInForce.GTC, TimeInForce.DAY)
    if flags & _POST_ONLY and not rests:
        terms = f"{body.kind.label} {body.time_in_force.label}"
        return _invalid("flags", flags, f"without post-only for {terms}; it goes with limit, gtc or day")
    return None


def _check_amounts(instrument: Instrument, body: OpenOrder) -> Verdict | None:
    quantity, price, name = body.quantity, body.price, instrument.name
    if quantity <= ZERO:
        return _invalid("quantity", quantity, "more than 0")
    if _remainder(quantity, instrument.quantity_step):
        return _invalid("quantity", quantity, f"a multiple of {instrument.quantity_step}, {name}'s step")
    if quantity < instrument.quantity_min:
        return _invalid("quantity", quantity, f"at least {instrument.quantity_min}, {name}'s minimum")
    if body.kind is OrderKind.MARKET:
        return None if price is None else _invalid("price", price, "none for a market order")
    if price is None:
        return _invalid("price", None, "a decimal for a limit order")
    if price <= ZERO:
        return _invalid("price", price, "more than 0")
    if _remainder(price, instrument.price_step):
        return _invalid("price", price, f"a multiple of {instrument.price_step}, {name}'s step")
    least = instrument.notional_min
    if least and _multiply(price, quantity) < least:
        return _invalid("quantity", quantity, f"worth at least {least} {instrument.quote} at {price}")
    return None


def _invalid(field: str, value: str | int | Amount | None, right: str) -> Verdict:
    return _refused(Refusal.InvalidRequest, field, value, right)


def _refused(reason: Refusal, field: str, value: str | int | Amount | None, right: str) -> Verdict:
    return reason, _words(field, value, right)


def _words(field: str, value: str | int | Amount | None, right: str) -> str:
    """Short and printable, whatever the value is."""
    written = "none" if value is None else ascii(value) if isinstance(value, str) else str(value)
    return printable(f"{field}: {printable(written, 72)} must be {right}", DETAIL_LIMIT)
