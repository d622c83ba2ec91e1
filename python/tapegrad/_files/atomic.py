"""write_atomically(): a file appears whole or not at all, also where the process is killed meanwhile."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

_PREFIX = ".tapegrad-save-"
_YOUNG = 60  # seconds: its owner may not have locked it yet


def write_atomically(path: str | os.PathLike, write: Callable[[Path], object]) -> None:
    """Calls `write` with the file's name in a temporary folder beside it, syncs what it wrote and moves it to `path`.

    The old file stays as it was until the new one is on disk. A process that is killed leaves its temporary folder
    behind (its name begins with ".tapegrad-save-"); a later call for a file of the same folder takes it away.
    The file's permissions are those that the umask gives. OSError that names `path` where it cannot be written.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a folder")
    _remove_left_behind(path.parent)
    try:
        with _temporary_folder(path.parent) as folder:
            temporary = folder / path.name
            write(temporary)
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.chmod(temporary, folder.stat().st_mode & 0o666)  # safetensors makes files that only their owner may read
            os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error


def _sync_folder(folder: Path) -> None:
    """Puts a rename on disk."""
    if os.name == "posix":
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


@contextmanager
def _temporary_folder(parent: Path):
    # A folder, since safetensors may write under a further name and rename, and would leave that file behind, too.
    folder = parent / (_PREFIX + secrets.token_hex(6))
    folder.mkdir()
    try:
        with _locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path):
    """Takes the folder's lock, which ends with its process however that ends; whether nobody else had it."""
    try:
        import fcntl

        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except (ImportError, OSError):  # no such locks here, or the folder is gone
        yield False
        return
    try:
        locked = False
        with suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locked = True
        yield locked
    finally:
        os.close(opened)


def _remove_left_behind(folder: Path) -> None:
    for stale in folder.glob(_PREFIX + "*"):
        with suppress(OSError), _locked(stale) as locked:
            if locked and time.time() - stale.stat().st_mtime > _YOUNG:
                shutil.rmtree(stale, ignore_errors=True)
