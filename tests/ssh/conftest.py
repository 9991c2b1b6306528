"""A far machine behind a real sshd, one for all tests of a worker and as new for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sshd import FarMachine, far_machine


@pytest.fixture(scope="session")
def _machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarMachine]:
    with far_machine(tmp_path_factory.mktemp("far")) as machine:
        yield machine


@pytest.fixture
def far(_machine: FarMachine) -> Iterator[FarMachine]:
    """Without runs, processes and anything that happened to its links."""
    yield _machine
    _machine.restore()
