"""The callback for Lightning's Trainer, of either package. Reads the Trainer's public state; writes its stop flag."""

from __future__ import annotations

import math
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from tuimon.instrument.monitor import Monitor
from tuimon.integrations.attachment import Attachment

_PACKAGES: Final = ("lightning.pytorch", "pytorch_lightning")
_VALIDATION: Final = ("val", "valid", "validation")
"""First words of names that are recorded after a validation; `callback_metrics` holds those of training as well."""


def _base() -> Any:
    """The Callback of the package that the script has loaded, else of the one that is installed."""
    loaded = [name for name in _PACKAGES if name in sys.modules]
    found = [name for name in _PACKAGES if find_spec(name.partition(".")[0])]
    return import_module((loaded or found)[0]).Callback


if TYPE_CHECKING:
    from lightning.pytorch import Callback
else:
    Callback = _base()


class LightningCallback(Callback):  # type: ignore[misc]  # Lightning is not looked into
    """Watches each `trainer.fit()`; takes the arguments of `tuimon.attach` after the optimizer.

    All optimizers of the module are attached: one step is complete when the last of them has stepped. total_steps,
    scheduler, scaler and dataloader are the Trainer's unless given. What the module logs in a validation is recorded:
    "val_loss" or "val/loss" as val_loss, other names that begin with val as they are. A stop sets
    `trainer.should_stop`, min_epochs and min_steps notwithstanding. From a checkpoint (`ckpt_path`) the steps count
    on, and a rescue's overrides stay in force.
    AttachError for an argument that cannot be; later errors are one warning, and training goes on.
    """

    def __init__(self, **attach: Any) -> None:
        super().__init__()
        self._attached = Attachment("integrations.LightningCallback", attach)
        self._carried: dict[str, Any] = {}

    @property
    def monitor(self) -> Monitor | None:
        """What `attach` returned for the training under way; None before and after."""
        return self._attached.monitor

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """The sanity check is over, and a checkpoint is loaded if there is one."""
        carried, self._carried = self._carried, {}
        with self._attached.harmless():
            optimizers = trainer.optimizers
            before = carried.get("step", trainer.global_step // max(1, len(optimizers)))
            self._attached.begin(
                pl_module, *optimizers, step=before if trainer.global_step else 0, carried=carried,
                total_steps=_total_steps(trainer, pl_module),
                scheduler=[config.scheduler for config in trainer.lr_scheduler_configs],
                scaler=getattr(trainer.precision_plugin, "scaler", None), dataloader=trainer.train_dataloader,
            )

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *batch: Any, **more: Any) -> None:
        """A batch is done, and an update perhaps."""
        with self._attached.harmless():
            if self._attached.should_stop:
                trainer.should_stop = True
                trainer.fit_loop.min_epochs = None  # a person's stop goes before what the script wants at least
                trainer.fit_loop.epoch_loop.min_steps = None

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Numbers of a validation, after the step that led to it. At the sanity check nothing is attached yet."""
        with self._attached.harmless():
            self._attached.log({_recorded_as(n): v for n, v in trainer.callback_metrics.items() if _is_validation(n)})

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Training is over, told to stop or not."""
        with self._attached.harmless():
            self._attached.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """An exception, Ctrl+C among them, ends the training."""
        with self._attached.harmless():
            self._attached.end(exception)

    def state_dict(self) -> dict[str, Any]:
        """For Lightning's own checkpoints: the step, and the overrides in force."""
        return self._attached.carry()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What a checkpoint held; used when training starts."""
        self._carried = dict(state_dict)


def _total_steps(trainer: Any, module: Any) -> int | None:
    """None where training has no end, or steps when the script wants it to."""
    steps = trainer.estimated_stepping_batches if module.automatic_optimization else math.inf
    return int(steps) if math.isfinite(steps) and steps > 0 else None


def _is_validation(name: str) -> bool:
    return name.replace("/", "_").partition("_")[0] in _VALIDATION


def _recorded_as(name: str) -> str:
    return "val_loss" if name.replace("/", "_").partition("_")[2] in ("loss", "loss_epoch") else name
