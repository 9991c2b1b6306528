"""The house stands as drawn: arrows, lazy roots, sizes, and nothing that runs what it reads. Sinks of text: test_house_sinks."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "tuimon").rglob("*.py"))


def modules_after(statement: str) -> set[str]:
    """What `statement` loads, in a fresh interpreter."""
    code = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(("statement", "never"), [
    ("import tuimon", {"torch", "textual", "numpy", "rich", "psutil", "plotext"}),
    ("import tuimon.cli", {"torch", "textual", "numpy", "plotext"}),
    ("import tuimon.viewer.run", {"torch", "plotext", "numpy", "textual"}),
    # All that the first paint needs: words. Charts, rules and the log are loaded behind it.
    ("import tuimon.cli.watch, tuimon.record.runs, tuimon.viewer.run, tuimon.viewer.app, tuimon.viewer.feed",
     {"torch", "plotext", "numpy", "tuimon.record.history", "tuimon.diagnosis.model", "tuimon.diagnosis.story",
      "tuimon.viewer.frame", "tuimon.viewer.charts.chart", "tuimon.viewer.screens.help"}),
    ("import tuimon.record.history, tuimon.record.segments, tuimon.record.status", {"torch", "textual"}),
    ("import tuimon.control.spool", {"torch", "textual", "numpy"}),
    ("import tuimon.diagnosis.engine, tuimon.diagnosis.notebook", {"torch", "textual", "plotext"}),
    ("import tuimon.notify.helper, tuimon.notify.begin", {"torch", "textual", "rich", "numpy", "apprise"}),
    # The process that keeps a link is forked from it, and ssh waits for it at the start.
    ("import tuimon.remote.reached, tuimon.remote.keeping", {"torch", "textual", "numpy", "psutil"}),
    ("import tuimon.launch.process", {"torch", "textual"}),
    ("import tuimon.launch.boot", {"torch", "textual", "numpy", "psutil", "pathlib", "tuimon.record.rundir"}),
    ("import tuimon.launch.script", {"torch", "textual"}),
    ("import tuimon.launch.headless", {"torch", "textual"}),
    ("import tuimon; tuimon.integrations", {"torch", "textual", "transformers", "lightning", "pytorch_lightning"}),
    ("import tuimon.formats", {"torch", "textual", "plotext", "tensorboard", "wandb"}),
    ("import tuimon.formats.exports.export, tuimon.formats.exports.mirror", {"torch", "textual", "plotext", "tensorboard", "pyarrow"}),
    ("import tuimon.cli.checkpoints, tuimon.formats.checkpointed", {"torch", "textual", "plotext"}),
    ("import tuimon.demo, tuimon.demo.launch, tuimon.demo.headless", {"torch", "textual"}),
    ("import tuimon.torture.table, tuimon.torture.session", {"torch", "textual"}),
])
def test_a_module_loads_only_what_its_place_in_the_house_allows(statement, never):
    assert not modules_after(statement) & never


@pytest.mark.skipif(not shutil.which("lint-imports", path=str(Path(sys.executable).parent)), reason="import-linter is not installed")
def test_arrows_point_one_way():
    tool = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([tool, "--no-cache"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_public_names_resolve_and_are_listed():
    code = "import tuimon; print([getattr(tuimon, n).__name__ for n in tuimon.__all__ if n != '__version__'])"
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "attach" in done.stdout


def functions():
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def test_files_and_functions_stay_small_enough_to_read():
    long_files = [(p.name, n) for p in SOURCES if (n := len(p.read_text().splitlines())) > 400]
    long_functions = [
        (p.name, n.name, n.end_lineno - n.lineno + 1) for p, n in functions() if n.end_lineno - n.lineno + 1 > 70
    ]
    assert not long_files
    assert not long_functions


SYNCS = re.compile(r"\.item\(|\.tolist\(|\.cpu\(|\.synchronize\(|\.numpy\(")
ALLOWED_SYNCS = {
    "transfer.py",       # the one place where device values become host values
    "replay.py",         # an autopsy: the run is broken already, and may wait once
    "host.py", "portable.py",  # copies for snapshots and checkpoints, read off the training thread
    "restoring.py",      # a restore waits for its copies: training stands still anyway, and errors must show there
    "lane.py",           # words between ranks: host memory from the first, never on a device
}


def test_synchronising_calls_in_the_instrument_live_in_one_file():
    found = [
        f"{p.name}:{i}: {line.strip()}"
        for p in (ROOT / "tuimon" / "instrument").rglob("*.py") if p.name not in ALLOWED_SYNCS
        for i, line in enumerate(p.read_text().splitlines(), 1) if SYNCS.search(line.split("#")[0])
    ]
    assert not found


UNSAFE = re.compile(r"eval\(|pickle\.load|yaml\.load|weights_only=False")
PRIVATE = {("apart.py", "pickle.load")}
"""Between a process and its own fork, through a pipe that has no name: nobody else can write there."""


def test_nothing_runs_data():
    found = [
        f"{p.relative_to(ROOT)}:{i}: {line.strip()}" for p in SOURCES
        for i, line in enumerate(p.read_text().splitlines(), 1)
        if (sink := UNSAFE.search(line)) and "model.eval()" not in line and ".eval()" not in line
        and (p.name, sink[0]) not in PRIVATE
    ]
    assert not found


def test_the_project_names_no_machine():
    machine = re.compile(r"(^|[\s\"'=(])/(root|mnt|wor[k])/|--(extra-)?index-url")
    found = [
        f"{p}:{i}" for p in [*SOURCES, *sorted((ROOT / "tests").rglob("*.py")), ROOT / "README.md", ROOT / "pyproject.toml"]
        if p.exists() for i, line in enumerate(p.read_text().splitlines(), 1) if machine.search(line)
    ]
    assert not found
