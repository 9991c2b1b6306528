"""How far behind the screen is at the end of a bad link, with pacing and without. Run by hand: pytest -m bench -s."""

from __future__ import annotations

import re
import statistics
import sys
import time

import pytest
import synthetic
from far_terminal import SlowTerminal

from tuimon.record.rundir import runs_root

SECONDS = 20.0
HZ = 20
"""Steps a second."""
LINKS = {
    "64 kbit/s": (8_000.0, 0.05, False), "64 kbit/s, ssh -C": (8_000.0, 0.05, True),
    "300 ms round trip": (10e6, 0.15, False), "100 ms round trip": (10e6, 0.05, False),
}


def measured(link: str, paced: str) -> tuple[float, float, float, float, float]:
    """Median and greatest seconds behind, frames a second, bytes a second written and carried."""
    rate, delay, compressed = LINKS[link]
    run = synthetic.healthy()
    first, written = run.step, {}
    command = [sys.executable, "-m", "tuimon", "watch", run.dir.name]
    env = {"TUIMON_RUNS": str(runs_root()), "TUIMON_PACE": paced}
    with SlowTerminal(command, 120, 40, env, rate=rate, delay=delay, compressed=compressed) as far:
        far.wait_for("Healthy", 120)
        begun, behind, shown, frames = time.monotonic(), [], first, len(re.findall(rb"2026l", far.raw))
        size, carried = far.written, far.carried
        while (now := time.monotonic()) < begun + SECONDS:
            if run.step < first + (now - begun) * HZ:
                run.go(1)
                written[run.step] = now
            far.pump(0.01)
            found = re.search(r"step (\d+)/", far.text)
            shown = int(found[1]) if found else shown
            if now > begun + SECONDS / 2:
                oldest = written.get(shown + 1, now)   # since when what is shown is not the newest
                behind.append(now - oldest)
        frames = len(re.findall(rb"2026l", far.raw)) - frames
        return (statistics.median(behind), max(behind), frames / SECONDS,
                (far.written - size) / SECONDS, (far.carried - carried) / SECONDS)


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_how_far_behind_the_screen_is_over_a_bad_link():
    print(f"\n{'120x40, 20 steps/s, last half of 20 s':40}{'s behind':>10}{'most':>8}{'frames/s':>10}{'B/s written':>13}{'carried':>9}")
    rows = {(link, paced): measured(link, paced) for link in LINKS for paced in ("0", "1")}
    for (link, paced), (middle, most, fps, size, carried) in rows.items():
        name = f"{link}, {'paced' if paced == '1' else 'unpaced'}"
        print(f"{name:40}{middle:10.2f}{most:8.2f}{fps:10.1f}{size:13,.0f}{carried:9,.0f}")
    assert rows
