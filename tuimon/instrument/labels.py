"""Where a number means something else than its name says: noticed from what is known anyway, stated once per metric.

Whether a script changed its gradients by itself is seen in their version counters: what a backward or clip_grad_norm_
left is compared with what the optimizer gets. No tensor is read. One list of P integers is made per look (0.3 us a
tensor); a look is taken at the first steps and then every 16th, until there is something to say. GradScaler.unscale_
writes past the counters; so does what goes through `p.grad.data`, which is therefore not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

LOOKS: Final = 16
"""Every one of so many first steps is looked at, then one in so many."""
STRIKES: Final = 2
"""Steps at which it must have been seen: once may be a step that the script threw away."""
PATIENCE: Final = 8
"""Steps without a loss, or without tokens, before that is stated."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a metric of this run means."""

    metric: str
    text: str
    """In a sentence's words, for logs."""
    brief: str
    """Beside the metric's name, for a chart's title."""


CHANGED: Final = Label(
    "grad_norm", "norm after the script's own clipping: it changes gradients between backward and step",
    "after own clipping")
ASSIGNED: Final = Label(
    "grad_norm", "norm of gradients that the script sets itself: whether it clips them before is not seen",
    "set by the script")
NO_LOSS: Final = Label("loss", "not seen: call monitor.log(loss=...)", "not seen")
NO_TOKENS: Final = Label("tokens", "not seen: attach(..., tokens_per_step=...) says how many", "not seen")
TOGETHER: Final = Label(
    "grad_norm", "norm of all ranks' gradients together: nothing is seen that keeps their weights equal; where the "
    "script does, that of the model is smaller by the root of the number of ranks", "all ranks together")
CAPTURED: Final = Label(
    "step", "steps replayed by a CUDA graph are not seen: call monitor.step() after each replay", "replays not seen")

Say = Callable[[Label], None]


class Labels:
    """What is to be said about one attached run."""

    def __init__(self, say: Say, *, has_tokens: bool) -> None:
        """`has_tokens`: whether this is a model that reads tokens, so that it is odd where none are seen."""
        self._say, self._has_tokens = say, has_tokens
        self._said: set[str] = set()
        self._steps = self._strikes = 0
        self._is_struck = False
        self.left: list[int] | None = None
        """Marks of the gradients as the last backward or clipping left them; None before the first."""

    @property
    def looks(self) -> bool:
        """Whether the gradients of the step under way are compared."""
        return "grad_norm" not in self._said and (self._steps < LOOKS or self._steps % LOOKS == 0)

    def compare(self, marks: Sequence[int], first: int, last: int) -> None:
        """Has the script changed a stretch of gradients? `marks` are those of all, as they are taken over."""
        left = self.left or [-1] * len(marks)
        if len(left) != len(marks):
            return  # tensors were added meanwhile
        changed = [a for a, b in zip(left[first:last], marks[first:last], strict=True) if a != b != -1]
        if not changed or self._is_struck:
            return
        self._is_struck = True
        self._strikes += 1
        if self._strikes >= STRIKES:
            self.state(ASSIGNED if all(mark == -1 for mark in changed) else CHANGED)

    def pardon(self) -> None:
        """Gradients are about to be changed in a known way: of this step nothing more can be told."""
        self._is_struck = True

    def knows_loss(self) -> None:
        """The script logs its loss itself."""
        self._said.add("loss")

    def finished(self, *, loss: bool, tokens: bool) -> None:
        """A step is complete; whether a loss was seen for it, and tokens."""
        self._steps += 1
        self._is_struck = False
        if loss:
            self.knows_loss()
        if tokens or not self._has_tokens:
            self._said.add("tokens")
        if self._steps == PATIENCE:
            self.state(NO_LOSS)
            self.state(NO_TOKENS)

    def state(self, label: Label) -> None:
        """Say it, unless something has been said of that metric."""
        if label.metric not in self._said:
            self._said.add(label.metric)
            self._say(label)
