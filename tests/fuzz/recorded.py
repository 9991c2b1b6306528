"""What fuzzing begins with: the files of small runs, written by the real writers. Touches the disk."""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from tuimon.control.commands import Command, Who, encode
from tuimon.notify.delivery import Report
from tuimon.notify.ledger import Ledger
from tuimon.notify.message import Message
from tuimon.notify.targets import target
from tuimon.record import log
from tuimon.record.far import Far, write_far
from tuimon.record.label import Label, write_label
from tuimon.record.manifest import Manifest
from tuimon.record.rundir import RunDir

sys.path.insert(0, str(Path(__file__).parents[1] / "viewer"))
from synthetic import Run

FOREIGN = Path(__file__).parents[1] / "formats" / "data"
BEGAN = 1_760_000_000.0
LONGEST = 0xFFFF


def packed(parts: Iterable[tuple[int, bytes]]) -> bytes:
    """Parts as one input, which whoever makes up bytes can cut anywhere: kind u8, length u16, bytes."""
    return b"".join(struct.pack("<BH", kind, len(part)) + part for kind, part in parts if len(part) <= LONGEST)


def parts_of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The parts of an input; whatever the bytes are, they are parts."""
    at = 0
    while at + 3 <= len(data):
        kind, length = struct.unpack_from("<BH", data, at)
        yield kind, data[at + 3:at + 3 + length]
        at += 3 + length


@cache
def run(root: Path) -> RunDir:
    """A run that went wrong, was rescued, resumed and noted on, of about a hundred steps."""
    root.mkdir(mode=0o700)
    written = Run(root, name="recorded", probed=True, began=BEGAN, total=100).go(12)
    written.explode().go(4)
    written.rescue(warm=False).go(4)
    written.event("incident", change="opened", rule="exploding-gradients", code="T110", category="gradients", severity="critical",
                  onset_step=13, detected_step=15, resolved_step=None, layer="blocks.1", headline="Exploding gradients", why="because")
    written.event("command", id="c1", verb="stop", args={}, who={"user": "ada", "origin": "guard"}, outcome="refused", why="too late")
    written.event("checkpoint", outcome="saved", id="step-000000030", snapshot_step=30, bytes=100)
    written.note("a note").resume(16).go(3)
    written.end("crashed", "ValueError: no")
    found = written.dir
    found.console.write_bytes("step 1\r\nWarnung: ü\n\x1b[31mred\x1b[0m 50%|█████     |\r60%|██████    |\n".encode() * 3)
    write_label(found, Label("second try", "diverged"))
    write_far(found, Far(host="node7", state="live", why=""))
    ledger = Ledger(found, 1, lambda: BEGAN)
    ledger.write("watching", 0, {"to": ["webhook hooks"]})
    told = Message("1:incident:x", "incident", "critical", "Exploding", "text", 33, BEGAN, "r", "run", "host", "watch")
    ledger.report(Report(target("https://hooks.example/x"), told, 1, ""))
    return found


def frames(root: Path) -> list[tuple[int, bytes]]:
    """Kinds and payloads of its log."""
    data = b"".join(path.read_bytes() for path in sorted(run(root).metrics.iterdir()))
    return [(span.kind, data[span.start:span.end]) for span in log.spans(data) if not isinstance(span, int)]


def commands() -> list[bytes]:
    """As viewers send them."""
    ada = Who("ada", 1000, "desk", 7, "viewer", "pts/3", "10.0.0.9")
    asked = [("rescue", {"step": 40, "lr_scale": 0.1, "max_norm": 1.0, "warmup": 20}), ("set-clip", {"max_norm": None}), ("hold", {})]
    return [encode(Command(f"id-{i}", verb, args, 1, time.time(), who=ada, base_rev="")) for i, (verb, args) in enumerate(asked)]  # type: ignore[arg-type]


def manifests() -> list[bytes]:
    """With and without what is optional."""
    plain = Manifest("step-000000030", 30, 1, "recorded", "2.10", BEGAN, "ab" * 32, 1000)
    return [plain.encode(), Manifest("step-000000040", 40, 2, "r", "2.10", BEGAN, "cd" * 32, 9, ("a.b",), {"data": "found"}).encode()]


def messages(*told: tuple[dict[str, object], bytes]) -> bytes:
    """Heads and bodies as one input."""
    return packed(part for head, body in told for part in ((0, json.dumps(head).encode()), (1, body)))


CONFIG = b"""# mine
theme = "nord"
fps = 4
mouse = true
[notify]
to = ["https://hooks.example/x", "exec:/bin/true"]
severity = "warning"
ends = ["crashed", "finished"]
[panel."odd name"]
charts = [{name = "loss", log = true}, {name = 'lr'}]
when = 2026-01-01T00:00:00Z
"""
TABLE = b'step,loss,val_loss,grad_norm,lr\n1,2.5,,1e3,0.001\n2,nan,3,inf,1e-3\n"3",2.4,2.9,0.5,0.001\n'
LINES = b'{"step": 1, "loss": 2.5, "lr": 0.001}\n{"step": 2, "loss": NaN, "train/grad_norm": "Infinity"}\n{"epoch": 1}\n'
