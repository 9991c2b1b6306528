"""`tuimon autopsy` on runs and files: the module, what it means, what to do; and one line for what cannot be read."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
import training_loops as loops
from torch import Tensor, nn

import tuimon
from tuimon.cli import main
from tuimon.record.events import EventWriter
from tuimon.record.rundir import RunDir

pytestmark = pytest.mark.usefixtures("one_thread")


class Overflowing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.times = nn.Linear(8, 8), 1.0

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.exp(x * self.times))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.middle, self.head = nn.Embedding(loops.VOCABULARY, 8), Overflowing(), nn.Linear(8, loops.VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.middle(self.embed(tokens)))


def trained(run_dir: Path, *, bad: int | None = 12, **options) -> RunDir:
    model = Net()
    opt = torch.optim.AdamW(model.parameters())
    monitor = tuimon.attach(model, opt, run_dir=run_dir, **options)
    for i in range(1, 15):
        model.middle.times = 1e3 if bad is not None and i >= bad else 1.0
        loops.train(model, opt, 1, i)
    monitor.close()
    return RunDir(run_dir)


def test_a_run_that_looked_into_itself_is_told_with_its_chain_and_its_batch(tmp_path, capsys):
    run = trained(tmp_path / "run")
    assert main(["autopsy", str(run.path)]) == 0
    said = capsys.readouterr().out
    assert "step 12: the loss was NaN and the gradient norm was NaN" in said
    assert "first: middle (Overflowing)" in said
    assert "weights of step 0, 11 steps older" in said
    assert "\n>  middle " in said
    assert "clamp what goes into an exp" in said
    path = said.split('torch.load("')[1].split('"')[0]
    assert torch.equal(torch.load(path, weights_only=True)["args"][0], loops.batch(12))


def test_the_same_as_json_and_in_what_diagnose_says(tmp_path, capsys):
    run = trained(tmp_path / "run")
    assert main(["autopsy", "--json", str(run.path)]) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["schema"], body["is_finite"], body["steps"]) == (1, False, 14)
    (one,) = body["autopsies"]
    assert (one["examined"], one["place"], one["module"], one["subject"]) == (12, "code", "middle", "middle (Overflowing)")
    assert one["values"] == {"loss": "NaN", "grad_norm": "NaN"}
    main(["diagnose", "--json", str(run.path)])
    incident = next(i for i in json.loads(capsys.readouterr().out)["incidents"] if i["rule"] == "non-finite")
    assert incident["layer"] == "middle"
    assert "middle (Overflowing) is the first to make it" in incident["why"]


def test_a_run_without_an_autopsy_falls_back_to_the_gradients_and_says_so(tmp_path, capsys):
    run = trained(tmp_path / "run")
    kept = [line for line in run.events.read_text().splitlines() if '"autopsy"' not in line]
    run.events.write_text("\n".join(kept) + "\n")
    assert main(["autopsy", str(run.path)]) == 0
    said = capsys.readouterr().out
    assert "first: perhaps head.bias" in said
    assert "backward order, the fallback" in said
    assert "note: every gradient of that step is such" in said


def test_a_healthy_run_is_one_line(tmp_path, capsys):
    run = trained(tmp_path / "run", bad=None)
    assert main(["autopsy", str(run.path)]) == 0
    assert capsys.readouterr().out == "run: loss and gradients are finite in all 14 steps: nothing to examine\n"
    main(["autopsy", "--json", str(run.path)])
    assert json.loads(capsys.readouterr().out)["is_finite"] is True


def test_a_log_of_another_tool_names_its_layer(tmp_path, capsys):
    log = tmp_path / "log.jsonl"
    layers = [{"a": 1.0, "b": 1.0}, {"a": math.nan, "b": 1.0}]
    log.write_text("".join(json.dumps({"step": i + 1, "loss": [2.0, math.nan][i], "layer_grad_norm": layers[i]}) + "\n" for i in range(2)))
    assert main(["autopsy", str(log)]) == 0
    said = capsys.readouterr().out
    assert "step 2: the loss was NaN" in said
    assert "first: perhaps a" in said
    log.write_text('{"step": 1, "loss": NaN}\n')
    assert main(["autopsy", str(log)]) == 0
    assert "first: unknown" in capsys.readouterr().out


def test_names_from_outside_cannot_write_to_the_terminal(tmp_path, capsys):
    run = trained(tmp_path / "run", bad=None)
    writer = EventWriter(run.events, 1)
    writer.append("autopsy", 3, 0.0, {"examined": 3, "place": "code", "found_by": "replay", "module": "a\x1b[2Jb", "notes": ["\x1b]0;x\x07c"]})
    writer.close()
    assert main(["autopsy", str(run.path)]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "first: ab" in said


@pytest.mark.parametrize(("name", "says"), [
    ("nope", "no run named 'nope'"), ("{tmp}/none.csv", "cannot be read"), ("{tmp}/broken.csv", "line 2"), ("{tmp}", "a directory without logs"),
])
def test_what_cannot_be_read_is_said_in_one_line_with_status_2(name, says, tmp_path, capsys):
    (tmp_path / "broken.csv").write_text("step,loss\n1,x\n")
    where = tmp_path / "empty" if name == "{tmp}" else None
    if where is not None:
        where.mkdir()
    assert main(["autopsy", str(where or name.format(tmp=tmp_path))]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_several_runs_at_once_are_not_examined(tmp_path, capsys):
    for name in ("a", "b"):
        trained(tmp_path / "runs" / name, bad=None, checkpoints="off")
    assert main(["autopsy", str(tmp_path / "runs")]) == 2
    assert "holds 2 runs: name one of them" in capsys.readouterr().err
