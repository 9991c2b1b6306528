"""Which steps measure more than loss and gradient norm. Pure arithmetic on times that others took.

    full     everything at every step
    light    loss and gradient norm; weights and updates every 16th step
    auto     on the CPU: as often as keeps the measured cost at or below 1 % of the step, every 16th step at the least;
             where what every step costs leaves less than half a percent of that, half a percent.
             On a device, where host times say nothing about cost: every 16th step.
             Before that, of the first 64 steps every one (on a device every second): what is wrong with a learning
             rate shows there, and who judges wants 30 samples, for which a small run would wait 480 steps. That costs a
             run at most 50 ms beyond the plan on the CPU, and the step that oversteps them; on a device it is not done
             for weights of more than 2 GB.

Activation probes look at the first step, and then

    full     every 10th step
    light    every 128th
    auto     on the CPU: every 32nd, or more rarely (64th, 128th, ... 1024th) so that they take at most 0.5 % of the
             step, which is taken out of what weights and updates may cost; of the first 256 steps every 16th, until
             that has cost 100 ms. On a device: every 64th.

and, whatever is planned, at every 8th of the 64 steps that follow a rollback: whether it has helped shows there.

The norms of the weights are measured with the updates and change slowly: tensor by tensor they are logged at the first
step, and then at one of eight steps at which gradient norms are.

One rank of several measures weights and updates at steps that all ranks measure, for only those can be added up, and
ranks do not talk about it: strides are powers of two, so that the sparsest rank's steps are everybody's; the early ones
are every second, whatever that costs; nothing that one rank alone has seen makes it look closer.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Final, Literal

Detail = Literal["auto", "full", "light"]
DETAILS: Final[tuple[Detail, ...]] = ("auto", "full", "light")

BUDGET: Final = 0.01
"""Share of the step that measuring may take (design, section 4)."""
SPARE: Final = 0.005
"""Share of the step that weights and updates may take whatever the rest costs: a tiny model's step is short."""
WEIGHTS_EVERY: Final = 8
"""Strides of the per-tensor gradient norms: at most an eighth of their bytes."""
EARLY_STEPS: Final = 64
EARLY_SECONDS: Final = 0.05
EARLY_BYTES: Final = 2 << 30
"""Weights are read five times and written twice (in half precision seven and three times): 32 measurements of that
size take a second at 500 GB/s."""
SPARSEST: Final = 16
"""An update measured more rarely than this says too little (instrumentation notes, 2.2)."""
FIRST: Final = 8
"""Stride until the first costs are known."""
ALERT_STEPS: Final = 8
"""Steps measured in full after a non-finite value, to name the layer it came from."""
PROBES_SHARE: Final = 0.005
"""Share of the step that activation probes may take."""
PROBES_DENSEST: Final = 32
PROBES_SPARSEST: Final = 1024
PROBES_ON_DEVICE: Final = 64
PROBES_EARLY: Final = 256
"""First steps of a run, of which every 16th is sampled."""
PROBES_EARLY_SECONDS: Final = 0.1
PROBES_AGAIN: Final = 64
"""Steps after a rollback, of which every 8th is sampled."""
_SMOOTH: Final = 0.2


def vector_stride(tensors: int, detail: Detail) -> int:
    """Every how many steps the per-tensor gradient norms are logged: 4 bytes each, so a matter of the log's size."""
    if detail == "full" or (detail == "auto" and tensors <= 32):
        return 1
    if detail == "light":
        return SPARSEST
    return 4 if tensors <= 256 else 8


