"""Exchange clients, and how a deployment's word for one becomes an instance of it.

A user's own client is named `package.module:Class` and needs no entry here. Importing and making one runs a
user's code, so whatever it raises ends here as a ConfigError that says whose fault it is.
"""

import importlib
import inspect
from typing import Final, cast

from pipeline.client import Capability, ExecutionClient
from pipeline.deployment import ConfigError, Exchange
from pipeline.deployment_table import nearest, quoted

BUILT_IN: Final = {
    "simulated": "actors.clients.simulated:SimulatedClient",
    "instant": "actors.clients.instant:InstantClient",
}

SAID_LIMIT: Final = 120  # characters of a client's own exception that an error repeats

# What every client must have, then what it must have for what it declares.
FLOOR: Final = ("account_snapshot", "account_stream", "open_order", "cancel_order", "close")
DECLARED: Final = {
    Capability.FETCH_ORDER: "fetch_order",
    Capability.BALANCES: "fetch_balances",
    Capability.OPEN_ORDERS: "fetch_open_orders",
    Capability.TRADES: "fetch_trades",
}


def client_class(spec: str) -> type[ExecutionClient]:
    """The class of a client by its built-in name or `package.module:Class`.

    Raises ConfigError: "<what is wrong>; <what would be right>", for the caller to say where.
    """
    module_name, colon, class_name = BUILT_IN.get(spec, spec).partition(":")
    if not colon:
        known = nearest(spec, BUILT_IN, "write package.module:Class, or one of")
        raise ConfigError(f"{quoted(spec)} is no client; {known}")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        what = f"{module_name} cannot be imported ({_said(error)})"
        raise ConfigError(f"{what}; install it, or put its folder on PYTHONPATH") from error
    found = getattr(module, class_name, None)
    if not inspect.isclass(found):
        classes = [name for name, value in vars(module).items() if inspect.isclass(value)]
        right = nearest(class_name, classes, "its classes are") if classes else "name a module that has it"
        raise ConfigError(f"{module_name} has no class {quoted(class_name)}; {right}")
    _check_contract(spec, found)
    return cast("type[ExecutionClient]", found)


def make_client(exchange: Exchange) -> ExecutionClient:
    """A new instance of an exchange's client. Raises ConfigError when the client refuses its options."""
    made = client_class(exchange.client)
    try:
        return made(exchange.name, exchange.options)
    except ConfigError:
        raise
    except Exception as error:
        what = f"exchanges.{exchange.name}.options: {exchange.client} refuses them ({_said(error)})"
        raise ConfigError(f"{what}; see that client's own page for its options") from error


def _check_contract(spec: str, found: type) -> None:
    for attribute in ("venue", "capabilities", "request_validity_ms"):
        if not hasattr(found, attribute):
            raise ConfigError(f"{spec} has no {attribute}; give the class one, as pipeline/client.py says")
    declared = found.capabilities  # type: ignore[attr-defined]
    if not isinstance(declared, frozenset) or not all(isinstance(item, Capability) for item in declared):
        raise ConfigError(f"{spec} declares {quoted(declared)}; declare a frozenset of Capability members")
    for method in (*FLOOR, *(name for capability, name in DECLARED.items() if capability in declared)):
        if not callable(getattr(found, method, None)):
            raise ConfigError(f"{spec} has no method {method}; write it, as pipeline/client.py says")


def _said(error: Exception) -> str:
    """An exception in a few words, on one line whatever it holds."""
    words = f"{type(error).__name__}: {error}".encode("unicode_escape").decode()
    return words if len(words) <= SAID_LIMIT else words[:SAID_LIMIT] + "..."
