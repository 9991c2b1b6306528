"""Take the guide's recordings anew: run the demos and keep a few series of each, a few kB of JSON.

    pip install -e .
    python demos/guide_recordings.py tuimon/viewer/places/guide/recordings

Each file says which command it came from. The same seed gives the same curves on the same machine; on another they may
differ in the last digits, and the guide's text speaks only of what stays.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tuimon.record.history import History
from tuimon.record.rundir import RunDir
from tuimon.record.segments import LogReader

RECORDINGS = {
    "healthy": ("healthy --steps 300", ("loss", "grad_norm", "lr", "update_ratio")),
    "exploding": ("exploding --steps 240", ("loss", "grad_norm")),
    "from-start": ("exploding --from-start --steps 200", ("loss", "grad_norm")),
    "vanishing": ("vanishing --deep --steps 200", ("loss", "grad_norm")),
    "slow": ("slow --steps 200", ("loss", "grad_norm", "update_ratio", "grad_param_ratio")),
    "rescue": ("exploding --on-critical rescue --steps 420", ("loss", "grad_norm", "lr")),
}
LAYERS = {"vanishing": ("blocks.0", "blocks.7")}
POINTS = 300


def train(arguments: str, folder: Path) -> RunDir:
    """One demo, run to its end."""
    argv = [sys.executable, "-m", "tuimon", "demo", *arguments.split(), "--headless", "--speed", "60"]
    environ = {**os.environ, "TUIMON_RUNS": str(folder)}
    done = subprocess.run(argv, env=environ, stdout=subprocess.DEVNULL, check=False)  # noqa: S603 - our own program
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(argv)} ended with {done.returncode}")
    return RunDir(next(folder.iterdir()))


def history_of(run: RunDir) -> History:
    """All that was measured."""
    info = run.read_info()
    history, log = History(info.table, info.probes), LogReader(run.metrics)
    while chunks := log.poll():
        for chunk in chunks:
            history.extend(chunk)
    return history


def series(steps: np.ndarray, values: np.ndarray) -> dict[str, list]:
    """Steps and values to four digits; null is a value that is not finite."""
    every = max(1, math.ceil(len(steps) / POINTS))
    return {"steps": steps[::every].tolist(),
            "values": [float(f"{v:.3e}") if math.isfinite(v) else None for v in values[::every].tolist()]}


def record(name: str) -> dict:
    """One recording."""
    arguments, metrics = RECORDINGS[name]
    with tempfile.TemporaryDirectory() as folder:
        history = history_of(train(arguments, Path(folder)))
    found = {}
    for metric in metrics:
        whole = history.series(metric)
        found[metric] = series(whole.steps, whole.values)
    names, steps, rms = history.table.layer_grad_rms(history.tensor_rows())
    for layer in LAYERS.get(name, ()):
        found[f"grad_rms {layer}"] = series(steps, rms[:, names.index(layer)])
    marks = [[mark.step, mark.kind] for mark in history.marks if mark.kind == "rollback"]
    return {"command": f"tuimon demo {arguments}", "series": found, "marks": marks}


if __name__ == "__main__":
    target = Path(sys.argv[1])
    for recording in sys.argv[2:] or RECORDINGS:
        body = json.dumps(record(recording), separators=(",", ":"), allow_nan=False)
        (target / f"{recording}.json").write_text(body + "\n", encoding="utf-8")
        print(f"{recording}: {len(body):,} bytes")
