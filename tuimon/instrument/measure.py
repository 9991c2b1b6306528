"""One attached run's measuring: what each hook does, from the first backward of a step to its boundary.

Runs on the training thread. Queues work on the device and reads nothing back; rows reach the host through `outbox`.
Raises nothing of its own: everything that hooks and patches call is `guarded`, which switches measuring off at the
first error. With no override in force nothing that training computes is touched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tuimon.instrument import rows
from tuimon.instrument.cadence import Cadence
from tuimon.instrument.clipping import Clipping, Stretch, is_unscaled
from tuimon.instrument.outbox import Outbox, Sink, as_logged
from tuimon.instrument.overrides import Overrides
from tuimon.instrument.rows import Finished
from tuimon.instrument.step import Step, WatchedClosure, closure_in, guarded
from tuimon.instrument.tracked import Tracked, device_of, held_by, local, signature
from tuimon.instrument.transfer import Ring, on_host
from tuimon.instrument.updates import Updates
from tuimon.instrument.window import Window


class Probe:
    """The instrument of one attached run."""

    def __init__(
        self, model: nn.Module, optimizers: Sequence[Optimizer], *, overrides: Overrides, cadence: Cadence, sink: Sink,
        table_size: int, tokens_per_step: int | None = None, from_step: int = 0,
        on_fault: Callable[[str, Exception], None],
    ) -> None:
        self.model, self.optimizers = model, tuple(optimizers)
        self.overrides, self.cadence = overrides, cadence
        self._clipping = Clipping(overrides)
        self.outbox = Outbox(sink, cadence, table_size)
        self._on_fault, self._tokens_per_step = on_fault, tokens_per_step
        self.off = False
        self.cost = self.entered = self._extra = self._held = 0.0
        self.step = from_step
        self.scaler: Any = None
        """The GradScaler that was last seen; None where none is in use."""
        self._scaler_stepped = True
        self._began: float | None = None
        self._device = device_of([p for group in held_by(optimizers) for p in group])
        self._window = Window(self._device)
        self._track()
        self._now = self._open()

    def _track(self) -> None:
        """What the optimizers hold now, and rows of that width."""
        self.tracked = Tracked(self.model, self.optimizers, self._device)
        self._updates = Updates(self.tracked)
        tensors = len(self.tracked)
        self._ring = ring = Ring(rows.HEAD + 3 * tensors, self._device)
        self._grads, self._weights, self._changes = (
            [row[rows.HEAD + i * tensors:rows.HEAD + (i + 1) * tensors] for row in ring.rows] for i in range(3)
        )
        self._heads = [list(row[:rows.HEAD].unbind()) for row in ring.rows]

    def _open(self) -> Step:
        step, several = self.step + 1, [False] * len(self.optimizers)
        return Step(self._ring.take(), self.cadence.wants_all(step), self.cadence.wants_vectors(step),
                    several.copy(), several.copy(), [False] * len(self.tracked))

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
    def saw_input(self, tokens: int) -> None:
        """A forward pass with gradients begins on `tokens` tokens."""
        self._touch()
        self._now.tokens += tokens

    @guarded
    def saw_batch(self, seconds: float, tokens: int) -> None:
        """A loader took `seconds` to give a batch of `tokens` tokens."""
        if self.model.training:
            self._touch()
            self._now.waited = (self._now.waited or 0.0) + seconds
            self._now.batch_tokens += tokens

    @guarded
    def backward_begins(self, tensors: Any, grads: Any, unscale: Callable[[Tensor], Tensor]) -> None:
        """Before torch.autograd.backward."""
        self._touch()
        if not self._capturing():
            self._window.begin(self.tracked, tensors, grads, unscale)

    @guarded
    def backward_ended(self, *, raised: bool) -> None:
        """After it."""
        if raised:
            self._window.abandon()
        elif not self._capturing() and self._window.end(self.tracked):
            self._clipping.reopen()
            if not self._now.evaluated:
                self._now.measured = [False] * len(self.optimizers)

    @guarded
    def clip(self, parameters: list[Tensor], max_norm: Any, total: Tensor, norm_type: float | None) -> Any:
        """Before clip_grad_norm_ changes gradients: take their norms, and say which limit to use for `max_norm`."""
        ids = set(map(id, parameters))
        if ids.isdisjoint(self.tracked.ids) or self._capturing():
            return max_norm
        self._touch()
        now, asked = self._now, on_host(max_norm)
        self.overrides.script_clip = asked
        if not now.evaluated:
            if norm_type == 2 and self._is_global_norm(total, parameters, ids):
                self._heads[now.slot][rows.TOTAL].copy_(total, non_blocking=True)
                now.head.add(rows.TOTAL)
                now.measured = [True] * len(self.optimizers)
            else:
                for k, (first, last) in enumerate(self.tracked.spans):
                    if not now.measured[k] and any(id(p) in ids for p in self.tracked.params[first:last]):
                        self._measure(k)
        limit = self._clipping.lowered(self.tracked, ids, max_norm, asked, norm_type)
        now.limit = on_host(limit)
        return limit

    def _is_global_norm(self, total: Tensor, parameters: list[Tensor], ids: set[int]) -> bool:
        """Whether clipping has just computed our number, so that it costs nothing."""
        tracked = self.tracked
        return (
            not self._now.vectors and tracked.full_precision and tracked.ids <= ids and not hasattr(total, "to_local")
            and all(p.grad is None for p in parameters if id(p) not in tracked.ids)
        )

    def _measure(self, k: int) -> None:
        """The gradient norms of one optimizer's tensors, as they are now."""
        first, last = self.tracked.spans[k]
        now = self._now
        if first < last:
            now.seen[first:last] = self.tracked.grad_norms(first, last, self._grads[now.slot][first:last])
        now.measured[k] = True
        now.head.discard(rows.TOTAL)

    def _divide(self, k: int, scale: Tensor) -> None:
        """Those norms were of scaled gradients."""
        first, last = self.tracked.spans[k]
        now = self._now
        if rows.TOTAL in now.head:
            self._heads[now.slot][rows.TOTAL].div_(scale)
        else:
            self._grads[now.slot][first:last].div_(scale)

    # -- the optimizer step

    @guarded
    def before_step(self, k: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The pre-hook of the k-th optimizer; new arguments where its closure must be watched."""
        optimizer = self.optimizers[k]
        if self._capturing():
            return None
        self._touch()
        if signature(self.optimizers) != self.tracked.size:
            self._retrack()
        now = self._now
        closure, replaced = closure_in(args, kwargs)
        if closure is None:
            self._look(k, getattr(optimizer, "grad_scale", None))
        found_inf = getattr(optimizer, "found_inf", None)
        if found_inf is not None:
            self._head(rows.FOUND_INF, found_inf)
        if now.everything:
            began = time.perf_counter()
            if not any(now.stepped):
                self._updates.begin()
            self._updates.before(*self.tracked.spans[k])
            self._extra += time.perf_counter() - began
        now.stepped[k] = self._scaler_stepped = True
        self.overrides.scale_lr(k, optimizer, self.step + 1)
        return None if closure is None else replaced(WatchedClosure(self, k, closure))

    def _look(self, k: int, scale: Tensor | None) -> None:
        """At the gradients that the k-th optimizer is about to use; `scale` is what a fused one divides them by."""
        now = self._now
        if not now.measured[k]:
            self._measure(k)
            if scale is not None:
                self._divide(k, scale)
        self._clip(k)

    def _head(self, index: int, value: Tensor) -> None:
        self._heads[self._now.slot][index].copy_(local(value.detach()).reshape(()), non_blocking=True)
        self._now.head.add(index)

    def _clip(self, k: int) -> None:
        """By the limit in force, as the k-th optimizer is about to step: what this update has yet to use."""
        if not self._clipping.is_due:
            return
        now, clip = self._now, self.overrides.clip
        left = [j for j, stepped in enumerate(now.stepped) if j == k or not stepped]
        for j in left:
            if not now.measured[j]:
                self._measure(j)
        self._clipping.apply(self.tracked, [self._stretch(j, k) for j in left])
        now.limit = clip if now.limit is None or clip is None else min(now.limit, clip)

    def _stretch(self, j: int, k: int) -> Stretch:
        """The tensors of the j-th optimizer, and what its gradients are scaled by while the k-th steps."""
        optimizer, scale = self.optimizers[j], None
        if j == k:
            scale = getattr(optimizer, "grad_scale", None)
        elif self._now.skipped is not None and not is_unscaled(self.scaler, optimizer):
            scale = self.scaler._scale  # noqa: SLF001  # get_scale() would read it on the host
        return (*self.tracked.spans[j], scale)

    @guarded
    def evaluating(self, k: int) -> None:
        """The closure of the k-th optimizer is about to run: it finds the learning rate as its schedule wrote it."""
        self.overrides.restore_lr(k)
        self._clipping.reopen()

    @guarded
    def evaluated(self, k: int) -> None:
        """The closure of the k-th optimizer has run: its gradients exist only here."""
        now = self._now
        self.overrides.scale_lr(k, self.optimizers[k], self.step + 1)
        if not now.evaluated:
            if not now.measured[k]:
                self._measure(k)
            now.evaluated = True
            if self._window.close(self._heads[now.slot][rows.LOSS]):
                now.head.add(rows.LOSS)
        self._window.forget()
        self._clip(k)

    @guarded
    def after_step(self, k: int) -> bool:
        """The post-hook of the k-th optimizer; True where this completes the step."""
        if self._capturing():
            return False
        now, optimizer = self._now, self.optimizers[k]
        if k == 0:
            self._read_lr(optimizer)
        self.overrides.restore_lr(k)
        if now.everything and now.stepped[k]:
            began = time.perf_counter()
            first, last = self.tracked.spans[k]
            self._updates.after(first, last, self._changes[now.slot])
            covered = max(first, self._updates.block[0]), min(last, self._updates.block[1])
            if covered[0] < covered[1] and covered not in now.moved:
                now.moved.append(covered)
            self._extra += time.perf_counter() - began
        return self._finish_after(k)

    def _finish_after(self, k: int) -> bool:
        if k < len(self.optimizers) - 1:
            return False
        self._finish()
        return True

    def _read_lr(self, optimizer: Optimizer) -> None:
        now = self._now
        lr, scheduled = optimizer.param_groups[0].get("lr"), self.overrides.scheduled_lr(0, optimizer)
        now.lr, now.lr_scheduled = on_host(lr), on_host(scheduled)
        if isinstance(lr, Tensor) and now.lr is None:
            self._head(rows.LR, lr)
            self._head(rows.LR_SCHEDULED, scheduled)

    # -- GradScaler

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
        self._scaler_stepped, self.scaler = False, scaler
        scale = scaler._scale  # noqa: SLF001  # get_scale() would read it on the host
        now.skipped = now.skipped or 0.0
        if isinstance(scale, Tensor):
            self._head(rows.LOSS_SCALE, scale)
            if now.measured[k] and not unscaled:
                self._divide(k, scale)

    @guarded
    def scaler_ended(self, k: int) -> bool:
        """GradScaler.step has returned; True where it skipped the optimizer and that completes the step."""
        if self._scaler_stepped or self._capturing():
            return False
        now, self._scaler_stepped = self._now, True
        now.skipped = 1.0
        if not now.measured[k]:
            self._measure(k)
        if k == 0:
            self._read_lr(self.optimizers[0])
        return self._finish_after(k)

    # -- the boundary

    @guarded
    def manual_step(self) -> bool:
        """Monitor.step(): a step that never reached Python is complete."""
        self._touch()
        for k in range(len(self.optimizers)):
            if not self._now.measured[k]:
                self._measure(k)
        self._read_lr(self.optimizers[0])
        self._finish()
        return True

    def _finish(self) -> None:
        """Complete the row, send it, open the next step."""
        now, clock = self._now, time.perf_counter()
        if not now.evaluated and self._window.close(self._heads[now.slot][rows.LOSS]):
            now.head.add(rows.LOSS)
        self._window.forget()
        self._clipping.reopen()
        if now.everything:
            self.tracked.param_norms(self._weights[now.slot])
            self._extra += time.perf_counter() - clock
        tensors = len(self.tracked)
        self._ring.send(now.slot, rows.HEAD + tensors * (3 if now.everything else 1 if any(now.seen) else 0))
        self.step += 1
        took = None if self._began is None else clock - self._began
        done = Finished(
            step=self.step, time=time.time(), slot=now.slot, head=now.head, seen=now.seen, weights=now.everything,
            moved=now.moved, moved_all=all(now.stepped) and self._updates.covers_all, vectors=now.vectors,
            values=now.known(self._tokens_per_step, took), held=self._held, logged=now.logged,
        )
        if now.slot == self._ring.scratch:  # the ring was full: only what the host knows
            done.head, done.seen, done.weights, done.moved = set(), [False] * tensors, False, []
        self.outbox.post(done, self._ring, self.tracked)
        self._began, self._held = time.perf_counter(), 0.0
        here = self._began - self.entered
        if took is not None:
            extra = self._extra if now.everything else None
            self.cadence.learn(took, max(0.0, self.cost + here - self._extra), extra)
        self.cost, self._extra = -here, 0.0
        self._now = self._open()

    def resumed(self, held: float) -> None:
        """What the boundary did took `held` seconds, which belong to no step."""
        self._began, self._held = time.perf_counter(), held

    def _retrack(self) -> None:
        """A parameter group was added."""
        before = self._now
        self._track()
        self._now = self._open()
        for name in ("limit", "skipped", "tokens", "batch_tokens", "waited", "logged"):
            setattr(self._now, name, getattr(before, name))

    def log(self, name: str, value: Any) -> bool:
        """Add a number to the step just completed, or once the next has begun to that one; False if it is no number."""
        number = as_logged(value)
        if number is None:
            return False
        latest = self.outbox.latest
        (self._now if latest is None else latest).logged[name] = number
        return True

    @guarded
    def flush(self, patience: float = 0.0) -> None:
        """Hand over what has been measured; for moments at which training stands still anyway."""
        self.outbox.flush(patience)

    def shut(self) -> None:
        """Measure nothing any more, and leave the optimizers as their schedules want them."""
        self.off = True
        for k in range(len(self.optimizers)):
            self.overrides.restore_lr(k)

    def give_up(self, error: Exception) -> None:
        """Switch measuring off."""
        self.shut()
        self._on_fault("measure", error)
