"""The list of faults, each done a few times: the same functions that `tuimon torture` runs on a user's machine."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tuimon.torture import session
from tuimon.torture.bench import Broken, Skipped
from tuimon.torture.session import Result
from tuimon.torture.table import FAULTS, NAMES, Fault

QUICK = {
    "kill-training", "stop-training", "interrupt-training", "break-writer", "fill-disk", "remove-directory", "fail-operation",
    "fail-for-ever", "send-on-a-bad-disk", "hang-disk", "set-clock", "race-for-a-directory", "train-again", "fork-workers",
    "conflicting-commands", "junk-for-commands", "odd-values", "odd-parameters", "raising-script",
}
"""A second or less each; viewers, ten thousand tensors and slow disks are for the night."""


@pytest.mark.parametrize("fault", [
    pytest.param(fault, id=fault.name, marks=() if fault.name in QUICK else pytest.mark.nightly) for fault in FAULTS
])
def test_it_is_survived(bench, fault):
    try:
        assert fault.do(bench) >= 0
    except Skipped as why:
        pytest.skip(str(why))


def test_every_fault_has_a_name_of_its_own_and_says_what_is_done():
    assert len(NAMES) == len(FAULTS)
    assert all(fault.done and fault.holds for fault in FAULTS)


class NoBench:
    def tidy(self):
        pass


def test_every_fault_is_tried_once_and_then_again_while_there_is_time():
    def survived(_):
        return 2

    def broken(_):
        raise Broken("it\n broke")

    def skipped(_):
        raise Skipped("no such thing")

    def odd(_):
        return 1 // 0

    results = [Result(Fault(do, "")) for do in (survived, broken, skipped, odd)]
    now = iter(range(100))
    session.go_round(NoBench(), results, 8.0, lambda _: None, clock=lambda: next(now))
    assert [(r.tries > 1, r.survived, r.lost, r.broken[:1], r.skipped) for r in results] == [
        (True, results[0].tries, 2 * results[0].tries, [], ""), (True, 0, 0, ["it broke"], ""),
        (False, 0, 0, [], "no such thing"), (True, 0, 0, ["ZeroDivisionError: integer division or modulo by zero"], "")]


def tuimon(*arguments):
    return subprocess.run([sys.executable, "-m", "tuimon", "torture", *arguments], capture_output=True, text=True)


def test_the_command_prints_what_was_survived_and_leaves_nothing_behind(tmp_path):
    done = tuimon("--only", "every-operation", "--json", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert [(f["fault"], f["tries"], f["survived"], f["broken"]) for f in found["faults"]] == [("every-operation", 1, 1, [])]
    assert not done.stderr, "what its hundreds of victims say is not for whoever reads the table"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arguments", "said"), [
    (["--only", "nonsense"], "no fault is called"), (["--minutes", "nan"], "--minutes wants"), (["{}/nowhere"], "nothing can be made"),
])
def test_what_cannot_be_done_is_said_in_one_line(tmp_path, arguments, said):
    done = tuimon(*(a.format(tmp_path) for a in arguments))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr
