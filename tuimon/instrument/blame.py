"""What a replay and the gradients of its step mean: the autopsy as a value. Looks at tensors, runs nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from torch import Tensor, nn

from tuimon.diagnosis.autopsy.fallback import ALL_BAD, NOTHING
from tuimon.diagnosis.autopsy.model import Autopsy, first_bad_gradient
from tuimon.diagnosis.autopsy.verdict import LARGEST, LAST, Convicted, Replayed, leaves, nearest_to_overflow
from tuimon.instrument.batches import Batch, Suspect
from tuimon.instrument.replay import broken, masked, measured, tensors_of

OLD: Final = 40
"""Steps by which the weights of a replay may be older and still speak for those that the step had."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Copies to compute with, by the id of the parameter or buffer, and the last step in them."""

    step: int
    exact: bool
    """Whether these are the weights that the step itself began with."""
    tensors: Mapping[int, Tensor]


def in_the_model(bare: Autopsy, found: Convicted | None, seen: Replayed, weights: Weights, model: nn.Module,
                 batches: Sequence[Batch]) -> Autopsy:
    """A module is convicted, or the batch; or the model has raised."""
    if found is None:
        return replace(bare, place="unknown", notes=(*bare.notes, seen.raised))
    sight, place, notes = found.sight, found.place, bare.notes
    own = _held_by(model, sight.module) if place != "batch" else {}
    now = {name: weights.tensors.get(id(t), t) for name, t in own.items()}
    bad = broken(now)
    if bad:
        place, notes = "parameters", (*notes, f"not finite: {', '.join(list(bad)[:3])}")
    kind = sight.came_out.dtype if sight.came_out is not None else ""
    for name, span in measured(now).items():
        if span.is_finite and span.largest > LARGEST.get(kind, math.inf):
            notes = (*notes, f"{name} holds {span.largest:.3g}, and {kind} ends at {LARGEST[kind]:,.0f}")
    told = replace(bare, place=place, module=sight.module, kind=sight.kind, phase="forward", chain=found.chain,
                   went_in=sight.went_in, came_out=sight.came_out, notes=notes)
    return by_labels(told, batches) if place == "loss" else told


def _held_by(model: nn.Module, module: str) -> dict[str, Tensor]:
    """The tensors of a module itself, not of its parts."""
    owner = model.get_submodule(module) if module else model
    return dict((*owner.named_parameters(prefix=module, recurse=False), *owner.named_buffers(module, recurse=False)))


def outside(bare: Autopsy, suspect: Suspect, weights: Weights, seen: Replayed, names: Sequence[str],
            batches: Sequence[Batch]) -> Autopsy:
    """What the model gives is finite: it is the data that only the loss sees, the loss, or weights of then."""
    for batch in batches:
        bad = {} if batch.problem else broken(tensors_of(batch))
        if bad:
            name, span = next(iter(bad.items()))
            return replace(bare, place="batch", module=name, phase="forward", went_in=span)
    told = innocent(replace(bare, phase="forward"), suspect, weights, seen, names)
    return by_labels(told, batches) if told.place == "loss" else told


def by_labels(told: Autopsy, batches: Sequence[Batch]) -> Autopsy:
    """The same, or what explains it: labels of which none counts."""
    label = next(filter(None, (masked(tensors_of(batch)) for batch in batches if not batch.problem)), "")
    return replace(told, place="labels", module=label, kind="") if label else told


def on_the_way_back(bare: Autopsy, found: Convicted) -> Autopsy:
    """A module is convicted whose values are finite."""
    sight = found.sight
    return replace(bare, place=found.place, module=sight.module, kind=sight.kind, phase="backward", chain=found.chain,
                   went_in=sight.went_in, came_out=sight.came_out)


def innocent(bare: Autopsy, suspect: Suspect, weights: Weights, seen: Replayed, names: Sequence[str]) -> Autopsy:
    """Nothing in the model is convicted: the loss is, where the weights were those of the step, or nearly.

    A loss that is not finite, or its derivative, poisons every gradient; where some are finite it was something else.
    """
    notes = bare.notes
    near = nearest_to_overflow(seen.sights)
    if near is not None and near.came_out is not None:
        largest, kind = near.came_out.largest, near.came_out.dtype
        notes = (*notes, f"nearest to the end of {kind}: {near.module or near.kind}, at {largest:.3g}")
    told = _first_gradient(suspect, names)
    bare = replace(bare, notes=notes, chain=leaves(seen.sights)[-LAST:])
    if weights.exact:
        return replace(bare, place="loss")
    if suspect.ruined:
        return replace(bare, place="weights", notes=(*notes, f"step {suspect.step - 1:,} ruined them: see its rate"))
    if not suspect.sudden or suspect.step - weights.step > OLD:
        first = (f"first bad gradient in backward order: {told[0]}",) if told else ()
        return replace(bare, place="weights", notes=(*notes, *first))
    if told is not None and not told[1]:
        why = f"in a replay with the weights of step {weights.step} that batch is finite"
        return replace(by_gradients(suspect, why, names), chain=bare.chain)
    older = suspect.step - weights.step
    doubt = f"unless step {suspect.step - 1:,} ruined the weights: those of the replay are {older} steps older"
    return replace(bare, place="loss", notes=(*notes, doubt))


def by_gradients(suspect: Suspect, why: str, names: Sequence[str]) -> Autopsy:
    """The fallback: backward met this one first."""
    told = _first_gradient(suspect, names)
    notes = (why, NOTHING) if told is None else (why, ALL_BAD) if told[1] else (why,)
    return Autopsy(suspect.step, "unknown", "backward order", told[0] if told else "", phase="backward",
                   values=suspect.values, notes=notes)


def _first_gradient(suspect: Suspect, names: Sequence[str]) -> tuple[str, bool] | None:
    if suspect.grad is None or suspect.seen is None:
        return None
    return first_bad_gradient(names, suspect.grad, suspect.seen)
