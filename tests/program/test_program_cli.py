"""The command line without a screen: one line for what cannot be done, and what `runs` says."""

from __future__ import annotations

import itertools
import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from tuimon.cli import _parser, main
from tuimon.launch.headless import Following
from tuimon.record.liveness import is_alive
from tuimon.record.rundir import Launch, create_run, list_runs


@pytest.mark.parametrize(("line", "says"), [
    (["demo", "exploding", "--lr", "abc"], "--lr: invalid float value: 'abc'"),
    (["demo", "exploding", "--seed", "x"], "--seed: invalid int value: 'x'"),
    (["demo", "exploding", "--size", "huge"], "invalid choice: 'huge'"),
    (["demo", "exploding", "--frobnicate"], "--frobnicate"),
    (["nonsense"], "invalid choice: 'nonsense'"),
    (["demo", "nonsense"], "known: healthy"),
    (["demo", "exploding", "--steps", "-3"], "--steps"),
    (["diagnose", "nope"], "no run named 'nope'"),
])
def test_what_cannot_be_done_is_said_in_one_line_with_status_2(line, says, capsys):
    try:
        status = main(line)
    except SystemExit as left:
        status = left.code
    said = capsys.readouterr().err
    assert status == 2
    assert said.startswith("tuimon: ")
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("command", "names", "options"), [
    ("watch", "a: b: c:", ["--control", "--read-only", "--rules notebook", "--fps=3"]),
    ("compare", "a b c", ["--read-only", "--fps 3", "--ascii"]),
    ("runs", "lr>1 state:died", ["--json", "--hosts F"]),
    ("diagnose", "a b", ["--json", "--fail-on warning"]),
    ("plot", "a loss lr", ["--log", "--width 70", "--first -5"]),
    ("export", "a", ["--to csv", "-o F", "--layers"]),
    ("curve", "a b", ["--json", "--target 2"]),
    ("checkpoints", "a", ["--verify", "--json"]),
    ("notify", "test a b", []),
    ("mirror", "a", ["--tensorboard D", "--once"]),
    ("demo", "spike", ["--seed 3", "--headless", "--steps 9"]),
])
def test_options_may_stand_before_behind_and_between_names(command, names, options):
    def read(words):
        said = [command, *" ".join(words).split()]
        return vars(_parser(said).parse_args(said))

    plain = read([*names.split(), *options])
    places = range(len(names.split()) + len(options))
    for at in itertools.combinations(places, len(names.split())):
        rest, mine = iter(options), iter(names.split())
        order = [next(mine if place in at else rest) for place in places]
        assert read(order) == plain, order


@pytest.mark.parametrize(("line", "runs", "json"), [
    ("diagnose --json -- -a --json b", ["-a", "--json", "b"], True),
    ("diagnose b -- --json", ["b", "--json"], False),
    ("diagnose a --json b -- -c", ["a", "b", "-c"], True),
    ("diagnose -- a -- b", ["a", "--", "b"], False),
])
def test_behind_two_dashes_everything_is_a_name(line, runs, json):
    args = _parser(line.split()).parse_args(line.split())
    assert (args.runs, args.json) == (runs, json)


@pytest.mark.parametrize(("line", "says"), [
    ("watch a: --frob b:", "unrecognized arguments: --frob; see tuimon watch --help"),
    ("watch a: --fps b:", "--fps: "),
    ("watch a: b: --hosts", "--hosts: expected one argument"),
    ("explain T101 T102", "unrecognized arguments: T102; see tuimon explain --help"),
    ("compare --ascii", "the following arguments are required: RUN|FILE; see tuimon compare --help"),
    ("mirror a --once", "the following arguments are required: --tensorboard; see tuimon mirror --help"),
    ("notify --json telegram", "invalid choice: 'telegram'"),
])
def test_what_is_wrong_between_names_is_said_in_one_line(line, says, capsys):
    with pytest.raises(SystemExit) as left:
        main(line.split())
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert says in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("line", ["compare -h", "compare a --ascii b --hel", "compare --help a"])
def test_help_tells_of_names_wherever_it_is_asked_for(line, capsys):
    with pytest.raises(SystemExit) as left:
        main(line.split())
    said = capsys.readouterr().out
    assert left.value.code == 0
    assert "RUN|FILE [RUN|FILE ...]" in said
    assert "two to eight runs" in said


def test_a_run_without_a_step_is_not_called_healthy(capsys):
    run = create_run("healthy")
    run.write_launch(Launch(run.name, "healthy", "", 50, 1, time.time() - 3600, None))
    assert main(["runs"]) == 0
    row = capsys.readouterr().out.splitlines()[1]
    assert "died" in row
    assert row.endswith("nothing measured")
    assert main(["diagnose", run.name]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "nothing measured (died)"
    assert main(["diagnose", run.name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] is None
    assert Following(run, "tuimon").result()["verdict"] is None


def test_a_demo_without_a_screen_that_is_told_to_go_takes_its_training_along():
    argv = [sys.executable, "-m", "tuimon", "demo", "healthy", "--headless", "--steps", "5000"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr is not None
        assert "healthy" in program.stderr.readline()
        process = list_runs()[0].read_launch().process
        try:
            program.send_signal(signal.SIGTERM)
            program.communicate(timeout=60)
            assert program.returncode == 128 + signal.SIGTERM
            assert not is_alive(process)
        finally:
            if is_alive(process):
                os.kill(process.pid, signal.SIGKILL)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@pytest.mark.parametrize("line", [["guide"], ["runs"]])
def test_an_output_that_takes_no_more_is_one_line_with_status_2(line):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "tuimon", *line], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "tuimon: standard output: cannot be written: No space left on device\n")


def test_what_only_a_program_starts_says_so_to_a_person_in_one_line_of_80_columns():
    near, far = pty.openpty()
    done = subprocess.run([sys.executable, "-m", "tuimon", "agent"], stdin=far, capture_output=True, text=True, check=False)
    os.close(near)
    os.close(far)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert len(done.stderr) <= 80


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
@pytest.mark.parametrize(("line", "streams", "status", "says"), [
    ("guide", ">&-", 2, "tuimon: standard output: cannot be written: it is closed\n"),
    ("--version", ">&-", 2, "tuimon: standard output: cannot be written: it is closed\n"),
    ("--help", ">/dev/full", 2, "tuimon: standard output: cannot be written: No space left on device\n"),
    ("status", ">&- 2>&-", 2, ""),
    ("runs --json", ">&-", 0, ""),   # there are none: nothing was to be written
    ("runs", "2>&-", 0, ""),
    ("nonsense", "2>/dev/full", 2, ""),
    ("diagnose nope", "2>/dev/full", 2, ""),
    ("diagnose nope", "2>&-", 2, ""),
    ("watch -h", "<&- >&- 2>&-", 2, ""),
    ("watch far: --plain", "<&-", 2, "tuimon: far: ssh ended without a word\n"),
    ("watch far: --plain", ">&-", 2, "tuimon: far: ssh ended without a word\n"),
    ("watch far: --plain", "2>&-", 2, ""),
])
def test_a_standard_stream_that_is_closed_or_full_is_no_fault_of_ours(line, streams, status, says):
    env = {**os.environ, "TUIMON_SSH": "false"}
    env.pop("PYTHONUNBUFFERED", None)
    done = subprocess.run(["/bin/sh", "-c", f"exec '{sys.executable}' -m tuimon {line} {streams}"], env=env, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (status, says)
    assert says or not done.stdout or line == "runs"   # what belongs to standard error does not come out elsewhere
