"""Run directories and foreign logs in which every string is hostile: names, facts, events, labels, consoles, columns."""

from __future__ import annotations

import json
import math
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import synthetic

from tests.security.hostile_text import NASTY, PAYLOADS
from tuimon.record.chunk import Mark
from tuimon.record.label import FILE as LABEL
from tuimon.record.probes import ProbeEntry
from tuimon.record.rundir import Launch, RunDir, RunInfo, runs_root
from tuimon.record.tensors import TensorEntry

CARRIED: Final = NASTY + "\ud800"
"""What JSON carries: a lone surrogate, too."""
COLUMN: Final = "\x1b]52;c;Pwned\x07\x9b31m\u202e\u200b\u3164[/red]\x1b[2J"
"""Short: the log keeps 200 bytes of a metric's name."""
DIRECTORY: Final = f"evil{COLUMN}".replace("/", "") + "\udcff"
"""A name that a file system takes: no slash, no NUL; a byte that is no UTF-8."""
LAYERS: Final = tuple(f"blocks.{i}.{COLUMN}" for i in range(6))
TENSORS: Final = tuple(TensorEntry(f"{layer}.{part}.{NASTY}", (64, 64), CARRIED) for layer in LAYERS for part in ("w", "b"))[:len(synthetic.TENSORS)]
PROBES: Final = tuple(ProbeEntry(f"{LAYERS[i]}.{NASTY}", quantity) for quantity in ("attention_logit", "attention_entropy") for i in range(4))


def hostile_run(root: Path | None = None, directory: str = DIRECTORY, *, end: str = "", alive: bool = True, attached: bool = True) -> RunDir:
    """A run that explodes and says of itself, wherever it can say something, what it should not."""
    run = synthetic.Run(root, name=CARRIED, alive=alive, probed=True, info=attached)
    process = replace(run.process, host=run.process.host if alive else CARRIED)
    run.dir.write_launch(Launch(CARRIED, CARRIED, CARRIED, 600, 0, run.now, process, script=f"python {CARRIED}", detail=CARRIED, on_critical=CARRIED))
    if attached:
        run.dir.write_info(RunInfo(
            CARRIED, process, argv=("train.py", CARRIED, f"--{NASTY}", NASTY, "\u202e"), started=run.now, device=CARRIED, model=CARRIED, optimizer=CARRIED,
            total_steps=600, vocab_size=50_304, clips=False, tensors=TENSORS, probes=PROBES, versions={CARRIED: CARRIED, "torch": CARRIED}))
        run.go(120)
        _events(run)
        run.explode().go(62, snapshots=False)
        run.log.append([Mark(run.step, CARRIED, {CARRIED: CARRIED, "text": CARRIED}), Mark(run.step, "note", {"text": CARRIED})])
        run.values(loss=3.0, grad_norm=math.nan, **{COLUMN: 1.0, f"m{NASTY}"[:40]: 2.0})
        if end:
            run.end(end, error=CARRIED)
        else:
            run.hold(CARRIED)
    (run.dir.path / LABEL).write_text(json.dumps({"schema": 1, "name": CARRIED, "note": CARRIED}))
    _files(run.dir)
    target = (runs_root() if root is None else root) / directory
    os.rename(run.dir.path, target)
    return RunDir(target)


def _events(run: synthetic.Run) -> None:
    span = {"low": 0.0, "high": "Infinity", "bad": 1, "of": 2, "dtype": CARRIED}
    who = {"origin": CARRIED, "user": CARRIED, "host": CARRIED, "uid": 1, "pid": 2}
    run.event(CARRIED, text=CARRIED)
    run.event("note", text=CARRIED)
    for metric in ("grad_norm", "loss", CARRIED):
        run.event("label", metric=metric, text=CARRIED, brief=CARRIED)
    for severity in ("critical", "warning", CARRIED):
        run.event("incident", rule=f"{severity}{CARRIED}", severity=severity, change="opened", onset_step=90, headline=CARRIED, why=CARRIED,
                  category=CARRIED, layer=CARRIED, next=[CARRIED], confidence=CARRIED, evidence=[{"metric": CARRIED, "value": 1, "limit": 2}])
    run.event("incident", rule=CARRIED, severity=CARRIED, change="resolved", headline=CARRIED)
    for verb, outcome in ((CARRIED, "refused"), ("hold", "refused"), (CARRIED, "applied"), ("pause", "applied"), ("stop", CARRIED)):
        run.event("command", id=CARRIED, verb=verb, args={CARRIED: CARRIED}, who=who, outcome=outcome, why=CARRIED)
    run.event("checkpoint", id=CARRIED, snapshot_step=80, bytes=5, sha256=CARRIED, outcome="written", path=CARRIED)
    run.event("checkpoint", id=CARRIED, outcome="failed", why=CARRIED)
    run.event("fault", part=CARRIED, error=CARRIED, why=CARRIED)
    run.event("state", state=CARRIED, why=CARRIED)
    run.event("state", state="paused", why=CARRIED)
    for tick in ("held", "restored", "lr", "clip", CARRIED, "failed"):
        run.event("rescue", id=CARRIED, tick=tick, why=CARRIED, sha256=CARRIED, from_step=100, to_step=80, scale=0.1, before=3e-2, after=3e-3, max_norm=1.0)
    run.event("override", lr_scale=0.1, clip=1.0, warmup_from=0.1, warmup_steps=20, why=CARRIED)
    for place in ("norm", "batch", "labels", "code"):
        run.event("autopsy", examined=100, place=place, found_by="replay", module=f"a.{CARRIED}", module_kind=CARRIED, phase="backward", went_in=span, came_out=span,
                  chain=[{"module": CARRIED, "kind": CARRIED, "went_in": span, "came_out": span}], notes=[CARRIED], batch=CARRIED, values={CARRIED: "NaN"})
    run.event("state", state="running", why=CARRIED)


