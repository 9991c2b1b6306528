"""The small zoo, judged at every change: each fault is found with its right cause first, no healthy run is warned of.

Where we fall short stands in `known.py`, by name; a run that is listed there must fail, or be taken off the list.
"""

from __future__ import annotations

import pytest

from tests.zoo.cache import SMALL_DIR
from tests.zoo.judges import OURS
from tests.zoo.known import SMALL as KNOWN
from tests.zoo.recording import load
from tests.zoo.score import outcome
from tests.zoo.split import SMALL, SMALL_SEED

FILES = sorted(SMALL_DIR.glob("*.npz"))
ENOUGH = 1_500_000
"""Bytes that the repository bears."""


@pytest.mark.parametrize("path", [
    pytest.param(path, id=path.stem, marks=pytest.mark.xfail(reason=KNOWN[path.stem], strict=True) if path.stem in KNOWN else ())
    for path in FILES
])
def test_each_fault_is_found_with_its_cause_and_no_healthy_run_is_warned_of(path):
    recording = load(path)
    assert recording.name == path.stem
    found = outcome(recording, OURS.listen(recording), OURS)
    assert [f"{a.name} at {a.warned}" for a in found.false_warnings] == []
    if not found.healthy:
        assert found.found is not None
        assert found.right_first
        assert found.in_time in (True, None)


def test_the_small_zoo_is_whole_and_small():
    assert {path.stem for path in FILES} == {f"{kind}-{SMALL_SEED}" for kind in SMALL}
    assert sum(path.stat().st_size for path in FILES) <= ENOUGH
    assert set(KNOWN) <= {path.stem for path in FILES}
