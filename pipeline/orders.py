"""The merger's table of orders: what the feed has said of each, so that it never takes one back.

Active orders are held whole. Finished ones leave a tombstone (state, filled) in a bounded cache; beyond
it the journal's row is asked. A word about an order is admitted, replaced by the present state, or found
stale.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from pipeline.lifecycle import FINISHED, Verdict, judge
from pipeline.messages import Order
from pipeline.vocabulary import Evidence, OrderState

Key = tuple[int, str]  # exchange, cid


class Known(NamedTuple):
    """An order as the feed has it; `word` is the exchange's number of the last word of the exchange on it.

    `absent` is the feed number of the event that ended it by absence, 0 if none did: the one end that the
    exchange may still take back.
    """

    order: Order
    word: int
    absent: int = 0


class OrderTable:
    """Every order of the feed, active ones by (exchange, cid).

    `recall` fetches what the journal has of an order that is in neither the table nor the tombstones.
    """

    def __init__(self, tombstone_limit: int, recall: Callable[[Key], Known | None]) -> None:
        self.active: dict[Key, Known] = {}
        self._ended: OrderedDict[Key, Known] = OrderedDict()
        self._limit = tombstone_limit
        self._recall = recall

    def known(self, key: Key) -> Known | None:
        return self.active.get(key) or self._ended.get(key) or self._recall(key)

    def admit(
        self, key: Key, said: Order, evidence: Evidence, word: int, as_of: int = 0, seq: int = 0
    ) -> tuple[Verdict, Order]:
        """Weigh a word: the verdict and the order as it now stands (to be published in the word's place).

        `word` and `seq` are the numbers the event gets if it is published, in its exchange's part and in all;
        `as_of` is what the executor had read when it called an order Unknown: a newer word of the exchange in
        the feed makes that stale.
        """
        known = self.known(key)
        if known is None:
            self._keep(key, Known(said, word if evidence.settles else 0))
            return Verdict.NEWS, said
        if said.state is OrderState.Unknown and known.word > as_of:
            return Verdict.STALE, known.order
        verdict, order = judge(known.order, said, evidence)
        if verdict is Verdict.NEWS:
            absent = seq if evidence is Evidence.ABSENCE else 0
            self._keep(key, Known(order, word if evidence.settles else known.word, absent))
        return verdict, order

    def taken_back(self, key: Key, said: Order, evidence: Evidence) -> int:
        """The number of the event that a sign of life takes back; 0 when there is nothing to take back."""
        if evidence < Evidence.CALL or evidence is Evidence.ABSENCE:
            return 0
        known = self.known(key)
        if known is None or not known.absent or said.state in (known.order.state, OrderState.OpenFailed):
            return 0
        return 0 if said.state is OrderState.Unknown else known.absent

    def correct(self, key: Key, said: Order, word: int) -> Order:
        """Take an order back, on the one kind of word that may (an event with `corrects`)."""
        known = self.known(key)
        self._ended.pop(key, None)
        order = said
        if known is not None:
            order = replace(known.order, state=said.state, filled=said.filled, id=said.id or known.order.id)
        self._keep(key, Known(order, word))
        return order

    def hear(self, key: Key, word: int) -> None:
        """The exchange has said again what is known: that is its last word on the order now."""
        known = self.known(key)
        if known is not None:
            self._keep(key, known._replace(word=word))

    def restore(self, key: Key, known: Known) -> None:
        """Put back an active order from the journal."""
        self.active[key] = known

    def _keep(self, key: Key, known: Known) -> None:
        if known.order.state not in FINISHED:
            self.active[key] = known
            return
        self.active.pop(key, None)
        self._ended[key] = known
        if len(self._ended) > self._limit:
            self._ended.popitem(last=False)
