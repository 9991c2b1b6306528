"""`tuimon checkpoints`: what is there, how healthy, why kept, whether it is whole; without torch unless asked."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tuimon.cli import main
from tuimon.record.events import EventWriter
from tuimon.record.liveness import ProcessIdentity, boot_id, identity
from tuimon.record.manifest import Manifest
from tuimon.record.rundir import RunDir, RunInfo, create_run
from tuimon.record.segments import LogWriter, Row


def a_run(name: str = "mine", *, live: bool = False, healthy: int | None = None) -> RunDir:
    run = create_run(name)
    process = identity() if live else ProcessIdentity(2**22 - 3, 1.0, boot_id(), "elsewhere")
    run.write_info(RunInfo(name, process, started=time.time() - 60))
    events = EventWriter(run.events, 1)
    events.append("attempt", 0, 0.0, {})
    events.append("state", 1, 0.0, {"state": "running"})
    if healthy is not None:
        events.append("snapshot-healthy", 80, 0.0, {"snapshot_step": healthy})
    if not live:
        events.append("end", 100, 0.0, {"state": "finished"})
    events.close()
    for attempt, begin in ((1, 0), (2, 30)):
        log = LogWriter(run.metrics, attempt=attempt, from_step=begin, tensors=0)
        log.append([Row(i, time.time(), {"loss": i / 10 * attempt if i != 40 else math.nan}) for i in range(begin + 1, 101)])
        log.close()
    return run


def shelve(run: RunDir, number: int, step: int, *marks: str, attempt: int = 1, raw: bytes = b"weights" * 1000) -> Path:
    name = f"{number:06d}-step-{step:09d}"
    folder = run.checkpoints / name
    folder.mkdir(0o700)
    manifest = Manifest(name, step, attempt, run.name, "2.13", time.time() - 7200, hashlib.sha256(raw).hexdigest(), len(raw))
    for file, data in (("state.pt", raw), ("manifest.json", manifest.encode()), *((mark, b"") for mark in marks)):
        (folder / file).write_bytes(data)
        os.chmod(folder / file, 0o600)
    return folder


def rows(out: str) -> dict[str, list[str]]:
    return {line.split()[0].split("-")[0]: line.split()[1:] for line in out.splitlines() if line[:3] == "000"}


def test_each_is_listed_with_health_loss_and_why_it_is_kept(capsys):
    run = a_run()
    for number, step, marks in ((1, 10, ["healthy"]), (2, 20, ["healthy", "returned-to"]), (3, 30, []), (4, 60, ["suspect"]), (5, 70, ["suspect"]), (6, 80, [])):
        shelve(run, number, step, *marks)
    assert main(["checkpoints", "mine"]) == 0
    out = capsys.readouterr().out
    found = rows(out)
    assert found["000001"] == ["10", "2", "h", "7.0", "kB", "1.00", "healthy", "not", "read", "next", "to", "go"]
    assert found["000002"][5:] == ["2.00", "healthy", "not", "read", "last", "healthy,", "gone", "back", "to"]
    assert found["000003"][6:] == ["pending", "not", "read", "next", "to", "go"]
    assert found["000005"][6:] == ["suspect", "not", "read", "newest", "3"]
    assert f"{run.name}: 6 checkpoints, 44 kB on disk" in out
    assert "tuimon.resume goes on from 000006-step-000000080, which is pending; the last healthy one: id='000002-step-000000020'." in out
    assert "rescue" not in out


def test_the_loss_is_that_of_the_attempt_that_wrote_it_and_may_be_none(capsys):
    run = a_run()
    shelve(run, 1, 50)
    shelve(run, 2, 50, attempt=2)
    shelve(run, 3, 40)
    shelve(run, 4, 900)
    assert main(["checkpoints", "mine", "--json"]) == 0
    body = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [one["loss"] for one in body["checkpoints"]] == [5.0, 10.0, "NaN", None]
    assert [one["verified"] for one in body["checkpoints"]] == [None] * 4
    assert (body["schema"], body["run"], body["resume_takes"], body["last_healthy"]) == (1, run.name, "000004-step-000000900", None)


def test_verify_reads_every_byte_and_a_damaged_one_is_status_3_with_one_line_why(capsys):
    run = a_run()
    kept = [shelve(run, n, 10 * n, "healthy") for n in (1, 2, 3)]
    assert main(["checkpoints", "mine", "--verify"]) == 0
    assert "✘" not in capsys.readouterr().out
    state = kept[2] / "state.pt"
    state.write_bytes(state.read_bytes()[:-1] + b"\x00")
    assert main(["checkpoints", "mine"]) == 0  # nobody looked
    capsys.readouterr()
    assert main(["checkpoints", "mine", "--verify"]) == 3
    out = capsys.readouterr().out
    assert rows(out)["000002"][7] == "✔"
    assert rows(out)["000003"][6:8] == ["damaged", "✘"]
    assert "✘ 000003-step-000000030: its state.pt is damaged: sha256 " in out
    assert "tuimon.resume goes on from 000002-step-000000020." in out
    assert main(["checkpoints", "mine", "--verify", "--json"]) == 3
    body = json.loads(capsys.readouterr().out)
    assert [one["verified"] for one in body["checkpoints"]] == [True, True, False]
    assert body["checkpoints"][2]["problem"].startswith("its state.pt is damaged")


@pytest.mark.parametrize("words", [[], ["--verify"]])
def test_on_a_terminal_of_80_columns_no_line_is_broken_and_what_was_asked_for_stays(capsys, monkeypatch, words):
    run = a_run()
    for number, step in ((1, 10), (2, 20), (3, 30)):
        shelve(run, number, step, *(["healthy", "returned-to"] if number == 3 else []))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["checkpoints", "mine", *words]) == 0
    table = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert max(map(len, table)) <= 80
    assert ("verified" in table[0]) == bool(words)
    assert table[3].endswith("newest 3, last healthy, gone back to")


EVIL = "\x1b]0;mine\x07\x1b[31m\u202ered"


def test_what_a_stranger_put_there_is_one_line_and_no_command_to_the_terminal(capsys, tmp_path):
    run = a_run()
    (tmp_path / "outside").mkdir()
    one = shelve(run, 1, 10)
    (one / "manifest.json").write_bytes(Manifest(one.name, 10, 1, EVIL, EVIL, 0.5, "ab" * 32, 7000, (EVIL,), {EVIL: EVIL}).encode())
    two = shelve(run, 2, 20)
    (two / "manifest.json").unlink()
    os.mkfifo(two / "manifest.json", 0o600)
    (run.checkpoints / "000003-step-000000030").symlink_to(tmp_path / "outside")
    four = shelve(run, 4, 40)
    os.chmod(four, 0o777)
    (run.checkpoints / "\x1b[31m").mkdir()
    (run.checkpoints / ".tmp-left-behind").mkdir()
    five = shelve(run, 5, 50)
    (five / "state.pt").write_bytes(b"short")
    assert main(["checkpoints", "mine", "--verify"]) == 3
    out = capsys.readouterr().out
    assert out.replace("\n", "").isprintable()
    assert "✘ 000001-step-000000010: its state.pt is damaged" in out
    assert "✘ 000002-step-000000020: its manifest.json is not a file" in out
    assert "✘ 000003-step-000000030: it is not a checkpoint directory" in out
    assert "✘ 000004-step-000000040: it is writable for others" in out
    assert "✘ 000005-step-000000050: its state.pt has 5 bytes instead of 7000" in out
    assert "5 checkpoints, " in out
    assert "1 unfinished save among it" in out
    assert "tuimon.resume finds none that it could go on from." in out
    assert rows(out)["000004"][1] == "refused"
    assert rows(out)["000002"][-4:] == ["nothing", "is", "removed", "unread"]


def test_a_live_run_says_what_a_rescue_would_go_back_to(capsys):
    run = a_run(live=True, healthy=40)
    assert main(["checkpoints", run.name]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == [
        f"{run.name}: no checkpoints, 0 B on disk", "c in a viewer writes one, and monitor.checkpoint() in the script.",
        "A rescue of the live run goes back to the snapshot of step 40, in memory."]


def test_torch_is_not_needed_to_list_and_verify():
    shelve(a_run(), 1, 10)
    code = "import sys; sys.modules['torch'] = None; from tuimon.cli import main; sys.exit(main(['checkpoints', '--verify']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 checkpoint, " in done.stdout


def test_load_does_what_resume_would_in_a_process_of_its_own(capsys):
    import io

    import torch

    run = a_run()
    plain = {"format": 1, "step": 10, "tensors": {"param/w": torch.ones(2)}, "plain": {}}
    for number, tensor in ((1, torch.ones(2)), (2, torch.tensor([1.0, math.nan]))):
        buffer = io.BytesIO()
        torch.save({**plain, "tensors": {"param/w": tensor}}, buffer)
        shelve(run, number, 10, raw=buffer.getvalue())
    shelve(run, 3, 10)
    assert main(["checkpoints", "mine", "--load"]) == 3
    out = capsys.readouterr().out
    assert rows(out)["000001"][7:9] == ["✔", "loaded"]
    assert "✘ 000002-step-000000010: param/w is not finite" in out
    assert "✘ 000003-step-000000010: refused, it is not as torch.save writes" in out
    assert "tuimon.resume goes on from 000001-step-000000010." in out


@pytest.mark.parametrize("name", ["nope", "~nobody-at-all/x", "/" + "x" * 5000, "/a\0b"])
def test_a_run_that_is_none_is_one_line_with_status_2(name, capsys):
    a_run()
    assert main(["checkpoints", name]) == 2
    said = capsys.readouterr().err
    assert said.startswith("tuimon: ")
    assert said.count("\n") == 1