def _files(run: RunDir) -> None:
    said = b"".join(f"epoch {payload} loss nan\n".encode("utf-8", "replace") for payload in PAYLOADS.values())
    bars = b"".join(f"\r{i}%|\x1b[32m####\x1b[0m {NASTY}".encode() for i in range(30))
    run.console.write_bytes(said + bars + b"\n" + b"\x1b]52;c;" + b"A" * (1 << 20) + b"\x07\n\xff\xfe\x9b31m\x80\n" + f"RuntimeError: {NASTY}\n".encode())
    for folder in (run.checkpoints, run.autopsies, run.commands):
        inside = folder / DIRECTORY
        inside.mkdir(parents=True)
        (inside / "manifest.json").write_text(json.dumps({"schema": 1, "id": CARRIED, CARRIED: CARRIED}))
        (folder / f"x{COLUMN}".replace("/", "")).write_text(json.dumps({"id": CARRIED, "verb": CARRIED}))


def unreadable_run(root: Path | None = None) -> RunDir:
    """One whose description is not one of ours."""
    run = synthetic.Run(root, alive=False)
    run.go(3)
    body = json.loads(run.dir.run_json.read_text())
    run.dir.run_json.write_text(json.dumps({**body, CARRIED: 1}))
    target = run.dir.path.parent / f"broken{DIRECTORY}"
    os.rename(run.dir.path, target)
    return RunDir(target)


def foreign_logs(folder: Path) -> dict[str, Path]:
    """Logs of other tools: their columns, files and folders have such names."""
    name = DIRECTORY.replace("\udcff", "")
    losses = [3.0 - 0.02 * i if i < 40 else math.nan for i in range(60)]
    found = {kind: folder / f"{kind}{name}.{ending}" for kind, ending in (("csv", "csv"), ("jsonl", "jsonl"), ("hf", "json"), ("bad csv", "csv"), ("bad jsonl", "jsonl"), ("unknown", "csv"))}
    columns = [f"a{COLUMN}", NASTY.replace("\x00", ""), f"layer_grad_norm/{COLUMN}", f"train/{COLUMN}/loss", f"lr-{COLUMN}"]
    head = ",".join(['"' + c.replace('"', '""') + '"' for c in columns])
    found["csv"].write_text(f"step,loss,{head}\n" + "".join(f"{i},{loss},1,2,0.5,{loss},0.1\n" for i, loss in enumerate(losses, 1)), encoding="utf-8")
    rows = [{"step": i, "loss": loss, "layer_grad_norm": {f"{COLUMN}.{k}": 0.5 * k for k in range(3)}, CARRIED: 1.0, "text": CARRIED}
            for i, loss in enumerate(losses, 1)]
    found["jsonl"].write_text("".join(json.dumps(row) + "\n" for row in rows))
    found["hf"].write_text(json.dumps({"log_history": [{k: v for k, v in row.items() if k != "layer_grad_norm"} for row in rows], "max_steps": 100, "best_model_checkpoint": CARRIED}))
    found["bad csv"].write_text(f"step,loss\n1,{NASTY}\n".replace("\x00", ""), encoding="utf-8")
    found["bad jsonl"].write_text(f'{{"step": 1, "loss": "{"x"}"}}\n{{{NASTY}\n', encoding="utf-8")
    found["unknown"].write_text(f"{head}\n" + "1,2,3,4,5\n" * 3, encoding="utf-8")
    return found


def walked(value: object, path: str = "frame", *, skip: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Every text in a value, with where it stands."""
    found: list[tuple[str, str]] = []
    seen: set[int] = set()

    def go(one: object, at: str) -> None:
        if isinstance(one, str):
            found.append((at, sys.intern(one)))
        elif isinstance(one, dict):
            for key, inner in one.items():
                go(key, f"{at} key")
                go(inner, f"{at}[{str(key)[:20]!r}]")
        elif isinstance(one, list | tuple | set | frozenset):
            for name, inner in zip(getattr(one, "_fields", range(len(one))), one, strict=False):
                go(inner, f"{at}.{name}" if isinstance(name, str) else f"{at}[]")
        elif hasattr(one, "__dataclass_fields__") and id(one) not in seen:
            seen.add(id(one))
            for name in one.__dataclass_fields__:
                if f"{type(one).__name__}.{name}" not in skip:
                    go(getattr(one, name), f"{at}.{name}")

    go(value, path)
    return found
