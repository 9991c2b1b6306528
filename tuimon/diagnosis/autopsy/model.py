"""The nouns of an autopsy: what went through a module, and where values stopped being finite. Values, and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args

from tuimon.diagnosis.model import plain

if TYPE_CHECKING:
    from tuimon.record.chunk import Bools, Vectors

Place = Literal[
    "batch", "labels", "loss", "embedding", "attention", "norm", "linear", "activation", "code", "parameters",
    "weights", "unknown",
]
"""batch: what goes into the model is not finite. labels: none of them counts. loss: what comes out of the model is
finite. embedding ... code: that kind of module, or the own code of one, makes something non-finite of finite values.
parameters: a module's own weights are not finite. weights: from earlier weights the batch is finite. unknown: only the
gradients tell."""
FoundBy = Literal["replay", "backward order"]
Phase = Literal["forward", "backward", ""]

_KINDS: Final[tuple[tuple[Place, tuple[str, ...]], ...]] = (
    ("loss", ("loss", "criterion")),
    ("embedding", ("embed",)),
    ("attention", ("attention", "attn", "softmax")),
    ("norm", ("norm",)),
    ("linear", ("linear", "conv", "bilinear", "lora", "lstm", "gru", "rnn")),
    ("activation", ("relu", "gelu", "elu", "silu", "swish", "mish", "sigmoid", "tanh", "softplus", "activation")),
)
"""Parts of a class's name, lower case, in the order in which they are looked for."""


@dataclass(frozen=True, slots=True)
class Span:
    """The values of some tensors together."""

    low: float
    high: float
    """Of all; NaN where one is."""
    bad: int = 0
    """How many are not finite."""
    of: int = 0
    """How many there are."""
    dtype: str = ""
    """Of the first, e.g. "float16"."""

    @property
    def is_finite(self) -> bool:
        """Whether all are."""
        return math.isfinite(self.low) and math.isfinite(self.high)

    @property
    def is_poisoned(self) -> bool:
        """Whether there is a NaN or +inf among them: -inf alone is what masks are made of."""
        return not (math.isfinite(self.high) and (math.isfinite(self.low) or self.low == -math.inf))

    @property
    def largest(self) -> float:
        """The largest absolute value; NaN where one is."""
        return math.nan if math.isnan(self.low) else max(abs(self.low), abs(self.high))

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        return {"low": plain(self.low), "high": plain(self.high), "bad": self.bad, "of": self.of, "dtype": self.dtype}

    @staticmethod
    def parse(body: Any) -> Span | None:
        """Out of JSON; None for what is none."""
        if not isinstance(body, Mapping):
            return None
        low, high = _number(body.get("low")), _number(body.get("high"))
        if low is None or high is None:
            return None
        return Span(low, high, _whole(body.get("bad")), _whole(body.get("of")), _text(body.get("dtype")))


@dataclass(frozen=True, slots=True)
class Sight:
    """One call of one module."""

    module: str
    """Its path in the model; "" is the model itself."""
    kind: str
    """Its class."""
    went_in: Span | None
    """None where no tensor of numbers did."""
    came_out: Span | None

    def fields(self) -> dict[str, Any]:
        """As JSON."""
        return {"module": self.module, "kind": self.kind, "went_in": self.went_in and self.went_in.fields(),
                "came_out": self.came_out and self.came_out.fields()}

    @staticmethod
    def parse(body: Any) -> Sight | None:
        """Out of JSON; None for what is none."""
        if not isinstance(body, Mapping) or not isinstance(body.get("module"), str):
            return None
        return Sight(body["module"], _text(body.get("kind")), Span.parse(body.get("went_in")),
                     Span.parse(body.get("came_out")))


@dataclass(frozen=True, slots=True)
class Autopsy:
    """Where the first non-finite value of a step came from, as far as can be told."""

    step: int
    """The step that was looked into."""
    place: Place
    found_by: FoundBy
    module: str = ""
    """Path of the module, the name of the argument, or of the tensor whose gradient it is; "" is the model itself."""
    kind: str = ""
    """The module's class."""
    phase: Phase = ""
    """backward: the values are finite, their gradients are not."""
    weights_step: int | None = None
    """The last step in the weights that the batch was replayed with."""
    micro: int = 1
    """Which of the step's forward passes, counted from 1."""
    micros: int = 1
    went_in: Span | None = None
    came_out: Span | None = None
    """Of a backward: the gradient that came from the output, and the one that was handed on."""
    chain: tuple[Sight, ...] = ()
    """Calls before and after it, in order."""
    values: Mapping[str, float] = field(default_factory=dict)
    """What was not finite in that step's row."""
    notes: tuple[str, ...] = ()
    batch: str = ""
    """Where the batch was saved, below the run directory."""
    seconds: float = 0.0
    """What it took of the training thread's time."""

    def fields(self, *, chain: bool = True) -> dict[str, Any]:
        """As JSON, for the event; without the chain for the mark in the log."""
        body = {
            "examined": self.step, "place": self.place, "found_by": self.found_by, "module": self.module,
            "module_kind": self.kind, "phase": self.phase, "weights_step": self.weights_step, "micro": self.micro,
            "micros": self.micros, "went_in": self.went_in and self.went_in.fields(),
            "came_out": self.came_out and self.came_out.fields(),
            "values": {name: plain(value) for name, value in self.values.items()}, "notes": list(self.notes),
        }
        more = {"chain": [s.fields() for s in self.chain], "batch": self.batch, "seconds": self.seconds}
        return {**body, **more} if chain else body

    @staticmethod
    def parse(body: Mapping[str, Any]) -> Autopsy | None:
        """Out of JSON; None for what is none, or of a later version."""
        step, place, found_by = body.get("examined"), body.get("place"), body.get("found_by")
        if isinstance(step, bool) or not isinstance(step, int):
            return None
        if place not in get_args(Place) or found_by not in get_args(FoundBy):
            return None
        chain, notes, values = body.get("chain"), body.get("notes"), body.get("values")
        phase, weights = body.get("phase"), body.get("weights_step")
        return Autopsy(
            step, cast("Place", place), cast("FoundBy", found_by), _text(body.get("module")),
            _text(body.get("module_kind")), cast("Phase", phase) if phase in get_args(Phase) else "",
            weights if isinstance(weights, int) else None, max(1, _whole(body.get("micro"))),
            max(1, _whole(body.get("micros"))), Span.parse(body.get("went_in")), Span.parse(body.get("came_out")),
            tuple(s for item in _items(chain) if (s := Sight.parse(item)) is not None),
            {str(k): n for k, v in values.items() if (n := _number(v)) is not None}
            if isinstance(values, Mapping) else {},
            tuple(str(n) for n in _items(notes)), _text(body.get("batch")), _number(body.get("seconds")) or 0.0,
        )


def place_of(kind: str) -> Place:
    """What kind of place a module of this class is."""
    name = kind.lower()
    return next((place for place, parts in _KINDS if any(part in name for part in parts)), "code")


def first_bad_gradient(names: Sequence[str], grad: Vectors, seen: Bools) -> tuple[str, bool] | None:
    """The tensor whose gradient backward met first among those that are not finite, and whether all are such.

    That is the last in the model's order, (P,) each. None where every gradient is finite.
    """
    have = [i for i in range(min(len(names), len(grad))) if seen[i]]
    bad = [i for i in have if not math.isfinite(float(grad[i]))]
    return (names[bad[-1]], len(bad) == len(have)) if bad else None


def _number(value: Any) -> float | None:
    words = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    if isinstance(value, str):
        return words.get(value)
    try:
        return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)
    except OverflowError:
        return None


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()
