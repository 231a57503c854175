"""The house rules that no linter knows, read off the syntax tree of every file.

A rule is a function from a source to its complaints. Each has a small bad source below that it must find.
"""

import ast
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOT_OURS = {"run", "state", "build", "dist", "__pycache__"}
CODE_LINES_LIMIT = 400
FUNCTION_LINES_LIMIT = 60
LINE_LIMIT = 110
DOCSTRING_LINES_LIMIT = 10

# Where the world outside may be touched. Everything else is told the time and what happened.
MAY_WAIT = (
    "orderwire.py",
    "pipeline/host.py",
    "pipeline/lane.py",
    "pipeline/streams.py",
    "pipeline/clock.py",
    "pipeline/sockets.py",
    "pipeline/engine*.py",
    "pipeline/attachment.py",
    "pipeline/journal*.py",
    "pipeline/checkpoints.py",  # a thread beside the journal
    "actors/command_line/*",
    "actors/clients/*",
    "scripts/*",
    "tests/*",
)
# Where an actor's bug or a user's client must not take others with it.
MAY_CATCH_ALL = (
    "pipeline/host.py",
    "pipeline/station.py",  # one actor of the host
    "pipeline/calls.py",  # one actor's client
    "pipeline/attachment.py",
    "pipeline/lane.py",
    "pipeline/streams.py",
    "actors/clients/__init__.py",
)
MAY_USE_ZMQ = ("pipeline/sockets.py", "scripts/*", "tests/*")
NOT_BELOW = {
    "pipeline": {
        "actors",
        "orderwire",
        "scripts",
        "tests",
        "click",
        "rich",
        "structlog",
        "prometheus_client",
    },
    "actors": {"orderwire", "scripts", "tests"},
}
WAITING = {"asyncio", "time", "threading", "uvloop", "uuid", "secrets", "sched"}
CLOCK_CALLS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "os.urandom"}
HANDLES = {"socket", "sqlite3", "subprocess", "multiprocessing", "select", "selectors"}
UNSAFE = {"pickle", "cloudpickle", "dill", "marshal", "shelve"}
UNSAFE_CALLS = {"recv_pyobj", "send_pyobj", "eval", "exec"}
EMPTY_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "manager", "core", "misc"}
NOT_ABOUT_ONE_FILE = {"tidy", "protocol_document", "readme", "seed_rows"}
MACHINE_PATH = re.compile(r"/(?:home|root|Users|work)/\w")


