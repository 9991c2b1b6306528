"""What recording and steering ask of the parts that know torch: interfaces only, neither side loads the other."""

from __future__ import annotations

from typing import Protocol

from tuimon.diagnosis.model import Diagnosis
from tuimon.record.chunk import Chunk


class Overrides(Protocol):
    """The changes to learning rate and clipping that are in force. Written and read on the training thread."""

    @property
    def lr_scale(self) -> float:
        """What the scheduled learning rate is multiplied by once the warm-up is over; 1.0 when nothing is changed."""

    @property
    def clip(self) -> float | None:
        """The norm limit that replaces the script's own; None when nothing is changed."""

    def set(self, *, lr_scale: float, clip: float | None, warmup_from: int | None, warmup_steps: int) -> None:
        """Put exactly these in force. `warmup_from` is the last completed step when a re-warm-up began, or None."""

    def undo(self) -> None:
        """Back to what the script asks for."""

    def factor(self, step: int) -> float:
        """What the scheduled learning rate is multiplied by at `step`, the warm-up included."""


class Snapshot(Protocol):
    """The state of one step boundary, in memory."""

    @property
    def step(self) -> int:
        """Last completed step; 0 for the initial weights."""

    @property
    def bytes(self) -> int:
        """Its size."""

    @property
    def seconds(self) -> float:
        """How long the training thread took to capture it."""

    @property
    def sha256(self) -> str:
        """Of its contents, or "" where it was not computed."""


class Snapshots(Protocol):
    """A few snapshots of this run. Used on the training thread only."""

    @property
    def healthy(self) -> Snapshot | None:
        """The newest that earned its health; None where there is none."""

    @property
    def initial(self) -> Snapshot | None:
        """The weights before the first step; None where they were not kept."""

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps that can be restored, oldest first."""

    def capture(self, step: int) -> Snapshot:
        """Copy the state as it is after `step`."""

    def restore(self, step: int) -> Snapshot:
        """Put the state of `step` back in place, verified first; raises with nothing changed where it cannot."""

    def promote(self, step: int) -> None:
        """This one earned its health; unknown steps are ignored."""

    def void_after(self, step: int) -> None:
        """Forget every snapshot with a greater step."""


class CheckpointInfo(Protocol):
    """What is known of a checkpoint once it is durable."""

    @property
    def bytes(self) -> int:
        """Its size on disk."""

    @property
    def sha256(self) -> str:
        """Of its state file."""


class Checkpoints(Protocol):
    """Checkpoints on disk."""

    def save(self, captured: Snapshot, step: int) -> CheckpointInfo:
        """Write what was captured, durable on return; called on a background thread. OSError or CheckpointError."""


class Judge(Protocol):
    """`diagnosis.engine.Engine`, or another with its interface."""

    def feed(self, chunk: Chunk) -> None:
        """Judge what was measured since the last call."""

    @property
    def diagnosis(self) -> Diagnosis:
        """Everything judged so far."""
