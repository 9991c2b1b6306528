"""The emergency procedure, as one command at one step boundary: restore, cut, clip, warm up; each with its evidence.

    held -> restored -> lr -> clip -> warmup -> (the steps of the warm-up) -> done
    held -> failed                              nothing has changed, and the run stays held
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tuimon.control.commands import Command
from tuimon.instrument.protocols import InForce, Overrides, Snapshot, Snapshots
from tuimon.instrument.recorder import Recorder
from tuimon.record.chunk import Mark

LR_SCALE: Final = 0.1
MAX_NORM: Final = 1.0
WARMUP: Final = 20


def target(snapshots: Snapshots | None, wanted: int | None) -> int | str:
    """The step to go back to: the one asked for, else the last healthy one, else the first. Or why there is none."""
    if snapshots is None:
        return "no snapshots are kept for this run"
    if wanted is not None:
        known = snapshots.steps
        if wanted in known:
            return wanted
        return f"no snapshot of step {wanted}; there are: {', '.join(map(str, known)) or 'none'}"
    found = snapshots.healthy or snapshots.initial
    return "no snapshot has earned its health, and the initial weights are not kept" if found is None else found.step


@dataclass(frozen=True, slots=True)
class Cut:
    """What a rescue puts in force."""

    lr_scale: float
    clip: float | None
    warmup: int

    @staticmethod
    def of(args: Mapping[str, Any], now: InForce, script_clip: float | None) -> Cut:
        """The current scale times 0.1 (so that a second rescue cuts again), clip 1.0, 20 steps, or what was asked for.

        A script that clips harder than 1.0 is not loosened.
        """
        limit = MAX_NORM if script_clip is None or script_clip <= 0 else min(MAX_NORM, script_clip)
        if now.clip is not None:
            limit = min(limit, now.clip)
        return Cut(now.lr_scale * float(args.get("lr_scale", LR_SCALE)), args.get("max_norm", limit),
                   int(args.get("warmup", WARMUP)))


def put_back(recorder: Recorder, snapshots: Snapshots, to_step: int, step: int) -> Snapshot:
    """Restore, and say so to judges, charts and people. Raises what `restore` raises, with nothing changed or said."""
    snapshot = snapshots.restore(to_step)
    recorder.mark(Mark(step, "rollback", {"to_step": to_step}))
    recorder.event("rollback", step, from_step=step, to_step=to_step)
    recorder.event("snapshot-void", step, after_step=to_step)
    return snapshot


def put_in_force(recorder: Recorder, overrides: Overrides, cut: Cut, step: int) -> None:
    """Set the overrides, and say so."""
    overrides.set(lr_scale=cut.lr_scale, clip=cut.clip, warmup_from=step if cut.warmup else None,
                  warmup_steps=cut.warmup)
    say_override(recorder, overrides, step)


def say_override(recorder: Recorder, overrides: Overrides, step: int) -> None:
    """The event and the mark for what is in force from here on."""
    now = overrides.in_force
    recorder.mark(Mark(step, "override", {"lr_scale": now.lr_scale, "clip": now.clip}))
    recorder.event("override", step, lr_scale=now.lr_scale, clip=now.clip, warmup_from=now.warmup_from,
                   warmup_steps=now.warmup_steps)


def rescue(
    recorder: Recorder, overrides: Overrides, snapshots: Snapshots, command: Command, to_step: int, step: int
) -> str | Cut:
    """All but the last tick. What was put in force, or why it failed: then nothing has changed."""
    def tick(name: str, **fields: Any) -> None:
        recorder.event("rescue", step, id=command.id, tick=name, **fields)

    seen = recorder.last
    tick("held", loss=seen.get("loss"), grad_norm=seen.get("grad_norm"))
    try:
        snapshot = put_back(recorder, snapshots, to_step, step)
    except Exception as error:
        why = " ".join(str(error).split())[:300] or type(error).__name__
        tick("failed", why=why)
        return why
    tick("restored", from_step=step, to_step=to_step, proven=snapshot.proven, sha256=snapshot.sha256)
    before = overrides.in_force
    cut = Cut.of(command.args, before, overrides.script_clip)
    put_in_force(recorder, overrides, cut, step)
    old, new = _rates(seen, before.lr_scale, cut.lr_scale)
    tick("lr", scale=cut.lr_scale, before=old, after=new)
    tick("clip", max_norm=cut.clip, script_clips=overrides.script_clip is not None)
    tick("warmup", steps=cut.warmup)
    return cut


def _rates(seen: Mapping[str, float], scale_before: float, scale: float) -> tuple[float | None, float | None]:
    """Learning rate at the last measured step, and the one after the warm-up if the schedule stayed where it is."""
    before = seen.get("lr")
    scheduled = seen.get("lr_scheduled")
    if scheduled is None and before is not None:
        scheduled = before / scale_before
    return before, scheduled * scale if scheduled is not None and math.isfinite(scheduled) else None