class Source:
    """A Python file: its path in the repository and what stands in it."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        self.top = path.partition("/")[0]
        self.is_test = self.top == "tests"

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @property
    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        return (node for node in self.nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    @cached_property
    def imports(self) -> list[tuple[str, int]]:
        """The first name of each imported module, with its line."""
        found = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                found += [(alias.name.partition(".")[0], node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found.append(((node.module or "").partition(".")[0], node.lineno))
        return found

    @cached_property
    def calls(self) -> list[tuple[str, ast.Call]]:
        """Every call by its dotted name."""
        return [(ast.unparse(node.func), node) for node in self.nodes if isinstance(node, ast.Call)]

    def among(self, patterns: tuple[str, ...]) -> bool:
        return any(fnmatchcase(self.path, pattern) for pattern in patterns)

    def at(self, line: int, what: str) -> str:
        return f"{self.path}:{line}: {what}"


def imports_go_one_way(source: Source) -> Iterator[str]:
    for name, line in source.imports:
        if name in NOT_BELOW.get(source.top, ()):
            yield source.at(line, f"{source.top} does not import {name}")


def zmq_is_in_one_file(source: Source) -> Iterator[str]:
    if not source.among(MAY_USE_ZMQ):
        for name, line in source.imports:
            if name == "zmq":
                yield source.at(line, "zmq belongs in pipeline/sockets.py")


def time_and_chance_come_as_arguments(source: Source) -> Iterator[str]:
    if source.among(MAY_WAIT):
        return
    for name, line in source.imports:
        if name in WAITING:
            yield source.at(line, f"{name} waits, reads a clock or draws from the system")
    for name, call in source.calls:
        drawn = name.startswith("random.") and name != "random.Random"
        if drawn or ".".join(name.split(".")[-2:]) in CLOCK_CALLS:
            yield source.at(call.lineno, f"{name} is the machine's word: take it as an argument")
        if name in ("random.Random", "Random") and not call.args:
            yield source.at(call.lineno, "a Random without a seed draws one from the system")
    for node in source.nodes:
        if isinstance(node, ast.ImportFrom) and node.module == "random":
            for name in {alias.name for alias in node.names} - {"Random"}:
                yield source.at(node.lineno, f"random.{name} draws from the system: use random.Random(seed)")


def actors_touch_no_handle(source: Source) -> Iterator[str]:
    if source.top == "actors" and not source.among(("actors/clients/*", "actors/command_line/*")):
        for name, line in source.imports:
            if name in HANDLES:
                yield source.at(line, f"an actor touches no {name}: use its ports")


def broad_excepts_stay_at_the_boundary(source: Source) -> Iterator[str]:
    if source.among(MAY_CATCH_ALL):
        return
    for node in source.nodes:
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if ast.unparse(node.body[-1]) == "raise":
                continue  # it cleans up and lets go
            if any(kind is None or ast.unparse(kind) in ("Exception", "BaseException") for kind in caught):
                yield source.at(node.lineno, "catches everything: name what can happen")


def nothing_runs_what_it_reads(source: Source) -> Iterator[str]:
    for name, line in source.imports:
        if name in UNSAFE:
            yield source.at(line, f"{name} runs what it reads")
    for name, call in source.calls:
        if name in UNSAFE_CALLS or name.split(".")[-1] in ("recv_pyobj", "send_pyobj"):
            yield source.at(call.lineno, f"{name} runs what it reads")


def modules_are_named_for_what_they_hold(source: Source) -> Iterator[str]:
    for part in Path(source.path).with_suffix("").parts:
        if part in EMPTY_NAMES:
            yield source.at(1, f"{part!r} says nothing about what is in it")


def files_functions_and_lines_are_short(source: Source) -> Iterator[str]:
    lines = source.text.splitlines()
    code = sum(1 for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if code > CODE_LINES_LIMIT:
        yield source.at(1, f"{code} lines of code: there is a second idea in it")
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_LIMIT:
            yield source.at(number, f"{len(line)} characters in a line")
    for function in source.functions:
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > FUNCTION_LINES_LIMIT:
            yield source.at(function.lineno, f"{function.name} has {length} lines")


def modules_say_what_they_are_for(source: Source) -> Iterator[str]:
    docstring = ast.get_docstring(source.tree)
    if docstring is None and source.tree.body and not source.is_test:
        yield source.at(1, "no docstring: what is it for, what is always true in it?")
    if docstring and len(docstring.splitlines()) > DOCSTRING_LINES_LIMIT:
        yield source.at(1, f"a docstring of {len(docstring.splitlines())} lines")


def no_test_sleeps(source: Source) -> Iterator[str]:
    for name, call in source.calls:
        # sleep(0) lets other tasks run; it waits for no clock.
        if source.is_test and name.split(".")[-1] == "sleep" and ast.unparse(call.args[0]) != "0":
            yield source.at(call.lineno, "drive the time or wait for an event")


def every_test_can_fail(source: Source) -> Iterator[str]:
    for function in source.functions:
        if source.is_test and function.name.startswith("test_") and not _asserts(function):
            yield source.at(function.lineno, f"{function.name} asserts nothing")


def _asserts(function: ast.AST) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).split(".")[-1]
            if name in ("raises", "fail") or name.startswith(("expect", "check_", "assert_")):
                return True
    return False


RULES: list[Callable[[Source], Iterator[str]]] = [
    imports_go_one_way,
    zmq_is_in_one_file,
    time_and_chance_come_as_arguments,
    actors_touch_no_handle,
    broad_excepts_stay_at_the_boundary,
    nothing_runs_what_it_reads,
    modules_are_named_for_what_they_hold,
    files_functions_and_lines_are_short,
    modules_say_what_they_are_for,
    no_test_sleeps,
    every_test_can_fail,
]


def files() -> Iterator[Path]:
    """Every file of the repository that people write."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") and part != ".ci" for part in parts[:-1])
        made = any(part in NOT_OURS or part.endswith(".egg-info") for part in parts)
        if path.is_file() and not hidden and not made and not parts[0].startswith(".git"):
            yield path


def sources() -> Iterator[Source]:
    for path in files():
        if path.suffix == ".py" or (path.parent.name == "scripts" and b"python" in path.read_bytes()[:40]):
            yield Source(path.relative_to(ROOT).as_posix(), path.read_text())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_file_obeys(rule):
    complaints = [complaint for source in sources() for complaint in rule(source)]
    assert not complaints, "\n".join(complaints)


def test_every_test_file_is_about_a_source_file():
    named = {
        part for source in sources() if not source.is_test for part in Path(source.path).with_suffix("").parts
    }
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    assert tests - named - NOT_ABOUT_ONE_FILE == set()


