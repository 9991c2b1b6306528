"""Names and notes of a person, and deleting: what is written is safe, and only what may be deleted is."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.errors import UsageError
from tuimon.record.events import EventWriter
from tuimon.record.label import FILE, LONGEST_NAME, LONGEST_NOTE, Label, one_line, read_label, write_label
from tuimon.record.liveness import ProcessIdentity, boot_id, identity
from tuimon.record.removal import READ_ONLY, refusal, remove
from tuimon.record.rundir import RunDir, RunInfo, create_run

GONE = ProcessIdentity(2**22 - 3, 1.0, boot_id(), os.uname().nodename)


def a_run(root: Path, *, alive=False) -> RunDir:
    run = create_run("one", root)
    run.write_info(RunInfo("one", identity() if alive else GONE, started=1.0))
    events = EventWriter(run.events, 1)
    events.append("attempt", 0, 0.0, {})
    events.append("state", 0, 0.0, {"state": "running"})
    events.close()
    return run


def test_a_label_comes_back_and_is_for_its_owner_only(tmp_path):
    run = a_run(tmp_path)
    assert read_label(run) == Label()
    old = os.umask(0)
    try:
        write_label(run, Label("lr 3e-3, second try", "diverged"))
    finally:
        os.umask(old)
    assert read_label(run) == Label("lr 3e-3, second try", "diverged")
    assert stat.S_IMODE((run.path / FILE).stat().st_mode) == 0o600
    assert {p.name for p in run.path.iterdir()} >= {FILE}
    assert not list(run.path.glob("*.tmp*"))


@given(st.text(max_size=2000), st.integers(1, 100))
def test_a_line_has_no_breaks_no_controls_and_an_end(text, limit):
    line = one_line(text, limit)
    assert len(line) <= limit
    assert line == one_line(line, limit)
    assert all(c == " " or (c.isprintable() and not c.isspace()) for c in line)


def test_what_was_written_is_what_is_read_back(tmp_path):
    run = a_run(tmp_path)
    kept = write_label(run, Label("a\x1b[31mred\n" + "x" * 500, "n\u202e\x07" * 2000))
    assert read_label(run) == kept
    assert len(kept.name) <= LONGEST_NAME
    assert len(kept.note) <= LONGEST_NOTE
    assert "\x1b" not in kept.name + kept.note
    assert "\u202e" not in kept.note


@pytest.mark.parametrize("body", ["", "{", "[]", "7", json.dumps({"name": 3, "note": None}), "[" * 10_000, "x" * 100_000])
def test_a_foreign_label_is_none(tmp_path, body):
    run = a_run(tmp_path)
    (run.path / FILE).write_text(body)
    assert read_label(run) == Label()


def test_a_link_in_the_place_of_the_label_is_neither_read_nor_written_through(tmp_path):
    run, other = a_run(tmp_path / "root"), tmp_path / "precious"
    other.write_text(json.dumps({"name": "stolen"}))
    (run.path / FILE).symlink_to(other)
    assert read_label(run) == Label()
    write_label(run, Label("mine"))
    assert json.loads(other.read_text()) == {"name": "stolen"}
    assert read_label(run) == Label("mine")


def test_a_dead_run_is_deleted_and_nothing_that_it_points_to(tmp_path):
    root = tmp_path / "root"
    run, kept = a_run(root), a_run(root)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    (run.checkpoints / "link").symlink_to(precious)
    (run.path / "file").symlink_to(precious / "file")
    remove(run, root, {})
    assert not run.path.exists()
    assert kept.path.exists()
    assert (precious / "file").read_text() == "x"


def test_what_may_not_be_deleted_is_refused_with_its_reason(tmp_path):
    root = tmp_path / "root"
    live = a_run(root, alive=True)
    outside = a_run(tmp_path / "elsewhere")
    folder = root / "no-run"
    folder.mkdir()
    link = root / "link"
    link.symlink_to(outside.path)
    hollow = create_run("hollow", root)
    hollow.metrics.rmdir()
    hollow.metrics.symlink_to(outside.metrics)
    cases = [
        (live, {}, "it is alive (running)"), (outside, {}, "not directly under the root"), (RunDir(folder), {}, "it has no metrics"),
        (RunDir(link), {}, "a link"), (hollow, {}, "its metrics are elsewhere"), (RunDir(root / ".." / "root" / live.name), {}, "not directly under"),
        (RunDir(root), {}, "not directly under"), (RunDir(root / "gone"), {}, "gone already"), (a_run(root), {READ_ONLY: "1"}, "read-only"),
    ]
    for run, env, says in cases:
        assert says in refusal(run, root, env), run
        with pytest.raises(UsageError, match="not deleted"):
            remove(run, root, env)
    assert live.path.exists()
    assert (outside.metrics).exists()
    assert folder.exists()
    assert link.is_symlink()
    assert hollow.path.exists()


def test_a_run_that_cannot_be_read_is_deleted_only_when_nothing_writes_into_it(tmp_path):
    run = a_run(tmp_path)
    run.run_json.write_text('{"schema": 99}')
    assert "a moment ago" in refusal(run, tmp_path, {})
    for path in (run.events, run.metrics):
        os.utime(path, (1e9, 1e9))
    remove(run, tmp_path, {})
    assert not run.path.exists()


@pytest.mark.parametrize(("value", "reads_only"), [("1", True), ("yes", True), ("0", False), ("", False)])
def test_read_only_is_said_by_the_environment(tmp_path, value, reads_only):
    run = a_run(tmp_path)
    assert bool(refusal(run, tmp_path, {READ_ONLY: value})) == reads_only
