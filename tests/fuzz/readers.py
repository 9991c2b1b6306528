"""READERS: each takes any bytes where tuimon takes some from outside, and raises where it must not.

What a reader may say of bytes that are none of ours is its own error in one line, or a result that holds what is promised
of it; everything else that comes out of here is a finding. `at` is a folder of its own. Nothing here knows torch or textual.
"""

from __future__ import annotations

import json
import shutil
import zlib
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

from tests.fuzz import recorded
from tests.fuzz.foreign import FOREIGN
from tests.fuzz.reader import Reader, refused
from tests.fuzz.recorded import messages, packed, parts_of
from tuimon.config import file as config
from tuimon.config import toml
from tuimon.control.commands import Command, decode, encode
from tuimon.control.spool import Inbox, prepare
from tuimon.diagnosis.context import context_of
from tuimon.diagnosis.story import Story, tell
from tuimon.errors import CheckpointError, CommandError, LogError
from tuimon.notify.ledger import Ledger, notices
from tuimon.notify.telling import Telling
from tuimon.notify.wishes import Wishes, wish
from tuimon.record import log
from tuimon.record.cache import MAGIC as STORE
from tuimon.record.cache import SUFFIX, Cache
from tuimon.record.console import ConsoleReader
from tuimon.record.events import EventReader, last_events
from tuimon.record.far import read_far
from tuimon.record.halts import place_of
from tuimon.record.history import History
from tuimon.record.hosts import host_place
from tuimon.record.label import FILE, LONGEST_NAME, LONGEST_NOTE, read_label
from tuimon.record.manifest import Manifest, listed
from tuimon.record.merged import Merged
from tuimon.record.metrics import METRICS
from tuimon.record.places import Places
from tuimon.record.reader import LogReader
from tuimon.record.recall import NOT_OURS
from tuimon.record.remembered import recalled
from tuimon.record.remembered import told as remembered
from tuimon.record.rundir import RunDir, prepare_run
from tuimon.record.status import status
from tuimon.record.text import clean, is_seen, printable
from tuimon.remote.far.agent import Agent, Code
from tuimon.remote.far.followed import Followed
from tuimon.remote.far.listing import Listing
from tuimon.remote.far.wire import MAGIC, Packer, Unpacker, WireError
from tuimon.remote.listed import Listed
from tuimon.remote.mirror import Mirror


def _fresh(at: Path) -> RunDir:
    shutil.rmtree(at / "run", ignore_errors=True)
    run = RunDir(at / "run")
    prepare_run(run)
    return run


def _history(run: RunDir) -> History:
    """All that a viewer takes out of a log, and a few looks at it."""
    reader, history = LogReader(run.metrics), History()
    while found := reader.poll():
        for chunk in found:
            history.extend(chunk)
    for name in history.names:
        steps = history.tail(name, 5).steps
        assert list(steps) == sorted(set(steps.tolist()))
        history.thin(name, -10, history.last_step + 10, 40)
    history.tensor_rows()
    history.probe_rows()
    history.weight_rows()
    return history


def _log(at: Path, data: bytes) -> None:
    run = _fresh(at)
    (run.metrics / "r0-000.tlog").write_bytes(data)
    _history(run)
    status(run)
    followed = Followed(str(run.metrics), list(METRICS))   # the same, as the far side reads it
    while followed.poll() or followed.is_behind:
        pass
    followed.picture(20)
    followed.tail(10)


def _frames(at: Path, data: bytes) -> None:
    """What damage never is, for the checksums are right: a writer of another version, or somebody who can count."""
    _log(at, b"".join(log.encode_frame(kind % 10, i, part) for i, (kind, part) in enumerate(parts_of(data))))


def _events(at: Path, data: bytes) -> None:
    run = _fresh(at)
    run.events.write_bytes(data)
    reader, story, telling = EventReader(run.events), Story(), Telling(Wishes(severity="warning", ends=("crashed", "stopped")), 1)
    while events := reader.poll():
        for event in events:
            story = tell(story, event)
            for message in telling.after(event):
                assert all(line.isprintable() for line in (message.title, *message.body.split("\n"))), message
    assert all(line.text.isprintable() for line in story.lines)
    last_events(run.events, 300)
    status(run)


