"""What `tuimon diagnose` of a million steps costs, from whatever they were logged to.

    pytest -m bench tests/bench/test_bench_diagnose.py -s
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tuimon.record.liveness import identity
from tuimon.record.rundir import RunDir, RunInfo, prepare_run
from tuimon.record.segments import LogWriter, Row, TensorRow
from tuimon.record.tensors import TensorEntry

ROOT = Path(__file__).resolve().parents[2]
STEPS = 1_000_000
TENSORS, EVERY = 20, 8
FEW = ("loss", "grad_norm", "lr")
MOST_SECONDS, MOST_BYTES = 10.0, 1 << 30


def measured() -> dict[str, np.ndarray]:
    """A healthy run: NaN where nothing was measured."""
    rng, t = np.random.default_rng(0), np.arange(STEPS)
    ratio = 2e-3 * np.exp(rng.normal(0, 0.05, STEPS))
    took = 0.05 * np.exp(rng.normal(0, 0.05, STEPS))
    columns = {
        "loss": 2 + 3 * np.exp(-t / 80) + np.exp(-t / 2e5) + rng.normal(0, 0.03, STEPS),
        "grad_norm": np.exp(rng.normal(0, 0.1, STEPS)),
        "lr": 3e-3 * np.minimum(1, (t + 1) / 2000) * (0.55 + 0.45 * np.cos(np.pi * t / STEPS)),
        "update_ratio": ratio,
        "val_loss": np.where(t % 500 == 499, 2.1 + np.exp(-t / 2e5) + rng.normal(0, 0.01, STEPS), np.nan),
        "step_time": took, "data_time": 0.02 * took, "tokens": np.full(STEPS, 8192.0), "throughput": 8192 / took,
        "clipped": np.ones(STEPS),
    }
    for name, values in (("param_norm", 100 + t / 1e5), ("update_norm", 100 * ratio), ("changed", np.full(STEPS, 0.99))):
        columns[name] = np.where(t % EVERY == EVERY - 1, values, np.nan)
    return columns


def records(columns: dict[str, np.ndarray], names: tuple[str, ...]):
    """One object a step, of what was measured at it."""
    for step, row in enumerate(zip(*(columns[name].tolist() for name in names), strict=True), 1):
        yield {"step": step} | {name: value for name, value in zip(names, row, strict=True) if value == value}  # noqa: PLR0124


def write_csv(path: Path, columns: dict[str, np.ndarray], names: tuple[str, ...]) -> None:
    with open(path, "w") as file:
        file.write(",".join(("step", *names)) + "\n")
        file.writelines(
            f"{record['step']}," + ",".join(f"{record[n]:.6g}" if n in record else "" for n in names) + "\n"
            for record in records(columns, names)
        )


def write_jsonl(path: Path, columns: dict[str, np.ndarray], names: tuple[str, ...]) -> None:
    with gzip.open(path, "wt", 6) if path.suffix == ".gz" else open(path, "w") as file:
        file.writelines(json.dumps(record) + "\n" for record in records(columns, names))


def write_run(path: Path, columns: dict[str, np.ndarray], names: tuple[str, ...]) -> None:
    run = RunDir(path)
    run.path.mkdir()
    prepare_run(run)
    tensors = tuple(TensorEntry(f"blocks.{i // 2}.{'wb'[i % 2]}", (100, 10), "float32") for i in range(TENSORS))
    run.write_info(RunInfo("run", identity(), optimizer="AdamW", eps=1e-8, total_steps=STEPS, clips=True, tensors=tensors))
    grad = np.exp(np.random.default_rng(1).normal(-3, 0.1, (STEPS // EVERY, TENSORS))).astype(np.float32)
    seen = np.ones(TENSORS, np.bool_)
    writer = LogWriter(run.metrics, attempt=1, from_step=0, tensors=TENSORS)
    waiting: list[Row | TensorRow] = []
    for record in records(columns, names):
        step = record.pop("step")
        if step % EVERY == 0:
            waiting.append(TensorRow(step, grad[step // EVERY - 1], seen, 1e-2 * grad[step // EVERY - 1]))
        waiting.append(Row(step, 1e9 + 0.05 * step, record))
        if len(waiting) >= 64:  # as the writer of a run that does twenty steps a second
            writer.append(waiting)
            waiting = []
    writer.append(waiting)
    writer.close()


def cost(path: Path) -> tuple[float, float, int, str]:
    """CPU seconds, seconds, bytes at most, and the verdict of the program as a user starts it."""
    began = time.perf_counter()
    program = subprocess.Popen(
        [sys.executable, "-m", "tuimon", "diagnose", str(path), "--json"], stdout=subprocess.PIPE, cwd=ROOT, text=True,
    )
    out = program.stdout.read()
    _, status, used = os.wait4(program.pid, 0)
    program.returncode = os.waitstatus_to_exitcode(status)
    program.stdout.close()
    assert program.returncode in {0, 3}
    most = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return used.ru_utime + used.ru_stime, time.perf_counter() - began, most, json.loads(out)["verdict"]


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_a_million_steps_are_judged_within_ten_seconds_and_a_gigabyte(tmp_path):
    columns = measured()
    more = (*FEW, "update_ratio", "val_loss")
    logged = tuple(name for name in columns if name != "val_loss")
    cases = [
        ("csv, 3 columns", "few.csv", write_csv, FEW), ("csv, 5 columns", "more.csv", write_csv, more),
        ("jsonl, 3 columns", "few.jsonl", write_jsonl, FEW), ("jsonl, 5 columns", "more.jsonl", write_jsonl, more),
        ("jsonl.gz, 5 columns", "more.jsonl.gz", write_jsonl, more),
        (f"a run of ours, {TENSORS} tensors every {EVERY} steps", "run", write_run, logged),
    ]
    print(f"\n{STEPS:,} steps{'':30}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}  verdict")
    found = []
    for label, name, write, names in cases:
        write(tmp_path / name, columns, names)
        cpu, wall, most, verdict = cost(tmp_path / name)
        found.append((cpu, most))
        print(f"{label:45}{cpu:8.2f}{wall:8.2f}{most / 1e6:9.0f}  {verdict}")
    assert max(cpu for cpu, _ in found) < MOST_SECONDS
    assert max(most for _, most in found) < MOST_BYTES
