"""Another user of the same machine, for tests that run as root: a forked child that has given its rights away."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as a second user")
T = TypeVar("T")


def as_nobody(work: Callable[[], T]) -> T:
    """What `work` returns when that user does it; what it raises is raised here. All it needs is imported before."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            answer = (True, work())
        except BaseException as error:
            answer = (False, error if isinstance(error, OSError) else RuntimeError(traceback.format_exc()))
        with open(tell, "wb") as pipe:
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(tell)
    with open(told, "rb") as pipe:
        has_worked, answer = pickle.load(pipe)
    os.waitpid(pid, 0)
    if has_worked:
        return answer
    raise answer


@pytest.fixture
def shared():
    """A folder that everybody can get to: pytest makes its own private again whenever another session begins."""
    folder = Path(tempfile.mkdtemp(prefix="tuimon-shared-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)
