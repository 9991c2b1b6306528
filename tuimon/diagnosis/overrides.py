"""What has been changed in a run from outside. Pure, and light: what the first paint of the viewer needs."""

from __future__ import annotations

from dataclasses import dataclass

from tuimon.diagnosis.figures import plain_factor


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the viewer's commands have changed and not undone."""

    lr_scale: float = 1.0
    clip: float | None = None
    warmup_from: float | None = None
    warmup_steps: int | None = None

    @property
    def any(self) -> bool:
        """Whether something is in force."""
        return self.lr_scale != 1.0 or self.clip is not None

    @property
    def words(self) -> str:
        """"lr x0.1, clip 1.0", or nothing."""
        parts = [f"lr x{plain_factor(self.lr_scale)}"] if self.lr_scale != 1.0 else []
        return ", ".join(parts + ([f"clip {plain_factor(self.clip)}"] if self.clip is not None else []))
