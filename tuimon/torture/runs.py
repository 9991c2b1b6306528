"""Faults of time, of several trainings, of commands, of scripts. Each returns how many rows were lost."""

from __future__ import annotations

import os

from tuimon.control.commands import Command
from tuimon.control.spool import new_id, submit
from tuimon.record.segments import LogReader
from tuimon.record.status import status
from tuimon.torture.bench import Bench
from tuimon.torture.looking import expect, lost_by_kill, missing, read


def set_clock(bench: Bench) -> int:
    """The clock is set a day ahead, a day back, and again."""
    training = bench.start(clock=bench.chance.randint(5, 40), steps=300)
    training.more(150)
    expect(status(training.run).is_live, "a clock that was set makes a live run look dead")
    training.finish()
    for chunk in LogReader(training.run.metrics).poll():
        _, seconds = chunk.measured("step_time")
        expect(len(seconds) and min(seconds) >= 0 and max(seconds) < 3600, f"a step took {max(seconds)} s")
    return missing(training)


def two_trainings(bench: Bench) -> int:
    """A second training takes the directory of the first."""
    first = bench.start()
    first.more(10)
    bench.do("second", run=first.run)
    first.more(20)
    first.stop()
    expect(len(first.events("attempt")) == 1, "there are two attempts")
    return missing(first)


def race_for_a_directory(bench: Bench) -> int:
    """Three trainings take the same directory at the same moment."""
    run = bench.fresh()
    all_of_them = [bench.start("contend", run=run, held=True, wait=True, steps=60) for _ in range(3)]
    for training in all_of_them:
        training.ledger.is_held = False
    for training in all_of_them:
        training.finish()
    trained = [training for training in all_of_them if training.ledger.steps]
    expect(trained, "nobody got it")
    expect(len(trained) + sum(t.ledger.counted for t in all_of_them) == 3, "somebody neither trained nor was refused")
    last = max(trained, key=lambda training: training.ledger.moment(1))
    expect(len(last.events("attempt")) == len(trained), f"{len(trained)} trained and the log says otherwise")
    return missing(last)


def train_again(bench: Bench) -> int:
    """A training is killed, told to stop, and started again in its directory."""
    first = bench.start()
    first.more(bench.chance.randint(1, 40))
    first.kill()
    submit(first.run.commands, Command(new_id(), "stop", attempt=1, ttl=1e12))
    again = bench.start(run=first.run)
    again.more(50, "where a stop for the attempt before lay")
    refused = [e.text("why") for e in again.events("command") if e.attempt == 2 and e.text("outcome") == "refused"]
    expect(refused and "attempt 1" in refused[0], f"what became of the old stop is not said: {refused}")
    expect([e.whole("number") for e in again.events("attempt")] == [1, 2], "the attempts are not told apart")
    again.kill()
    return lost_by_kill(again)


def _workers(bench: Bench, start: str) -> int:
    training = bench.start(workers=2, start=start, steps=40)
    training.finish()
    expect(list(read(training.run).losses) == list(range(1, 41)), "the log has other rows than were trained")
    expect(len(training.events("attempt")) == 1, "a worker took the run for its own")
    return missing(training)


def fork_workers(bench: Bench) -> int:
    """A loader forks workers out of a watched training."""
    return _workers(bench, "fork")


def spawn_workers(bench: Bench) -> int:
    """A loader starts workers beside a watched training."""
    return _workers(bench, "spawn")


def junk_for_commands(bench: Bench) -> int:
    """Rubbish, links, pipes, giants and a flood among the commands."""
    training = bench.start()
    training.more(20)
    new = training.run.commands / "new"
    for i in range(300):
        (new / f"{i:04d}").write_bytes(bench.chance.randbytes(bench.chance.randint(0, 200)))
    (new / "0-giant").write_bytes(b"[" * 100_000)
    (new / "0-folder").mkdir()
    os.mkfifo(new / "0-pipe")
    os.symlink("/etc/hostname", new / "0-link")
    training.more(50, "with rubbish among its commands")
    training.stop()
    expect(all(e.text("verb") == "stop" for e in training.events("command") if e.text("outcome") == "applied"),
           "rubbish was obeyed")
    return missing(training)


def odd_values(bench: Bench) -> int:
    """Every odd value is logged: NaN, complex, eight bits, text, objects that raise."""
    bench.do("odd-values")
    return 0


def odd_parameters(bench: Bench) -> int:
    """Every odd parameter is trained: sparse, empty, complex, frozen, unused."""
    bench.do("odd-parameters")
    return 0


def many_tensors(bench: Bench) -> int:
    """Ten thousand parameters are trained."""
    bench.do("many-tensors")
    return 0


def raising_script(bench: Bench) -> int:
    """The script's own hooks raise."""
    bench.do("raising")
    return 0
