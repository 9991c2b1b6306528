"""Faults of processes and terminals: who is killed, stopped, hung up on. Each returns how many rows were lost."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tuimon.record.status import status
from tuimon.torture.bench import Bench, Skipped, Training
from tuimon.torture.looking import expect, lost_by_kill, missing
from tuimon.torture.terminal import Viewer

DRAWN = 2000
"""Bytes that a viewer has drawn when it shows something."""


def kill_training(bench: Bench) -> int:
    """SIGKILL to a training, wherever it is."""
    training = bench.start(save=bench.chance.choice((0, 20)))
    training.more(bench.chance.randint(1, 60))
    bench.some(0.0, 0.3)
    training.kill()
    expect(status(training.run).state == "died", f"the killed run is shown as {status(training.run).state}")
    return lost_by_kill(training)


def kill_while_saving(bench: Bench) -> int:
    """SIGKILL to a training that writes checkpoint after checkpoint."""
    training = bench.start(save=3)
    bench.wait(lambda: any(training.run.checkpoints.glob("0*")), "the first checkpoint")
    bench.some(0.0, 0.3)
    training.kill()
    found = bench.do("verify", run=training.run)
    expect(found.ledger.counted, "the kill has cost every checkpoint")
    again = bench.start(run=training.run, save=10)
    again.more(30)
    bench.wait(lambda: not list(training.run.checkpoints.glob(".tmp-*")), "what was left half-written to be removed")
    again.kill()
    return lost_by_kill(again)


def stop_training(bench: Bench) -> int:
    """A training sleeps, as its machine may (SIGSTOP, SIGCONT), and is told something meanwhile."""
    training = bench.start()
    training.more(20)
    training.send(signal.SIGSTOP)
    asked = training.ask("checkpoint")
    bench.some(0.0, 0.5)
    expect(status(training.run).is_live, "a run that sleeps is taken for dead")
    training.send(signal.SIGCONT)
    training.more(50, "after it was woken")
    bench.wait(lambda: [e for e in training.events("command") if e.text("id") == asked
                        and e.text("outcome") in ("applied", "refused")], "an answer to what was asked meanwhile")
    training.stop()
    return missing(training)


def break_writer(bench: Bench) -> int:
    """The writing thread meets an error that nobody has foreseen."""
    training = bench.start(disk={"fail": bench.chance.randint(12, 40), "last": 1, "strange": True})
    bench.wait(lambda: training.ledger.counted, "the error")
    training.more(100, "since the writer met an error")
    training.stop()
    return missing(training)


def _viewed(bench: Bench, act: Callable[[Training, Viewer], None]) -> int:
    """Training with somebody who looks on, and something that happens to the viewer."""
    training = bench.start(pause=0.005)
    training.more(10)
    viewer = bench.viewer(training.run)
    bench.wait(lambda: viewer.drawn > DRAWN or viewer.process.poll() is not None, "a viewer that shows something")
    if viewer.process.poll() is not None:
        raise Skipped(f"the viewer does not start here: its status is {viewer.process.poll()}")
    bench.some(0.0, 0.5)
    act(training, viewer)
    training.more(100, "since something happened to its viewer")
    training.stop()
    return missing(training)


def _ends(bench: Bench, viewer: Viewer) -> None:
    bench.wait(lambda: viewer.process.poll() is not None, "the end of the viewer", 20.0)


def kill_viewer(bench: Bench) -> int:
    """SIGKILL to a viewer."""
    return _viewed(bench, lambda _, viewer: viewer.process.kill())


def stop_viewer(bench: Bench) -> int:
    """SIGSTOP to a viewer, then SIGCONT: it draws again."""

    def act(training: Training, viewer: Viewer) -> None:
        viewer.process.send_signal(signal.SIGSTOP)
        training.more(50, "while its viewer was stopped")
        before = viewer.drawn
        viewer.process.send_signal(signal.SIGCONT)
        bench.wait(lambda: viewer.drawn > before, "a viewer that draws again")

    return _viewed(bench, act)


def end_viewer(bench: Bench) -> int:
    """SIGTERM, SIGHUP or SIGINT to a viewer."""

    def act(_: Training, viewer: Viewer) -> None:
        viewer.process.send_signal(bench.chance.choice((signal.SIGTERM, signal.SIGHUP, signal.SIGINT)))
        _ends(bench, viewer)

    return _viewed(bench, act)


def stall_terminal(bench: Bench) -> int:
    """The terminal of a viewer takes nothing any more (Ctrl+S, a dead connection), and then SIGTERM."""

    def act(training: Training, viewer: Viewer) -> None:
        viewer.stall()
        training.more(100, "while the terminal took nothing")
        viewer.process.send_signal(signal.SIGTERM)
        _ends(bench, viewer)

    return _viewed(bench, act)


def close_terminal(bench: Bench) -> int:
    """The terminal of a viewer is closed."""

    def act(_: Training, viewer: Viewer) -> None:
        viewer.hang_up()
        _ends(bench, viewer)

    return _viewed(bench, act)


def hang_up_training(bench: Bench) -> int:
    """SIGHUP to a training that ignores it, as under nohup, and SIGTERM at last."""
    training = bench.start(ignore=[signal.SIGHUP])
    training.more(20)
    training.send(signal.SIGHUP)
    training.more(50, "after a hang-up that it ignores")
    training.send(signal.SIGTERM)
    training.end()
    expect(not status(training.run).is_live, "an ended run is shown as live")
    return lost_by_kill(training)


def interrupt_training(bench: Bench) -> int:
    """Ctrl+C in the script."""
    training = bench.start()
    training.more(bench.chance.randint(1, 60))
    training.send(signal.SIGINT)
    training.end()
    said = [(e.text("state"), e.text("error")) for e in training.events("end")]
    expect(said == [("stopped", "KeyboardInterrupt")], f"Ctrl+C was recorded as {said}; {training.last_words()}")
    done = training.ledger.steps
    lost = lost_by_kill(training)
    expect(lost <= 1, f"{lost} of {done} rows are missing after an orderly end")
    return lost
