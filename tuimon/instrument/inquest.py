"""The autopsy of a step whose row is not finite: in this process, for only here is the model's code. Training thread.

The batch of that step goes through the model again, with the weights of the newest snapshot before it (or with those of
now, where they are still finite), and the run is afterwards as it was before. It costs a forward pass or two of a run
that is broken already. Nothing here raises: what cannot be done is said, and then the gradients must tell.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from tuimon.diagnosis.autopsy.model import Autopsy
from tuimon.diagnosis.autopsy.verdict import Replayed, backward, forward
from tuimon.instrument.batches import Batch, Suspect
from tuimon.instrument.blame import Weights, by_gradients, by_labels, in_the_model, innocent, on_the_way_back, outside
from tuimon.instrument.errands import Errand
from tuimon.instrument.host import available_memory, one_line, size_of
from tuimon.instrument.measure import Probe
from tuimon.instrument.portable import portable
from tuimon.instrument.recorder import Recorder
from tuimon.instrument.replay import broken, replay
from tuimon.instrument.snapshots import Snapshots
from tuimon.instrument.state import TrainingState, copied
from tuimon.private import make_folder
from tuimon.record.chunk import Mark
from tuimon.record.files import write_atomically

SHARE: Final = 0.3
"""Of the memory that is free: what the weights may take once more, and twice for a moment."""
_LOG: Final = logging.getLogger("tuimon")
Send = Callable[[Errand], None]
Found = tuple[Autopsy, Batch | None]


class Inquest:
    """One run's. Holds what it needs until `close`."""

    def __init__(
        self, probe: Probe, state: TrainingState, snapshots: Snapshots | None, recorder: Recorder, send: Send | None
    ) -> None:
        """`send`: has the batch saved in the background; None saves none."""
        self._probe, self._state, self._snapshots = probe, state, snapshots
        self._recorder, self._send = recorder, send
        self._names = [entry.name for entry in recorder.info.tensors]

    def attend(self, step: int) -> None:
        """At a boundary, or at the end: look into what has come out non-finite, if anything has."""
        suspect = self._probe.outbox.batches.suspect
        if suspect is None:
            return
        began, batch = time.perf_counter(), None
        try:
            found, batch = self._unnoticed(lambda: self._examine(suspect, step))
        except Exception as error:  # the outermost frame: an autopsy that fails is one that is told by gradients
            _LOG.debug("autopsy", exc_info=True)
            found = by_gradients(suspect, f"no replay: {type(error).__name__}: {one_line(error)}", self._names)
        self._publish(replace(found, seconds=time.perf_counter() - began), batch, step)
        self._probe.outbox.batches.examined()

    def attend_unfinished(self, step: int) -> None:
        """The script has ended with an error within a step: many look at the loss and leave. Only a culprit is told."""
        began = time.perf_counter()
        try:
            told = self._unnoticed(lambda: self._examine_unfinished(step))
        except Exception as error:
            _LOG.debug("autopsy of an unfinished step: %s", error)
            return
        if told is not None:
            self._publish(replace(told[0], seconds=time.perf_counter() - began), told[1], step)

    def close(self) -> None:
        """Keep nothing of the script's any more."""
        self._probe.outbox.batches.clear()
        self._snapshots = self._send = None

    def _unnoticed(self, work: Callable[[], Any]) -> Any:
        """What the replay does is nobody's training: it is not measured."""
        thread, self._probe.thread = self._probe.thread, 0
        try:
            return work()
        finally:
            self._probe.thread = thread

    # -- looking

    def _examine(self, suspect: Suspect, step: int) -> Found:
        entered, loaded = self._probe.outbox.batches.of(suspect.step)
        usable = [(micro, batch) for micro, batch in enumerate(entered, start=1) if not batch.problem]
        why = self._obstacle()
        if not usable and not why:
            why = next((batch.problem for batch in entered), "no forward pass of that step was seen")
        if why:
            return by_gradients(suspect, f"no replay: {why}", self._names), None
        notes = tuple(dict.fromkeys(batch.problem for batch in entered if batch.problem))
        bare = Autopsy(suspect.step, "unknown", "replay", micros=len(entered), values=suspect.values, notes=notes)
        last: tuple[Weights, Replayed] | None = None
        for weights in self._candidates(suspect, step):
            for micro, batch in usable:
                seen = replay(self._state.model, batch, weights.tensors)
                found, last = forward(seen), (weights, seen)
                if seen.raised or found is not None:
                    here = replace(bare, micro=micro, weights_step=weights.step)
                    return in_the_model(here, found, seen, weights, self._state.model, [batch, *loaded]), batch
            if weights.exact:
                break
        if last is None:
            return by_gradients(suspect, "no replay: there is no snapshot from before that step", self._names), None
        weights, seen = last
        micro, batch = usable[0]
        bare = replace(bare, micro=micro, weights_step=weights.step)
        if "loss" in suspect.values:
            every = [*(b for _, b in usable), *loaded]
            return outside(bare, suspect, weights, seen, self._names, every), batch
        return self._going_back(bare, suspect, weights, seen, usable)

    def _going_back(
        self, bare: Autopsy, suspect: Suspect, weights: Weights, seen: Replayed, usable: list[tuple[int, Batch]]
    ) -> Found:
        """The loss was finite and a gradient was not: follow it down."""
        for micro, batch in usable:
            found = backward(replay(self._state.model, batch, weights.tensors, backward=True))
            if found is not None:
                return on_the_way_back(replace(bare, micro=micro), found), batch
        return innocent(replace(bare, phase="backward"), suspect, weights, seen, self._names), usable[0][1]

    def _examine_unfinished(self, step: int) -> Found | None:
        entered, loaded = self._probe.outbox.batches.of(step + 1)
        live = self._live()
        if not entered or broken(live) or self._obstacle():
            return None
        weights = Weights(step, exact=True, tensors={id(t): t.detach().clone() for t in live.values()})
        for micro, batch in enumerate(entered, start=1):
            if batch.problem:
                continue
            seen = replay(self._state.model, batch, weights.tensors)
            bare = Autopsy(step + 1, "unknown", "replay", weights_step=step, micro=micro, micros=len(entered),
                           notes=("the script ended within this step",))
            found = forward(seen)
            if found is not None:
                return in_the_model(bare, found, seen, weights, self._state.model, [batch, *loaded]), batch
            told = by_labels(bare, [batch, *loaded])
            if told.place == "labels":
                return replace(told, phase="forward"), batch
        return None

    def _live(self) -> dict[str, Tensor]:
        model = self._state.model
        return dict((*model.named_parameters(), *model.named_buffers()))

    def _obstacle(self) -> str:
        """Why this model cannot be run again here; "" where it can."""
        model, live = self._state.model, self._live()
        if self._recorder.info.world_size > 1:
            return "the model is spread over several processes"
        if type(model).forward is nn.Module.forward or isinstance(model, torch.jit.ScriptModule):
            return f"a {type(model).__name__} cannot be called from here"
        if any(type(t.data) is not Tensor or t.is_meta or t.layout is not torch.strided for t in live.values()):
            return "its weights are sharded, quantised or elsewhere"
        needed = size_of(live)
        free = _free(next((t.device for t in live.values()), torch.device("cpu")))
        if needed > SHARE * free:
            return f"it takes the weights once more, {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        return ""

    def _candidates(self, suspect: Suspect, step: int) -> Iterator[Weights]:
        """Weights to try: those of now where they are finite, those of the newest snapshot before."""
        live = self._live()
        if not broken(live):
            yield Weights(step, suspect.skipped, {id(t): t.detach().clone() for t in live.values()})
        snapshots = self._snapshots
        at = max((s for s in snapshots.steps if s < suspect.step), default=None) if snapshots is not None else None
        if snapshots is None or at is None:
            return
        lent = snapshots.detach(at)
        try:
            kept = lent.tensors
            named = {f"param/{n}": t for n, t in self._state.parameters().items()}
            named.update(self._state.buffers())
            copies = {id(t): kept[key].to(t.device, copy=True) for key, t in named.items() if key in kept}
        finally:
            lent.release()
        yield Weights(at, at == suspect.step - 1, copies)

    # -- telling

    def _publish(self, found: Autopsy, batch: Batch | None, step: int) -> None:
        """To judges at once, to people once the batch is on the disk."""
        recorder, body = self._recorder, None
        try:
            recorder.mark(Mark(recorder.last_step, "autopsy", found.fields(chain=False)))
            if batch is not None and self._send is not None:
                _, loaded = self._probe.outbox.batches.of(found.step)
                body = copied({
                    "format": 1, "step": found.step, "args": batch.args, "kwargs": dict(batch.kwargs),
                    "training": batch.training, "autocast": dict(batch.autocast),
                    "loaded": [one.args[0] for one in loaded if not one.problem],
                })
        except Exception as error:  # no memory for a copy, say
            _LOG.debug("the batch is not saved: %s", error)
        if body is None or self._send is None:
            recorder.event("autopsy", step, **found.fields())
        else:
            self._send(lambda: _save(recorder, found, body, step))


def _save(recorder: Recorder, found: Autopsy, body: Any, step: int) -> None:
    """In the background: the batch, then the event that names it."""
    path = recorder.run.autopsies / f"step-{found.step}.pt"
    try:
        left_out: list[str] = []
        make_folder(path.parent)
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