class Cadence:
    """The plan of one run."""

    def __init__(
        self, detail: Detail, tensors: int, *, timed: bool, from_step: int = 0, weight_bytes: int = 0,
        ranks: int = 1,
    ) -> None:
        """`timed`: host times are the cost. `from_step`: the last step before this attempt. `weight_bytes`: of all."""
        self.detail = detail
        self.vectors_every = vector_stride(tensors, detail)
        self.stride = {"full": 1, "light": SPARSEST, "auto": FIRST if timed else SPARSEST}[detail]
        self.is_timed = timed
        self._adapts = detail == "auto" and timed
        self._first = from_step + 1
        self._is_one = ranks == 1
        is_dense = detail == "auto" and ((timed and self._is_one) or weight_bytes <= EARLY_BYTES)
        self._early_until = from_step + EARLY_STEPS if is_dense else 0
        self._early_stride = 1 if timed and self._is_one else 2
        self._early_left = EARLY_SECONDS if self._is_one else math.inf
        self.probes_every = {"full": 10, "light": 128, "auto": PROBES_DENSEST if timed else PROBES_ON_DEVICE}[detail]
        self._probes_early_until = from_step + PROBES_EARLY if self._adapts else 0
        self._probes_again_until = self._probed = 0
        self._probe = 0.0
        self._probe_costs: deque[float] = deque(maxlen=5)
        self._alert_until = 0
        self._step = self._always = self._extra = 0.0

    def wants_all(self, step: int) -> bool:
        """Whether weights and updates are measured at this step."""
        if step <= self._early_until and self._early_left > 0 and step % self._early_stride == 0:
            return True
        return step % self.stride == 0 or step == self._first or step <= self._alert_until

    def wants_vectors(self, step: int) -> bool:
        """Whether the per-tensor gradient norms of this step are wanted."""
        return step % self.vectors_every == 0 or self.wants_all(step)

    def wants_weights(self, step: int) -> bool:
        """Whether the weights' norms, if they are measured at this step, are logged tensor by tensor."""
        return step % (WEIGHTS_EVERY * self.vectors_every) == 0 or step == self._first

    def wants_probes(self, step: int) -> bool:
        """Whether activations are sampled at this step."""
        is_early = step <= self._probes_early_until and self._probed * self._probe <= PROBES_EARLY_SECONDS
        if is_early and step % SPARSEST == 0:
            return True
        if step <= self._probes_again_until and step % FIRST == 0:
            return True
        return step % self.probes_every == 0 or step == self._first

    def alert(self, step: int) -> None:
        """Something non-finite was seen at `step`: look closely for a while."""
        if self.detail != "light" and self._is_one:
            self._alert_until = max(self._alert_until, step + ALERT_STEPS)

    def look_again(self, step: int) -> None:
        """The training state was put back at `step`."""
        self._probes_again_until = step + PROBES_AGAIN

    @property
    def overhead(self) -> float:
        """Measured share of the step that measuring takes by plan, 0 to 1; 0 until it is known."""
        if self._step <= 0:
            return 0.0
        return (self._always + self._extra / self.stride + self._probe / self.probes_every) / self._step

    def learn(self, step_seconds: float, always: float, extra: float | None) -> None:
        """One step took `step_seconds`, of which `always` for what every step measures and `extra` for the rest.

        `extra` is None where the step did not measure it. The first steps of a run are slow (allocation, compilation):
        exponential means forget them.
        """
        if not step_seconds > 0:
            return
        self._step = _mean(self._step, step_seconds)
        self._always = _mean(self._always, always)
        if extra is not None:
            self._extra = _mean(self._extra, extra)
            if self._adapts:
                self._early_left -= extra
        if self._adapts and self._probe > 0:
            needed = _power_of_two(self._probe / (PROBES_SHARE * self._step), PROBES_SPARSEST)
            self.probes_every = max(PROBES_DENSEST, needed)
        if self._adapts and self._extra > 0:
            left = max(BUDGET * self._step - self._always - self._probe / self.probes_every, SPARE * self._step)
            self.stride = _power_of_two(self._extra / left, SPARSEST)

    def learn_probes(self, seconds: float) -> None:
        """One sample of activations took `seconds`. The first, which is slow, counts until there is another.

        A median: samples are few, and one in which another process was let in would make the next ones rare.
        """
        self._probed += 1
        if self._probed == 2:
            self._probe_costs.clear()
        self._probe_costs.append(seconds)
        self._probe = statistics.median(self._probe_costs)


def _mean(so_far: float, value: float) -> float:
    """Exponential mean that does not let one outlier (a page fault, another process) through at full weight."""
    if so_far <= 0:
        return value
    return so_far + _SMOOTH * (min(value, 3 * so_far) - so_far)


def _power_of_two(needed: float, most: int) -> int:
    """The smallest stride of 1, 2, 4, ... `most` that is at least `needed`."""
    stride = 1
    while stride < needed and stride < most:
        stride *= 2
    return stride
