"""What opening a run of ten million steps costs, the first time and again, and what a frame of it costs.

    pytest -m bench tests/bench/test_bench_long_runs.py -s
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tuimon.record import log
from tuimon.record.liveness import identity
from tuimon.record.log import TensorRow
from tuimon.record.rundir import RunDir, RunInfo, prepare_run
from tuimon.record.tensors import TensorEntry

ROOT = Path(__file__).resolve().parents[2]
STEPS, TOGETHER, NAMES = 10_000_000, 4096, ("loss", "grad_norm", "update_ratio", "lr")
DENSE = 1_000_000
"""Steps of a run that leaves a frame for each, as one that does twenty a second."""
LAYERS, TENSOR_ROWS = 2000, 1500
SEGMENT = 64 << 20

OPEN = """
import json, os, sys, time
from pathlib import Path
def rss():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1]) / 1e3
from tuimon.viewer.app import Tuimon
from tuimon.viewer.reading import Reading
from tuimon.record.rundir import RunDir
import tuimon.diagnosis.engine, tuimon.viewer.screens.overview
told, windows = {"bare": rss()}, json.loads(sys.argv[2])
began, spent = time.perf_counter(), time.process_time()
reading = Reading(RunDir(Path(sys.argv[1])))
reading.poll(time.time(), time.monotonic())
told["first frame"] = time.perf_counter() - began
while reading._log.is_reading:
    reading.poll(time.time(), time.monotonic())
told["charts"] = time.perf_counter() - began
told["cpu"] = time.process_time() - spent
most, slices = rss(), []
until = time.perf_counter() + float(sys.argv[3])
while reading.is_behind and time.perf_counter() < until:
    at = time.perf_counter()
    reading.poll(time.time(), time.monotonic())
    slices.append(time.perf_counter() - at)
    most = max(most, rss())
told["slice"] = sorted(slices)[len(slices) // 2] if slices else 0.0
told["judging"] = reading._log.judging
history = reading._history
for first, last in windows:
    times = []
    for shift in range(6):   # the first is cold, as after a jump; then scrubbing on by a twentieth
        by = shift * (last - first) // 20
        at = time.process_time()
        thin = [history.thin(name, first + by, last + by, 1024) for name in history.names]
        times.append(time.process_time() - at)
        most = max(most, rss())
    told[f"{first}-{last}"] = [times[0], max(times[1:])]
at = time.perf_counter()
reading._summarise()
told["summary"] = time.perf_counter() - at
told["memory"] = most
print(json.dumps(told))
"""


class Segments:
    """A log written in large strokes: the frames of the real format, without a call for each row."""

    def __init__(self, folder: Path, tensors: int = 0) -> None:
        self.folder, self.number, self.size, self.file, self.sequence = folder, 0, SEGMENT, None, 0
        self.head = {"attempt": 1, "from_step": 0, "tensors": tensors, "probes": 0, "rank": 0}

    def write(self, frame: bytes) -> None:
        if self.size + len(frame) > SEGMENT:
            if self.file is not None:
                self.file.close()
            self.file = (self.folder / f"r0-{self.number:03d}.tlog").open("wb")
            self.file.write(log.encode_json(log.HEAD, 0, self.head))
            self.number, self.size = self.number + 1, 0
        self.file.write(frame)
        self.size += len(frame)
        self.sequence += 1

    def rows(self, first: int, count: int, rng: np.random.Generator, total: int, together: int = TOGETHER) -> None:
        t = np.arange(first, first + count, dtype=np.float64)
        values = np.stack([
            2 + 3 * np.exp(-t / 80) + np.exp(-t / 2e5) + rng.normal(0, 0.03, count), np.exp(rng.normal(0, 0.1, count)),
            2e-3 * np.exp(rng.normal(0, 0.05, count)),
            3e-3 * np.minimum(1, (t + 1) / 2000) * (0.55 + 0.45 * np.cos(np.pi * t / total)),
        ])
        names = b"".join(log._encode_name(name) for name in NAMES)
        for at in range(0, count, together):
            part = slice(at, min(at + together, count))
            n = part.stop - at
            self.write(log.encode_frame(log.ROWS, self.sequence, b"".join((
                struct.pack("<IH", n, len(NAMES)), names, (t[part] + 1).astype("<i8").tobytes(),
                (1e9 + 0.05 * t[part]).tobytes(), values[:, part].astype("<f8").tobytes(),
                np.packbits(np.ones(len(NAMES) * n, np.bool_)).tobytes()))))


def a_run(path: Path, tensors: tuple[TensorEntry, ...] = (), total: int = STEPS) -> tuple[RunDir, Segments]:
    run = RunDir(path)
    run.path.mkdir()
    prepare_run(run)
    run.write_info(RunInfo("long", identity(), optimizer="AdamW", total_steps=total, tensors=tensors))
    return run, Segments(run.metrics, len(tensors))


def long(path: Path) -> Path:
    run, segments = a_run(path)
    rng = np.random.default_rng(0)
    for first in range(0, STEPS, 64 * TOGETHER):
        segments.rows(first, min(64 * TOGETHER, STEPS - first), rng, STEPS)
    segments.file.close()
    return run.path


def dense(path: Path) -> Path:
    run, segments = a_run(path, total=DENSE)
    segments.rows(0, DENSE, np.random.default_rng(0), DENSE, together=1)
    segments.file.close()
    return run.path


def deep(path: Path) -> Path:
    """Rows of 2,000 layers, four tensors each, between the others."""
    table = tuple(TensorEntry(f"blocks.{i // 4}.{'qkvo'[i % 4]}.weight", (64, 64), "float32") for i in range(4 * LAYERS))
    run, segments = a_run(path, table, total=8 * TENSOR_ROWS)
    rng, seen = np.random.default_rng(0), np.ones(len(table), np.bool_)
    grad = np.exp(rng.normal(-3, 0.3, len(table))).astype(np.float32)
    for i in range(TENSOR_ROWS):
        row = TensorRow(8 * i + 8, grad * np.float32(1 + 0.1 * np.sin(i / 50)), seen, grad * np.float32(1e-2))
        segments.write(log.encode_tensors(segments.sequence, [row]))
        segments.rows(8 * i, 8, rng, 8 * TENSOR_ROWS)
    segments.file.close()
    return run.path


def opened(run: Path, cache: Path, windows: list[tuple[int, int]], judge: float) -> dict:
    """What a viewer's reader says of itself, opened in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(run), json.dumps(windows), str(judge)], cwd=ROOT, text=True, check=True,
        capture_output=True, env=os.environ | {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)})
    return json.loads(done.stdout.splitlines()[-1])


