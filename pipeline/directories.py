"""The private directories of a deployment, the locks in them, and the socket files that may be cleared away.

A directory is ours (owner, 0700 when we make it, no symlink, nobody else may write) or it is refused. An
actor runs only while it holds its lock, and what it leaves behind is cleared only under that lock. Locks are
`flock`: they fence on one host, on a local disk, and end with the process that holds them.
"""

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from pipeline.deployment import ConfigError, Deployment

# File systems that forget everything, and those where a lock of one host means nothing to another.
FORGETFUL: Final = frozenset({"tmpfs", "ramfs"})
REMOTE: Final = frozenset(
    [
        "afs",
        "ceph",
        "cifs",
        "fuse.ceph",
        "fuse.glusterfs",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "lustre",
        "nfs",
        "nfs4",
        "smb3",
        "smbfs",
    ]
)
MOUNTS: Final = Path("/proc/self/mountinfo")


def prepare(deployment: Deployment) -> None:
    """Make run_dir and state_dir, or find them fit. Raises ConfigError."""
    private(deployment.run_dir, f"{deployment.path}: run_dir")
    private(deployment.state_dir, f"{deployment.path}: state_dir")
    if deployment.durability != "none" and not deployment.testing:
        kind = file_system(deployment.state_dir, _mounts())
        if kind in FORGETFUL or kind in REMOTE:
            why = "forgets at a power cut" if kind in FORGETFUL else "cannot fence with locks"
            raise ConfigError(
                f"{deployment.path}: state_dir: {deployment.state_dir} is on {kind}, which {why}; "
                'choose a directory on a local disk, or durability = "none"'
            )


def private(path: Path, key: str) -> None:
    """Make the directory 0700 (its parents as usual), or check that it is ours. Raises ConfigError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        why = "is a symbolic link" if path.is_symlink() else f"cannot be used ({error.strerror})"
        raise ConfigError(f"{key}: {path} {why}; it must be a directory of our own") from None
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if found.st_uid != os.getuid():
        raise ConfigError(
            f"{key}: {path} belongs to user {found.st_uid}; it must be our own (user {os.getuid()})"
        )
    if found.st_mode & 0o022:
        mode = stat.S_IMODE(found.st_mode)
        raise ConfigError(f"{key}: others may write in {path} (mode {mode:04o}); make it 0700")


def file_system(path: Path, mounts: str) -> str:
    """The type of the file system that holds `path`, by the text of mountinfo (proc(5)), or ""."""
    real = os.path.realpath(path)
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        if not rest:
            continue
        point = (
            fields.split()[4].encode().decode("unicode_escape")
        )  # a space in a mount point is written \040
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:  # a later line of the same place lies on top
            best, kind = len(point), rest.split()[0]
    return kind


def _mounts() -> str:
    try:
        return MOUNTS.read_text()
    except OSError:
        return ""


class Lock:
    """An actor's right to run: one per name and run_dir, whatever starts twice."""

    def __init__(self, deployment: Deployment, actor: str) -> None:
        """Take the lock. Raises ConfigError that names the holder."""
        self.path = deployment.run_dir / f"{actor}.lock"
        while True:
            descriptor = self._open(deployment)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
                os.close(descriptor)
                raise ConfigError(
                    f"{deployment.path}: {actor} is already running as pid {holder}; "
                    "stop it first, or give this deployment its own run_dir"
                ) from None
            if self._is_at_path(descriptor):
                break
            os.close(descriptor)  # its last holder removed it between our open and our lock
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        _held.add(descriptor)

    def release(self) -> None:
        """Remove the file and let go; safe to repeat."""
        if self._descriptor < 0:
            return
        if self._is_at_path(self._descriptor):
            self.path.unlink()
        _held.discard(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = -1

    def _open(self, deployment: Deployment) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(
                f"{deployment.path}: run_dir: {self.path} cannot be opened ({error.strerror}); remove it"
            ) from None

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.lstat(self.path))
        except FileNotFoundError:
            return False


_held: set[int] = set()


def _forget_in_child() -> None:
    # A child that kept the descriptor would keep the lock after its parent's end.
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)


def make_way(path: Path, run_dir: Path) -> None:
    """Remove a socket file that an earlier run left; the caller holds its actor's lock.

    Raises ConfigError for anything that is not such a file: binding would delete it."""
    if path.parent != run_dir:
        raise ConfigError(f"{path}: a socket outside of run_dir {run_dir}")
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ConfigError(f"run_dir: {path} is in the way and is no socket; move it elsewhere")
    if found.st_uid != os.getuid():
        raise ConfigError(
            f"run_dir: {path} is in the way and belongs to user {found.st_uid}; have it removed"
        )
    os.unlink(path)
