"""What recording and steering ask of the parts that know torch: interfaces only, neither side loads the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from tuimon.diagnosis.model import Diagnosis
from tuimon.record.chunk import Chunk


class InForce(Protocol):
    """The overrides at one moment."""

    @property
    def lr_scale(self) -> float:
        """What the scheduled learning rate is multiplied by once the warm-up is over; 1.0 when nothing is changed."""

    @property
    def clip(self) -> float | None:
        """Norm limit; None when nothing is changed."""

    @property
    def warmup_from(self) -> int | None:
        """Last completed step when a re-warm-up began."""

    @property
    def warmup_steps(self) -> int:
        """Its length; 0 without one."""


class Overrides(Protocol):
    """The changes to learning rate and clipping. Written and read on the training thread."""

    @property
    def in_force(self) -> InForce:
        """All of them."""

    @property
    def script_clip(self) -> float | None:
        """Norm limit that the script itself last asked for; None while it has not clipped."""

    def set(self, *, lr_scale: float, clip: float | None, warmup_from: int | None, warmup_steps: int) -> None:
        """Put exactly these in force."""

    def undo(self) -> None:
        """Back to what the script asks for."""


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

    @property
    def proven(self) -> bool:
        """Whether it has earned its health."""


class Captured(Protocol):
    """A copy lent to whoever writes it to disk."""

    def release(self) -> None:
        """Give the memory back. Harmless when repeated."""


class Snapshots(Protocol):
    """A few snapshots of this run. `promote` may come from any thread, the rest from the training thread."""

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

    def detach(self, step: int) -> Captured:
        """Lend a snapshot to a writer; it can still be restored meanwhile."""

    def restore(self, step: int) -> Snapshot:
        """Put the state of `step` back in place and forget later ones, verified first; raises with nothing changed."""

    def promote(self, step: int) -> bool:
        """This one earned its health; False if it has gone. Hashes it: seconds for large models."""

    def void_after(self, step: int) -> tuple[int, ...]:
        """Forget every snapshot with a greater step; which ones."""

    def close(self) -> None:
        """Give the memory back."""


class CheckpointInfo(Protocol):
    """What is known of a checkpoint once it is durable."""

    @property
    def id(self) -> str:
        """Its name on disk."""

    @property
    def bytes(self) -> int:
        """Its size on disk."""

    @property
    def sha256(self) -> str:
        """Of its state file."""


class Checkpoints(Protocol):
    """Checkpoints on disk."""

    def save(
        self, captured: Any, step: int, *, attempt: int, overrides: Mapping[str, Any], loader: Any,
        parts: Mapping[str, str], suspect: bool, **more: Any,
    ) -> CheckpointInfo:
        """Write what was captured, durable on return; called on a background thread. OSError or CheckpointError."""

    def promote(self, id: str) -> None:  # noqa: A002  # the word users see
        """It has earned its health. The same thread and errors, here and below."""

    def doubt(self, id: str) -> None:  # noqa: A002  # the word users see
        """It is not to be trusted any more."""

    def gone_back_to(self, id: str) -> None:  # noqa: A002  # the word users see
        """The run goes on from it."""


class Discovery(Protocol):
    """What a checkpoint needs besides weights and optimizers. `look` may run on any thread."""

    @property
    def is_due(self) -> bool:
        """Whether to look first; it may take a tenth of a second."""

    def look(self) -> None:
        """Find it."""

    def settle(self) -> None:
        """Before a capture."""

    def forget(self) -> None:
        """After it."""

    def position(self) -> Any:
        """Where the data stand; None where nobody can tell."""

    def parts(self) -> Mapping[str, str]:
        """What was given, found, or not found, in words."""


class Judge(Protocol):
    """`diagnosis.engine.Engine`, or another with its interface."""

    def feed(self, chunk: Chunk) -> None:
        """Judge what was measured since the last call."""

    @property
    def diagnosis(self) -> Diagnosis:
        """Everything judged so far."""
