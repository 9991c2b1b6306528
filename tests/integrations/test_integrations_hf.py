"""Hugging Face's Trainer: what is recorded is what it logs itself, and what a person asks for happens inside it."""

from __future__ import annotations

import copy
import importlib.util
import json
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

if not importlib.util.find_spec("transformers"):
    pytest.skip("transformers is not installed", allow_module_level=True)

import framework_parts as parts
import torch
import training_loops as loops

import tuimon

BATCH, STEPS = 2, 6
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft asks for it


@pytest.fixture
def hf() -> Any:
    """Loaded when a test runs, not when tests are collected: it takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers
    transformers.logging.set_verbosity_error()
    return transformers


def model_of(hf: Any) -> Any:
    torch.manual_seed(0)
    return hf.GPT2LMHeadModel(hf.GPT2Config(
        vocab_size=parts.VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0))


def trainer_of(hf: Any, where: Path, *, model: Any = None, callbacks: Any = (), optimizers: Any = (None, None), **options: Any) -> Any:
    given = {"gradient_accumulation_steps": 2, "lr_scheduler_type": "cosine", "warmup_steps": 2, "learning_rate": 1e-2,
             "save_strategy": "no", "max_steps": STEPS, "max_grad_norm": 1.0, **options}
    args = hf.TrainingArguments(
        str(where / "out"), use_cpu=True, report_to="none", disable_tqdm=True, logging_steps=1, seed=3,
        per_device_train_batch_size=BATCH, dataloader_pin_memory=False, **given)
    data = parts.sentences(64)
    return hf.Trainer(model or model_of(hf), args, train_dataset=data, eval_dataset=data[:8],
                      callbacks=list(callbacks), optimizers=optimizers)


def logged(trainer: Any) -> list[dict[str, float]]:
    """What the Trainer says of each update."""
    return [entry for entry in trainer.state.log_history if "grad_norm" in entry]


def at_step(hf: Any, step: int, act: Callable[[Any], None], *, of: str = "on_step_begin") -> Any:
    """A callback that does something in the middle of training; `step` updates have been done."""
    class Acting(hf.TrainerCallback):
        pass

    def called(self: Any, args: Any, state: Any, control: Any, **trainer: Any) -> None:
        if state.global_step == step:
            act(trainer["model"])

    setattr(Acting, of, called)
    return Acting()


def assert_its_own_numbers(trainer: Any, recorded: loops.Recorded, tokens: int) -> None:
    own = logged(trainer)
    assert recorded.steps == list(range(1, len(own) + 1))
    for said in own:
        row = recorded.row(said["step"])
        assert row["loss"] == said["loss"]
        assert row["grad_norm"] == pytest.approx(said["grad_norm"], rel=1e-6)
        assert f"{row['grad_norm']:.4}" == f"{said['grad_norm']:.4}"
        assert row["lr"] == said["learning_rate"]
        assert (row["tokens"], row["clipped"]) == (tokens, 1.0)


@pytest.mark.parametrize("accumulate", [2, 4])
def test_one_line_records_the_loss_and_the_norm_that_the_trainer_logs(hf: Any, accumulate: int, tmp_path: Path) -> None:
    ends = []
    for attached in (False, True):
        model = model_of(hf)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
        schedule = hf.get_linear_schedule_with_warmup(optimizer, 2, STEPS)
        monitor = tuimon.attach(model, optimizer, run_dir=tmp_path / "run", detail="full") if attached else None
        trainer = trainer_of(hf, tmp_path, model=model, optimizers=(optimizer, schedule), gradient_accumulation_steps=accumulate,
                             eval_strategy="steps", eval_steps=3)
        trainer.train()
        if monitor is not None:
            monitor.close()
        ends.append(([e["loss"] for e in logged(trainer)], parts.weights(model), torch.get_rng_state()))
    assert_its_own_numbers(trainer, loops.read(tmp_path / "run"), BATCH * accumulate * parts.LENGTH)
    assert ends[0][0] == ends[1][0]
    assert parts.same(ends[0][1], ends[1][1])
    assert torch.equal(ends[0][2], ends[1][2])


def test_the_callback_knows_what_the_trainer_knows(hf: Any, tmp_path: Path) -> None:
    callback = tuimon.integrations.HFCallback(run_dir=tmp_path / "run", detail="full")
    trainer = trainer_of(hf, tmp_path, eval_strategy="steps", eval_steps=3)
    trainer.compute_metrics = lambda seen: {"accuracy": float((seen.predictions.argmax(-1) == seen.label_ids).mean())}
    trainer.add_callback(callback)
    assert callback.monitor is None
    trainer.train()
    recorded = loops.read(tmp_path / "run")
    assert_its_own_numbers(trainer, recorded, BATCH * 2 * parts.LENGTH)
    evaluated = {e["step"]: e for e in trainer.state.log_history if "eval_loss" in e}
    assert recorded.columns["val_loss"] == {step: pytest.approx(e["eval_loss"]) for step, e in evaluated.items()}
    assert recorded.columns["eval_accuracy"] == {step: e["eval_accuracy"] for step, e in evaluated.items()}
    assert evaluated.keys() == {3, 6}
    assert not [name for name in recorded.columns if "runtime" in name or "per_second" in name or name == "epoch"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["total_steps"] == STEPS
    assert parts.ending_of(tmp_path / "run") == ("finished", None)
    assert callback.monitor is None
    bare = trainer_of(hf, tmp_path, eval_strategy="steps", eval_steps=3)
    bare.train()
    assert parts.same(parts.weights(bare.model), parts.weights(trainer.model))


def test_a_stop_ends_training_by_the_trainers_own_flag_and_it_can_be_resumed(hf: Any, tmp_path: Path) -> None:
    """The checkpoint that the Trainer wrote last is whole: what is resumed from it ends where nobody had stopped."""
    kept = {"save_strategy": "steps", "save_steps": 1}
    undisturbed = trainer_of(hf, tmp_path / "undisturbed")
    undisturbed.train()
    callback = tuimon.integrations.HFCallback(run_dir=tmp_path / "run")
    stopped = trainer_of(hf, tmp_path, callbacks=[callback, at_step(hf, 2, lambda _: parts.tell(callback.monitor, "stop"))], **kept)
    stopped.train()
    assert (stopped.state.global_step, stopped.control.should_training_stop) == (3, True)
    assert parts.ending_of(tmp_path / "run") == ("stopped", None)

    again = tuimon.integrations.HFCallback(run_dir=tmp_path / "run")
    resumed = trainer_of(hf, tmp_path, callbacks=[again], **kept)
    resumed.train(resume_from_checkpoint=True)
    assert parts.same(parts.weights(resumed.model), parts.weights(undisturbed.model))
    recorded = loops.read(tmp_path / "run")
    assert recorded.steps == [1, 2, 3, 4, 5, 6]
    assert [recorded.row(e["step"])["loss"] for e in logged(undisturbed)] == [e["loss"] for e in logged(undisturbed)]
    assert [e["from_step"] for e in parts.events(tmp_path / "run", "attempt")] == [0, 3]
    assert parts.ending_of(tmp_path / "run") == ("finished", None)


def test_a_stop_also_ends_a_trainer_that_has_only_the_one_line(hf: Any, tmp_path: Path) -> None:
    model = model_of(hf)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    with tuimon.attach(model, optimizer, run_dir=tmp_path / "run") as monitor:
        trainer = trainer_of(hf, tmp_path, model=model, optimizers=(optimizer, None), max_steps=50,
                             callbacks=[at_step(hf, 2, lambda _: parts.tell(monitor, "stop"))])
        trainer.train()
        assert trainer.state.global_step < 6
    assert parts.ending_of(tmp_path / "run") == ("stopped", None)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_cut_of_the_rate_is_exact_on_every_step_and_undone_exactly(hf: Any, schedule: str, tmp_path: Path) -> None:
    callback = tuimon.integrations.HFCallback(run_dir=tmp_path / "run")
    trainer = trainer_of(hf, tmp_path, lr_scheduler_type=schedule, max_steps=9, callbacks=[
        callback,
        at_step(hf, 2, lambda _: parts.tell(callback.monitor, "set-lr-scale", scale=0.1)),
        at_step(hf, 5, lambda _: parts.tell(callback.monitor, "undo-overrides"))])
    trainer.train()
    bare = trainer_of(hf, tmp_path, lr_scheduler_type=schedule, max_steps=9)
    bare.train()
    scheduled = {e["step"]: e["learning_rate"] for e in logged(bare)}
    assert {e["step"]: e["learning_rate"] for e in logged(trainer)} == scheduled
    recorded = loops.read(tmp_path / "run").columns["lr"]
    assert recorded == {step: rate * (0.1 if step in (4, 5, 6) else 1.0) for step, rate in scheduled.items()}


def test_a_rescue_goes_back_and_cuts_inside_the_trainer_and_the_cut_survives_a_resume(hf: Any, tmp_path: Path) -> None:
    callback = tuimon.integrations.HFCallback(run_dir=tmp_path / "run")
    model = model_of(hf)
    initial, after = parts.weights(model), []
    trainer = trainer_of(hf, tmp_path, model=model, save_strategy="steps", save_steps=5, callbacks=[
        callback,
        at_step(hf, 3, lambda _: parts.tell(callback.monitor, "rescue", step=0, warmup=0)),
        at_step(hf, 4, lambda model: after.extend(parts.weights(model)), of="on_step_end")])
    trainer.train()
    assert parts.outcomes(tmp_path / "run", "rescue")[-1] == "applied"
    assert parts.same(initial, after)
    assert trainer.state.global_step == STEPS
    scheduled = {e["step"]: e["learning_rate"] for e in logged(trainer)}
    assert loops.read(tmp_path / "run").columns["lr"] == {s: r * (0.1 if s > 4 else 1.0) for s, r in scheduled.items()}

    again = trainer_of(hf, tmp_path, callbacks=[tuimon.integrations.HFCallback(run_dir=tmp_path / "again")])
    again.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-5"))
    assert loops.read(tmp_path / "again").columns["lr"] == {6: scheduled[6] * 0.1}


def test_a_training_that_an_exception_ended_is_closed_as_that_when_the_next_begins(hf: Any, tmp_path: Path) -> None:
    def fail(_: Any) -> None:
        if not failed:
            failed.append(True)
            raise ValueError("out of luck")

    failed: list[bool] = []
    callback = tuimon.integrations.HFCallback()
    trainer = trainer_of(hf, tmp_path, callbacks=[callback, at_step(hf, 2, fail)])
    with pytest.raises(ValueError, match="out of luck"):
        trainer.train()
    first = callback.monitor.run_dir
    trainer.train()
    assert parts.ending_of(first) == ("crashed", "the trainer left its loop without ending the training")
    assert trainer.state.global_step == STEPS
    assert loops.read(first).steps == [1, 2]


def test_what_fails_in_tuimon_is_one_warning_and_the_training_goes_on(hf: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    trainer = trainer_of(hf, tmp_path, callbacks=[tuimon.integrations.HFCallback(run_dir=tmp_path / "file" / "run")])
    with pytest.warns(RuntimeWarning, match=r"HFCallback does not watch this training, which goes on: cannot make") as caught:
        trainer.train()
    assert len(caught) == 1
    assert trainer.state.global_step == STEPS


def test_a_copy_of_a_callback_in_use_watches_nothing_and_keeps_its_arguments(hf: Any, tmp_path: Path) -> None:
    def take(_: Any) -> None:
        copies.extend([copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))])

    copies: list[Any] = []
    callback = tuimon.integrations.HFCallback(run_dir=tmp_path / "run")
    trainer_of(hf, tmp_path, callbacks=[callback, at_step(hf, 2, take)]).train()
    assert [c.monitor for c in copies] == [None, None]
    trainer_of(hf, tmp_path, callbacks=[copies[1]]).train()
    assert [e["number"] for e in parts.events(tmp_path / "run", "attempt")] == [1, 2]


@pytest.mark.parametrize(("arguments", "said"), [
    ({"total_step": 3}, "takes what attach takes after the optimizer, not total_step="),
    ({"detail": "everything"}, "detail must be one of"),
    ({"on_critical": "hold", "controls": False}, "needs controls=True"),
])
def test_a_wrong_argument_is_said_before_anything_is_trained(hf: Any, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(tuimon.AttachError, match=said):
        tuimon.integrations.HFCallback(**arguments)


def test_of_a_model_with_adapters_the_adapters_are_watched_and_the_base_is_named_as_frozen(hf: Any, tmp_path: Path) -> None:
    if not importlib.util.find_spec("peft"):
        pytest.skip("peft is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from peft import LoraConfig, get_peft_model
    ends = []
    for attached in (False, True):
        base = model_of(hf)
        model = get_peft_model(base, LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True, task_type="CAUSAL_LM"))
        callbacks = [tuimon.integrations.HFCallback(run_dir=tmp_path / "run", detail="full")] if attached else []
        trainer = trainer_of(hf, tmp_path, model=model, callbacks=callbacks)
        trainer.train()
        ends.append(parts.weights(model))
    assert parts.same(*ends)
    recorded = loops.read(tmp_path / "run")
    assert_its_own_numbers(trainer, recorded, BATCH * 2 * parts.LENGTH)
    adapters = [p for n, p in model.named_parameters() if "lora_" in n]
    norm = torch.stack([p.detach().double().norm() for p in adapters]).norm().item()
    assert recorded.row(STEPS)["param_norm"] == pytest.approx(norm, rel=1e-5)
    table = json.loads((tmp_path / "run" / "run.json").read_text())["tensors"]
    assert [t["trained"] for t in table] == ["lora_" in t["name"] for t in table]
    assert not [e for e in parts.events(tmp_path / "run", "note") if "held by no" in e["text"]]


def test_a_batch_of_which_no_label_counts_is_named_by_an_autopsy(hf: Any, tmp_path: Path) -> None:
    """Autocast inside of the model's forward, a loss of the model's own, batches of the Trainer's loader."""
    callback = tuimon.integrations.HFCallback(run_dir=tmp_path / "run")
    trainer = trainer_of(hf, tmp_path, callbacks=[callback], bf16=True, gradient_accumulation_steps=1, max_steps=3)
    trainer.train_dataset = [{**sample, "labels": torch.full_like(sample["labels"], -100)} for sample in parts.sentences(8)]
    trainer.train()
    (found,) = parts.events(tmp_path / "run", "autopsy")
    assert (found["examined"], found["found_by"], found["place"], found["module"]) == (1, "replay", "labels", "labels")
