"""What the README says to type works: the scripts are there, the commands parse, the strategy trades."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from actors.command_line.commands import orderwire
from tests.command_line.commands import Running, deployment, environment

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
LINES = [line.partition("#")[0].strip() for kind, block in BLOCKS if not kind for line in block.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("orderwire ")]
STRATEGIES = [block for kind, block in BLOCKS if kind == "python"]


def run(folder: Path, source: str) -> list[str]:
    """What a program prints, run as its writer would run it."""
    program = folder / "strategy.py"
    program.write_text(source)
    done = subprocess.run(
        [sys.executable, program], env=environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_there_is_something_to_type():
    assert len(COMMANDS) >= 8 and len(STRATEGIES) >= 2


@pytest.mark.parametrize("script", ["scripts/demo", "scripts/test", "scripts/bench"])
def test_the_scripts_it_names_are_there_to_be_run(script):
    assert script in README
    assert (ROOT / script).stat().st_mode & 0o111


@pytest.mark.parametrize("line", COMMANDS)
def test_its_commands_are_understood(line):
    name, *arguments = shlex.split(line)[1:]
    command = orderwire.commands[name]
    # Raises click.UsageError for an argument or option that the command does not have.
    context = command.make_context(name, arguments)
    assert isinstance(context, click.Context)
    config = context.params.get("config")
    assert config is None or str(config) == "CONFIG" or (ROOT / str(config)).exists()


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
def test_its_links_lead_somewhere(link):
    assert (ROOT / link).exists()


def test_its_strategy_trades_on_the_split_layout(tmp_path):
    path = deployment(tmp_path, "split")
    running = Running("run", path)
    try:
        running.wait_for("split ready")
        said = run(tmp_path, STRATEGIES[0].replace("config/split.toml", str(path)))
    finally:
        running.stop()
    assert said[0].split()[1:] == ["Open", "0"]
    assert said[-1].split()[1] == "Cancelled"


def test_its_colocated_layout_runs(tmp_path):
    path = deployment(tmp_path, "colocated")
    body = STRATEGIES[1].replace("config/colocated.toml", str(path))
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    source = "import asyncio\nfrom orderwire import Host, load\n\nasync def main():\n" + lines
    said = run(tmp_path, source + "\n        print(engine.balances != {})\n\nasyncio.run(main())\n")
    assert said == ["True"]
