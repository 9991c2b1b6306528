"""A run of a million steps that is read while it grows: when its newest row is there, how new it stays, and what that takes.

    pytest -m bench tests/bench/test_bench_growing.py -s
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from test_bench_long_runs import DENSE, NAMES, ROOT, a_run

from tuimon.record import log

RATE, TURN, SECONDS = 200, 0.05, 12
"""Steps a second, of which the writer leaves those of a turn together, as a training does; and how long it is followed
once all is read and judged."""

FOLLOW = """
import json, sys, time
from pathlib import Path
def rss():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1]) / 1e3
from tuimon.viewer.app import Tuimon
from tuimon.viewer.reading import Reading
from tuimon.viewer.judging import PATIENCE
from tuimon.record.rundir import RunDir
import tuimon.diagnosis.engine, tuimon.viewer.screens.overview
told, ages, sizes = {}, [], []
began, spent = time.perf_counter(), time.process_time()
reading = Reading(RunDir(Path(sys.argv[1])), patience=PATIENCE)
while time.perf_counter() - told.get("judged", 300) < began + float(sys.argv[2]):   # as the feed of a viewer does
    reading.poll(time.time(), time.monotonic())
    age = time.time() - reading.history.last_time
    if "newest row" not in told and age < 1:
        told |= {"newest row": time.perf_counter() - began, "cpu": time.process_time() - spent,
                 "remembered": reading._log.recalled}
        following = time.process_time(), time.perf_counter()
    elif "newest row" in told:
        ages.append(age)
    if "judged" not in told and "newest row" in told and not reading.is_behind:
        told["judged"] = time.perf_counter() - began
        following = time.process_time(), time.perf_counter()
    if "judged" in told:
        sizes.append(rss())
    told["memory"] = max(told.get("memory", 0), rss())
    if not reading.is_behind:
        time.sleep(0.25)
ages.sort()
told |= {"age": ages[len(ages) // 2], "oldest": ages[-1], "growth": sizes[-1] - sizes[len(sizes) // 4],
         "share": (time.process_time() - following[0]) / (time.perf_counter() - following[1])}
print("enough", flush=True)
sys.stdin.readline()   # no more is written
while reading.poll(time.time(), time.monotonic()) or reading.is_behind:
    pass
told |= {"rows": reading.history.rows, "last": reading.history.last_step, "judged to": reading.diagnosis.steps}
print(json.dumps(told))
"""


class Growing:
    """Goes on writing in the background, as a training does: every turn a frame of the rows since the last one."""

    def __init__(self, segments, step: int) -> None:
        self.step, self._segments, self._end = step, segments, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        began, first, rng = time.monotonic(), self.step, np.random.default_rng(1)
        while not self._end.wait(TURN):
            due, rows = first + int(RATE * (time.monotonic() - began)), []
            while self.step < due:
                self.step += 1
                rows.append(log.Row(self.step, time.time(), dict(zip(NAMES, (2 + rng.normal(0, 0.03), 1.0, 2e-3, 1e-3), strict=True))))
            if rows:
                self._segments.write(log.encode_rows(self._segments.sequence, rows))
                self._segments.file.flush()

    def stop(self) -> int:
        """The last step."""
        self._end.set()
        self._thread.join()
        return self.step


def followed(run: Path, cache: Path, segments, step: int) -> tuple[dict, int]:
    """What a viewer's reader says of itself, in a process of its own, and the last step that was written."""
    growing = Growing(segments, step)
    with subprocess.Popen([sys.executable, "-c", FOLLOW, str(run), str(SECONDS)], cwd=ROOT, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, env=os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}) as reader:
        assert reader.stdout.readline() == "enough\n"
        last = growing.stop()
        told = json.loads(reader.communicate("\n")[0])
    return told, last


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_a_million_rows_are_followed_while_they_grow(tmp_path):
    run, segments = a_run(tmp_path / "run", total=2 * DENSE)
    segments.rows(0, DENSE, np.random.default_rng(0), 2 * DENSE, together=1)
    segments.file.flush()
    first, last = followed(run.path, tmp_path / "cache", segments, DENSE)
    again, end = followed(run.path, tmp_path / "cache", segments, last)
    segments.file.close()
    print(f"\n{DENSE:,} steps and {RATE} more a second, load {os.getloadavg()[0]:.1f}\n{'':30}{'first open':>14}{'second open':>14}")
    for label, key, scale, unit in (("newest row there after", "newest row", 1, "s"), ("CPU until then", "cpu", 1, "s"), ("judged to the end after", "judged", 1, "s"),
                                    ("age of the newest row, median", "age", 1e3, "ms"), ("at most", "oldest", 1e3, "ms"), ("share of a core after that", "share", 100, "%"),
                                    ("memory at most", "memory", 1, "MB"), ("growth of it while following", "growth", 1, "MB")):
        print(f"{label:30}" + "".join(f"{told[key] * scale:11.2f} {unit:2}" for told in (first, again)))
    for told, step in ((first, last), (again, end)):
        assert (told["rows"], told["last"]) == (step, step)   # all is read
        assert told["judged to"] > step - 2 * RATE   # while nothing is wrong the judge looks about once a second
        assert told["memory"] < 250
    assert [told["remembered"] for told in (first, again)] == [False, True]
    assert first["cpu"] < 4.0   # of the processor, as others may be at work on this machine
    assert again["cpu"] < 1.0
