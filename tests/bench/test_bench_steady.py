"""What a panel costs while it is only looked at: share of a core and bytes to the terminal, on a run that goes on.

    pytest -m bench tests/bench/test_bench_steady.py -s

Beside it a bare Textual application that changes one word as often: the machine, and how busy it is, cancel out.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from pathlib import Path

import pytest
from pty_costs import Screen

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "viewer"))

import synthetic

ROOT = Path(__file__).resolve().parents[2]
STEPS, EACH, PERIOD, SECONDS = 5_000, 3, 0.25, 20.0
SIZES = ((80, 24), (120, 40), (160, 48), (250, 70))
BARE = """
import time
from textual.app import App
from textual.widgets import Static
class Bare(App):
    ENABLE_COMMAND_PALETTE = False
    def compose(self):
        yield Static("0")
    def on_mount(self):
        self.set_interval(0.25, lambda: self.query_one(Static).update(str(time.time())))
Bare().run()
"""


def costs(argv: list[str], size: tuple[int, int], env: dict[str, str], shown: bytes) -> tuple[float, float, float]:
    """Percent of a core, bytes a second, updates a second; once it has settled."""
    with Screen(argv, size, env, ROOT) as screen:
        screen.until(lambda raw: shown in raw)
        settled = time.monotonic() + 6.0
        while time.monotonic() < settled:
            screen.pump(0.1)
        began, cpu, sent = time.monotonic(), screen.cpu, len(screen.raw)
        while time.monotonic() - began < SECONDS:
            screen.pump(0.1)
        took = time.monotonic() - began
        updates = screen.raw[sent:].count(b"\x1b[?2026h")
        return 100 * (screen.cpu - cpu) / took, (len(screen.raw) - sent) / took, updates / took


class Going(threading.Thread):
    """Lets a run go on."""

    def __init__(self, run: synthetic.Run) -> None:
        super().__init__(daemon=True)
        self.run_, self.over = run, threading.Event()

    def run(self) -> None:
        while not self.over.wait(PERIOD):
            self.run_.go(EACH, snapshots=False)


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_what_looking_at_a_live_run_costs(tmp_path):
    run = synthetic.Run(tmp_path / "runs", total=1_000_000)
    for _ in range(STEPS // 500):
        run.go(500, snapshots=False)
    env = {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    argv = [sys.executable, "-m", "tuimon", "watch", str(run.dir.path)]
    rows: dict[str, tuple[float, float, float]] = {}
    going = Going(run)
    going.start()
    for size in SIZES:
        rows[f"live run, {size[0]}x{size[1]}"] = costs(argv, size, env, b"GRADIENTS")
    rows["a bare Textual app, one word, 160x48"] = costs([sys.executable, "-c", BARE], (160, 48), {}, b"1")
    going.over.set()
    going.join()
    run.hold()
    rows["held run, 160x48"] = costs(argv, (160, 48), env, b"HELD")
    print(f"\n{EACH} steps every {PERIOD} s, {STEPS:,} before; {SECONDS:.0f} s each")
    print(f"{'':40}{'% of a core':>13}{'kB/s':>9}{'updates/s':>11}")
    for name, (share, rate, updates) in rows.items():
        print(f"{name:40}{share:13.2f}{rate / 1e3:9.2f}{updates:11.2f}")
    live, bare = rows["live run, 160x48"], rows["a bare Textual app, one word, 160x48"]
    print(f"live run / bare app, 160x48: {live[0] / bare[0]:.1f}x CPU")
    assert live[1] < 6_000
    assert rows["held run, 160x48"][1:] == (0.0, 0.0)
    assert statistics.fmean(row[0] for name, row in rows.items() if name.startswith("live")) < 25.0
