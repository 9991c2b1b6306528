"""Small worlds: real processes that find each other as torchrun has them do."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(script: Path, place: Path, names: Sequence[str], size: int) -> list[Any]:
    """`script place name...` on each rank."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "MASTER_ADDR": "127.0.0.1",
           "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(size), "TUIMON_RUNS": str(place / "runs")}
    env.pop("TUIMON_RUN_DIR", None)
    return [subprocess.Popen([sys.executable, str(script), str(place), *names], stderr=subprocess.PIPE, text=True,
                             env={**env, "RANK": str(k), "LOCAL_RANK": str(k)}) for k in range(size)]


def launch(script: Path, place: Path, names: Sequence[str], size: int) -> list[Any]:
    """Run it; what each wrote to found-<rank>.json."""
    ranks = start(script, place, names, size)
    try:
        said = [process.communicate(timeout=PATIENCE)[1] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0] * size, "\n".join(said)[-6000:]
    return [json.loads((place / f"found-{k}.json").read_text()) for k in range(size)]
