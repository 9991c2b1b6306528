"""The callback for Hugging Face's Trainer. Reads what the Trainer tells its callbacks; writes its stop flag."""

from __future__ import annotations

from typing import Any, Final

from transformers import TrainerCallback

from tuimon.instrument.monitor import Monitor
from tuimon.integrations.attachment import Attachment

_KEY: Final = "tuimon"
"""Our place in trainer_state.json, among the callbacks' states. Not the class's name: the Trainer would build a new
callback from it where it is told to restore them, and this one's monitor would be lost to the script."""
_SPEED: Final = ("_runtime", "_per_second", "_time")
"""Ends of names that say how long evaluating took, not how good the model is."""


class HFCallback(TrainerCallback):  # type: ignore[misc]  # transformers is not looked into
    """Watches each `trainer.train()`; takes the arguments of `tuimon.attach` after the optimizer.

    total_steps, scheduler, scaler and dataloader are the Trainer's unless given. `eval_loss` is recorded as val_loss,
    other metrics of an evaluation under their names. A stop sets the Trainer's own flag: it saves and returns as it
    always does. With `resume_from_checkpoint` the steps count on, and a rescue's overrides stay in force.
    AttachError for an argument that cannot be; later errors are one warning, and training goes on.
    """

    def __init__(self, **attach: Any) -> None:
        self._attached = Attachment("integrations.HFCallback", attach)

    @property
    def monitor(self) -> Monitor | None:
        """What `attach` returned for the training under way; None before and after."""
        return self._attached.monitor

    def on_train_begin(self, args: Any, state: Any, control: Any, **trainer: Any) -> None:
        """The Trainer has its optimizer and its schedule, and has loaded its checkpoint if there is one."""
        with self._attached.harmless():
            optimizer = trainer["optimizer"]
            self._attached.begin(
                trainer["model"], optimizer, step=state.global_step, carried=state.stateful_callbacks.get(_KEY),
                total_steps=state.max_steps if state.max_steps > 0 else None, scheduler=trainer.get("lr_scheduler"),
                scaler=getattr(optimizer, "scaler", None), dataloader=trainer.get("train_dataloader"),
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **trainer: Any) -> None:
        """An update is done; the Trainer may save now."""
        with self._attached.harmless():
            if self.monitor is not None:
                state.stateful_callbacks[_KEY] = self._attached.carry()
            if self._attached.should_stop:
                control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **trainer: Any) -> None:
        """Numbers of an evaluation, after the step that led to it."""
        with self._attached.harmless():
            self._attached.log({
                "val_loss" if name == "eval_loss" else name: value for name, value in (metrics or {}).items()
                if isinstance(value, int | float) and name != "epoch" and not name.endswith(_SPEED)
            })

    def on_train_end(self, args: Any, state: Any, control: Any, **trainer: Any) -> None:
        """Training is over, told to stop or not. Not called where an exception ended it: then the exit says so."""
        with self._attached.harmless():
            self._attached.end()
