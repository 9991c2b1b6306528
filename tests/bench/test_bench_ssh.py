"""How old what stands on the screen is, at the end of a bad link through a real ssh.

Run by hand: pytest -m bench tests/bench/test_bench_ssh.py -s
"""

from __future__ import annotations

import re
import statistics
import time
from typing import NamedTuple

import pytest
import synthetic
from far_terminal import FarTerminal
from sshd import MODEM, WEAK, FarMachine, far_machine

SECONDS = 30.0
HZ = 20
"""Steps a second."""
LINKS = {"64 kbit/s, 100 ms round trip": (0.05, MODEM), "256 kbit/s, 100 ms round trip": (0.05, WEAK),
         "64 kbit/s, 300 ms round trip": (0.15, MODEM), "300 ms round trip": (0.15, 0.0), "no delay": (0.0, 0.0)}


class Lag(NamedTuple):
    """Of one link, in its last two thirds."""

    begun: float
    """Seconds until the run was on the screen."""
    fresh: tuple[float, float]
    """Seconds from when a step was written until it was on the screen, of those that were: median and most."""
    behind: tuple[float, float]
    """Since when there was a newer step than the one on the screen: median and most, at any time."""
    frames: float
    """A second."""
    carried: float
    """Bytes a second that came through the link."""


def measured(far: FarMachine, link: tuple[float, float], *options: str) -> Lag:
    """Watch a live run over it."""
    host = far.host("bench", delay=link[0], rate=link[1])
    run = synthetic.healthy(root=far.runs)
    first, written = run.step, {}
    with FarTerminal(far.argv(host, f"tuimon watch {run.dir.name}", "-t", *options), 120, 40, {}) as near:
        near.wait_for("Healthy", 120)
        opened = time.monotonic() - near.started
        begun, shown, fresh, behind = time.monotonic(), first, [], []
        frames, carried, counted = 0, 0, 0.0
        while (now := time.monotonic()) < begun + SECONDS:
            if run.step < first + (now - begun) * HZ:
                run.go(1)
                written[run.step] = now
            near.pump(0.01)
            now = time.monotonic()
            if not counted and now > begun + SECONDS / 3:
                counted, carried, frames = now, far.link(host).carried()[1], near.raw.count(b"\x1b[?2026l")
            found = re.search(r"step (\d+)/", near.text)
            before, shown = shown, int(found[1]) if found else shown
            if counted:
                behind.append(now - written.get(shown + 1, now))
                if shown != before:
                    fresh.append(now - written[shown])
        took = time.monotonic() - counted
        return Lag(opened, (statistics.median(fresh), max(fresh)), (statistics.median(behind), max(behind)),
                   (near.raw.count(b"\x1b[?2026l") - frames) / took, (far.link(host).carried()[1] - carried) / took)


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_how_old_the_screen_is_through_ssh(tmp_path):
    print(f"\n{f'120x40, {HZ} steps/s, s':44}{'first':>8}{'fresh':>8}{'most':>8}{'behind':>8}{'most':>8}{'frames/s':>10}{'carried B/s':>13}")
    with far_machine(tmp_path) as far:
        for name, link in LINKS.items():
            for options in ((), ("-C",)):
                lag = measured(far, link, *options)
                print(f"{name + ', -C' * bool(options):44}{lag.begun:8.2f}{lag.fresh[0]:8.2f}{lag.fresh[1]:8.2f}"
                      f"{lag.behind[0]:8.2f}{lag.behind[1]:8.2f}{lag.frames:10.1f}{lag.carried:13,.0f}", flush=True)
                far.restore()
