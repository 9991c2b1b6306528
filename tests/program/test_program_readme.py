"""Every command in the README does what the README says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from pty_terminal import Terminal

from tuimon.record.liveness import is_alive
from tuimon.record.rundir import list_runs, runs_root

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines() if line.strip()]
INSTALLS = [c for c in COMMANDS if "-m venv" in c]
STEPPED = r"step [1-9][\d ]*/"
"""The header's step of how many; event lines speak of steps too, also before the first."""
GALLERY = ".venv/bin/tuimon demo --all"
DEMOS = [c for c in COMMANDS if " demo " in c and c not in {*INSTALLS, GALLERY} and "--headless" not in c]
PRINTED = [c for c in COMMANDS if " explain " in c or " curve " in c]
RUNS = [c for c in COMMANDS if " run " in c]
EXPORTS = [c for c in COMMANDS if " export " in c or " mirror " in c]


def arguments(command: str) -> list[str]:
    first, *rest = shlex.split(command)
    assert first == ".venv/bin/tuimon"
    return [sys.executable, "-m", "tuimon", *rest]


def test_every_command_is_known_to_a_test():
    others = {*PRINTED, ".venv/bin/tuimon watch", ".venv/bin/tuimon runs", ".venv/bin/tuimon diagnose --json",
              ".venv/bin/tuimon autopsy", ".venv/bin/tuimon checkpoints --verify", ".venv/bin/tuimon guide exploding",
              ".venv/bin/tuimon demo exploding --headless --on-critical rescue", GALLERY, *RUNS, *EXPORTS}
    assert set(COMMANDS) == {*INSTALLS, *DEMOS, *others}
    assert len(INSTALLS) == 2


@pytest.mark.parametrize("command", PRINTED)
def test_what_only_prints_prints_something_and_succeeds(command):
    done = subprocess.run(arguments(command), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 10


@pytest.mark.parametrize("command", DEMOS)
def test_a_demo_opens_and_shows_live_numbers(command):
    with Terminal(arguments(command), 120, 40, {"TUIMON_RUNS": str(runs_root())}) as terminal:
        terminal.wait_for(shlex.split(command)[2])
        terminal.wait_for(lambda text: "LIVE" in text and re.search(STEPPED, text) is not None, 90)


@pytest.mark.nightly   # by day the panel of several is in tests/viewer
def test_the_four_of_the_notebook_open_beside_each_other_and_one_answer_ends_them_all():
    with Terminal(arguments(GALLERY), 120, 40, {"TUIMON_RUNS": str(runs_root())}) as terminal:
        terminal.wait_for(lambda text: len(re.findall(r"(?:healthy|exploding|vanishing|slow)  step [1-9]", text)) == 4, 150)
        terminal.press("q")
        terminal.wait_for("Leave")
        terminal.press("e")
        assert terminal.wait_for_exit(60) == 0
    assert all(run.read_launch() and not is_alive(run.read_launch().process) for run in list_runs())


def test_the_one_line_works_in_a_script_and_its_run_can_be_listed_watched_judged_and_exported(tmp_path):
    (script,) = blocks("python")
    assert script.count("tuimon.attach") == 1
    env = {**os.environ, "TUIMON_RUNS": str(runs_root())}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    runs = subprocess.run(arguments(".venv/bin/tuimon runs"), capture_output=True, text=True, env=env)
    assert "finished" in runs.stdout
    assert "200" in runs.stdout
    judged = subprocess.run(arguments(".venv/bin/tuimon diagnose --json"), capture_output=True, text=True, env=env)
    body = json.loads(judged.stdout)
    assert (body["schema"], body["steps"], body["state"]) == (1, 200, "finished")
    examined = subprocess.run(arguments(".venv/bin/tuimon autopsy"), capture_output=True, text=True, env=env)
    assert "finite in all 200 steps" in examined.stdout
    stored = subprocess.run(arguments(".venv/bin/tuimon checkpoints --verify"), capture_output=True, text=True, env=env)
    assert (stored.returncode, "no checkpoints, " in stored.stdout) == (0, True)
    for command in EXPORTS:
        done = subprocess.run(arguments(command), capture_output=True, cwd=tmp_path, env={**env, "PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stderr
    assert {path.suffix for path in tmp_path.iterdir()} == {".csv", ".sqlite", ""}
    with Terminal(arguments(".venv/bin/tuimon watch"), 120, 40, env) as terminal:
        terminal.wait_for("finished")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0


@pytest.mark.nightly
def test_a_script_without_a_line_opens_on_the_screen_and_is_judged_without_one():
    on_screen, without = RUNS
    with Terminal(arguments(on_screen), 120, 40, {"TUIMON_RUNS": str(runs_root())}, cwd=ROOT) as terminal:
        terminal.wait_for("no_line")
        terminal.wait_for(lambda text: "LIVE" in text and re.search(STEPPED, text.replace(" ● LIVE", "/")) is not None, 90)
    done = subprocess.run(arguments(without), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    assert (body["steps"], body["state"], body["exit_status"]) == (200, "finished", 0)


def test_the_headless_rescue_prints_one_object():
    command = arguments(".venv/bin/tuimon demo exploding --headless --on-critical rescue")
    done = subprocess.run([*command, "--speed", "1000", "--steps", "260"], capture_output=True, text=True)
    assert json.loads(done.stdout)["rescues"] >= 1
    assert done.returncode == 0


def test_every_demo_is_named():
    from tuimon.demo.scenarios import SCENARIOS

    assert [name for name in SCENARIOS if f"demo {name}" not in README and f"| `{name}` |" not in README] == []


def test_the_keys_in_the_readme_are_the_keys_of_the_program():
    from tuimon.viewer.actions import actions_markdown

    table = re.search(r"<!-- keys -->\n(.*?)<!-- /keys -->", README, re.DOTALL)
    assert table is not None
    assert table.group(1).strip() == actions_markdown().strip()


def test_ci_runs_the_test_command_of_the_readme():
    script = (ROOT / ".ci" / "run").read_text()
    make, install, run = (part.strip() for part in INSTALLS[1].split("&&"))
    assert make in script
    assert install in script
    assert run.removeprefix(".venv-test/bin/") in script


@pytest.mark.install
def test_the_first_command_takes_a_newcomer_from_a_clone_to_a_live_chart(tmp_path):
    clone = tmp_path / "tuimon"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    with Terminal(["sh", "-c", f"cd {shlex.quote(str(clone))} && {INSTALLS[0]}"], 120, 40, {"TUIMON_RUNS": str(runs_root())}) as terminal:
        terminal.wait_for(lambda text: "LIVE" in text and re.search(STEPPED, text) is not None, 900)
