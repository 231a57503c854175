"""`orderwire feed`: the feed from a number on, of the running merger or, when nothing runs, of its journal.

Without `--follow` it ends with the last event that there was when it began.
"""

import sqlite3
from collections.abc import Iterator
from typing import Final

from actors.command_line import terminal
from actors.command_line.exits import DONE, WorkFailed, complain
from actors.command_line.questions import NoAnswer, Questions
from pipeline import headers
from pipeline.codec import BodyError, read_feed_body
from pipeline.control import ReplayChunk, ReplayQuery
from pipeline.deployment import Deployment
from pipeline.engine import Engine, EngineError
from pipeline.journal_reader import JournalReader
from pipeline.messages import Event, Place
from pipeline.naming import describe, describe_json_line, one_line

PAGE_EVENTS: Final = 2_000
ANSWER_WITHIN_S: Final = 2.0


async def feed(deployment: Deployment, first: int, follow: bool, as_json: bool, engine_name: str) -> int:
    """Print the feed from number `first` on. Raises WorkFailed."""
    printer = Printer(deployment, as_json)
    if not (deployment.run_dir / "merger.replay").exists():
        return _from_journal(printer, first, follow)
    async with Questions(deployment) as questions:
        try:
            cursor = await _replay(questions, printer, first)
        except NoAnswer:
            return _from_journal(printer, first, follow)
    terminal.flush()
    if follow:
        await _follow(printer, cursor, engine_name)
    return DONE


class Printer:
    """Prints events, one a line."""

    def __init__(self, deployment: Deployment, as_json: bool) -> None:
        self.deployment = deployment
        self._as_json = as_json

    def event(self, event: Event) -> None:
        if self._as_json:
            terminal.line(describe_json_line(self.deployment, event))
        else:
            terminal.line(one_line(describe(self.deployment, event)))

    def frame(self, frame: bytes) -> None:
        header = headers.read_feed(frame)
        try:
            event = read_feed_body(header.kind, frame)
        except BodyError:
            complain(f"event {header.seq} is of kind {header.kind}, which this version does not know")
            return
        place = Place(
            header.exchange, header.feed_id, header.seq, header.exchange_seq, header.published_at_ns
        )
        self.event(event.at(place))


async def _replay(questions: Questions, printer: Printer, first: int) -> tuple[int, int]:
    """Print what there is now; returns (feed_id, number) up to which it was printed. Raises NoAnswer."""
    page = await _page(questions, 0, first - 1)
    feed_id, last, after = page.feed_id, page.last, first - 1
    _say_oldest(page.oldest, first)
    while after < last:
        page = await _page(questions, feed_id, after)
        if page.feed_id != feed_id:
            raise WorkFailed("the feed became another one while it was read; start again")
        for frame in page.frames:
            if headers.read_feed(frame).seq <= last:
                printer.frame(frame)
        if page.through <= after:
            break
        after = page.through
    return feed_id, min(after, last)


async def _page(questions: Questions, feed_id: int, after: int) -> ReplayChunk:
    query = ReplayQuery(feed_id=feed_id, after=after, limit=PAGE_EVENTS)
    answer = await questions.ask("merger", query, ANSWER_WITHIN_S, edge="replay")
    if not isinstance(answer, ReplayChunk):
        raise WorkFailed(f"merger answered {type(answer).__name__} to a question about the feed")
    return answer


async def _follow(printer: Printer, cursor: tuple[int, int], engine_name: str) -> None:
    try:
        async with Engine(printer.deployment, engine_name, everything=True, resume_after=cursor) as engine:
            async for event in engine:
                printer.event(event)
                for waiting in engine.poll():
                    printer.event(waiting)
                terminal.flush()
    except EngineError as error:
        raise WorkFailed(str(error)) from None


def _from_journal(printer: Printer, first: int, follow: bool) -> int:
    deployment = printer.deployment
    path = deployment.state_dir / "merger.db"
    not_running = f"{deployment.path}: {deployment.name} is not running"
    if follow:
        raise WorkFailed(f"{not_running}; start it (orderwire run {deployment.path}) or leave out --follow")
    if not path.exists():
        raise WorkFailed(f"{not_running}, and there is no journal at {path}")
    complain(f"{not_running}; reading its journal {path}")
    try:
        for frame in _journaled(JournalReader(path), first):
            printer.frame(frame)
    except sqlite3.Error as error:
        raise WorkFailed(f"{path}: the journal cannot be read: {error}") from None
    return DONE


def _journaled(reader: JournalReader, first: int) -> Iterator[bytes]:
    page = reader.read(first - 1, PAGE_EVENTS, None)
    _say_oldest(page.oldest, first)
    last = page.last
    while True:
        yield from page.frames
        if page.through >= last or not page.frames:
            return
        page = reader.read(page.through, PAGE_EVENTS, None)


def _say_oldest(oldest: int, first: int) -> None:
    if oldest > first > 1:
        complain(f"events before {oldest} are no longer kept")
