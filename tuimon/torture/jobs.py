"""What children of the nursery can be asked to do: each raises where something does not hold. Knows torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tuimon.errors import AttachError, CheckpointError
from tuimon.instrument.checkpoints import Checkpoints
from tuimon.instrument.host import capture_copy
from tuimon.instrument.state import TrainingState
from tuimon.record.rundir import RunDir
from tuimon.torture.faulty import FOR_EVER, FaultyOS
from tuimon.torture.ledger import Ledger
from tuimon.torture.odd import many_tensors, odd_parameters, odd_values, raising
from tuimon.torture.training import batch, pair, train, update

Job = Callable[[Mapping[str, Any], Ledger], None]


def verify(job: Mapping[str, Any], ledger: Ledger) -> None:
    """Every checkpoint of a run is whole; `counted` says how many there are."""
    store = Checkpoints(RunDir(Path(job["run"])).checkpoints)
    for name in store.ids():
        store.verify(name)
        store.load(name)
        ledger.count()


def sweep_checkpoints(job: Mapping[str, Any], ledger: Ledger) -> None:
    """Operation `first` of saving fails, then that one `stride` on, ... until a save goes through; once and for ever.

    The one before stays, nothing is left lying about, and the reason is one line. `counted`: how often it failed.
    """
    model, optimizer = pair()
    update(model, optimizer, batch(1))
    state = TrainingState(model, [optimizer])
    where = Path(job["run"])
    before = Checkpoints(where).save(capture_copy(state, 1)).id
    for last in (1, FOR_EVER):
        first = job["first"] - job["stride"]
        while True:
            first += job["stride"]
            store = Checkpoints(where, files=FaultyOS(
                range(first, first + last), job["error"], short=job["short"], durable=False), keep=1000)
            try:
                store.save(capture_copy(state, 2))
            except CheckpointError as error:
                _one_line(error)
                ledger.count()
            else:
                break
            finally:
                honest = Checkpoints(where)
                assert before in honest.ids(), "the checkpoint before is gone"
                for name in honest.ids():
                    honest.verify(name)
                left = [entry.name for entry in where.iterdir() if entry.name not in honest.ids()]
                assert not left, f"left behind by operation {first}: {left}"
        assert ledger.counted, "nothing goes through the seam"


def second(job: Mapping[str, Any], ledger: Ledger) -> None:
    """Take the directory of another training that lives: refused, in one line."""
    try:
        train(job, ledger)
    except AttachError as error:
        _one_line(error, "is being written by")
    else:
        raise AssertionError("two trainings write to one directory")


def contend(job: Mapping[str, Any], ledger: Ledger) -> None:
    """The same where it may be the first: `counted` says that it was refused."""
    try:
        train(job, ledger)
    except AttachError:
        ledger.count()


def _one_line(error: Exception, said: str = "") -> None:
    assert "\n" not in str(error), error
    assert said in str(error), error


JOBS: Final[dict[str, Job]] = {
    "train": train, "verify": verify, "sweep-checkpoints": sweep_checkpoints, "odd-values": odd_values,
    "odd-parameters": odd_parameters, "many-tensors": many_tensors, "raising": raising, "second": second,
    "contend": contend,
}
