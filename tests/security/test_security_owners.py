"""Who may do what: one user's run is nobody else's to read or to command, and what others could have written is not obeyed."""

from __future__ import annotations

import os
import shutil

import pytest
import synthetic
from second_user import NOBODY, as_nobody, needs_root

from tuimon.control import spool
from tuimon.control.commands import Command, Who, encode
from tuimon.control.spool import Inbox, Rejected, barred, submit
from tuimon.record.events import EventReader
from tuimon.record.rundir import create_run, list_runs
from tuimon.viewer.reading import Reading

STOP = Command("a1", "stop", issued=1000.0, who=Who("ada", 0, "desk", 7, "viewer"))


def _run(root):
    run = create_run("x", root / "runs")
    spool.prepare(run.commands)
    return run


def _inbox(run):
    return Inbox(run.commands, 1, clock=lambda: 1000.0)


@needs_root
def test_another_user_can_neither_find_nor_read_nor_command_a_run(shared):
    run = _run(shared)
    run.console.write_text("secret")
    EventReader(run.events)
    for forbidden in (lambda: os.listdir(shared / "runs"), lambda: os.listdir(run.path), run.console.read_text,
                      lambda: submit(run.commands, STOP), lambda: (run.commands / "new" / "x").write_bytes(encode(STOP))):
        with pytest.raises(PermissionError):
            as_nobody(forbidden)
    assert as_nobody(lambda: list_runs(shared / "runs")) == []
    assert _inbox(run).poll() == []


@needs_root
def test_a_run_that_is_shared_on_purpose_can_be_looked_at_and_not_commanded(shared):
    run = synthetic.healthy(root=shared / "runs").dir
    os.chmod(shared / "runs", 0o755)
    for folder, _, files in os.walk(run.path):
        os.chmod(folder, 0o755)
        for name in files:
            os.chmod(os.path.join(folder, name), 0o644)

    def look():
        reading = Reading(run)
        frame = reading.poll(2_000.0, 10.0)
        reading.ask("stop", {}, 2_000.0, Who(), "")
        reading.poll(2_000.0, 10.5)
        return frame.header.step, frame.barred, [r.why for r in reading._asked.values()]

    as_root = Reading(run).poll(2_000.0, 10.0)   # loads what is needed, and shows that its owner may
    step, why, refused = as_nobody(look)
    assert step == as_root.header.step > 0
    assert as_root.barred == ""
    assert why == "the run directory belongs to user 0"
    assert refused == ["it could not be handed over: the run directory belongs to user 0"]
    assert os.listdir(run.commands / "new") == []


@pytest.mark.parametrize("where", ["", "commands", "commands/new"])
def test_where_others_can_write_nothing_is_put_and_nothing_is_obeyed_until_they_cannot(tmp_path, where):
    run = _run(tmp_path)
    inbox = _inbox(run)
    submit(run.commands, STOP)
    os.chmod(run.path / where, 0o777)
    (said,) = inbox.poll()
    assert isinstance(said, Rejected)
    assert "can be written to by others (mode 0777" in said.why
    assert inbox.poll() == []   # once
    with pytest.raises(OSError, match="by others"):
        submit(run.commands, STOP)
    assert "by others" in barred(run.commands)
    os.chmod(run.path / where, 0o700)
    assert [c.id for c in inbox.poll()] == ["a1"]
    assert barred(run.commands) == ""


def test_a_panel_notices_within_a_second_that_others_can_write_and_that_they_no_longer_can(tmp_path):
    run = synthetic.healthy(root=tmp_path, steps=20).dir
    reading, said = Reading(run), []
    for second, mode in enumerate((0o700, 0o777, 0o700)):
        os.chmod(run.commands, mode)
        said.append(reading.poll(2_000.0, 10.0 + second).barred)
    assert ["by others" in why for why in said] == [False, True, False]


@needs_root
@pytest.mark.parametrize("where", ["", "commands", "commands/new"])
def test_a_directory_of_another_user_is_neither_commanded_into_nor_obeyed(shared, where):
    run = _run(shared)
    os.chmod(shared / "runs", 0o711)
    submit(run.commands, STOP)
    for folder in (run.path, run.commands, run.commands / "new", run.commands / "tmp"):
        os.chown(folder, NOBODY, NOBODY)
    os.chown(run.path / where, 4711, 4711)
    os.chmod(run.path / where, 0o755)

    def both():
        heard = _inbox(run).poll()
        return [type(one).__name__ for one in heard], barred(run.commands)

    kinds, why = as_nobody(both)
    assert kinds == ["Rejected"]
    assert "belongs to user 4711" in why


@needs_root
def test_root_commands_a_run_of_a_user_and_the_audit_says_so(shared):
    os.chmod(shared, 0o777)
    run = as_nobody(lambda: _run(shared))
    submit(run.commands, STOP)
    (heard,) = as_nobody(lambda: _inbox(run).poll())
    assert heard.verb == "stop"
    assert heard.who.uid == 0


@needs_root
def test_a_user_is_named_by_the_file_that_they_wrote_not_by_what_it_says(shared):
    os.chmod(shared, 0o777)
    run = as_nobody(lambda: _run(shared))
    (heard,) = as_nobody(lambda: (submit(run.commands, STOP), _inbox(run).poll())[1])
    assert (STOP.who.uid, heard.who.uid) == (0, NOBODY)


@pytest.mark.parametrize("origin", ["guard", "script"])
def test_a_file_does_not_pass_for_an_order_from_within_the_process(tmp_path, origin):
    """The guard's orders run even where commands are switched off."""
    run = _run(tmp_path)
    submit(run.commands, Command("a1", "stop", issued=1000.0, who=Who(origin=origin)))
    (heard,) = _inbox(run).poll()
    assert heard.who.origin == ""


def test_a_file_that_others_can_change_is_not_obeyed(tmp_path):
    run = _run(tmp_path)
    submit(run.commands, STOP)
    (name,) = os.listdir(run.commands / "new")
    os.chmod(run.commands / "new" / name, 0o666)
    (heard,) = _inbox(run).poll()
    assert isinstance(heard, Rejected)
    assert "by others" in heard.why


@pytest.mark.parametrize("link", ["commands", "commands/new", "commands/tmp"])
def test_a_link_in_the_place_of_the_spool_leads_nowhere(tmp_path, link):
    run, elsewhere = _run(tmp_path), tmp_path / "elsewhere"
    for folder in (elsewhere, elsewhere / "new", elsewhere / "tmp"):
        folder.mkdir(mode=0o700)
    (elsewhere / "x.json").write_bytes(encode(STOP))
    (elsewhere / "new" / "x.json").write_bytes(encode(STOP))
    shutil.rmtree(run.path / link)
    (run.path / link).symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"Not a directory|Too many"):
        submit(run.commands, Command("b2", "stop", issued=1000.0))
    if link != "commands/tmp":
        assert _inbox(run).poll() == []
    assert sorted(str(p.relative_to(elsewhere)) for p in elsewhere.rglob("*")) == ["new", "new/x.json", "tmp", "x.json"]