def _notices(at: Path, data: bytes) -> None:
    run = _fresh(at)
    run.notices.write_bytes(data)
    notices(run, 1)
    Ledger(run, 1)


def _command(at: Path, data: bytes) -> None:
    run = _fresh(at)
    prepare(run.commands)
    (run.commands / "new" / "a.json").write_bytes(data)
    (found,) = Inbox(run.commands, 1).poll()
    assert isinstance(found, Command) or "\n" not in found.why
    with refused(CommandError):
        command = decode(data)
        assert decode(encode(command)) == command


def _manifest(at: Path, data: bytes) -> None:
    folder = at / "checkpoints" / "step-000000030"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_bytes(data)
    (folder / "state.pt").write_bytes(b"x" * 1000)
    listed(folder.parent)
    with refused(CheckpointError):
        assert Manifest.decode(data).encode() == data


def _run_json(at: Path, data: bytes) -> None:
    run = _fresh(at)
    run.run_json.write_bytes(data)
    run.launch_json.write_bytes(data)
    status(run)
    with refused(LogError):
        if (info := run.read_info()) is not None:
            context_of(info)
            run.write_info(info)
            assert run.read_info() == info
    with refused(LogError):
        if (launch := run.read_launch()) is not None:
            run.write_launch(launch)


def _label(at: Path, data: bytes) -> None:
    run = _fresh(at)
    (run.path / FILE).write_bytes(data)
    (run.path / "far.json").write_bytes(data)
    label = read_label(run)
    assert len(label.name) <= LONGEST_NAME
    assert len(label.note) <= LONGEST_NOTE
    assert (label.name + label.note).isprintable()
    read_far(run)


def _config(at: Path, data: bytes) -> None:
    path = at / "config.toml"
    path.write_bytes(data)
    kept, problems = config.load(str(path))
    assert all("\n" not in line for line in (*problems, *wish(None, {}, kept)[1]))
    if problems:
        return
    for changes in ({("theme",): 'x"\n'}, {("notify", "severity"): None}, {("a b", "c"): [1.5, {"d": "é"}]}):
        text = data.decode()
        assert toml.loads(toml.edited(text, changes)) == toml.changed(toml.loads(text), changes)


def _environment(_: Path, data: bytes) -> None:
    wish(None, {"TUIMON_NOTIFY": data.decode("utf-8", "replace")}, {})


