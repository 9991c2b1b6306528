"""What a person can ask of the demo: one table of options, checked once, and passed on as arguments. Pure; no torch."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, get_args

from tuimon.demo.scenarios import SCENARIOS, Scenario, find_scenario
from tuimon.diagnosis.model import Severity
from tuimon.errors import UsageError
from tuimon.launch.words import OnCritical, Rules

Device = Literal["auto", "cpu", "cuda"]
Size = Literal["tiny", "small", "gpt2"]



@dataclass(frozen=True, slots=True)
class DemoOptions:
    """One demo, completely described. `check` has passed on every one that `from_arguments` returns."""

    scenario: str = "exploding"
    seed: int = 1
    steps: int | None = None
    """None: as many as the run that is resumed, else the scenario's."""
    device: Device = "auto"
    size: Size = "tiny"
    text: str | None = None
    """A UTF-8 file; None is Python's documentation."""
    lr: float | None = None
    """None: the scenario's."""
    speed: float | None = None
    """Most steps per second; None: the scenario's."""
    headless: bool = False
    on_critical: OnCritical = "warn"
    fail_on: Severity = "critical"
    from_start: bool = False
    deep: bool = False
    resume: str | None = None
    """The run to go on with."""
    rules: Rules = "tuimon"
    run_dir: str | None = None
    """Where the training process records; the launcher's business."""

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.plan.steps if self.steps is None else self.steps

    @property
    def most_per_second(self) -> float:
        """Steps per second that a person can follow, or that were asked for."""
        return self.plan.speed if self.speed is None else self.speed

    @property
    def plan(self) -> Scenario:
        """The scenario as these options tell it."""
        return find_scenario(self.scenario, from_start=self.from_start, deep=self.deep)

    def check(self) -> DemoOptions:
        """Itself, or UsageError in one line."""
        plan = self.plan
        if self.total_steps < plan.least_steps:
            least = plan.least_steps
            raise UsageError(f"--steps {self.total_steps} is too short to see {self.scenario}: at least {least}")
        if not 0 <= self.seed < 1 << 63:
            raise UsageError(f"--seed must be at least 0 and below 2**63, not {self.seed}")
        if self.lr is not None and not 0.0 < self.lr < math.inf:
            raise UsageError(f"--lr must be a finite number above 0, not {self.lr}")
        if not self.most_per_second > 0.0:
            raise UsageError(f"--speed must be above 0 steps per second, not {self.speed}")
        for name, known in _CHOICES.items():
            if (given := getattr(self, name)) not in known:
                raise UsageError(f"--{name.replace('_', '-')} must be one of {', '.join(known)}, not {given!r}")
        if self.text is not None and not Path(self.text).is_file():
            raise UsageError(f"--text {self.text} is not a file")
        return self

    def arguments(self) -> list[str]:
        """The command line that means these options: `from_arguments` of it gives them back."""
        line = [self.scenario]
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name == "scenario" or value == option.default:
                continue
            flag = f"--{option.name.replace('_', '-')}"
            line += [flag] if value is True else [f"{flag}={value}"]
        return line


_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "device": get_args(Device),
    "size": get_args(Size),
    "on_critical": get_args(OnCritical),
    "fail_on": get_args(Severity),
    "rules": get_args(Rules),
}



def _told(field: Literal["steps", "speed"]) -> str:
    """What the scenarios have by themselves: that of the first, and those of the others that differ."""
    usual, *_ = values = {name: f"{getattr(s, field):g}" for name, s in SCENARIOS.items()}.values()
    other = {name: v for name, v in zip(SCENARIOS, values, strict=True) if v != usual}
    return "; ".join([usual, *(f"{name}: {v}" for name, v in other.items())])


_HELP: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("--seed", {"type": int, "metavar": "N", "help": "weights and order of the data (1)"}),
    ("--steps", {"type": int, "metavar": "N", "help": f"length of the run ({_told('steps')})"}),
    ("--device", {"choices": _CHOICES["device"], "help": "auto: CUDA if there is one; tiny stays on the CPU (auto)"}),
    ("--size", {"choices": _CHOICES["size"], "help": "of the model; gpt2 takes seconds a step without a GPU (tiny)"}),
    ("--text", {"metavar": "FILE", "help": "learn this UTF-8 file instead of Python's documentation"}),
    ("--lr", {"type": float, "metavar": "X", "help": "learning rate instead of the scenario's"}),
    ("--speed", {"type": float, "metavar": "X", "help": f"most steps per second ({_told('speed')})"}),
    ("--headless", {"action": "store_true", "help": "no screen: a status line a second, JSON at the end"}),
    ("--on-critical", {"choices": _CHOICES["on_critical"], "help": "what the run does by itself (warn)"}),
    ("--fail-on", {"choices": _CHOICES["fail_on"], "help": "with --headless: exit 3 from this severity up (critical)"}),
    ("--from-start", {"action": "store_true", "help": "exploding: learning rate 1.0 from the first step"}),
    ("--deep", {"action": "store_true", "help": "vanishing: a deep net without residuals"}),
    ("--resume", {"metavar": "RUN", "help": "go on from the newest good checkpoint of a run"}),
    ("--rules", {"choices": _CHOICES["rules"], "help": "whose verdicts to show (tuimon)"}),
    ("--run-dir", {"help": argparse.SUPPRESS}),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give a parser the demo's options. Absent ones are left out of the namespace: defaults live in DemoOptions."""
    wide = max(map(len, SCENARIOS))
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "\n".join(["demos:", *(f"  {s.name:{wide}}  {s.title}" for s in SCENARIOS.values())])
    parser.add_argument("scenario", nargs="?", metavar="NAME", default=argparse.SUPPRESS,
                        help="one of those below (exploding)")
    for flag, how in _HELP:
        parser.add_argument(flag, default=argparse.SUPPRESS, **how)


def from_arguments(args: argparse.Namespace) -> DemoOptions:
    """Options out of a namespace that `add_arguments` shaped. UsageError for what cannot work."""
    names = {option.name for option in fields(DemoOptions)}
    return DemoOptions(**{k: v for k, v in vars(args).items() if k in names}).check()


def parse(argv: Sequence[str]) -> DemoOptions:
    """Options out of a command line."""
    parser = argparse.ArgumentParser(prog="tuimon demo", allow_abbrev=False)
    add_arguments(parser)
    return from_arguments(parser.parse_args(argv))
