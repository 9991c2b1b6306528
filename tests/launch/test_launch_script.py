"""`tuimon run`: scripts as people write them run as without it, and what they train is found, whole and right."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import scripts

from tuimon.errors import UsageError
from tuimon.launch.options import RunOptions, parse
from tuimon.launch.script import environment, launch, run
from tuimon.record.events import EventReader
from tuimon.record.history import History
from tuimon.record.printing import hush
from tuimon.record.rundir import list_runs
from tuimon.record.segments import LogReader
from tuimon.record.status import status


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def started(here, source, *arguments, **options):
    (here / "train.py").write_text(source)
    return launch(RunOptions(script="train.py", arguments=arguments, **options))


def ended(here, source, *arguments, **options):
    begun = started(here, source, *arguments, **options)
    code = begun.process.wait(120)
    begun.tell()
    return begun.run, begun.run.console.read_text(), code


def history(found) -> History:
    told, reader = History(), LogReader(found.metrics)
    while chunks := reader.poll():
        for chunk in chunks:
            told.extend(chunk)
    return told


def column(found, name: str) -> dict[int, float]:
    series = history(found).series(name)
    return dict(zip(series.steps.tolist(), series.values.tolist(), strict=True))


def notes(found) -> list[str]:
    return [event.text("text") for event in EventReader(found.events).poll() if event.kind == "note"]


def f32(hexed: str) -> float:
    import struct

    return struct.unpack("f", struct.pack("f", float.fromhex(hexed)))[0]


def printed_losses(said: str) -> list[float]:
    return [f32(line.split()[-1]) for line in said.replace("\r", "\n").splitlines() if line.startswith(("loss ", "step "))]


def test_a_script_runs_as_without_tuimon_to_the_last_bit_and_its_steps_are_recorded(here):
    (here / "data.txt").write_text("ten words")
    found, said, code = ended(here, scripts.PLAIN, "--lr", "0.2", "-m", "0.5", "--steps", "9")
    assert code == 0, said
    alone = subprocess.run([sys.executable, "train.py", "--lr", "0.2", "-m", "0.5", "--steps", "9"], capture_output=True, text=True)
    assert said == alone.stdout.replace("\r\n", "\n")
    info = found.read_info()
    assert (info.name, info.model.split()[0], info.optimizer) == ("train", "Net", "SGD")
    assert status(found).state == "finished"
    assert list(column(found, "loss").values()) == pytest.approx(printed_losses(said), rel=1e-6)
    assert column(found, "tokens") == dict.fromkeys(range(2, 10), 40.0)  # of the first, half was not seen: unknown
    assert set(column(found, "step_time")) == set(range(2, 10))
    assert set(column(found, "grad_norm")) == set(range(1, 10))


@pytest.mark.parametrize("how", ["fork", pytest.param("spawn", marks=pytest.mark.nightly)])
def test_loader_workers_take_no_part_in_the_run(here, how):
    found, said, code = ended(here, scripts.LOADER, how)
    assert code == 0, said
    assert said == ""
    assert len(list_runs()) == 1
    assert set(column(found, "loss")) == set(range(1, 13))


def test_a_gan_gives_two_runs_and_the_larger_model_is_the_one_on_the_screen(here):
    found, said, code = ended(here, scripts.GAN)
    assert code == 0, said
    (other,) = [r for r in list_runs() if r.name != found.name]
    assert other.name.startswith("Discriminator")
    assert found.read_info().model.startswith("Generator")
    pairs = [line.split()[2:] for line in said.splitlines() if line.startswith("losses")]
    assert list(column(found, "loss").values()) == [f32(g) for g, _ in pairs]
    assert list(column(other, "loss").values()) == [f32(d) for _, d in pairs]
    assert any(other.name in note for note in notes(found))


def test_a_sweep_gives_each_training_a_run_of_its_own(here):
    found, said, code = ended(here, scripts.SWEEP)
    assert code == 0, said
    assert sorted(status(r).step for r in list_runs()) == [4, 8, 16]
    assert {status(r).state for r in list_runs()} == {"finished"}
    assert status(found).step == 4
    assert said.count("recorded in") == 2


@pytest.mark.parametrize("early", ["", pytest.param("1", marks=pytest.mark.nightly)])
def test_a_script_that_attaches_itself_gets_the_run_directory_and_what_was_asked_for(here, monkeypatch, early):
    monkeypatch.setenv("EARLY", early)
    found, said, code = ended(here, scripts.OWN, name="mine", total_steps=7)
    assert code == 0, said
    assert f"dir {found.path}" in said
    assert list_runs() == [found]
    info = found.read_info()
    assert (info.name, info.total_steps, info.attempt) == ("mine", 7, 2 if early else 1)
    assert set(column(found, "loss")) == set(range(1, 6))


def test_what_is_trained_is_found_however_it_is_put_together(here):
    first, said, code = ended(here, scripts.SEVERAL)
    assert code == 0, said
    found = {run.read_info().model.split()[0]: run for run in list_runs()}
    assert found["Scaled"] == first
    said_losses = [line.split()[1:] for line in said.splitlines() if line.startswith("loss ")]
    assert set(found) == {kind for kind, _ in said_losses}
    for kind, run_of in found.items():
        expected = [f32(loss) for name, loss in said_losses if name == kind and kind != "Grad"]
        assert list(column(run_of, "loss").values()) == pytest.approx(expected, rel=1e-6), kind
        assert set(column(run_of, "grad_norm")) == {1, 2, 3, 4}, kind
    assert found["Several"].read_info().optimizer == "SGD+Adam"
    assert [entry.name for entry in found["Encoder+Decoder"].read_info().tensors][:2] == ["encoder.weight", "encoder.bias"]
    assert said.count("no module holds the 1 tensors of this SGD") == 1
    assert said.count("Adam was made for Later after its run had begun: its steps are not measured") == 1
    assert len(found["Several"].read_info().tensors) == 4


def headless(here, source, *arguments, **options):
    (here / "train.py").write_text(source)
    out, err = io.StringIO(), io.StringIO()
    code = run(RunOptions(script="train.py", arguments=arguments, headless=True, **options), out, err)
    return code, json.loads(out.getvalue()), err.getvalue()


@pytest.mark.parametrize(("name", "code", "state", "steps", "says"), [
    ("never.py", 0, "finished", 0, "before any training step; its last words: nothing to train here"),
    ("crashes.py", 1, "crashed", 4, "ValueError: no such layer"),
])
def test_without_a_screen_the_scripts_own_end_is_told(here, name, code, state, steps, says):
    found, body, said = headless(here, scripts.PARTS_OF[name])
    assert (found, body["state"], body["steps"], body["exit_status"]) == (code, state, steps, code)
    assert says in said
    assert "console.log" in said
    if name == "crashes.py":
        console = list_runs()[0].console.read_text()
        assert 'File "' + str(here / "train.py") in console.replace('File "train.py', 'File "' + str(here / "train.py"))
        assert "tuimon" not in console


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is full")
def test_a_log_of_status_lines_that_is_full_ends_no_training(here):
    (here / "train.py").write_text(scripts.PARTS_OF["crashes.py"])
    with open("/dev/full", "w") as full:
        code = run(RunOptions(script="train.py", arguments=[], headless=True), io.StringIO(), full)
        hush(full)
    assert code == 1
    assert "ValueError: no such layer" in list_runs()[0].console.read_text()   # as far as it would have come by itself


EXPLODES = scripts.SWEEP.replace("(4, 8, 16)", "(40,)").replace("AdamW(model.parameters())", "SGD(model.parameters(), lr=1e30)")


def test_a_verdict_that_fails_the_run_has_its_own_status_whatever_the_script_says(here):
    code, body, _ = headless(here, EXPLODES + "raise SystemExit(5)\n")
    assert (code, body["verdict"], body["exit_status"], body["state"]) == (3, "critical", 5, "crashed")
    code, body, _ = headless(here, EXPLODES.replace("range(width)", "range(10**7)"), on_critical="stop")
    assert (code, body["state"], body["exit_status"]) == (3, "stopped", 0)


WAITS = """
import signal, sys, torch
from torch import nn
model = nn.Linear(3, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
def steps(n):
    for _ in range(n):
        opt.zero_grad(); model(torch.randn(5, 3)).square().mean().backward(); opt.step()
steps(4)
print("ready", flush=True)
try:
    signal.pause()
except KeyboardInterrupt:
    print("cleaning up")
    raise
"""


@pytest.mark.parametrize(("number", "state"), [
    (signal.SIGINT, "stopped"), pytest.param(signal.SIGTERM, "stopped", marks=pytest.mark.nightly),
])
def test_a_signal_reaches_the_script_as_if_nobody_watched(here, number, state):
    begun = started(here, WAITS)
    deadline = time.monotonic() + 120
    while begun.run.last_words() != "ready":
        assert time.monotonic() < deadline
        assert begun.poll() is None, begun.run.console.read_text()
        os.sched_yield()
    os.killpg(begun.pid, number)
    assert begun.process.wait(60) == -number
    begun.tell()
    assert status(begun.run).state == state
    assert ("cleaning up" in begun.run.console.read_text()) == (number == signal.SIGINT)


LOOKS = """
import os, sys
print([m for m in ("torch", "numpy", "textual", "psutil") if m in sys.modules])
print([p for p in sys.path if "on_path" in p], os.environ.get("PYTHONPATH"), [n for n in os.environ if n.startswith("TUIMON_") and n != "TUIMON_RUNS"])
print(getattr(sys.modules.get("sitecustomize"), "MARK", None), sys.stdin.read(), os.environ.get("PYTHONUNBUFFERED"))
import subprocess
print(subprocess.run([sys.executable, "-c", "import sys; print('tuimon' in sys.modules)"], capture_output=True, text=True).stdout)
"""


def test_the_script_finds_its_interpreter_as_it_would_be_without_tuimon(here, monkeypatch):
    (here / "mine").mkdir()
    (here / "mine" / "sitecustomize.py").write_text("MARK = 'of this machine'\n")
    monkeypatch.setenv("PYTHONPATH", str(here / "mine"))
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    _, said, code = ended(here, LOOKS)
    assert code == 0, said
    assert said.split() == f"[] [] {here / 'mine'} [] of this machine None False".split()


def test_a_module_runs_as_python_m_runs_it(here):
    (here / "pack").mkdir()
    (here / "pack" / "__init__.py").write_text("")
    (here / "pack" / "train.py").write_text("import sys\nfrom . import __name__ as pack\nprint(pack, __name__, __spec__.name, sys.argv[1:])\n")
    begun = launch(parse(["-m", "pack.train", "--lr", "3", "-m", "x"]))
    assert begun.process.wait(60) == 0
    assert begun.run.console.read_text() == "pack __main__ pack.train ['--lr', '3', '-m', 'x']\n"
    assert begun.run.name.startswith("pack.train")


@pytest.mark.parametrize(("line", "says"), [
    ([], "run wants a script"), (["-m"], "run -m wants a module"), (["nope.py"], "cannot read nope.py: No such file"),
    (["."], "is a directory"), (["broken.py"], "broken.py line 2: "), (["-m", "pack.nope"], "no module named 'pack'"),
    (["-m", "json.nope"], "no module named 'json.nope'"), (["-m", "this.that"], "'this' is no package"),
    (["--total-steps", "0", "x.py"], "--total-steps"), (["null.py"], "null bytes"),
])
def test_what_cannot_run_is_refused_in_one_line_before_anything_starts(here, line, says):
    (here / "broken.py").write_text("x = 1\nif x\n")
    (here / "null.py").write_bytes(b"x = 1\0\n")
    with pytest.raises(UsageError, match=says) as refused:
        launch(parse(line))
    assert "\n" not in str(refused.value)
    assert list_runs() == []


def test_options_after_the_script_are_the_scripts_own():
    options = parse(["--name", "n", "--headless", "train.py", "--headless", "--name", "other", "--", "-m", "x"])
    assert (options.name, options.headless, options.script) == ("n", True, "train.py")
    assert options.arguments == ("--headless", "--name", "other", "--", "-m", "x")


def test_the_environment_of_a_script_names_its_run_once():
    env = environment({"PYTHONPATH": "a:b", "HOME": "/h"}, "/runs/x")
    assert env["TUIMON_RUN_DIR"] == "/runs/x"
    assert env["PYTHONPATH"].endswith("on_path:a:b")
