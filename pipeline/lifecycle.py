"""The life of an order as a table, and the one rule for a word that comes late.

What must live here: which state may follow which, and on whose word. What must not: requests (they have a
life of their own), time, or where the order is kept. An order never goes backwards: finished stays finished,
and `filled` never shrinks. Unknown has no rank: it is left on evidence only, and never by guess.
"""

from enum import Enum
from typing import Final

from msgspec.structs import replace

from pipeline.messages import Order
from pipeline.vocabulary import Evidence, OrderState, Pending

S = OrderState

ACTIVE: Final = frozenset({S.OpenInFlight, S.Open, S.CancelInFlight, S.Unknown})
FINISHED: Final = frozenset({S.Cancelled, S.FullyFilled, S.OpenFailed, S.Expired})

# What a reconnector passes on; all other evidence is an executor's.
REPORTED: Final = frozenset({Evidence.STREAM, Evidence.SNAPSHOT, Evidence.BACKFILL})

# From a state, the states that may follow it. Each may also be repeated with a larger `filled`.
MOVES: Final[dict[OrderState, frozenset[OrderState]]] = {
    S.OpenInFlight: frozenset({S.Open, S.CancelInFlight, S.Unknown}) | FINISHED,
    S.Open: frozenset({S.CancelInFlight, S.Unknown}) | FINISHED,
    S.CancelInFlight: frozenset({S.Open, S.Unknown}) | FINISHED,
    S.Unknown: frozenset({S.Open, S.CancelInFlight}) | FINISHED,
    S.Cancelled: frozenset(),
    S.FullyFilled: frozenset(),
    S.OpenFailed: frozenset(),
    S.Expired: frozenset(),
}


class Verdict(Enum):
    """What a word about an order is, beside what is known of it."""

    NEWS = "news"  # it takes the order on
    SAME = "same"  # it says what is known
    STALE = "stale"  # it would take the order back: what is known stands


def judge(known: Order, said: Order, evidence: Evidence) -> tuple[Verdict, Order]:
    """Weigh a word about an order that is known: the verdict, and the order as it is afterwards.

    `said.state` may be any; for a word that would shrink `filled`, a finished state counts and the smaller
    quantity does not (a cancel's answer often does not know what was filled).
    """
    if known.state in FINISHED:
        return _after_the_end(known, said, evidence)
    if known.state is S.Unknown and said.state is not S.Unknown and not evidence.settles:
        return Verdict.STALE, known
    if said.state in ACTIVE and said.filled < known.filled:
        return Verdict.STALE, known
    if said.state is not known.state and said.state not in MOVES[known.state]:
        return Verdict.STALE, known
    merged = merge(known, said, evidence)
    if merged.state is known.state and merged == known:
        return Verdict.SAME, known
    return Verdict.NEWS, merged


def _after_the_end(known: Order, said: Order, evidence: Evidence) -> tuple[Verdict, Order]:
    # The exchange may still count more fills into an order that ended (a report that came out of order).
    if evidence.settles and said.state in FINISHED and said.filled > known.filled:
        state = S.FullyFilled if said.filled >= known.quantity else known.state
        return Verdict.NEWS, replace(known, filled=said.filled, state=state, id=said.id or known.id)
    return (
        Verdict.SAME if said.state is known.state and said.filled == known.filled else Verdict.STALE
    ), known


def merge(known: Order, said: Order, evidence: Evidence) -> Order:
    """`said`, with what only `known` knows, and the larger `filled` of the two."""
    # What was ordered is the executor's to say; the exchange's stream does not know whose order it is.
    terms = said if said.engine and not known.engine else known
    if said.state in FINISHED:
        pending = Pending.NONE
    else:
        # The stream does not know of wishes to cancel: it neither makes nor ends one.
        pending = known.pending if evidence in REPORTED else said.pending
    counted = said.quantity if said.state is S.FullyFilled else said.filled
    return replace(
        terms,
        id=said.id or known.id,
        venue_cid=said.venue_cid or known.venue_cid,
        filled=max(known.filled, said.filled, counted),
        state=said.state,
        pending=pending,
    )