def windows_of(total: int) -> list[tuple[int, int]]:
    """From all of it to a hundred steps, early and late."""
    spans = [total, total // 4, total // 30, total // 100, 50_000, 15_000, 1000, 100]
    return [(total // 4, total // 4 + span) if span < total // 2 else (0, span) for span in spans if span <= total] + [
        (total - 2000, total)]


def table(title: str, runs: dict[str, dict], windows: list[tuple[int, int]]) -> None:
    print(f"\n{title}\n{'':34}" + "".join(f"{name:>22}" for name in runs))
    for label, key, scale, unit in (
        ("first frame", "first frame", 1, "s"), ("charts of all of it", "charts", 1, "s"),
        ("CPU until then", "cpu", 1, "s"), ("memory without a run", "bare", 1, "MB"),
        ("memory at most", "memory", 1, "MB"), ("a poll while the judge lags", "slice", 1e3, "ms"),
        ("what new rows cost in a frame", "summary", 1e3, "ms"),
    ):
        print(f"{label:34}" + "".join(f"{told[key] * scale:19.2f} {unit:2}" for told in runs.values()))
    for first, last in windows:
        label = f"steps {first:,} to {last:,}"
        print(f"{label:34}" + "".join(
            f"{1e3 * told[f'{first}-{last}'][0]:10.1f} /{1e3 * told[f'{first}-{last}'][1]:6.1f} ms"
            for told in runs.values()))
    print("(a window: CPU after a jump / scrubbing on; all metrics, 1,024 columns)")


@pytest.mark.bench
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("make", "total"), [(long, STEPS), (dense, DENSE), (deep, 8 * TENSOR_ROWS)])
def test_a_long_run_opens_at_once_and_every_window_of_it_is_drawn_without_waiting(tmp_path, make, total):
    run, windows = make(tmp_path / "run"), windows_of(total)
    runs = {"first open": opened(run, tmp_path / "cache", windows, 5.0),
            "second open": opened(run, tmp_path / "cache", windows, 2.0)}
    size = sum(path.stat().st_size for path in (run / "metrics").iterdir())
    table(f"{make.__name__}: {total:,} steps, {size / 1e6:,.0f} MB of log, load {os.getloadavg()[0]:.1f}", runs, windows)
    first, second = runs.values()
    assert first["cpu"] < 4.0   # of the processor, as others may be at work on this machine
    assert total < STEPS / 100 or second["cpu"] < 1.0
    assert max(told["memory"] for told in runs.values()) < 250.0
    assert max(max(told[f"{a}-{b}"]) for told in runs.values() for a, b in windows) < 0.060
