"""The periodic check of balances and trades: what a stream hid that looked whole.

While the stream is in step, every `reconcile_every_ms` the balances are fetched, then the trades since
the last check that was whole, less an overlap. The merger leaves out what it has. An asset that the stream
told of meanwhile is not told again, since that word is the newer. A check that fails is counted and made
again later: it does not end a stream. Open orders are the executor's part (order_check.py).
"""

from typing import TYPE_CHECKING

from pipeline import client
from pipeline.actor import Outcome
from pipeline.client import Capability, ExecutionError
from pipeline.messages import BalanceSnapshot
from pipeline.vocabulary import Evidence

if TYPE_CHECKING:
    from actors.reconnector import Reconnector

_MILLI = 1_000_000


class AccountCheck:
    """One reconnector's look at the account beside its stream; knows up to where the trades are whole."""

    def __init__(self, reconnector: "Reconnector", capabilities: frozenset[Capability]) -> None:
        self.heard: set[str] = set()  # assets that the stream told of since the question was put
        self._reconnector = reconnector
        self._capabilities = capabilities
        self._timing = reconnector.exchange.timing
        self._due_ns: int | None = None
        self._token = 0
        self._asked_ns = 0
        self._step = ""
        self._whole_ns: int | None = None  # the last trade's time when the last whole check was asked for
        self._asking_ns = 0

    # ------------------------------------------------------------------------------------ trades

    def since_ns(self, last_trade_at_ns: int, now_ns: int, checking: bool = False) -> int:
        """From when on trades are to be fetched, given the last one that the merger has committed.

        What the stream hid is older than the trades it told of later: so once there was a check, the last
        whole one is where it counts from. A new life does not know that of the life before; it was no
        longer ago than a check and a failed one take.
        """
        timing = self._timing
        from_ns = last_trade_at_ns if self._whole_ns is None else min(self._whole_ns, last_trade_at_ns)
        if checking:
            self._asking_ns = last_trade_at_ns
        if self._whole_ns is None:
            from_ns -= 2 * timing.reconcile_every_ms * _MILLI
        horizon_ns = now_ns - timing.trade_horizon_ms * _MILLI
        return max(from_ns - timing.trade_overlap_ms * _MILLI, horizon_ns, 0)

    # ------------------------------------------------------------------------------------ the round

    def begin(self, now_ns: int) -> None:
        """The stream is in step: the first check is a period away."""
        self._due_ns = now_ns + self._timing.reconcile_every_ms * _MILLI

    def stop(self) -> None:
        """The stream is lost: what the next one begins with is more than a check."""
        if self._token:
            self._reconnector.outbox.cancel(self._token)
        self._token, self._due_ns = 0, None

    def next_deadline_ns(self) -> int | None:
        return self._asked_ns + self._timing.call_lifetime_ms * _MILLI if self._token else self._due_ns

    def on_deadline(self, now_ns: int) -> None:
        due_ns = self.next_deadline_ns()
        if due_ns is None or now_ns < due_ns:
            return
        if self._token:
            self._reconnector.outbox.cancel(self._token)
            self._failed(now_ns)
            return
        self.heard.clear()
        assets = self._reconnector.indexer.asset_symbols
        if Capability.BALANCES in self._capabilities:
            self._ask("balances", now_ns, "fetch_balances", assets)
        else:
            self._ask("balances", now_ns, "account_snapshot", assets, ())

    def _ask(self, step: str, now_ns: int, method: str, *args: object) -> None:
        self._step, self._asked_ns = step, now_ns
        self._token = self._reconnector.next_token()
        self._reconnector.outbox.call(self._token, method, *args)

    def _failed(self, now_ns: int) -> None:
        self._token = 0
        self._reconnector.count("checks_without_answer")
        self.begin(now_ns)

    def on_call_done(self, token: int, outcome: Outcome, now_ns: int) -> None:
        if not token or token != self._token:
            return
        self._token = 0
        value, error = outcome
        if error is not None and not isinstance(error, ExecutionError):
            self._reconnector.count("client_bugs")
        if error is not None:
            self._failed(now_ns)
        elif self._step == "trades" and isinstance(value, tuple) and len(value) == 2:
            self._reconnector.tell_trades(value[0], now_ns)
            if value[1]:
                self._whole_ns = self._asking_ns
            self._done(now_ns)
        elif self._step == "balances":
            self._on_balances(value.balances if isinstance(value, client.AccountSnapshot) else value, now_ns)
        else:
            self._reconnector.count("client_bugs")
            self._failed(now_ns)

    def _on_balances(self, value: object, now_ns: int) -> None:
        reconnector = self._reconnector
        for each in reconnector.of(client.AssetBalance, value):
            if each.asset in self.heard:
                continue
            balance = reconnector.indexed(reconnector.indexer.balance, each)
            if balance is not None:
                event = BalanceSnapshot(
                    exchange_at_ns=each.exchange_at_ns,
                    received_at_ns=now_ns,
                    evidence=Evidence.SNAPSHOT,
                    balance=balance,
                )
                reconnector.say(event, now_ns)
        last_trade_at_ns = reconnector.last_trade_at_ns
        if Capability.TRADES in self._capabilities and last_trade_at_ns is not None:
            since_ns = self.since_ns(last_trade_at_ns, now_ns, checking=True)
            self._ask("trades", now_ns, "fetch_trades", reconnector.indexer.symbols, since_ns)
        else:
            self._done(now_ns)

    def _done(self, now_ns: int) -> None:
        self._reconnector.count("checks")
        self.begin(now_ns)
