"""Every command over runs and logs that say what they should not: what it prints, and what it complains of, can be read."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from pty_terminal import Terminal

from tests.security.hostile_runs import DIRECTORY, foreign_logs, hostile_run, unreadable_run
from tests.security.hostile_text import COLOURS, NASTY, NOTHING, strangers
from tuimon.cli import main
from tuimon.record.rundir import runs_root

ODD = NASTY.replace("\x00", "")
"""As an argument: a system takes no NUL in one."""
OUR_SIGN = "\ufe0e".encode()
"""In a report: have a sign drawn as text."""
GROUPS: dict[str, list[list[str]]] = {
    "runs": [["runs"], ["runs", "--json"], ["runs", ODD], ["runs", f"lr>{ODD}"], ["runs", f"{ODD}:x"], ["runs", "--", f"-{ODD}"]],
    "watch": [["watch", "crashed", "--plain"], ["watch", "./crashed", "--plain"], ["watch", "./EVIL", "--plain"], ["watch", "./broken", "--plain"],
              ["watch", ODD], ["watch", f"./{ODD}/x"], ["watch", "crashed", "--theme", ODD], ["watch", "crashed", "--fps", ODD], ["watch", "crashed", "--rules", ODD]],
    "diagnose": [["diagnose", "./EVIL"], ["diagnose", "./EVIL", "--json"], ["diagnose", "."], ["diagnose", "./broken"], ["diagnose", "LOGS"], ["diagnose", "CSV"], ["diagnose", "JSONL"],
                 ["diagnose", "HF"], ["diagnose", "BAD CSV"], ["diagnose", "BAD JSONL"], ["diagnose", "UNKNOWN"], ["diagnose", "./crashed", "--rules", "notebook"],
                 ["diagnose", ODD], ["diagnose", "CSV", "--fail-on", ODD]],
    "autopsy": [["autopsy", "./EVIL"], ["autopsy", "./EVIL", "--json"], ["autopsy", "CSV"], ["autopsy", "JSONL"], ["autopsy", "LOGS"], ["autopsy", ODD]],
    "words": [["explain", ODD], ["explain", ODD, "--markdown"], ["guide", ODD], [ODD], ["runs", f"--{ODD}"], ["demo", ODD], ["demo", "healthy", f"--{ODD}", "x"],
              ["demo", "healthy", "--lr", ODD], ["run", ODD], ["run", f"./{ODD}.py"], ["run", "-m", ODD], ["run", "--detail", ODD, "x.py"], ["run", "--headless", f"{ODD}.py"]],
    "compare": [["compare", "./crashed", "./EVIL", "CSV", "JSONL", "--plain"], ["compare", "LOGS", "./broken", "--plain"], ["compare", "CSV", ODD, "--plain"], ["compare", "CSV", "--plain"]],
    "plot": [["plot", "./EVIL"], ["plot", "./EVIL", "loss", "grad_norm", "--overlay"], ["plot", "CSV", f"a{ODD}"], ["plot", "./EVIL", ODD], ["plot", "JSONL", "loss", "lr"], ["plot", ODD],
             ["plot", "LOGS"], ["plot", "CSV", "--first", ODD], ["plot", "CSV", "--width", ODD], ["plot", "./EVIL", "COLUMN"], ["plot", "./EVIL", "--ascii"]],
    "curve": [["curve", "CSV"], ["curve", "CSV", "JSONL", "./EVIL"], ["curve", "./EVIL", "--json"], ["curve", "CSV", "--target", ODD], ["curve", "CSV", "--total-steps", ODD], ["curve", "UNKNOWN"], ["curve", ODD]],
    "report": [["report", "./EVIL", "-o", "-"], ["report", "JSONL", "-o", "-"], ["report", "CSV", "-o", f"{DIRECTORY}.html"], ["report", "CSV", "-o", f"{DIRECTORY}.html"], ["report", "CSV", "-o", f"{ODD}/x/y.html"],
               ["report", "./EVIL"], ["report", "LOGS"], ["report", ODD]],
    "export": [*(["export", "./EVIL", "--to", to, "-o", "-", "--layers", "--events"] for to in ("csv", "jsonl", "sqlite", "tfevents")), ["export", "./EVIL", "--to", "csv", "-o", "-", "--layers"],
               ["export", "CSV", "-o", f"{DIRECTORY}.jsonl", "--layers"], ["export", "CSV", "-o", f"{DIRECTORY}.jsonl"], ["export", "JSONL", "--to", "csv", "-o", "-", "--layers"],
               ["export", "./EVIL", "--to", "csv", "--metrics", ODD], ["export", "LOGS", "--to", "csv"], ["export", "CSV", "--to", ODD], ["export", ODD, "--to", "csv"]],
    "mirror": [["mirror", "./EVIL", "--tensorboard", f"board{DIRECTORY}", "--once"], ["mirror", "./crashed", "--tensorboard", "board", "--layers"], ["mirror", ODD, "--tensorboard", "x"],
               ["mirror", "./broken", "--tensorboard", "board", "--once"], ["mirror", "./EVIL", "--tensorboard", f"csv/{ODD}", "--once"]],
}


@pytest.fixture
def names(tmp_path, monkeypatch) -> dict[str, str]:
    """Word of the table -> what is given."""
    hostile_run(end="crashed", alive=False)
    hostile_run(directory="crashed", end="crashed", alive=False)
    broken = unreadable_run()
    (tmp_path / "logs").mkdir()
    logs = foreign_logs(tmp_path / "logs")
    monkeypatch.chdir(runs_root())
    monkeypatch.setenv("COLUMNS", "100")
    return {"EVIL": DIRECTORY, "broken": broken.name, "LOGS": str(tmp_path / "logs"), "COLUMN": DIRECTORY.removeprefix("evil").removesuffix("\udcff"),
            **{kind.upper(): str(path) for kind, path in logs.items()}}


def _given(argv: list[str], names: dict[str, str]) -> list[str]:
    return [names.get(word) or (f"./{names[word[2:]]}" if word.startswith("./") and word[2:] in names else word) for word in argv]


@pytest.mark.parametrize("group", GROUPS)
def test_what_a_command_prints_can_only_be_read(group, names, capsysbinary):
    odd, kinds = [], set()
    for argv in GROUPS[group]:
        try:
            status = main(_given(argv, names))
        except SystemExit as left:
            status = left.code
        out, err = capsysbinary.readouterr()
        kinds.add(status)
        if status not in (0, 2, 3):
            odd.append((argv, status, err[-200:]))
        for stream, said in (("out", out), ("err", err)):
            if found := strangers(said.replace(OUR_SIGN, b""), NOTHING):
                odd.append((argv, stream, found[:3]))
        assert err.count(b"\n") <= 4, err
    assert odd == []
    assert kinds & {0, 3} or group == "words"


def test_neither_can_what_it_prints_on_a_terminal(names):
    lines = [_given(argv, names) for group in GROUPS.values() for argv in group if "sqlite" not in argv and "tfevents" not in argv and argv[0] not in ("demo", "run") and "--plain" not in argv and argv[0] not in ("watch", "mirror")]
    program = ("import json, sys\nfrom tuimon.cli import main\n"
               "from tuimon.formats import progress\nprogress.PATIENCE = 1e9   # no bar on a slow machine\nfor argv in json.load(open(sys.argv[1])):\n"
               "    try:\n        main(argv)\n    except SystemExit:\n        pass\nprint('the end')\n")
    listed = Path(names["LOGS"]).parent / "lines.json"
    listed.write_text(json.dumps(lines))
    with Terminal([sys.executable, "-c", program, str(listed)], 100, 40, {"TUIMON_RUNS": str(runs_root())}, cwd=os.getcwd()) as terminal:
        assert terminal.wait_for_exit(60) == 0
        assert "the end" in terminal.text
        assert strangers(bytes(terminal.raw).replace(OUR_SIGN, b""), COLOURS) == []
        assert b"\x1b[38;2;" in terminal.raw
