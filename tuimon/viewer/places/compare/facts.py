"""What is known of a run besides its curves, and what of it differs between runs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tuimon.diagnosis.model import RunContext
from tuimon.record.rundir import Launch, RunInfo
from tuimon.viewer.text import clean

Facts = Mapping[str, str]
"""What it is, and how a person reads it."""
ABSENT: Final = "–"
_MOST: Final = 60
"""Facts of one command line that are looked at."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact in which the runs differ."""

    name: str
    values: tuple[str, ...]
    """One for each run, in their order."""


def facts_of_run(info: RunInfo | None, launch: Launch | None) -> dict[str, str]:
    """What run.json and launch.json say."""
    found: dict[str, str] = {}
    if info is not None:
        sizes = [t.numel for t in info.tensors if t.trained]
        dtypes = dict.fromkeys(t.dtype for t in info.tensors if t.trained)
        found = {
            "model": info.model, "parameters": f"{sum(sizes):,}" if sizes else "", "dtype": ", ".join(dtypes),
            "optimizer": info.optimizer, "eps": "" if info.eps is None else f"{info.eps:.3g}",
            "total steps": _whole(info.total_steps), "tokens per step": _whole(info.tokens_per_step),
            "vocabulary": _whole(info.vocab_size), "device": info.device,
            "processes": str(info.world_size) if info.world_size > 1 else "",
            "clips": {True: "yes", False: "no"}.get(info.clips, "") if info.clips is not None else "",
            "host": info.process.host, "attempt": str(info.attempt) if info.attempt > 1 else "",
            **dict(list(info.versions.items())[:20]),
            **arguments(info.argv),
        }
    if launch is not None and not launch.script:
        found.pop("--run-dir", None)   # tuimon's own, and always another one
        found |= {"demo": launch.scenario, "seed": str(launch.seed)}
    return _clean(found)


def facts_of_log(context: RunContext, kind: str) -> dict[str, str]:
    """What the log of another tool says."""
    found = {
        "log": kind, "total steps": _whole(context.total_steps), "optimizer": context.optimizer or "",
        "parameters": f"{sum(context.tensor_sizes):,}" if context.tensor_sizes else "",
        "vocabulary": _whole(context.vocab_size),
    }
    return _clean(found)


def _clean(found: Facts) -> dict[str, str]:
    """Safe to show, and whole: what differs may stand at the end."""
    return {clean(name, 200): clean(value, 1_000) for name, value in found.items() if value}


def _whole(count: int | None) -> str:
    return "" if count is None else f"{count:,}"


_OPTION: Final = re.compile(r"^(--?[A-Za-z][\w.-]*|[A-Za-z][\w.]*)=(.*)$", re.DOTALL)


def arguments(argv: Sequence[str]) -> dict[str, str]:
    """The options of a command line, by name: `--lr 3e-4`, `--lr=3e-4`, `lr=3e-4`; a switch is "yes"."""
    found: dict[str, str] = {}
    waiting = ""
    for word in argv[1:_MOST]:
        option = _OPTION.match(word)
        if option:
            found[option.group(1)], waiting = option.group(2), ""
        elif word.startswith("-") and not re.match(r"^-[\d.]", word):
            found[word], waiting = "yes", word
        elif waiting:
            found[waiting], waiting = word, ""
    return found


def differences(facts: Sequence[Facts]) -> tuple[Difference, ...]:
    """The facts in which the runs differ, in the order in which they are first told.

    What a log does not say is unknown, and no difference; an option that was not given is one.
    """
    names = dict.fromkeys(name for one in facts for name in one)
    rows = (Difference(name, tuple(one.get(name, ABSENT) for one in facts)) for name in names)
    return tuple(row for row in rows
                 if len(set(row.values) - ({ABSENT} if not row.name.startswith("-") else set())) > 1)
