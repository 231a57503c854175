"""Every order that the exchange accepted, by number, by client order id and by its own id.

Open orders are all in memory; finished ones up to a limit, and from the ledger beyond it. A client order
id is taken for the account's life. Ids carry the ledger's birth, so an account begun anew does not repeat
the old one's.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final, Protocol

from actors.exchange.book import BookOrder
from pipeline.vocabulary import OrderState

FINISHED_LIMIT: Final = 10_000


class Archive(Protocol):
    """Where orders are found that are no longer in memory."""

    def by_cid(self, cid: str) -> BookOrder | None: ...
    def by_number(self, number: int) -> BookOrder | None: ...


class NoArchive:
    """An exchange without a past."""

    def by_cid(self, cid: str) -> BookOrder | None:
        return None

    def by_number(self, number: int) -> BookOrder | None:
        return None


class Orders:
    """The account's orders and the counters that name its orders and trades."""

    def __init__(
        self, account: int = 0, archive: Archive | None = None, last_number: int = 0, last_trade: int = 0
    ) -> None:
        self.prefix = f"{account & 0xFFFFFFFF:08x}."
        self.last_number = last_number
        self.last_trade = last_trade
        self._archive = archive or NoArchive()
        self._by_number: dict[int, BookOrder] = {}
        self._numbers: dict[str, int] = {}
        self._open: dict[int, BookOrder] = {}
        self._finished: deque[int] = deque()
        self._archived = last_number > 0

    @property
    def open_count(self) -> int:
        return len(self._open)

    def open_orders(self) -> Iterable[BookOrder]:
        """Oldest first."""
        return self._open.values()

    def next_number(self) -> int:
        self.last_number += 1
        return self.last_number

    def next_trade_id(self) -> str:
        self.last_trade += 1
        return self.id_of(self.last_trade)

    def id_of(self, number: int) -> str:
        return f"{self.prefix}{number}"

    def number_of(self, id: str) -> int:
        """The number within an id; 0 when it is none of this account's."""
        rest = id.removeprefix(self.prefix)
        return int(rest) if rest != id and rest.isascii() and rest.isdigit() and len(rest) < 19 else 0

    def add(self, order: BookOrder) -> None:
        self._by_number[order.number] = order
        self._numbers[order.cid] = order.number
        self._open[order.number] = order

    def finished(self, order: BookOrder) -> None:
        assert order.state is not OrderState.Open, "an open order is not finished"
        del self._open[order.number]
        self._finished.append(order.number)

    def forget_surplus(self) -> None:
        """Keep only the newest finished orders. Call it when the ledger has them."""
        while len(self._finished) > FINISHED_LIMIT:
            order = self._by_number.pop(self._finished.popleft())
            del self._numbers[order.cid]
            self._archived = True

    def knows(self, cid: str) -> bool:
        return cid in self._numbers or (self._archived and self._archive.by_cid(cid) is not None)

    def find(self, symbol: str, cid: str, id: str | None) -> BookOrder | None:
        """By the exchange's id where it is given, by the client's otherwise."""
        order = self._by_id(id) if id else self._by_cid(cid)
        return order if order is not None and order.instrument == symbol else None

    def _by_cid(self, cid: str) -> BookOrder | None:
        number = self._numbers.get(cid)
        if number is not None:
            return self._by_number[number]
        return self._archive.by_cid(cid) if self._archived else None

    def _by_id(self, id: str) -> BookOrder | None:
        number = self.number_of(id)
        order = self._by_number.get(number)
        if order is None and number and self._archived:
            return self._archive.by_number(number)
        return order
