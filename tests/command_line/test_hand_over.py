import json

from actors.command_line.hand_over import heard, report, told
from pipeline.actor import HandOver

CLEAR = {"executor.alpha": HandOver(3, 2, 0), "executor.beta": HandOver(0, 0, 0)}


def test_what_a_child_tells_its_supervisor_hears():
    assert heard(told(CLEAR, "asked by ann")) == (CLEAR, "asked by ann")
    for line in ("orderwire: front ready", told({}, "")[:-1], told({}, "").replace("left", "lost")):
        assert heard(line) is None


def test_it_is_done_only_when_nothing_is_unknown_and_everyone_said_what_it_left(capsys):
    assert report(CLEAR, CLEAR, as_json=False) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "orderwire: executor.alpha: 3 settled, 2 left open, 0 unknown"
    assert said.err == ""
    assert report(CLEAR, CLEAR | {"executor.beta": HandOver(1, 0, 1)}, as_json=False) == 1
    assert capsys.readouterr().err.count("executor.beta") == 1
    assert report([*CLEAR, "executor.gamma"], CLEAR, as_json=False) == 1
    assert capsys.readouterr().err.count("executor.gamma") == 1


def test_json_is_one_line(capsys):
    report([*CLEAR, "executor.gamma"], CLEAR, as_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    said = json.loads(line)
    assert said["executors"][0] == {"exchange": "alpha", "settled": 3, "left_open": 2, "unknown": 0}
    assert said["missing"] == ["gamma"]
