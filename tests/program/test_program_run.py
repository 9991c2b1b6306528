"""`tuimon run` as a person uses it: a script that knows nothing of tuimon, a real terminal, a real crash."""

from __future__ import annotations

import re
import sys

from pty_terminal import Terminal, leaves_a_clean_terminal

from tuimon.record.rundir import list_runs, runs_root
from tuimon.record.status import status

SCRIPT = """
import os, sys, time
import torch
from torch import nn

torch.set_num_threads(1)
print("reading the data", flush=True)
while not os.path.exists("data"):
    time.sleep(0.02)
model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
opt = torch.optim.AdamW(model.parameters())
while not os.path.exists("enough"):
    opt.zero_grad()
    model(torch.randn(4, 8)).square().mean().backward()
    opt.step()
    time.sleep(0.02)
raise RuntimeError(sys.argv[1])
"""


def test_a_script_is_seen_to_start_to_train_and_to_crash_and_its_status_is_handed_on(tmp_path):
    (tmp_path / "fit.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "tuimon", "run", "--total-steps", "5000", "fit.py", "--headless is mine"]
    with Terminal(command, 80, 24, {"TUIMON_RUNS": str(runs_root())}, cwd=tmp_path) as terminal:
        terminal.wait_for("The script is running")
        terminal.wait_for("It says: reading the data")
        terminal.press("q")
        terminal.wait_for("has not trained yet.")
        terminal.press("s")
        (tmp_path / "data").touch()
        terminal.wait_for(lambda text: re.search(r"step [1-9][\d,]*/5,000", text) is not None and "LIVE" in text)
        (tmp_path / "enough").touch()
        terminal.wait_for("RuntimeError: --headless is mine")
        assert "crashed" in terminal.text
        terminal.press("q")
        assert terminal.wait_for_exit() == 1
        assert leaves_a_clean_terminal(bytes(terminal.raw))
        assert "the script ended with status 1" in terminal.text
        assert status(list_runs()[0]).state == "crashed"


def test_a_script_that_never_trains_leaves_its_last_words_on_the_screen(tmp_path):
    (tmp_path / "only.py").write_text("print('see --help')\nraise SystemExit(4)\n")
    command = [sys.executable, "-m", "tuimon", "run", "only.py"]
    with Terminal(command, 120, 40, {"TUIMON_RUNS": str(runs_root())}, cwd=tmp_path) as terminal:
        terminal.wait_for("Ended before any training step")
        terminal.wait_for("The script ended with status 4. Its last words: see --help")
        terminal.press("q")
        assert terminal.wait_for_exit() == 4
