"""Who talks to whom, stated once. Where each end runs is the deployment file's; endpoints are derived here.

A link belongs to the actor that binds it; its name is unique within that actor. Everything binds first,
then everything connects. Links that engines and the command line use are on ipc in every layout.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pipeline.deployment import SIMULATED, ConfigError, Deployment
from pipeline.headers import NO_EXCHANGE
from pipeline.vocabulary import Role

Pattern = Literal["push", "pull", "pub", "sub", "dealer", "router"]
ADDRESS_LIMIT = 107  # bytes of a Unix socket's path (unix(7): sun_path of 108 with its end)


@dataclass(frozen=True, slots=True)
class Link:
    """One end of an edge, as its actor sees it: `name` is what `on_message` and `outbox.send` call it."""

    name: str
    pattern: Pattern
    binder: str  # the actor that binds
    edge: str  # the binder's name for it
    bound: bool
    hwm: int
    size_limit: int
    exchanges: tuple[int, ...] = ()  # a subscriber's: the parts of the feed that it reads

    @property
    def address(self) -> str:
        return f"{self.binder}.{self.edge}"


REQUEST_SIZE_LIMIT = 64 * 1024
CHUNK_SIZE_LIMIT = 4 * 1024 * 1024
CONTROL_HWM = 1_000


def role(actor: str) -> tuple[Role, str]:
    """An actor's role and the name of its exchange ("" for those of the whole deployment)."""
    kind, _, exchange = actor.partition(".")
    return Role[kind.upper()], exchange


def source_id(deployment: Deployment, actor: str) -> int:
    """The number by which an actor's frames are known: its role, and its exchange's index (append-only,
    as that is).
    """
    kind, exchange = role(actor)
    return int(kind) << 16 | (deployment.exchange(exchange).index if exchange else NO_EXCHANGE)


def source_name(deployment: Deployment, source: int) -> str:
    """The actor of a source id. Raises KeyError when there is none such."""
    for actor in deployment.actors:
        if source_id(deployment, actor) == source:
            return actor
    raise KeyError(source)


def links(deployment: Deployment, actor: str) -> tuple[Link, ...]:
    """Every link of an actor; "engine" stands for any engine (its links all connect)."""
    return tuple(_links(deployment, actor))


def _links(deployment: Deployment, actor: str) -> Iterator[Link]:
    edges = deployment.edges
    if actor == "engine":
        yield Link("requests", "push", "router", "requests", False, edges.requests_hwm, REQUEST_SIZE_LIMIT)
        yield Link("feed", "sub", "merger", "feed", False, edges.feed_hwm, CHUNK_SIZE_LIMIT)
        yield Link("replay", "dealer", "merger", "replay", False, CONTROL_HWM, CHUNK_SIZE_LIMIT)
        return
    kind, exchange_name = role(actor)
    yield Link("control", "router", actor, "control", True, CONTROL_HWM, REQUEST_SIZE_LIMIT)
    if kind is Role.ROUTER:
        yield Link("requests", "pull", actor, "requests", True, edges.requests_hwm, REQUEST_SIZE_LIMIT)
        for exchange in deployment.exchanges:
            target = f"executor.{exchange.name}"
            yield Link(target, "push", target, "requests", False, edges.requests_hwm, REQUEST_SIZE_LIMIT)
        yield from _source_links(deployment, (NO_EXCHANGE,))
    elif kind is Role.MERGER:
        yield Link("events", "pull", actor, "events", True, edges.events_hwm, CHUNK_SIZE_LIMIT)
        yield Link("feed", "pub", actor, "feed", True, edges.feed_hwm, CHUNK_SIZE_LIMIT)
        yield Link("replay", "router", actor, "replay", True, CONTROL_HWM, CHUNK_SIZE_LIMIT)
    elif kind is Role.EXECUTOR:
        index = deployment.exchange(exchange_name).index
        yield Link("requests", "pull", actor, "requests", True, edges.requests_hwm, REQUEST_SIZE_LIMIT)
        yield from _source_links(deployment, (index, NO_EXCHANGE))
        yield Link("replay", "dealer", "merger", "replay", False, CONTROL_HWM, CHUNK_SIZE_LIMIT)
    elif kind is Role.RECONNECTOR:
        yield from _source_links(deployment, (NO_EXCHANGE,))
    elif kind is Role.EXCHANGE:
        yield Link("calls", "router", actor, "calls", True, edges.events_hwm, CHUNK_SIZE_LIMIT)


def _source_links(deployment: Deployment, exchanges: tuple[int, ...]) -> Iterator[Link]:
    edges = deployment.edges
    yield Link("events", "push", "merger", "events", False, edges.events_hwm, CHUNK_SIZE_LIMIT)
    yield Link("feed", "sub", "merger", "feed", False, edges.feed_hwm, CHUNK_SIZE_LIMIT, exchanges)


def talks_to(deployment: Deployment, actor: str) -> frozenset[str]:
    """The actors whose links this one connects to."""
    found = {link.binder for link in links(deployment, actor) if not link.bound}
    kind, exchange = role(actor)
    if kind in (Role.EXECUTOR, Role.RECONNECTOR) and deployment.exchange(exchange).client == SIMULATED:
        found.add(f"exchange.{exchange}")
    return frozenset(found)


def inproc(deployment: Deployment, address: str) -> str:
    return f"inproc://{deployment.name}/{address}"


def ipc(deployment: Deployment, address: str) -> str:
    """The ipc endpoint of a link. Raises ConfigError when its path is too long for the system."""
    path = str(deployment.run_dir / address)
    if len(path.encode()) > ADDRESS_LIMIT:
        raise ConfigError(
            f"{deployment.path}: run_dir: the socket path {path} has {len(path.encode())} bytes, over the "
            f"system's limit of {ADDRESS_LIMIT}; choose a shorter run_dir"
        )
    return f"ipc://{path}"


def bind_endpoints(deployment: Deployment, link: Link) -> tuple[str, ...]:
    """Where a bound link listens: always on ipc (for engines, the command line, other processes) and
    inproc.
    """
    return inproc(deployment, link.address), ipc(deployment, link.address)


def connect_endpoint(deployment: Deployment, link: Link, process: str | None) -> str:
    """Where a connecting link goes: inproc when the binder runs in the same process (None: a process
    apart), else ipc.
    """
    if (
        deployment.edges.transport == "auto"
        and process is not None
        and deployment.process_of[link.binder] == process
    ):
        return inproc(deployment, link.address)
    return ipc(deployment, link.address)
