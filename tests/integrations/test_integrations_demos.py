"""The demos of frameworks do what they show, and what they recorded is what the framework said."""

from __future__ import annotations

import importlib.util
import json
import runpy
from pathlib import Path
from typing import Any

import framework_parts as parts
import pytest
import training_loops as loops

from tuimon.record.rundir import list_runs

DEMOS = Path(__file__).resolve().parents[2] / "demos"
pytestmark = pytest.mark.filterwarnings("ignore")  # a demo is run as anybody would run it


def ran(demo: str, steps: int, framework: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Path]:
    """The trainer that the script leaves behind, and the directory of its run."""
    if not importlib.util.find_spec(framework):
        pytest.skip(f"{framework} is not installed")
    monkeypatch.setattr("sys.argv", [demo, str(steps)])
    left = runpy.run_path(str(DEMOS / demo), run_name="__main__")
    (run,) = list_runs()
    assert parts.ending_of(run.path) == ("finished", None)
    assert json.loads((run.path / "run.json").read_text())["total_steps"] == steps
    return left["trainer"], run.path


@pytest.mark.nightly
def test_the_demo_of_hugging_face_records_what_its_trainer_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, run = ran("attach_hf_trainer.py", 4, "transformers", monkeypatch)
    recorded = loops.read(run)
    own = [entry for entry in trainer.state.log_history if "grad_norm" in entry]
    assert recorded.steps == [entry["step"] for entry in own] == [1, 2, 3, 4]
    for entry in own:
        row = recorded.row(entry["step"])
        assert (row["loss"], row["lr"]) == (entry["loss"], entry["learning_rate"])
        assert f"{row['grad_norm']:.4}" == f"{entry['grad_norm']:.4}"
        assert (row["tokens"], row["clipped"]) == (2 * 6 * 64, 1.0)
    assert recorded.row(4)["val_loss"] == trainer.state.log_history[-2]["eval_loss"]


def test_the_demo_of_lightning_records_each_update_and_its_validations(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer, run = ran("attach_lightning.py", 4, "lightning", monkeypatch)
    recorded = loops.read(run)
    assert trainer.global_step == 4
    assert recorded.steps == [1, 2, 3, 4]
    assert all(1.0 < recorded.row(step)["loss"] < 6.0 for step in recorded.steps)
    assert set(recorded.columns["tokens"].values()) == {2 * 6 * 64}
    assert recorded.columns["val_loss"].keys() == {1, 2, 3, 4}
    assert recorded.row(4)["val_loss"] == pytest.approx(float(trainer.callback_metrics["val_loss"]))
