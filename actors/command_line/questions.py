"""Puts a question to an actor's control socket (or another of its ROUTER edges) and waits for the one reply.

Every wait has a bound, and an actor that does not answer is named. Nothing is asked twice: a command that was
done and whose reply was late must not be done again.
"""

import asyncio
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Final, Self

from pipeline import headers
from pipeline.attachment import Attachment
from pipeline.codec import KINDS, BodyError, encode, read_control_body
from pipeline.deployment import Deployment
from pipeline.headers import HeaderError
from pipeline.messages import NO_EXCHANGE, Message
from pipeline.sockets import Sockets
from pipeline.topology import CHUNK_SIZE_LIMIT, CONTROL_HWM, Link

CONNECT_EVERY_S: Final = 0.005  # how often a send is tried while the connection is being made

Attach = Callable[[str, list[Link], Callable[[str, bytes], None]], Attachment]


class NoAnswer(Exception):
    """An actor did not answer in time."""

    def __init__(self, actor: str, within_s: float) -> None:
        super().__init__(f"{actor} did not answer within {within_s:g} s")
        self.actor = actor


class Questions:
    """One asker: beside the actors with their host's `attach`, without it in a process apart."""

    def __init__(self, deployment: Deployment, attach: Attach | None = None) -> None:
        self._deployment = deployment
        self._attach = attach
        self._sockets: Sockets | None = None
        self._wires: dict[tuple[str, str], Attachment] = {}
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._token = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for wires in self._wires.values():
            wires.close()
        self._wires.clear()
        if self._sockets is not None:
            self._sockets.close()
            self._sockets = None

    async def ask(
        self, actor: str, body: Message, within_s: float, edge: str = "control", exchange: int = NO_EXCHANGE
    ) -> Message:
        """The actor's reply. Raises NoAnswer."""
        wires = self._wires.get((actor, edge)) or self._connect(actor, edge)
        self._token += 1
        token = self._token
        head = headers.control(exchange, KINDS[type(body)], self._deployment.fingerprint, token)
        self._waiting[token] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(within_s):
                while not wires.send("question", head + encode(body)):
                    await asyncio.sleep(CONNECT_EVERY_S)
                return await self._waiting[token]
        except TimeoutError:
            raise NoAnswer(actor, within_s) from None
        finally:
            del self._waiting[token]

    async def ask_all(
        self, actors: Iterable[str], body: Message, within_s: float
    ) -> dict[str, Message | None]:
        """Every actor's reply, None of those that did not answer; all are asked at once."""

        async def one(actor: str) -> Message | None:
            try:
                return await self.ask(actor, body, within_s)
            except NoAnswer:
                return None

        asked = list(actors)
        return dict(zip(asked, await asyncio.gather(*map(one, asked)), strict=True))

    def _connect(self, actor: str, edge: str) -> Attachment:
        link = Link("question", "dealer", actor, edge, False, CONTROL_HWM, CHUNK_SIZE_LIMIT)
        if self._attach is not None:
            wires = self._attach("cli", [link], self._on_frame)
        else:
            if self._sockets is None:
                self._sockets = Sockets(self._deployment.run_dir)
            loop = asyncio.get_running_loop()
            wires = Attachment(self._deployment, self._sockets, loop, None, self._on_frame, name="cli")
            wires.connect([link])
        self._wires[actor, edge] = wires
        return wires

    def _on_frame(self, _: str, frame: bytes) -> None:
        try:
            header = headers.read_control(frame)
            body = read_control_body(header.kind, frame)
        except (HeaderError, BodyError):
            return  # of another version, say: as good as no answer
        waiting = self._waiting.get(header.token)
        if waiting is not None and not waiting.done():
            waiting.set_result(body)
