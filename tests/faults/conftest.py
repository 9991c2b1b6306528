"""One bench a worker: the nursery that has loaded torch is started once."""

from __future__ import annotations

import random

import pytest

from tuimon.torture.bench import Bench


@pytest.fixture(scope="session")
def _benches(tmp_path_factory):
    with Bench(tmp_path_factory.mktemp("torture"), chance=random.Random(7)) as bench:
        yield bench


@pytest.fixture
def bench(_benches):
    """A place for one fault."""
    yield _benches
    _benches.tidy()
