"""`fault`, `halt`, `resume` and `resolve`: an operator's commands, on the control socket of who obeys.

A halt does not need the router, and reaches every executor that answers however the others are.
"""

import asyncio
import os
import pwd
from typing import Final

import click

from actors.command_line import terminal
from actors.command_line.exits import DONE, FAILED, WorkFailed, complain
from actors.command_line.ordering import known_exchange
from actors.command_line.questions import NoAnswer, Questions
from actors.exchange.faults import FaultError, Faults
from pipeline.control import Done, Failed, Halt, Resolve, Resume, SetFault, StateChunk, StateQuery
from pipeline.deployment import SIMULATED, Deployment
from pipeline.messages import Message
from pipeline.naming import printable

ANSWER_WITHIN_S: Final = 2.0
CONFIRM_WITHIN_S: Final = 5.0
CONFIRM_EVERY_S: Final = 0.05
OUTCOMES: Final = ("cancelled", "open-failed", "filled")


def operator() -> str:
    """Whose word it is, as the feed keeps it."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"user {os.getuid()}"


async def fault(deployment: Deployment, exchange: str, name: str, arguments: tuple[str, ...]) -> int:
    """Flip a fault of a simulated exchange. Raises click.UsageError, WorkFailed."""
    of = known_exchange(deployment, exchange)
    if of.client != SIMULATED:
        raise click.UsageError(
            f"EXCHANGE: {of.name} is not simulated (its client is {of.client}): no faults there"
        )
    try:
        Faults().flip(name, arguments, 0)
    except FaultError as error:
        raise click.UsageError(printable(str(error), 600)) from None
    async with Questions(deployment) as questions:
        said = await _told(questions, f"exchange.{of.name}", SetFault(name, list(arguments)))
    terminal.line(said)
    return DONE


async def _told(questions: Questions, actor: str, body: Message) -> str:
    try:
        answer = await questions.ask(actor, body, ANSWER_WITHIN_S)
    except NoAnswer as silence:
        raise WorkFailed(f"{silence}: is the deployment running?") from None
    if isinstance(answer, Done):
        return printable(answer.detail)
    raise WorkFailed(f"{actor}: {answer.detail if isinstance(answer, Failed) else type(answer).__name__}")


async def halt(deployment: Deployment, exchange: str | None, because: str) -> int:
    """Refuse opens from now on. 1 when an executor did not confirm."""
    return await _switch(deployment, exchange, Halt(by=operator(), because=because), halted=True)


async def resume(deployment: Deployment, exchange: str | None, because: str) -> int:
    return await _switch(deployment, exchange, Resume(by=operator(), because=because), halted=False)


async def _switch(deployment: Deployment, exchange: str | None, body: Message, halted: bool) -> int:
    wanted = [e for e in deployment.exchanges if exchange in (None, e.name)]
    if not wanted:
        known_exchange(deployment, exchange or "")
    async with Questions(deployment) as questions:
        answers = await questions.ask_all((f"executor.{e.name}" for e in wanted), body, ANSWER_WITHIN_S)
        obeyed = {e.index for e in wanted if isinstance(answers[f"executor.{e.name}"], Done)}
        confirmed = await _on_the_feed(questions, obeyed, halted)
    word = "halted" if halted else "resumed"
    for each in wanted:
        if each.index in confirmed:
            terminal.line(f"{each.name}: {word}")
        elif each.index in obeyed:
            complain(f"{each.name}: executor.{each.name} says {word}, the feed does not (yet)")
        else:
            complain(f"{each.name}: executor.{each.name} did not confirm that it is {word}")
    return DONE if len(confirmed) == len(wanted) else FAILED


async def _on_the_feed(questions: Questions, exchanges: set[int], halted: bool) -> set[int]:
    """Those of the exchanges of which the feed says so before the time is over."""
    confirmed: set[int] = set()
    try:
        async with asyncio.timeout(CONFIRM_WITHIN_S):
            while confirmed < exchanges:
                for index in exchanges - confirmed:
                    chunk = await questions.ask(
                        "merger", StateQuery(), CONFIRM_WITHIN_S, edge="replay", exchange=index
                    )
                    if isinstance(chunk, StateChunk) and any(
                        state.exchange == index and state.halted is halted for state in chunk.exchanges
                    ):
                        confirmed.add(index)
                await asyncio.sleep(0 if confirmed == exchanges else CONFIRM_EVERY_S)
    except (TimeoutError, NoAnswer):
        pass
    return confirmed


async def resolve(deployment: Deployment, cid: str, outcome: str, because: str) -> int:
    """End an Unknown order on the operator's word: the executor that has it obeys. Raises WorkFailed."""
    if not because.strip():
        raise click.UsageError("--because: say why, it stays in the feed")
    body = Resolve(cid=cid, outcome=outcome, by=operator(), because=because)
    async with Questions(deployment) as questions:
        actors = [f"executor.{exchange.name}" for exchange in deployment.exchanges]
        answers = await questions.ask_all(actors, body, ANSWER_WITHIN_S)
    done = [answer.detail for answer in answers.values() if isinstance(answer, Done)]
    for said in done:
        terminal.line(printable(said))
    if done:
        return DONE
    silent = [actor for actor, answer in answers.items() if answer is None]
    if silent:
        raise WorkFailed(f"no answer from {', '.join(silent)}")
    words = sorted({printable(a.detail) for a in answers.values() if isinstance(a, Failed)})
    raise WorkFailed("; ".join(words))
