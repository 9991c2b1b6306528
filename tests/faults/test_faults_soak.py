"""Training for long, viewers coming and going: memory, descriptors and threads of both stay flat. The table is printed."""

from __future__ import annotations

import os
import statistics
import time

import psutil
import pytest

from tuimon.torture.looking import missing

MINUTES = float(os.environ.get("TUIMON_SOAK_MINUTES", "30"))
SETTLED = 0.25
"""Of the time, at the beginning: what is loaded late and the histories that fill up."""


def look(process):
    with process.oneshot():
        return process.memory_info().rss / 1e6, process.num_fds(), process.num_threads()


def slope(points):
    """MB an hour, by the medians of the first and the last third after settling."""
    points = points[int(len(points) * SETTLED):]
    third = max(1, len(points) // 3)
    first, last = points[:third], points[-third:]
    hours = (statistics.median(t for t, _ in last) - statistics.median(t for t, _ in first)) / 3600
    return (statistics.median(v for _, v in last) - statistics.median(v for _, v in first)) / hours


@pytest.mark.nightly
@pytest.mark.timeout(60 * 60 * 13)
def test_hours_of_training_with_viewers_coming_and_going_leave_everything_flat(bench):
    training = bench.start(pause=60 * MINUTES / 100_000, save=5000)
    training.more(50)
    trainer, began, seen = psutil.Process(training.pid), time.monotonic(), []
    stays = bench.viewer(training.run)
    bench.wait(lambda: stays.drawn > 2000, "a viewer that stays")
    resident, comes, watched = psutil.Process(stays.process.pid), 0, []
    while (now := time.monotonic() - began) < 60 * MINUTES and training.ledger.steps < 98_000:
        seen.append((now, *look(trainer)))
        watched.append((now, *look(resident)))
        guest = bench.viewer(training.run)
        comes += 1
        bench.wait(lambda guest=guest: guest.drawn > 2000, "a viewer that comes and goes")
        bench.some(MINUTES / 60, MINUTES / 10)   # about as many guests, however long it lasts
        guest.kill()
    steps = training.ledger.steps
    for who, rows in (("training", seen), ("viewer", watched)):
        settled = rows[int(len(rows) * SETTLED):]
        print(f"\n{who}: {len(rows)} looks in {rows[-1][0] / 60:.1f} min, {comes} viewers came, {steps} steps; "
              f"memory {settled[0][1]:.1f} -> {settled[-1][1]:.1f} MB, {slope([(r[0], r[1]) for r in rows]):+.2f} MB/h; "
              f"descriptors {sorted({r[2] for r in settled})}; threads {sorted({r[3] for r in settled})}")
    stays.kill()
    training.stop()
    assert missing(training) == 0
    assert slope([(r[0], r[1]) for r in seen]) < 30   # MB an hour; a short soak cannot tell less from noise
    assert watched[-1][1] < 300   # a viewer keeps what it shows: it grows with the steps, up to where it thins them
    for rows in (seen, watched):
        settled = rows[int(len(rows) * SETTLED):]
        assert max(r[2] for r in settled) - min(r[2] for r in settled) <= 3
        assert max(r[3] for r in settled) - min(r[3] for r in settled) <= 2
