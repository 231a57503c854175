"""The last gate before the client: why an open cannot pass now, in words that say what to mend.

What is refused here has not left and never will. It depends on the account's state and the time; what depends
on a request's bytes alone was checked by the router (checks.py).
"""

from typing import TYPE_CHECKING

from pipeline.headers import RequestHeader
from pipeline.messages import OpenOrder
from pipeline.vocabulary import Refusal

if TYPE_CHECKING:
    from actors.executor import Executor

EVENTS_A_REQUEST = 4  # what one request may still cause, at most: answer, Unknown, its end, Stuck
_MILLI = 1_000_000


class Gate:
    """One executor's gate for opens. Cancels do not pass here."""

    def __init__(self, executor: "Executor") -> None:
        self._executor = executor

    def refusal(self, header: RequestHeader, body: OpenOrder, now_ns: int) -> tuple[Refusal, str] | None:
        """The last gate before the client. None: pass."""
        executor = self._executor
        if header.attempt:
            return Refusal.NotSent, "the first copy of this request did not come: nothing was sent"
        if executor.halted:
            return Refusal.Halted, f"{executor.exchange.name} is halted: resume it first"
        not_ready = self.not_ready(now_ns)
        if not_ready:
            return Refusal.NotReady, not_ready
        braked_ns = executor.brake.until_ns - now_ns
        if braked_ns > 0:
            words = f"{executor.exchange.name} said RateLimit: for {braked_ns // _MILLI} ms only cancels pass"
            return Refusal.RateLimit, words
        limit_ns = executor.exchange.timing.expires_limit_ms * _MILLI
        if header.expires_at_ns <= now_ns:
            return Refusal.TooLate, f"expired {(now_ns - header.expires_at_ns) // _MILLI} ms ago"
        if header.expires_at_ns > now_ns + limit_ns:
            words = f"expires_at_ns: at most {limit_ns // _MILLI} ms ahead on {executor.exchange.name}"
            return Refusal.InvalidRequest, words
        limits = executor.exchange.limits
        if executor.flights.count >= limits.in_flight:
            return (
                Refusal.Overloaded,
                f"{limits.in_flight} requests are in flight on {executor.exchange.name}: wait",
            )
        if len(executor.orders) >= limits.open_orders:
            return (
                Refusal.Overloaded,
                f"{limits.open_orders} orders are open on {executor.exchange.name}: cancel some",
            )
        if executor.source.room < EVENTS_A_REQUEST * (executor.flights.count + 1):
            return Refusal.Overloaded, "the merger does not take events fast enough: wait"
        if self._is_taken(header, body.cid):
            return (
                Refusal.DuplicateCid,
                f"cid: {body.cid} was used before on {executor.exchange.name}: take another",
            )
        return None

    def _is_taken(self, header: RequestHeader, cid: str) -> bool:
        executor = self._executor
        # A generated cid is as new as its request (checks.py lets no other request carry it).
        return not cid.startswith("ow.") and (cid in executor.orders or executor.rows.by_cid(cid) is not None)

    def not_ready(self, now_ns: int) -> str:
        """Why opens cannot pass now, "" when they can."""
        executor = self._executor
        if executor.leaving.begun:
            return "the executor is stopping"
        if not executor.clock_settled:
            return "the wall clock stepped: what expires when cannot be told until it has settled"
        if executor.feed.reader.stale(now_ns, executor.deployment.edges.feed_stale_ms):
            return "the feed is not heard: nobody would see the answers"
        if not executor.feed.synced:
            return f"the account stream of {executor.exchange.name} is down or not yet in step"
        if executor.unknowns.unasked:
            return f"{executor.unknowns.unasked} orders from before the restart have not been asked about yet"
        return ""
