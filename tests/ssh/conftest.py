"""A far machine behind a real sshd, one for all tests of a worker and as new for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sshd import MISSING, FarMachine, NoSshd


@pytest.fixture(scope="session")
def far_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarMachine]:
    """Up until the end."""
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)}")
    machine = FarMachine(tmp_path_factory.mktemp("far"))
    try:
        machine.start()
    except NoSshd as why:
        pytest.skip(str(why))
    yield machine
    machine.stop()


@pytest.fixture
def far(far_machine: FarMachine) -> Iterator[FarMachine]:
    """Without runs, processes and anything that happened to its links."""
    yield far_machine
    far_machine.restore()
