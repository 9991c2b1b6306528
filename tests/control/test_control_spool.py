"""The spool: whole files or nothing, each once, whatever else lies in there."""

from __future__ import annotations

import os
import threading

import pytest

from tuimon.control import spool
from tuimon.control.commands import MAX_BYTES, Command, Who, encode
from tuimon.control.spool import BATCH, LISTED, Inbox, Rejected, prepare, submit


@pytest.fixture
def box(tmp_path):
    prepare(tmp_path / "commands")
    return tmp_path / "commands"


def _inbox(box, now=1000.0):
    return Inbox(box, 2, clock=lambda: now)


def _command(name="a1", **more):
    return Command(**{"id": name, "verb": "pause", "issued": 1000.0, "attempt": 2, "who": Who(uid=os.geteuid()), **more})


def _all(inbox):
    found = []
    while more := inbox.poll():
        found += more
    return found


def test_a_command_is_delivered_once_and_its_file_is_gone(box):
    submit(box, _command())
    inbox = _inbox(box)
    assert inbox.poll() == [_command()]
    assert inbox.poll() == []
    assert os.listdir(box / "new") == os.listdir(box / "tmp") == []


def test_commands_arrive_in_the_order_they_were_sent(box):
    sent = [_command(f"c{i}") for i in range(20)]
    for command in sent:
        submit(box, command)
    assert _all(_inbox(box)) == sent


def test_a_file_that_is_still_being_written_is_invisible(box):
    (box / "tmp" / "half.json").write_bytes(encode(_command())[:20])
    assert _inbox(box).poll() == []
    assert (box / "tmp" / "half.json").exists()


def test_a_second_command_with_the_same_id_is_a_duplicate(box):
    inbox = _inbox(box)
    submit(box, _command())
    submit(box, _command(verb="stop"))
    assert inbox.poll() == [_command(), Rejected("a1", "duplicate")]
    submit(box, _command())
    assert inbox.poll() == [Rejected("a1", "duplicate")]


@pytest.mark.parametrize(("more", "word"), [
    ({"attempt": 1}, "attempt 1"), ({"issued": 100.0}, "expired"), ({"issued": 990.0, "ttl": 5.0}, "expired"),
])
def test_what_is_late_or_meant_for_another_attempt_is_refused_with_the_reason(box, more, word):
    submit(box, _command(**more))
    (rejected,) = _inbox(box).poll()
    assert isinstance(rejected, Rejected)
    assert rejected.id == "a1"
    assert word in rejected.why


def test_a_command_for_whichever_attempt_runs_is_obeyed(box):
    submit(box, _command(attempt=None))
    assert _inbox(box).poll() == [_command(attempt=None)]


def test_a_stop_for_whichever_attempt_runs_does_not_reach_the_one_after(box):
    submit(box, _command(verb="stop", attempt=None, issued=990.0))
    (rejected,) = Inbox(box, 2, clock=lambda: 1000.0, since=995.0).poll()
    assert isinstance(rejected, Rejected)
    assert rejected.why == "asked 5 s before this attempt began"


def test_a_link_is_not_followed_and_its_target_stays(box, tmp_path):
    victim = tmp_path / "victim.json"
    victim.write_bytes(encode(_command()))
    (box / "new" / "link.json").symlink_to(victim)
    (rejected,) = _inbox(box).poll()
    assert isinstance(rejected, Rejected)
    assert "unreadable" in rejected.why
    assert victim.read_bytes() == encode(_command())
    assert not os.path.lexists(box / "new" / "link.json")


def test_pipes_directories_giants_and_rubbish_are_refused_once_and_hold_nothing_up(box):
    os.mkfifo(box / "new" / "0-pipe")
    (box / "new" / "0-folder").mkdir()
    (box / "new" / "0-giant").write_bytes(b" " * (MAX_BYTES * 4))
    (box / "new" / "0-rubbish\x1b[2J").write_bytes(b"\x00\xff")
    submit(box, _command())
    inbox = _inbox(box)
    found = inbox.poll()
    assert found[-1] == _command()
    assert [type(f) for f in found[:-1]] == [Rejected] * 4
    assert all(f.id.isprintable() for f in found[:-1])
    assert inbox.poll() == []
    assert os.listdir(box / "new") == ["0-folder"]


def test_folders_that_cannot_be_removed_do_not_starve_real_commands(box):
    for i in range(BATCH * 2):
        (box / "new" / f"0-{i:04d}").mkdir()
    submit(box, _command())
    assert _command() in _all(_inbox(box))


def test_a_flood_costs_each_poll_a_bounded_number_of_files_and_is_worked_off(box):
    for i in range(10_000):
        (box / "new" / f"{i:05d}").touch()
    inbox = _inbox(box)
    with spool._entered(box, "new") as new:
        looked_at = inbox._names(new)
    assert len(looked_at) == LISTED
    assert len(inbox.poll()) == BATCH
    assert len(os.listdir(box / "new")) == 10_000 - BATCH
    submit(box, _command())
    assert _command() in _all(inbox)


def test_what_is_remembered_is_bounded(box, monkeypatch):
    monkeypatch.setattr(spool, "REMEMBERED", 10)
    inbox = _inbox(box)
    for i in range(50):
        submit(box, _command(f"c{i}"))
        inbox.poll()
    assert len(inbox._seen) == 10


def test_a_missing_spool_is_silence(tmp_path):
    assert _inbox(tmp_path / "nowhere").poll() == []


def test_files_and_folders_are_private_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        prepare(tmp_path / "commands")
        submit(tmp_path / "commands", _command())
    finally:
        os.umask(before)
    (name,) = os.listdir(tmp_path / "commands" / "new")
    assert (tmp_path / "commands" / "new" / name).stat().st_mode & 0o777 == 0o600
    assert all((tmp_path / "commands" / d).stat().st_mode & 0o777 == 0o700 for d in ("", "tmp", "new"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_command_written_by_another_user_is_refused(box):
    submit(box, _command())
    (name,) = os.listdir(box / "new")
    os.chown(box / "new" / name, 12345, 12345)
    (rejected,) = _inbox(box).poll()
    assert isinstance(rejected, Rejected)
    assert "user 12345" in rejected.why


def test_several_senders_at_once_lose_nothing(box):
    def send(who):
        for i in range(25):
            submit(box, _command(f"{who}-{i}"))

    senders = [threading.Thread(target=send, args=(f"v{k}",)) for k in range(4)]
    for sender in senders:
        sender.start()
    inbox, found = _inbox(box), []
    while any(s.is_alive() for s in senders):
        found += inbox.poll()
    found += _all(inbox)
    assert sorted(c.id for c in found) == sorted(f"v{k}-{i}" for k in range(4) for i in range(25))