def _text(_: Path, data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for limit in (0, 1, 7, 400):
        line = clean(text, limit)
        assert len(line) <= limit
        assert line.isprintable()
        assert all(map(is_seen, line))
    for line in printable(text).splitlines():
        assert "\x1b" not in line.replace("\x1b[", "")   # colours


def _console(at: Path, data: bytes) -> None:
    path = at / "console.log"
    half = len(data) // 2
    path.write_bytes(data[:half])
    reader = ConsoleReader(path)
    reader.poll()
    with path.open("ab") as file:
        file.write(data[half:])
    reader.poll()
    assert reader.size == len(data)
    lines = reader.read(0, reader.lines)
    assert len(lines) == reader.lines
    for i in range(reader.entries):
        reader.segment(i)
    RunDir(at).last_words()
    reader.close()


def _link(_: Path, data: bytes) -> None:
    """What a login prints, and what only looks like a message."""
    unpacker = Unpacker()
    with suppress(WireError):
        for i in range(0, len(data), 97):
            unpacker.feed(data[i:i + 97])


def _told(data: bytes) -> list[tuple[dict, bytes]]:
    """What comes out of a link: heads that are objects with a kind, and bodies."""
    found, head = [], None
    for kind, part in parts_of(data):
        if kind & 1:
            if head is not None:
                found.append((head, part))
            head = None
        else:
            with suppress(ValueError, RecursionError):
                read_as = json.loads(part)
                head = read_as if isinstance(read_as, dict) and isinstance(read_as.get("k"), str) else None
    return found


def _near(at: Path, data: bytes) -> None:
    """A far side that is not ours: nothing is written but the mirror, and what is written can be read."""
    shutil.rmtree(at / "near", ignore_errors=True)
    (at / "near").mkdir(mode=0o700)
    mirror = Mirror(at / "near", "run", "far", control=True, most=1 << 20)
    mirror.say()
    with closing(mirror), refused(WireError):
        for head, body in _told(data):
            mirror.heard(1.0, head.get("time"))
            mirror.take(head, body)
    assert [path.name for path in (at / "near").iterdir()] == ["run"]
    assert not [path for path in at.iterdir() if path.name != "near"]
    _history(mirror.run)
    EventReader(mirror.run.events).poll()
    status(mirror.run)
    read_far(mirror.run)


def _listed(at: Path, data: bytes) -> None:
    """A far side that is not ours tells of its runs: every one has a place below its machine's, or none at all."""
    shutil.rmtree(at / "place", ignore_errors=True)
    (at / "place").mkdir(mode=0o700)
    listed = Listed(host_place(at / "place", 0), "far", None, control=False)
    with refused(WireError):
        for head, body in _told(data):
            listed.heard(1.0, head.get("time"))
            listed.take(head, body)
    for entry in Merged(at / "none", at / "place").poll(1.0).entries:
        assert entry.path.parent.parent == host_place(at / "place", 0)
    assert [path for path in at.iterdir() if path.name not in ("place", "runs")] == []


def _far(at: Path, data: bytes) -> None:
    """A near side that is not ours: it gets the run, and leaves commands in its spool and nothing else anywhere."""
    root = at / "runs"
    run = recorded.run(root)
    agent, packer, now = Agent(str(root), list(METRICS), "test"), Packer(), 1.0
    with suppress(WireError):
        for head, body in _told(data)[:8]:
            now += 0.6
            agent.receive(head, body, now)
            agent.poll(now)
            for _sent in zip(range(20), agent.talk(packer, now), strict=False):
                pass
    assert agent._run in ("", str(run.path))
    for path in (run.commands / "new").iterdir():
        path.unlink()
    assert sorted(path.name for path in at.iterdir()) == ["runs"]
    assert list(root.iterdir()) == [run.path]


def _store(at: Path, data: bytes) -> None:
    """Header and arrays; its own checksum is made right."""
    folder = at / "cache"
    folder.mkdir(mode=0o700, exist_ok=True)
    length = int.from_bytes(data[:2], "little")
    header = data[2:2 + length]
    head = STORE + len(header).to_bytes(4, "little") + zlib.crc32(header).to_bytes(4, "little")
    (folder / f"x{SUFFIX}").write_bytes(head + header + data[2 + length:])
    Cache(folder).load("x")


def _recalled(at: Path, data: bytes) -> None:
    """What is said of arrays that are sound: a store of another version, or of somebody else's run."""
    arrays = _remembered(at)[1]
    with suppress(*NOT_OURS, RecursionError):   # as `Recall.load`, and the cache that reads it
        told = json.loads(data)
        place_of(told)
        history = recalled(told, arrays, None, (), None)   # type: ignore[arg-type]
        for name in history.names:
            history.tail(name, 5)


@cache
def _remembered(at: Path) -> tuple[dict, dict]:
    places = Places()
    reader, history = LogReader(recorded.run(at / "runs").metrics, places=places), History()
    while found := reader.poll():
        for chunk in found:
            history.extend(chunk)
    return remembered(history, reader.place, places)


def _stores(at: Path) -> list[bytes]:
    Cache(at / "cache").store("x", *_remembered(at))
    data = (at / "cache" / f"x{SUFFIX}").read_bytes()
    length = int.from_bytes(data[8:12], "little")
    return [data[8:10] + data[16:16 + length] + data[16 + length:]]


def _by_kind(frames: list[tuple[int, bytes]]) -> list[list[tuple[int, bytes]]]:
    """Small ones: the first of each kind behind the head of the segment."""
    first: dict[int, bytes] = {}
    for kind, payload in frames:
        first.setdefault(kind, payload)
    return [[(log.HEAD, first[log.HEAD]), (kind, payload)] for kind, payload in first.items()]


def _said_far() -> list[bytes]:
    opened = ({"k": "open", "run": None, "control": True}, b"")
    return [messages(opened, ({"k": "ack", "n": 3}, b""), ({"k": "look", "first": 3, "last": 20}, b""),
                     *(({"k": "command"}, body) for body in recorded.commands())),
            messages(({"k": "open", "run": "recorded"}, b""), ({"k": "look", "first": None, "last": None}, b"")),
            messages(({"k": "open", "run": "../x"}, b""))]


def _said_of_runs(at: Path) -> list[bytes]:
    """All that the far side says of the recorded run in a list."""
    recorded.run(at / "runs")
    listing, now, found = Listing(str(at / "runs"), list(METRICS), control=False, code=Code()), 1.0, []
    for _ in range(3):
        now += 2.0
        listing.poll(now)
        while (message := listing.next(now)) is not None and message[0]["k"] != "beat":
            found.append(message)
    return [messages(*found)]


def _said_near(at: Path) -> list[bytes]:
    """All that the far side says of the recorded run."""
    recorded.run(at / "runs")
    agent, now, found = Agent(str(at / "runs"), list(METRICS), "test"), 1.0, []
    agent.receive({"k": "open", "run": None}, b"", now)
    for _ in range(30):
        now += 0.6
        agent.poll(now)
        while (message := agent.next(now)) is not None:
            found.append(message)
    return [messages(*found), messages(*(m for m in found if m[0]["k"] in ("begin", "rows", "frame", "part", "done")))]


READERS: dict[str, Reader] = {
    "log": Reader(_log, lambda at: [path.read_bytes() for path in sorted(recorded.run(at / "runs").metrics.iterdir())]),
    "frames": Reader(_frames, lambda at: [packed(recorded.frames(at / "runs")), *map(packed, _by_kind(recorded.frames(at / "runs")))]),
    "events": Reader(_events, lambda at: [recorded.run(at / "runs").events.read_bytes()]),
    "notices": Reader(_notices, lambda at: [recorded.run(at / "runs").notices.read_bytes()]),
    "command": Reader(_command, lambda _: recorded.commands()),
    "manifest": Reader(_manifest, lambda _: recorded.manifests()),
    "run-json": Reader(_run_json, lambda at: [recorded.run(at / "runs").run_json.read_bytes(), recorded.run(at / "runs").launch_json.read_bytes()]),
    "label": Reader(_label, lambda at: [(recorded.run(at / "runs").path / name).read_bytes() for name in (FILE, "far.json")]),
    "config": Reader(_config, lambda _: [recorded.CONFIG]),
    "environment": Reader(_environment, lambda _: [b"https://hooks.example/x\nexec:/bin/true\nntfy://x/y", b"off", b"apprise:slack://a/b"]),
    "text": Reader(_text, lambda _: ["a\x1b[31mred\x1b[0m \x1b]0;t\x07 \u202eabc\u2066 é\u0301\u200d \x9b2J\r\n\0".encode()]),
    "console": Reader(_console, lambda at: [recorded.run(at / "runs").console.read_bytes()]),
    "link": Reader(_link, lambda _: [b"welcome\n" + MAGIC + Packer().pack({"k": "hello", "protocol": 1}, b"x" * 40)]),
    "near": Reader(_near, _said_near),
    "listed": Reader(_listed, _said_of_runs),
    "far": Reader(_far, lambda _: _said_far()),
    "store": Reader(_store, _stores),
    "recalled": Reader(_recalled, lambda at: [json.dumps(_remembered(at)[0]).encode()]),
    **FOREIGN,
}
