"""The autopsy of a step whose row is not finite: in this process, for only here is the model's code. Training thread.

The batch of that step goes through the model again, with the weights of the newest snapshot before it (or with those of
now, where they are still finite), and the run is afterwards as it was before. It costs a forward pass or two of a run
that is broken already. Nothing here raises: what cannot be done is said, and then the gradients must tell.
"""

from __future__ import annotations

import io
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from tuimon.diagnosis.autopsy.fallback import ALL_BAD, NOTHING
from tuimon.diagnosis.autopsy.model import Autopsy, Place, first_bad_gradient
from tuimon.diagnosis.autopsy.verdict import (
    LARGEST,
    LAST,
    Convicted,
    Replayed,
    backward,
    forward,
    leaves,
    nearest_to_overflow,
)
from tuimon.instrument.batches import Batch, Suspect
from tuimon.instrument.errands import Errand
from tuimon.instrument.host import available_memory, one_line, size_of
from tuimon.instrument.manifest import portable
from tuimon.instrument.measure import Probe
from tuimon.instrument.recorder import Recorder
from tuimon.instrument.replay import broken, masked, measured, replay, tensors_of
from tuimon.instrument.snapshots import Snapshots
from tuimon.instrument.state import TrainingState, copied
from tuimon.record.chunk import Mark
from tuimon.record.files import write_atomically

SHARE: Final = 0.3
"""Of the memory that is free: what the weights may take once more, and twice for a moment."""
OLD: Final = 40
"""Steps by which the weights of a replay may be older and still speak for those that the step had."""
_LOG: Final = logging.getLogger("tuimon")
Send = Callable[[Errand], None]


@dataclass(frozen=True, slots=True)
class _Weights:
    """Copies to compute with, by the id of the parameter or buffer, and the last step in them."""

    step: int
    exact: bool
    """Whether these are the weights that the step itself began with."""
    tensors: Mapping[int, Tensor]


