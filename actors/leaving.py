"""How an executor stops: no new opens, what is on its way brought to its end, the rest written down.

What is still unanswered at the end is answered `Timeout`, and its order is Unknown in the journal, as after a
crash: the next life asks the exchange about it before it takes opens.
"""

from typing import TYPE_CHECKING

from pipeline.actor import HandOver
from pipeline.indexing import failure
from pipeline.vocabulary import Error, Evidence, OrderState

if TYPE_CHECKING:
    from actors.executor import Executor


class Leaving:
    """The last part of one executor's life."""

    def __init__(self, executor: "Executor") -> None:
        self.begun = False
        self._executor = executor
        self._settled = 0  # negative until the end: what was settled before it began

    def begin(self) -> None:
        """From now on the gate refuses opens; cancels and answers pass."""
        if not self.begun:
            self.begun = True
            self._settled = -self._executor.flights.settled

    def is_over(self, now_ns: int) -> bool:
        """Whether nothing is on its way any more, to the exchange or to the merger."""
        executor = self._executor
        if executor.flights.count or executor.unknowns.asking(now_ns):
            return False
        # A merger that is heard will acknowledge; one that is gone finds it all in the outbox later.
        stale = executor.feed.reader.stale(now_ns, executor.deployment.edges.feed_stale_ms)
        return stale or not executor.source.unacknowledged

    def end(self, now_ns: int) -> None:
        """Answer what is left."""
        self.begin()
        executor = self._executor
        self._settled += executor.flights.settled
        why = failure(Error.Timeout, "the executor was stopped while the request was on its way")
        for flight in executor.flights.unanswered():
            if not flight.answered:  # together with one before it
                executor.on_timeout(flight, Evidence.RESTART, why, now_ns)

    def hand_over(self) -> HandOver:
        states = [record.order.state for record in self._executor.orders.values()]
        unknown = states.count(OrderState.Unknown)
        left_open = sum(not state.finished for state in states) - unknown
        return HandOver(self._settled, left_open, unknown)
