"""One attached run's measuring: what each hook does, from the first backward of a step to its boundary.

Runs on the training thread. Queues work on the device and reads nothing back; rows reach the host through `outbox`.
Raises nothing of its own: everything that hooks and patches call is `guarded`, which switches measuring off at the
first error; `unmeasured` then stands in. With no override in force nothing that training computes is touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tuimon.instrument import rows
from tuimon.instrument.cadence import Cadence
from tuimon.instrument.clipping import Clipping
from tuimon.instrument.labels import CAPTURED, Labels, Say
from tuimon.instrument.outbox import Outbox, Sink, as_logged
from tuimon.instrument.overrides import Overrides
from tuimon.instrument.probes.sampling import Sampling
from tuimon.instrument.sheet import Sheet
from tuimon.instrument.step import Step, WatchedClosure, closure_in, guarded
from tuimon.instrument.tokens import tokens_of_batch
from tuimon.instrument.tracked import Tracked, device_of, held_by, signature
from tuimon.instrument.transfer import on_host
from tuimon.instrument.unmeasured import Unmeasured
from tuimon.instrument.updates import Updates
from tuimon.instrument.weakly import Weak
from tuimon.instrument.window import Window


class Probe:
    """The instrument of one attached run."""

    def __init__(
        self, model: nn.Module, optimizers: Sequence[Optimizer], *, overrides: Overrides, cadence: Cadence, sink: Sink,
        table_size: int, tokens_per_step: int | None = None, from_step: int = 0, sampling: Sampling,
        on_fault: Callable[[str, Exception], None], on_label: Say,
    ) -> None:
        self.model, self.optimizers, self._count = model, Weak(optimizers), len(optimizers)
        self.overrides, self.cadence, self._clipping = overrides, cadence, Clipping(overrides)
        self.outbox, self.sampling = Outbox(sink, cadence, table_size), sampling
        self._on_fault, self._tokens_per_step, self._step = on_fault, tokens_per_step, from_step
        self.off = self.inside = False
        self.thread, self._has_trained = get_ident(), False
        """The thread that trains, as its ident; until it has been seen, the one that attached."""
        self.unmeasured: Unmeasured | None = None
        """What stands in once measuring has failed; None before, and when the run is no longer attached."""
        self.labels = Labels(on_label, has_tokens=any(isinstance(m, nn.Embedding) for m in model.modules()))
        self.cost = self.entered = self._extra = self._held = 0.0
        self._scaler: Any = None
        self._scaler_stepped, self._stepped_within, self._closes = True, False, self._count - 1
        self._began: float | None = None
        self._device = device_of([p for group in held_by(optimizers) for p in group])
        self._window = Window(self._device)
        self._track()
        self._now = self._open(self._step + 1)

    def _track(self) -> None:
        """What the optimizers hold now, and rows of that width."""
        self.tracked = Tracked(self.model, self.optimizers, self._device)
        self._updates = Updates(self.tracked)
        self._sheet = Sheet(self.tracked, self._device)
        self._ring = self._sheet.ring

    @property
    def step(self) -> int:
        """Last completed step."""
        return self._step if self.unmeasured is None else self.unmeasured.step

    @property
    def scaler(self) -> Any:
        """The GradScaler that was last seen; None where none is in use."""
        return (self._scaler if self.unmeasured is None else self.unmeasured.scaler) or self._scaler

    def _open(self, step: int) -> Step:
        return Step(self._ring.take(), self.cadence.wants_all(step), self.cadence.wants_vectors(step),
                    [False] * self._count, [False] * self._count, [False] * len(self.tracked))

    def _capturing(self) -> bool:
        return self._device.type == "cuda" and torch.cuda.is_current_stream_capturing()

    # -- what happens before the optimizer step

    def _touch(self) -> None:
        """A step is under way: what is logged from here on belongs to it."""
        if self._began is None:
            self._began = time.perf_counter()
        if self.outbox.latest is not None:
            self.outbox.seal()

    @guarded
    def saw_input(self, tokens: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward pass with gradients begins on `tokens` tokens, with these arguments."""
        if not self._has_trained:
            self.thread, self._has_trained = get_ident(), True
        self._touch()
        if self.sampling.is_due:
            self.sampling.begins(called=True)
        self._now.tokens += 0 if self._window.is_inside else tokens  # checkpointing computes again what was counted
        self.outbox.batches.entered(self._step + 1, self.model, args, kwargs)

    @guarded
    def saw_batch(self, seconds: float, batch: Any) -> None:
        """A loader took `seconds` to give a batch to training."""
        self._touch()
        self._now.waited = (self._now.waited or 0.0) + seconds
        self._now.batch_tokens += tokens_of_batch(batch)
        if self.sampling.is_due:
            self.sampling.begins(called=False)
        self.outbox.batches.entered(self._step + 1, None, (batch,), {})

    @guarded
    def backward_begins(self, tensors: Any, grads: Any, unscale: Callable[[Tensor], Tensor]) -> None:
        """Before torch.autograd.backward."""
        self._touch()
        if not self._capturing():
            self._window.begin(self.tracked, tensors, grads, unscale)

    @guarded
    def backward_ended(self, *, raised: bool) -> bool:
        """After it; True where optimizers stepped within and that completes the step."""
        if raised:
            self._window.abandon()
        elif not self._capturing() and self._window.end(self.tracked, stepped=self._stepped_within):
            self.sampling.ended()
            if self.labels.looks:
                self.labels.left = self.tracked.grad_marks()
            self._clipping.is_done = False
            if not (self._now.evaluated or self._stepped_within):
                self._now.measured = [False] * self._count
        if not self._stepped_within or self._window.is_inside:
            return False
        self._stepped_within = False
        self._finish()
        return True

    def _compare(self, k: int | None = None) -> None:
        """Has the script changed gradients itself since something known left them? The k-th optimizer's, or all."""
        if self.labels.looks and not self._window.is_inside:
            first, last = (0, len(self.tracked)) if k is None else self.tracked.spans[k]
            self.labels.compare(self.tracked.grad_marks(), first, last)

    @guarded
    def changed(self) -> None:
        """After clip_grad_norm_: what it did to the gradients is known."""
        if self.labels.looks:
            self.labels.left = self.tracked.grad_marks()

    @guarded
    def clip(self, parameters: list[Tensor], max_norm: Any, total: Tensor, norm_type: float | None) -> Any:
        """Before clip_grad_norm_ changes gradients: take their norms, and say which limit to use for `max_norm`."""
        ids = set(map(id, parameters))
        if ids.isdisjoint(self.tracked.ids) or self._capturing():
            return max_norm
        self._touch()
        self._compare()
        now, asked = self._now, on_host(max_norm)
        self.overrides.script_clip = asked
        if not now.evaluated:
            if norm_type == 2 and self._sheet.is_global_norm(now, total, parameters, ids):
                self._sheet.note(now, rows.TOTAL, total)
                now.measured = [True] * self._count
            else:
                self._sheet.measure_some(now, ids)
        if self.overrides.clip is not None:
            max_norm = self._clipping.lowered(self.tracked, ids, max_norm, asked, norm_type)
        now.limit = on_host(max_norm)
        return max_norm

    @guarded
    def clip_value(self, grads: list[Tensor]) -> None:
        """Before clip_grad_value_ changes these gradients: take their norms."""
        ids = self.tracked.holders(grads)
        if ids and not (self._now.evaluated or self._capturing()):
            self._touch()
            self._sheet.measure_some(self._now, ids)
            self.labels.pardon()

    # -- the optimizer step

    @guarded
    def before_step(self, k: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The pre-hook of the k-th optimizer; new arguments where its closure must be watched."""
        optimizer = self.optimizers[k]
        if self._capturing():
            self.labels.state(CAPTURED)
            return None
        if not self._window.is_inside:  # within a backward it may be autograd's own thread that steps
            self.thread, self._has_trained = get_ident(), True
        self._touch()
        if signature([optimizer] if self._count == 1 else self.optimizers) != self.tracked.size:
            self._retrack()
        now = self._now
        closure, replaced = closure_in(args, kwargs)
        if closure is None:
            self._look(k, getattr(optimizer, "grad_scale", None))
        if isinstance(found_inf := getattr(optimizer, "found_inf", None), Tensor):
            self._sheet.note(now, rows.FOUND_INF, found_inf)
        if now.everything:
            began = time.perf_counter()
            if not any(now.stepped):
                self._updates.begin()
            self._updates.before(*self.tracked.spans[k])
            self._extra += time.perf_counter() - began
        self._scaler_stepped, self._closes = True, now.steps(k, self._closes)
        self.overrides.scale_lr(k, optimizer, self._step + 1)
        return None if closure is None else replaced(WatchedClosure(self, k, closure))

    def _look(self, k: int, scale: Tensor | None) -> None:
        """At the gradients that the k-th optimizer is about to use; `scale` is what a fused one divides them by."""
        now = self._now
        self._compare(k)
        if not now.measured[k]:
            self._sheet.measure(now, k)
            if isinstance(scale, Tensor):
                self._sheet.divide(now, k, scale)
        if self.overrides.clip is not None:
            self._clip(k)

    def _clip(self, k: int) -> None:
        self._clipping.clip(k, self._now, self._sheet, self.optimizers, inside=self._window.is_inside)
        self.labels.left = self.tracked.grad_marks()

    @guarded
    def evaluating(self, k: int) -> None:
        """The closure of the k-th optimizer is about to run: it finds the learning rate as its schedule wrote it."""
        self.overrides.restore_lr(k)
        self._clipping.is_done = False

    @guarded
    def evaluated(self, k: int) -> None:
        """The closure of the k-th optimizer has run: its gradients exist only here."""
        now = self._now
        self.overrides.scale_lr(k, self.optimizers[k], self._step + 1)
        if not now.evaluated:
            self._compare(k)
            if not now.measured[k]:
                self._sheet.measure(now, k)
            now.evaluated = True
            if self._window.close(self._sheet.heads[now.slot][rows.LOSS]):
                now.head.add(rows.LOSS)
        self._window.forget()
        if self.overrides.clip is not None:
            self._clip(k)

    @guarded
    def after_step(self, k: int) -> bool:
        """The post-hook of the k-th optimizer; True where this completes the step."""
        if self._capturing():
            return False
        now, optimizer = self._now, self.optimizers[k]
        if k == 0:
            self._sheet.note_lr(now, optimizer, self.overrides.scheduled_lr(0, optimizer))
        self.overrides.restore_lr(k)
        if now.everything and now.stepped[k]:
            began = time.perf_counter()
            self._sheet.measure_moves(now, k, optimizer, self._updates)
            self._extra += time.perf_counter() - began
        return self._finish_after(k)

    def _finish_after(self, k: int) -> bool:
        is_last = k == self._closes
        if self._window.is_inside:  # the tensors of the other optimizers are still being worked on
            self._stepped_within = self._stepped_within or is_last
            return False
        if is_last:
            self._finish()
        return is_last

    def index_of(self, optimizer: Any) -> int | None:
        """Which of the attached optimizers this is; None for a stranger."""
        return next((k for k, mine in enumerate(self.optimizers) if mine is optimizer), None)

    @guarded
    def scaler_begins(self, k: int, scaler: Any, *, unscaled: bool) -> None:
        """GradScaler.step begins; `unscaled`: the script has called unscale_ for this optimizer."""
        if self._capturing():
            return
        self._touch()
        now = self._now
        self._scaler_stepped, self._scaler, self._clipping.scalers[k] = False, scaler, scaler
        now.skipped = now.skipped or 0.0
        if isinstance(scale := scaler._scale, Tensor):  # noqa: SLF001  # get_scale() would read it on the host
            self._sheet.note(now, rows.LOSS_SCALE, scale)
            if now.measured[k] and not unscaled:
                self._sheet.divide(now, k, scale)

    @guarded
    def scaler_ended(self, k: int) -> bool:
        """GradScaler.step has returned; True where it skipped the optimizer and that completes the step."""
        if self._scaler_stepped or self._capturing():
            return False
        now, self._scaler_stepped = self._now, True
        now.skipped = 1.0
        if not now.measured[k]:
            self._sheet.measure(now, k)
        if k == 0:
            self._sheet.note_lr(now, self.optimizers[0], self.overrides.scheduled_lr(0, self.optimizers[0]))
        return self._finish_after(k)

    # -- the boundary

    @guarded
    def manual_step(self) -> bool:
        """Monitor.step(): a step that never reached Python is complete."""
        self._touch()
        now = self._now
        for k in [k for k, is_done in enumerate(now.measured) if not is_done]:
            self._sheet.measure(now, k)
        self._sheet.note_lr(now, self.optimizers[0], self.overrides.scheduled_lr(0, self.optimizers[0]))
        self._finish()
        return True

    def _finish(self) -> None:
        """Complete the row, send it, open the next step."""
        now, clock = self._now, time.perf_counter()
        if not now.evaluated and self._window.close(self._sheet.heads[now.slot][rows.LOSS]):
            now.head.add(rows.LOSS)
        self._window.forget()
        self._clipping.is_done = False
        if now.everything:
            self.tracked.param_norms(self._sheet.weights[now.slot])
            self._extra += time.perf_counter() - clock
        self._sheet.send(now)
        took = None if self._began is None else clock - self._began
        values = now.known(self._tokens_per_step, took)
        self.labels.finished(loss=rows.LOSS in now.head or "loss" in now.logged, tokens="tokens" in values)
        done = now.finished(self._step + 1, values, held=self._held, covers_all=self._updates.covers_all,
                            is_lost=now.slot == self._ring.scratch)
        done.sample = self.sampling.taken(self._step + 1)
        self.outbox.post(done, self._ring, self.tracked)
        self._began, self._held = time.perf_counter(), 0.0
        here = self._began - self.entered
        if took is not None:
            always = self.cost + here - self._extra - self.sampling.aside
            self.cadence.learn(took, max(0.0, always), self._extra if now.everything else None)
        self.cost, self._extra = -here, 0.0
        self._now = self._open(self._step + 2)
        self._step += 1  # last: whoever counts on after an error begins here

    def resumed(self, held: float) -> None:
        """What the boundary did took `held` seconds, which belong to no step."""
        self._began, self._held = time.perf_counter(), held

    def _retrack(self) -> None:
        """A parameter group was added, parameters were replaced, or the model has moved."""
        before = self._now
        self._device, was = device_of([p for group in held_by(self.optimizers) for p in group]), self._device
        self._window = self._window if was == self._device else Window(self._device)
        self._track()
        self._now = self._open(self._step + 1)
        before.goes_on_in(self._now)

    def begins_late(self) -> None:
        """The step under way had begun before anybody watched."""
        self._now.late = True

    def log(self, name: str, value: Any) -> bool:
        """Add a number to the step just completed, or once the next has begun to that one; False if it is no number."""
        number = as_logged(value)
        if number is None:
            return False
        if name == "loss":
            self.labels.knows_loss()
        latest = self.outbox.latest
        (self._now if latest is None else latest).logged[name] = number
        return True

    @guarded
    def flush(self, patience: float = 0.0) -> None:
        """Hand over what has been measured; for moments at which training stands still anyway."""
        self.outbox.flush(patience)

    def shut(self) -> None:
        """Measure nothing any more, and leave the optimizers as their schedules want them."""
        self.forget()
        self.overrides.restore_all()

    def forget(self) -> None:
        """Do nothing any more, at once: the run is not attached, or this is a forked child."""
        self.off, self.unmeasured = True, None
        self.sampling.stop()

    def give_up(self, error: Exception) -> None:
        """Switch measuring off; what is called from here on, `unmeasured` answers."""
        self.sampling.leave()
        self.shut()
        self.unmeasured = Unmeasured(self.optimizers, self.overrides, self._step, capturing=self._capturing,
                                     on_fault=self._on_fault)
        self._on_fault("measure", error)