def test_no_file_names_a_place_on_one_machine():
    found = []
    for path in files():
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in MACHINE_PATH.finditer(text)]
    assert found == []


BAD = [
    (imports_go_one_way, "pipeline/a.py", "from actors.merger import Merger"),
    (imports_go_one_way, "pipeline/a.py", "import rich.live"),
    (imports_go_one_way, "actors/a.py", "import orderwire"),
    (zmq_is_in_one_file, "pipeline/host.py", "import zmq.asyncio"),
    (zmq_is_in_one_file, "actors/a.py", "def f():\n    from zmq import Context"),
    (time_and_chance_come_as_arguments, "pipeline/codec.py", "import time"),
    (time_and_chance_come_as_arguments, "actors/merger.py", "from asyncio import sleep"),
    (time_and_chance_come_as_arguments, "actors/merger.py", "x = datetime.datetime.now()"),
    (time_and_chance_come_as_arguments, "actors/merger.py", "x = random.random()"),
    (time_and_chance_come_as_arguments, "actors/merger.py", "from random import choice"),
    (time_and_chance_come_as_arguments, "actors/merger.py", "x = random.Random()"),
    (time_and_chance_come_as_arguments, "actors/merger.py", "x = os.urandom(8)"),
    (actors_touch_no_handle, "actors/executor.py", "import sqlite3"),
    (actors_touch_no_handle, "actors/exchange/book.py", "import socket"),
    (broad_excepts_stay_at_the_boundary, "pipeline/a.py", "try: x\nexcept Exception: pass"),
    (broad_excepts_stay_at_the_boundary, "tests/a.py", "try: x\nexcept (OSError, BaseException): pass"),
    (broad_excepts_stay_at_the_boundary, "pipeline/a.py", "try: x\nexcept: pass"),
    (nothing_runs_what_it_reads, "scripts/a.py", "import pickle"),
    (nothing_runs_what_it_reads, "pipeline/a.py", "s.recv_pyobj()"),
    (modules_are_named_for_what_they_hold, "pipeline/utils.py", ""),
    (modules_are_named_for_what_they_hold, "actors/core/book.py", ""),
    (files_functions_and_lines_are_short, "pipeline/a.py", "x = 1\n" * (CODE_LINES_LIMIT + 1)),
    (files_functions_and_lines_are_short, "pipeline/a.py", "def f():\n" + "    x\n" * FUNCTION_LINES_LIMIT),
    (files_functions_and_lines_are_short, "pipeline/a.py", "x = '" + "x" * LINE_LIMIT + "'"),
    (modules_say_what_they_are_for, "pipeline/a.py", "x = 1"),
    (modules_say_what_they_are_for, "tests/a.py", '"""' + "x\n" * 11 + '"""'),
    (no_test_sleeps, "tests/test_a.py", "await asyncio.sleep(0.1)"),
    (every_test_can_fail, "tests/test_a.py", "def test_a():\n    run()"),
]
GOOD = [
    ("pipeline/sockets.py", '"""Sockets."""\nimport zmq'),
    ("pipeline/engine.py", '"""The engine."""\nimport asyncio'),
    ("pipeline/lane.py", '"""Calls."""\ntry: x\nexcept Exception: pass'),
    (
        "actors/merger.py",
        '"""The feed."""\nimport random\nfrom pipeline.codec import x\ny = random.Random(seed)',
    ),
    ("pipeline/a.py", '"""A."""\ntry: x\nexcept BaseException:\n    undo()\n    raise'),
    ("actors/clients/kraken.py", '"""Kraken."""\nimport socket\nimport time'),
    ("pipeline/__init__.py", ""),
    ("tests/test_a.py", "async def test_a():\n    await asyncio.sleep(0)\n    expect_answer(x)"),
]


@pytest.mark.parametrize(("rule", "path", "text"), BAD)
def test_a_rule_finds_what_it_is_for(rule, path, text):
    assert list(rule(Source(path, text)))


@pytest.mark.parametrize(("path", "text"), GOOD)
def test_good_sources_pass_every_rule(path, text):
    assert [complaint for rule in RULES for complaint in rule(Source(path, text))] == []


def test_every_rule_has_a_bad_source_that_it_finds():
    assert {rule for rule, _, _ in BAD} == set(RULES)


def test_a_path_of_a_machine_is_recognised():
    assert MACHINE_PATH.search("see /" + "home/someone/notes")
    assert not MACHINE_PATH.search("GET /feed/home; run_dir/state")