class Inquest:
    """One run's. Holds what it needs until `close`."""

    def __init__(
        self, probe: Probe, state: TrainingState, snapshots: Snapshots | None, recorder: Recorder, send: Send | None
    ) -> None:
        """`send`: has the batch saved in the background; None saves none."""
        self._probe, self._state, self._snapshots = probe, state, snapshots
        self._recorder, self._send = recorder, send

    def attend(self, step: int) -> None:
        """At a boundary, or at the end: look into what has come out non-finite, if anything has."""
        batches = self._probe.outbox.batches
        suspect = batches.suspect
        if suspect is None:
            return
        began, thread = time.perf_counter(), self._probe.thread
        batch: Batch | None = None
        try:
            self._probe.thread = 0  # nobody's: what the replay does is not measured
            found, batch = self._examine(suspect, step)
        except Exception as error:  # the outermost frame: an autopsy that fails is one that is told by gradients
            _LOG.debug("autopsy", exc_info=True)
            found = self._by_gradients(suspect, f"no replay: {type(error).__name__}: {one_line(error)}")
        finally:
            self._probe.thread = thread
        try:
            self._publish(replace(found, seconds=time.perf_counter() - began), batch, step)
        except Exception as error:
            _LOG.debug("autopsy: %s", error)
        batches.examined()

    def close(self) -> None:
        """Keep nothing of the script's any more."""
        self._probe.outbox.batches.clear()
        self._snapshots = self._send = None

    # -- looking

    def _examine(self, suspect: Suspect, step: int) -> tuple[Autopsy, Batch | None]:
        entered, loaded = self._probe.outbox.batches.of(suspect.step)
        usable = [(i, batch) for i, batch in enumerate(entered, start=1) if not batch.problem]
        obstacle = self._obstacle() or ("" if usable else next((b.problem for b in entered), "no forward pass of that "
                                                               "step was seen"))
        if obstacle:
            return self._by_gradients(suspect, f"no replay: {obstacle}"), None
        notes = tuple(dict.fromkeys(b.problem for b in entered if b.problem))
        bare = Autopsy(suspect.step, "unknown", "replay", micros=len(entered), values=suspect.values, notes=notes)
        tried: list[tuple[_Weights, Replayed]] = []
        for weights in self._candidates(suspect, step):
            for micro, batch in usable:
                seen = self._replay(batch, weights)
                tried.append((weights, seen))
                found = forward(seen)
                if seen.raised or found is not None:
                    here = replace(bare, micro=micro, weights_step=weights.step)
                    told = self._in_the_model(here, found, seen, weights)
                    return self._by_labels(told, [batch, *loaded]) if told.place == "loss" else told, batch
            if weights.exact:
                break
        if not tried:
            return self._by_gradients(suspect, "no replay: there is no snapshot from before that step"), None
        weights, seen = tried[-1]
        micro, batch = usable[0]
        bare = replace(bare, micro=micro, weights_step=weights.step, chain=leaves(seen.sights)[-LAST:])
        if "loss" in suspect.values:
            return self._outside(bare, suspect, weights, seen, [b for _, b in usable] + loaded), batch
        return self._going_back(bare, suspect, weights, [b for _, b in usable]), batch

    def _obstacle(self) -> str:
        """Why this model cannot be run again here; "" where it can."""
        model = self._state.model
        if self._recorder.info.world_size > 1:
            return "the model is spread over several processes"
        if type(model).forward is nn.Module.forward or isinstance(model, torch.jit.ScriptModule):
            return f"a {type(model).__name__} cannot be called from here"
        held = [*model.parameters(), *model.buffers()]
        if any(type(t.data) is not Tensor or t.is_meta or t.layout is not torch.strided for t in held):
            return "its weights are sharded, quantised or elsewhere"
        needed = size_of({str(i): t for i, t in enumerate(held)})
        free = _free(next((t.device for t in held), torch.device("cpu")))
        if needed > SHARE * free:
            return f"it takes the weights once more, {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        return ""

    def _candidates(self, suspect: Suspect, step: int) -> Iterator[_Weights]:
        """Weights to try, best first: those of now where they are finite, those of the newest snapshot before."""
        model = self._state.model
        held: list[tuple[str, Tensor]] = [*model.named_parameters(), *model.named_buffers()]
        if not broken(dict(held)):
            yield _Weights(step, suspect.skipped, {id(t): t.detach().clone() for _, t in held})
        snapshots = self._snapshots
        at = max((s for s in snapshots.steps if s < suspect.step), default=None) if snapshots is not None else None
        if snapshots is None or at is None:
            return
        lent = snapshots.detach(at)
        try:
            kept = lent.tensors
            live = {f"param/{n}": t for n, t in self._state.parameters().items()}
            live.update(self._state.buffers())
            copies = {id(t): kept[key].to(t.device, copy=True) for key, t in live.items() if key in kept}
        finally:
            lent.release()
        yield _Weights(at, at == suspect.step - 1, copies)

    def _replay(self, batch: Batch, weights: _Weights, *, back: bool = False) -> Replayed:
        return replay(self._state.model, batch, weights.tensors, backward=back)

    # -- what it means

    def _in_the_model(self, bare: Autopsy, found: Convicted | None, seen: Replayed, weights: _Weights) -> Autopsy:
        if found is None:
            return replace(bare, place="unknown", notes=(*bare.notes, seen.raised))
        sight, place, notes = found.sight, found.place, bare.notes
        own = self._held_by(sight.module) if found.place != "batch" else {}
        now = {name: weights.tensors.get(id(t), t) for name, t in own.items()}
        bad = broken(now)
        if bad:
            place, notes = "parameters", (*notes, f"not finite: {', '.join(list(bad)[:3])}")
        kind = sight.came_out.dtype if sight.came_out is not None else ""
        for name, span in measured(now).items():
            if span.is_finite and span.largest > LARGEST.get(kind, math.inf):
                notes = (*notes, f"{name} holds {span.largest:.3g}, and {kind} ends at {LARGEST[kind]:,.0f}")
        return replace(bare, place=place, module=sight.module, kind=sight.kind, phase="forward", chain=found.chain,
                       went_in=sight.went_in, came_out=sight.came_out, notes=notes)

    def _held_by(self, module: str) -> dict[str, Tensor]:
        """The tensors of a module itself, not of its parts."""
        owner = self._state.model.get_submodule(module) if module else self._state.model
        named = (*owner.named_parameters(prefix=module, recurse=False), *owner.named_buffers(module, recurse=False))
        return dict(named)

    def _outside(
        self, bare: Autopsy, suspect: Suspect, weights: _Weights, seen: Replayed, batches: list[Batch]
    ) -> Autopsy:
        """The model gives finite values: its labels, its loss, or weights that were others by then."""
        parts = {f"{i}:{name}": t for i, b in enumerate(batches) if not b.problem for name, t in tensors_of(b).items()}
        bad = broken(parts)
        if bad:
            name, span = next(iter(bad.items()))
            return replace(bare, place="batch", module=name.partition(":")[2], phase="forward", went_in=span)
        place, notes = self._blame(suspect, weights, seen, bare.notes)
        told = replace(bare, place=place, phase="forward", notes=notes, came_out=next(iter(seen.left.values()), None))
        return self._by_labels(told, batches)

    @staticmethod
    def _by_labels(told: Autopsy, batches: list[Batch]) -> Autopsy:
        """The same, or what explains it: labels of which none counts."""
        named = (masked(tensors_of(batch)) for batch in batches if not batch.problem)
        label = next(filter(None, named), "")
        return replace(told, place="labels", module=label, kind="") if label else told

    def _going_back(self, bare: Autopsy, suspect: Suspect, weights: _Weights, batches: list[Batch]) -> Autopsy:
        """The loss was finite and a gradient was not: follow it down."""
        for micro, batch in enumerate(batches, start=bare.micro):
            seen = self._replay(batch, weights, back=True)
            found = backward(seen)
            if found is not None:
                return replace(bare, place=found.place, module=found.sight.module, kind=found.sight.kind, micro=micro,
                               phase="backward", chain=found.chain, went_in=found.sight.went_in,
                               came_out=found.sight.came_out, notes=bare.notes)
        place, notes = self._blame(suspect, weights, seen, bare.notes)
        return replace(bare, place=place, phase="backward", notes=notes)

    def _blame(
        self, suspect: Suspect, weights: _Weights, seen: Replayed, notes: tuple[str, ...]
    ) -> tuple[Place, tuple[str, ...]]:
        """The loss, where the weights of the replay were those of the step, or nearly; else what became of them."""
        near = nearest_to_overflow(seen.sights)
        if near is not None and near.came_out is not None:
            largest, kind = near.came_out.largest, near.came_out.dtype
            notes = (*notes, f"nearest to the end of {kind}: {near.module or near.kind}, at {largest:.3g}")
        if weights.exact or (suspect.sudden and suspect.step - weights.step <= OLD):
            return "loss", notes
        told = self._first_gradient(suspect)
        return "weights", (*notes, *((f"first bad gradient in backward order: {told[0]}",) if told else ()))

    def _first_gradient(self, suspect: Suspect) -> tuple[str, bool] | None:
        if suspect.grad is None or suspect.seen is None:
            return None
        return first_bad_gradient([entry.name for entry in self._recorder.info.tensors], suspect.grad, suspect.seen)

    def _by_gradients(self, suspect: Suspect, why: str) -> Autopsy:
        """The fallback: backward met this one first."""
        told = self._first_gradient(suspect)
        notes = (why, NOTHING) if told is None else (why, ALL_BAD) if told[1] else (why,)
        return Autopsy(suspect.step, "unknown", "backward order", told[0] if told else "", phase="backward",
                       values=suspect.values, notes=notes)

    # -- telling

    def _publish(self, found: Autopsy, batch: Batch | None, step: int) -> None:
        """To judges at once, to people once the batch is on the disk."""
        recorder = self._recorder
        recorder.mark(Mark(recorder.last_step, "autopsy", found.fields(chain=False)))
        if batch is None or self._send is None:
            recorder.event("autopsy", step, **found.fields())
            return
        _, loaded = self._probe.outbox.batches.of(found.step)
        body = copied({
            "format": 1, "step": found.step, "args": batch.args, "kwargs": dict(batch.kwargs),
            "training": batch.training, "autocast": dict(batch.autocast),
            "loaded": [one.args[0] for one in loaded if not one.problem],
        })
        self._send(lambda: _save(recorder, found, body, step))


def _save(recorder: Recorder, found: Autopsy, body: Any, step: int) -> None:
    """In the background: the batch, then the event that names it."""
    path = recorder.run.autopsies / f"step-{found.step}.pt"
    try:
        left_out: list[str] = []
        path.parent.mkdir(mode=0o700, exist_ok=True)
        file = io.BytesIO()
        torch.save(portable(body, "batch", left_out), file)
        write_atomically(str(path), file.getvalue())
        notes = (f"not in the file: {', '.join(left_out[:3])}",) if left_out else ()
        found = replace(found, batch=f"{path.parent.name}/{path.name}", notes=(*found.notes, *notes))
    except Exception as error:
        found = replace(found, notes=(*found.notes, f"the batch was not saved: {one_line(error)}"))
    recorder.event("autopsy", step, **found.fields())


def _free(device: torch.device) -> int:
    """Bytes."""
    if device.type != "cuda":
        return available_memory()
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + cached
