"""The N-th file operation fails, for every N, once, a few times and for ever: nothing is raised, nothing is untrue."""

from __future__ import annotations

import errno
import os

import pytest

from tuimon.record.chunk import Mark
from tuimon.record.files import write_atomically
from tuimon.record.rundir import RunDir
from tuimon.record.segments import LogWriter, Row
from tuimon.torture.disks import sweep_log
from tuimon.torture.faulty import FOR_EVER, FaultyOS


class Place:
    """Where a sweep makes its runs."""

    def __init__(self, root):
        self.root, self.count = root, 0

    def fresh(self):
        self.count += 1
        return RunDir(self.root / f"run-{self.count}")


@pytest.mark.parametrize(("last", "short"), [
    (1, False), (5, True),
    *(pytest.param(last, short, marks=pytest.mark.nightly) for last in (1, 2, 3, 8, FOR_EVER) for short in (False, True)),
])
def test_log_and_events_are_a_true_beginning_whichever_operation_fails(tmp_path, last, short):
    assert sweep_log(Place(tmp_path), last, errno.ENOSPC, short=short) > 25


def test_what_was_half_written_and_could_not_be_cut_off_is_gone_before_anything_else_is_written(tmp_path):
    files = FaultyOS(short=True)
    writer = LogWriter(tmp_path, attempt=1, from_step=0, tensors=2, files=files)
    stretch = [Row(1, 1.0, {"loss": 1.0}), Mark(1, "note", {}), *(Row(s, 1.0, {"loss": 1.0}) for s in range(2, 40))]
    files.failing = range(files.calls + 1, files.calls + 3)
    for _ in range(2):  # the write, half of which is there; then the cut
        with pytest.raises(OSError, match="No space"):
            writer.append(stretch)
    files.short = False
    writer.append(stretch[1:2])
    assert os.path.getsize(tmp_path / "r0-000.tlog") == writer._offset
    writer.close()


@pytest.mark.parametrize("last", [1, 2, FOR_EVER])
@pytest.mark.parametrize("short", [False, True])
def test_a_file_that_is_replaced_is_the_old_or_the_new_one(tmp_path, last, short):
    path, first, files = str(tmp_path / "run.json"), 0, FaultyOS()
    while files.calls >= first:
        first += 1
        write_atomically(path, b"old" * 100)
        files = FaultyOS(range(first, first + last), short=short, durable=False)
        try:
            write_atomically(path, b"new" * 100, files)
            expected = b"new" * 100
        except OSError:
            expected = b"old" * 100
        with open(path, "rb") as file:
            assert file.read() == expected
        assert os.listdir(tmp_path) == ["run.json"]
    assert first > 4
