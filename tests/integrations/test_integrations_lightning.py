"""Lightning: automatic and manual optimization, accumulation and clipping on; a stop by its own flag; what resumes."""

from __future__ import annotations

import copy
import importlib.util
import json
import pickle
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

if not importlib.util.find_spec("lightning"):
    pytest.skip("lightning is not installed", allow_module_level=True)

import framework_parts as parts
import torch
import training_loops as loops
from training_loops import Book, Net

import tuimon

ACCUMULATE, STEPS, CLIP = 2, 5, 0.05
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*exists and is not empty"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated"),
]


@pytest.fixture
def pl() -> Any:
    """Loaded when a test runs, not when tests are collected: it takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightning.pytorch as pl
    return pl


def module_of(pl: Any, *, manual: bool = False, several: bool = False, tell: Callable[[Any], None] | None = None) -> Any:
    """A LightningModule that keeps its own book of what is true, from the hooks that Lightning gives it."""

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.net = Net()
            self.automatic_optimization = not manual
            self.total, self.count = 0.0, 0

        def configure_optimizers(self) -> Any:
            if several:
                self.made = [torch.optim.SGD(self.net.blocks.parameters(), lr=0.1),
                             torch.optim.AdamW([*self.net.embed.parameters(), *self.net.head.parameters()], lr=1e-2)]
                self.book = Book(self.made)
                return self.made
            self.made = [torch.optim.AdamW(self.parameters(), lr=1e-2)]
            self.book = Book(self.made)
            if tell is not None:
                tell(self)
            schedule = torch.optim.lr_scheduler.LambdaLR(self.made[0], lambda n: 1 / (1 + n))
            return {"optimizer": self.made[0], "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

        def training_step(self, tokens: Any, i: int) -> Any:
            loss = loops.loss_of(self.net, tokens) / (ACCUMULATE if manual else 1)
            self.total += loss.item() / (1 if manual else ACCUMULATE)
            self.count += tokens.numel()
            if not manual:
                return loss
            self.manual_backward(loss)
            if i % ACCUMULATE == ACCUMULATE - 1:
                self.by_hand()
            return None

        def by_hand(self) -> None:
            optimizers = self.optimizers()
            optimizers = optimizers if isinstance(optimizers, Sequence) else [optimizers]
            self.write()
            torch.nn.utils.clip_grad_norm_(self.parameters(), CLIP)
            self.book.weights()
            for optimizer in optimizers:
                optimizer.step()
            self.wrote()
            for optimizer in optimizers:
                optimizer.zero_grad()
            if (schedule := self.lr_schedulers()) is not None:
                schedule.step()

        def configure_gradient_clipping(self, optimizer: Any, *limits: Any, **more: Any) -> None:
            if manual:
                return
            self.write()
            super().configure_gradient_clipping(optimizer, *limits, **more)
            self.book.weights()

        def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
            super().optimizer_step(*args, **kwargs)
            self.wrote()

        def write(self) -> None:
            self.book.gradients()
            self.rate = self.made[0].param_groups[0]["lr"]

        def wrote(self) -> None:
            self.book.stepped(loss=self.total, lr=self.rate, clipped=CLIP, tokens=self.count)
            self.total, self.count = 0.0, 0

        def validation_step(self, tokens: Any, i: int) -> None:
            loss = loops.loss_of(self.net, tokens)
            self.log_dict({"val/loss": loss, "val_double": 2 * loss, "other": loss})

    return Module()


def loader(seed: int, count: int = ACCUMULATE * STEPS) -> Any:
    data = [loops.batch(seed + i)[0] for i in range(count * loops.BATCH)]
    return torch.utils.data.DataLoader(data, loops.BATCH)  # type: ignore[arg-type]  # a list is a dataset


def fit(pl: Any, where: Path, module: Any, *callbacks: Any, ckpt_path: str | None = None, **options: Any) -> Any:
    given = {"max_epochs": 1, "enable_checkpointing": False, "val_check_interval": ACCUMULATE * 2, **options}
    if module.automatic_optimization:
        given.update(accumulate_grad_batches=ACCUMULATE, gradient_clip_val=CLIP)
    trainer = pl.Trainer(accelerator="cpu", devices=1, default_root_dir=where, logger=False, enable_progress_bar=False,
                         enable_model_summary=False, callbacks=list(callbacks), **given)
    trainer.fit(module, loader(0), loader(1000, 3), ckpt_path=ckpt_path)
    return trainer


def before_batch(pl: Any, batch: int, act: Callable[[], None]) -> Any:
    """A callback that does something before the batch of that number in each epoch."""

    class Acting(pl.Callback):  # type: ignore[name-defined,misc]
        def on_train_batch_start(self, trainer: Any, module: Any, inputs: Any, i: int) -> None:
            if i == batch:
                act()

    return Acting()


def assert_as_in_the_book(recorded: loops.Recorded, book: Book) -> None:
    assert recorded.steps == list(range(1, len(book.steps) + 1))
    for step, true in enumerate(book.steps, start=1):
        for name, value in true.items():
            assert recorded.row(step).get(name) == pytest.approx(value, rel=2e-5), f"{name} at step {step}"


@pytest.mark.parametrize("kind", ["automatic", "manual", "several optimizers"])
def test_each_update_is_recorded_as_it_was_and_validation_is_not_counted(pl: Any, kind: str, tmp_path: Path) -> None:
    ends = []
    for watched in (False, True):
        module = module_of(pl, manual=kind != "automatic", several=kind == "several optimizers")
        callback = tuimon.integrations.LightningCallback(run_dir=tmp_path / "run", detail="full")
        fit(pl, tmp_path, module, *([callback] if watched else []))
        ends.append((repr(module.book.steps), parts.weights(module)))
    assert len(module.book.steps) == STEPS
    recorded = loops.read(tmp_path / "run")
    assert_as_in_the_book(recorded, module.book)
    assert recorded.columns["val_loss"].keys() == recorded.columns["val_double"].keys() == {2, 4}
    for step, value in recorded.columns["val_loss"].items():
        assert recorded.columns["val_double"][step] == pytest.approx(2 * value)
    assert not {"other", "val/loss"} & recorded.columns.keys()
    assert parts.ending_of(tmp_path / "run") == ("finished", None)
    total = json.loads((tmp_path / "run" / "run.json").read_text())["total_steps"]
    assert total == (STEPS if kind == "automatic" else None)
    assert ends[0][0] == ends[1][0]
    assert parts.same(ends[0][1], ends[1][1])


def test_the_one_line_works_inside_the_module(pl: Any, tmp_path: Path) -> None:
    monitors: list[tuimon.Monitor] = []
    module = module_of(pl, tell=lambda m: monitors.append(tuimon.attach(m, *m.made, run_dir=tmp_path / "run", detail="full")))
    fit(pl, tmp_path, module)
    monitors[0].close()
    assert_as_in_the_book(loops.read(tmp_path / "run"), module.book)


def test_a_stop_sets_lightnings_own_flag_whatever_the_script_wants_at_least(pl: Any, tmp_path: Path) -> None:
    undisturbed = module_of(pl)
    fit(pl, tmp_path, undisturbed, max_epochs=2, max_steps=2)
    callback = tuimon.integrations.LightningCallback(run_dir=tmp_path / "run")
    module = module_of(pl)
    trainer = fit(pl, tmp_path, module, callback, before_batch(pl, 3, lambda: parts.tell(callback.monitor, "stop")),
                  max_epochs=-1, min_epochs=2, min_steps=8)
    assert trainer.global_step == 2
    assert parts.ending_of(tmp_path / "run") == ("stopped", None)
    assert parts.same(parts.weights(module), parts.weights(undisturbed))


def test_what_goes_on_from_a_checkpoint_counts_on_and_keeps_its_overrides(pl: Any, tmp_path: Path) -> None:
    def train(epochs: int, *callbacks: Any, ckpt_path: str | None = None) -> None:
        keep = pl.callbacks.ModelCheckpoint(dirpath=tmp_path, filename="end", save_on_train_epoch_end=True)
        callback = tuimon.integrations.LightningCallback(run_dir=tmp_path / "run")
        cut = before_batch(pl, 4, lambda: parts.tell(callback.monitor, "set-lr-scale", scale=0.1))
        fit(pl, tmp_path, module_of(pl), callback, keep, *([cut] if epochs == 1 else []), max_epochs=epochs,
            ckpt_path=ckpt_path, enable_checkpointing=True)

    train(1)
    train(2, ckpt_path=str(tmp_path / "end.ckpt"))
    lr = loops.read(tmp_path / "run").columns["lr"]
    assert lr == {step: pytest.approx(1e-2 / step * (0.1 if step > 3 else 1.0)) for step in range(1, 2 * STEPS + 1)}
    assert [e["from_step"] for e in parts.events(tmp_path / "run", "attempt")] == [0, STEPS]


@pytest.mark.parametrize(("error", "expected"), [
    (ValueError("out of luck"), ("crashed", "ValueError: out of luck")),
    (KeyboardInterrupt(), ("stopped", "KeyboardInterrupt")),
])
def test_an_exception_is_the_end_that_is_recorded(pl: Any, error: BaseException, expected: Any, tmp_path: Path) -> None:
    def fail() -> None:
        raise error

    callback = tuimon.integrations.LightningCallback(run_dir=tmp_path / "run")
    with pytest.raises(SystemExit if isinstance(error, KeyboardInterrupt) else type(error)):
        fit(pl, tmp_path, module_of(pl), callback, before_batch(pl, 4, fail))
    assert parts.ending_of(tmp_path / "run") == expected
    assert callback.monitor is None
    assert loops.read(tmp_path / "run").steps == [1, 2]


def test_what_fails_in_tuimon_is_one_warning_and_lightning_trains_on(pl: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    module = module_of(pl)
    callback = tuimon.integrations.LightningCallback(run_dir=tmp_path / "file" / "run")
    with pytest.warns(RuntimeWarning, match="LightningCallback does not watch this training, which goes on: cannot make"):
        fit(pl, tmp_path, module, callback)
    assert len(module.book.steps) == STEPS


def test_a_copy_of_a_lightning_callback_in_use_watches_nothing(pl: Any, tmp_path: Path) -> None:
    copies: list[Any] = []
    callback = pickle.loads(pickle.dumps(tuimon.integrations.LightningCallback(run_dir=tmp_path / "run", name="mine")))
    fit(pl, tmp_path, module_of(pl), callback, before_batch(pl, 3, lambda: copies.append(copy.deepcopy(callback))))
    assert copies[0].monitor is None
    fit(pl, tmp_path, module_of(pl), copies[0])
    assert [e["number"] for e in parts.events(tmp_path / "run", "attempt")] == [1, 2]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["name"] == "mine"
