"""`orderwire check`: what it shows, and what it refuses before anything runs."""

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from actors.clients.instant import InstantClient
from actors.command_line import main, overview
from actors.command_line.overview import check_exchange
from pipeline.client import Capability
from pipeline.deployment import ConfigError
from pipeline.journal import SqliteJournal
from pipeline.topology import links
from tests.command_line.commands import deployment, one_complaint
from tests.deployment_text import paper


class OneSession(InstantClient):
    """A client whose venue gives it one session for everything."""

    capabilities: ClassVar[frozenset[Capability]] = InstantClient.capabilities | {Capability.SINGLE_SESSION}


def test_every_shipped_deployment_is_good(shipped: Path, tmp_path: Path, capsys):
    path = deployment(tmp_path, shipped.stem)
    assert main(["check", str(path)]) == 0
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "state").exists()
    assert "is good" in capsys.readouterr().out


def test_every_actor_link_and_endpoint_is_shown(tmp_path: Path, capsys):
    path = deployment(tmp_path)
    main(["check", str(path)])
    shown = capsys.readouterr().out
    for actor in ("router", "merger", "executor.kraken_spot", "reconnector.kraken_spot", "engine"):
        assert actor in shown
    assert f"ipc://{tmp_path}/run/merger.feed" in "".join(shown.split())


def test_a_single_session_client_must_have_executor_and_reconnector_together(monkeypatch):
    monkeypatch.setattr(overview, "client_class", lambda _: OneSession)
    together = paper()
    check_exchange(together, together.exchange("beta"))
    apart = paper(
        'desk = ["executor.*", "reconnector.*"]',
        'desk = ["executor.*", "reconnector.alpha"]\nstream = ["reconnector.beta"]',
    )
    with pytest.raises(ConfigError) as refused:
        check_exchange(apart, apart.exchange("beta"))
    assert "executor.beta is in desk and reconnector.beta in stream" in str(refused.value)


def test_a_bad_simulation_table_is_found_before_anything_runs(tmp_path: Path, capsys):
    path = deployment(tmp_path)
    path.write_text(path.read_text().replace('usdt = "2000000"', 'gold = "2"'))
    assert main(["check", str(path)]) == 2
    assert "gold" in one_complaint(capsys.readouterr().err)


def test_a_journal_begun_with_another_table_names_the_entry_that_moved(tmp_path: Path, capsys):
    path = deployment(tmp_path)
    (tmp_path / "state").mkdir(mode=0o700)
    journal = SqliteJournal(
        tmp_path / "state" / "merger.db",
        {"one": "key INTEGER PRIMARY KEY"},
        "process",
        ["exchange 0 other x"],
        1,
    )
    journal.close()
    assert main(["check", str(path)]) == 2
    assert "exchange 0 other x" in one_complaint(capsys.readouterr().err)


def test_a_damaged_journal_exits_1_and_is_named(tmp_path: Path, capsys):
    path = deployment(tmp_path)
    (tmp_path / "state").mkdir(mode=0o700)
    (tmp_path / "state" / "merger.db").write_bytes(b"no database" * 1_000)
    assert main(["check", str(path)]) == 1
    said = capsys.readouterr()
    assert "merger.db" in one_complaint(said.err)
    assert "damaged" in said.out


def test_a_journal_is_only_read(tmp_path: Path):
    path = tmp_path / "executor.alpha.db"
    SqliteJournal(path, {"one": "key INTEGER PRIMARY KEY"}, "process", (), 1).close()
    before = path.read_bytes()
    health = overview.journal_health(replace(paper(), state_dir=tmp_path), "executor.alpha")
    assert (health.present, health.damage, health.counts) == (True, "", {"one": 0})
    assert path.read_bytes() == before
    assert (
        sqlite3.connect(path).execute("SELECT value FROM meta WHERE key = 'ended'").fetchone()[0] == "cleanly"
    )


def test_links_of_the_engine_are_part_of_the_table():
    rows = list(overview._link_rows(paper()))
    assert len([row for row in rows if row[0] == "engine"]) == len(links(paper(), "engine"))
