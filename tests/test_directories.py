import gc
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.deployment import ConfigError, Deployment
from pipeline.directories import Lock, file_system, make_way, prepare, private

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:30 / /run rw,nosuid - tmpfs tmpfs rw
31 30 0:31 / /run/with\\040space rw - nfs4 server:/x rw
32 22 0:32 / /runaway rw - xfs /dev/sdb rw
33 22 0:33 / /over rw - ext4 /dev/sdc rw
34 22 0:34 / /over rw - tmpfs tmpfs rw
"""


def deployment(folder: Path, **more: object) -> Deployment:
    return Deployment(
        path=folder / "orderwire.toml",
        name="test",
        run_dir=folder / "run",
        state_dir=folder / "state",
        exchanges=(),
        processes={},
        **more,  # type: ignore[arg-type]
    )


def test_a_directory_is_made_private_and_found_fit_again(tmp_path):
    path = tmp_path / "deep" / "run"
    private(path, "run_dir")
    private(path, "run_dir")
    assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_directory_that_others_may_write_in_is_refused(tmp_path, mode):
    path = tmp_path / "run"
    path.mkdir()
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others may write"):
        private(path, "orderwire.toml: run_dir")


def test_a_symbolic_link_is_refused_even_to_a_private_directory(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigError, match="symbolic link"):
        private(tmp_path / "run", "run_dir")


def test_a_file_where_the_directory_should_be_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="cannot be used"):
        private(tmp_path / "run", "run_dir")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_directory_of_another_user_is_refused(tmp_path):
    path = tmp_path / "run"
    path.mkdir(mode=0o700)
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        private(path, "run_dir")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/state", "ext4"),
        ("/run/user/state", "tmpfs"),
        ("/run", "tmpfs"),
        ("/run/with space/state", "nfs4"),
        ("/runaway/state", "xfs"),
        ("/over/state", "tmpfs"),
    ],
)
def test_the_innermost_and_latest_mount_tells_the_file_system(path, kind):
    assert file_system(Path(path), MOUNTS) == kind


@pytest.mark.parametrize(
    ("kind", "durability", "fit"),
    [("tmpfs", "process", False), ("nfs4", "power", False), ("tmpfs", "none", True), ("ext4", "power", True)],
)
def test_a_forgetful_or_remote_state_dir_needs_durability_none(tmp_path, monkeypatch, kind, durability, fit):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 8:1 / / rw - {kind} device rw\n")
    monkeypatch.setattr("pipeline.directories.MOUNTS", mounts)
    if fit:
        prepare(deployment(tmp_path, durability=durability))
    else:
        with pytest.raises(ConfigError, match=rf"state_dir.*{kind}.*durability"):
            prepare(deployment(tmp_path, durability=durability))


def test_a_second_lock_is_refused_and_names_the_holder(tmp_path):
    here = deployment(tmp_path)
    prepare(here)
    lock = Lock(here, "executor.x")
    with pytest.raises(ConfigError, match=rf"executor\.x is already running as pid {os.getpid()}"):
        Lock(here, "executor.x")
    Lock(here, "executor.y").release()
    lock.release()
    Lock(here, "executor.x").release()


def test_a_released_lock_leaves_no_file_and_no_descriptor(tmp_path):
    here = deployment(tmp_path)
    prepare(here)
    gc.collect()
    before = set(os.listdir("/proc/self/fd"))
    lock = Lock(here, "router")
    lock.release()
    lock.release()
    assert list(here.run_dir.iterdir()) == []
    assert set(os.listdir("/proc/self/fd")) <= before


def test_a_lock_file_left_by_a_killed_process_is_no_obstacle(tmp_path):
    here = deployment(tmp_path)
    prepare(here)
    (here.run_dir / "router.lock").write_text("4194305\n")
    lock = Lock(here, "router")
    assert (here.run_dir / "router.lock").read_text() == f"{os.getpid()}\n"
    lock.release()


def test_a_lock_file_that_its_holder_removes_meanwhile_is_not_the_lock(tmp_path):
    class Racing(Lock):
        tries = 0

        def _open(self, deployment):
            descriptor = super()._open(deployment)
            self.tries += 1
            if self.tries == 1:  # the holder ends between our open and our lock
                self.path.unlink()
            return descriptor

    here = deployment(tmp_path)
    prepare(here)
    lock = Racing(here, "router")
    with pytest.raises(ConfigError, match="already running"):
        Lock(here, "router")
    lock.release()


def test_a_lock_that_is_a_symbolic_link_is_refused(tmp_path):
    here = deployment(tmp_path)
    prepare(here)
    (tmp_path / "precious").write_text("precious")
    (here.run_dir / "router.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(ConfigError, match="cannot be opened"):
        Lock(here, "router")
    assert (tmp_path / "precious").read_text() == "precious"


FORKING = """
import os, sys
from pathlib import Path
from pipeline.deployment import Deployment
from pipeline.directories import Lock, prepare
folder = Path(sys.argv[1])
here = Deployment(folder / "d.toml", "t", folder / "run", folder / "state", (), {}, testing=True)
prepare(here)
Lock(here, "router")
ready, going = os.pipe()
child = os.fork()
if child == 0:
    os.write(going, b"!")
    sys.stdin.read()  # until the test lets go
    os._exit(0)
os.read(ready, 1)
print(child, flush=True)
os._exit(0)  # the parent ends, the child lives on
"""


def test_a_forked_child_does_not_keep_its_parents_lock(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-c", FORKING, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
        text=True,
    )
    assert parent.stdin and parent.stdout
    child = int(parent.stdout.readline())
    parent.wait(timeout=20)
    try:
        os.kill(child, 0)  # it is there
        Lock(deployment(tmp_path), "router").release()
    finally:
        parent.stdin.close()
        parent.stdout.close()


def test_a_stale_socket_of_ours_is_cleared_away(tmp_path):
    path = tmp_path / "router.requests"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    make_way(path, tmp_path)
    assert not path.exists()
    make_way(path, tmp_path)


def test_what_is_no_socket_is_never_deleted(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("precious")
    link.symlink_to(file)
    for path in (file, link):
        with pytest.raises(ConfigError, match="no socket"):
            make_way(path, tmp_path)
    assert file.read_text() == "precious" and link.is_symlink()


def test_a_socket_outside_of_run_dir_is_never_deleted(tmp_path):
    path = tmp_path / "elsewhere"
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(path))
    with pytest.raises(ConfigError, match="outside"):
        make_way(path, tmp_path / "run")
    assert path.exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_socket_of_another_user_is_never_deleted(tmp_path):
    path = tmp_path / "router.requests"
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(path))
    os.chown(path, 12345, -1)
    with pytest.raises(ConfigError, match="user 12345"):
        make_way(path, tmp_path)
    assert path.exists()
