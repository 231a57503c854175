import errno
import io
import sys

from pipeline.report import tell, to_stderr


def test_an_error_is_one_line_whatever_its_text(monkeypatch):
    monkeypatch.delenv("ORDERWIRE_DEBUG", raising=False)
    said = []
    tell(said.append, "router failed", ValueError("one\ntwo\r\nthree"))
    assert said == ["router failed: ValueError: one two three"]


class Full(io.StringIO):
    """The stderr of a disk without space."""

    def write(self, text):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_or_closed_stderr_is_nobodys_problem(monkeypatch, capsys):
    to_stderr("well")
    assert capsys.readouterr().err == "orderwire: well\n"
    closed = io.StringIO()
    closed.close()
    for broken in (Full(), closed):
        monkeypatch.setattr(sys, "stderr", broken)
        to_stderr("lost")
