"""What a stranger could put in the place of a checkpoint is refused in one line, and nothing is touched."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checkpoints_files import copy_of, plant, pristine
from test_resume_exact import Run, fingerprint

import tuimon
from tuimon.errors import CheckpointError, TuimonError
from tuimon.instrument import checkpoints
from tuimon.instrument.checkpoints import Checkpoints
from tuimon.instrument.snapshots import capture_copy

pytestmark = pytest.mark.usefixtures("one_thread")


def sealed(fields: dict[str, Any]) -> bytes:
    """A manifest as somebody would write it who knows how."""
    fields = {k: v for k, v in fields.items() if k != "check"}
    fields["check"] = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    return json.dumps(fields, sort_keys=True, indent=1).encode() + b"\n"


EVIL = "\x1b]0;mine\x07\x1b[31m\u202e"


@pytest.mark.parametrize("changed", [
    {"id": "../../../etc/passwd"}, {"id": "/etc/passwd"}, {"id": "000001-step-000000001\x00"}, {"id": ["x"]}, {"id": EVIL},
    {"step": "1"}, {"step": 1.0}, {"step": -1}, {"step": 2}, {"step": True}, {"step": 10**300}, {"step": None},
    {"attempt": 0}, {"attempt": []}, {"run": 3}, {"run": {"a": 1}}, {"torch": None}, {"saved": "now"}, {"saved": float("nan")},
    {"saved": float("inf")}, {"size": -1}, {"size": 10**30}, {"size": "1"}, {"sha256": ""}, {"sha256": EVIL}, {"sha256": "AB" * 32},
    {"left_out": "abc"}, {"left_out": [[1]]}, {"left_out": {"a": "b"}}, {"parts": []}, {"parts": {"a": 1}}, {"more": 1},
    {"schema": "1"}, {"schema": 2}, {"schema": None},
], ids=repr)
def test_a_manifest_whose_digest_is_right_and_whose_fields_cannot_be_is_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    info = store.save(copy_of(1))
    path = info.path / "manifest.json"
    path.write_bytes(sealed({**json.loads(path.read_bytes()), **changed}))
    for call in (store.load, store.verify):
        with pytest.raises(CheckpointError) as caught:
            call(info.id)
        assert str(caught.value).isprintable()
    (found,) = store.list()
    assert found.problem.isprintable()
    assert "manifest" in found.problem
    assert (found.id, found.step, found.healthy) == (info.id, 1, False)


@pytest.mark.parametrize("raw", [
    b"", b"\x00" * 4096, b"[" * 500_000 + b"]" * 500_000, b'{"a":' * 100_000, b"9" * 100_000, b'"' + b"x" * (2 << 20) + b'"', b"\xff\xfe",
    b'{"check": {}, "schema": 1, "schema": 1}', b"1e400", b'{"check": 1}',
], ids=lambda raw: repr(raw[:12]))
def test_a_manifest_that_is_none_is_refused(raw: bytes, tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    info = store.save(copy_of(1))
    (info.path / "manifest.json").write_bytes(raw)
    with pytest.raises(CheckpointError, match=r"its manifest is (damaged|of another version)"):
        store.load(info.id)


def a_directory(path: Path, _raw: bytes) -> None:
    path.mkdir()


def a_fifo(path: Path, _raw: bytes) -> None:
    os.mkfifo(path, 0o600)


def a_link(path: Path, raw: bytes) -> None:
    (path.parents[2] / "outside").write_bytes(raw)
    path.symlink_to(path.parents[2] / "outside")


def a_link_to_nothing(path: Path, _raw: bytes) -> None:
    path.symlink_to("nothing")


def a_foreign_file(path: Path, raw: bytes) -> None:
    if os.geteuid():
        pytest.skip("only root can give a file away")
    path.write_bytes(raw)
    os.chown(path, 12345, -1)


def a_file_for_all(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    os.chmod(path, 0o666)


def a_huge_file(path: Path, raw: bytes) -> None:
    path.write_bytes(raw)
    os.truncate(path, 1 << 40)


def nothing(_path: Path, _raw: bytes) -> None:
    """It is missing."""


@pytest.mark.parametrize("name", ["state.pt", "manifest.json"])
@pytest.mark.parametrize("other", [a_directory, a_fifo, a_link, a_link_to_nothing, a_foreign_file, a_file_for_all, a_huge_file, nothing])
def test_what_is_no_plain_file_of_ours_is_refused_and_training_is_untouched(other: Callable[[Path, bytes], None], name: str, tmp_path: Path) -> None:
    store, run = Checkpoints(tmp_path / "checkpoints"), Run()
    info = store.save(capture_copy(run.state, 3))
    raw = (info.path / name).read_bytes()
    (info.path / name).unlink()
    other(info.path / name, raw)
    before = fingerprint(run)
    with pytest.raises(CheckpointError) as caught:
        run.resume(store)
    assert str(caught.value).isprintable()
    assert name.split(".", maxsplit=1)[0] in str(caught.value) or "symbolic link" in str(caught.value)
    same(before, fingerprint(run))


def same(before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    assert all(torch.equal(before[0][k], after[0][k]) for k in before[0])
    assert before[0].keys() == after[0].keys()
    assert before[1:3] == after[1:3]
    assert torch.equal(before[3], after[3])
    assert before[4] == after[4]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["state.pt", "manifest.json"]), st.floats(0, 1, exclude_max=True), st.integers(1, 4096), st.sampled_from([b"\x00", b"\xff", b""]))
def test_any_stretch_that_was_zeroed_overwritten_or_cut_out_is_found(tmp_path_factory: Any, name: str, where: float, length: int, fill: bytes) -> None:
    store, info = pristine(tmp_path_factory)
    whole = (info.path / name).read_bytes()
    at = int(where * len(whole))
    spoilt = whole[:at] + fill * len(whole[at:at + length]) + whole[at + length:]
    if spoilt == whole:
        return
    (info.path / name).write_bytes(spoilt)
    try:
        for call in (store.verify, store.load):
            with pytest.raises(CheckpointError):
                call(info.id)
    finally:
        (info.path / name).write_bytes(whole)


def spoilt(body: dict[str, Any], where: str, value: Any) -> dict[str, Any]:
    *way, last = where.split(".")
    inner: Any = body
    for name in way:
        inner = inner[int(name) if name.isdigit() else name]
    inner[int(last) if last.isdigit() else last] = value
    return body


@pytest.mark.parametrize(("where", "value"), [
    ("plain.random.torch", torch.zeros(3, dtype=torch.uint8)), ("plain.random.torch", "x"), ("plain.random", None), ("plain.random.python", (3, (1, 2), None)),
    ("plain.random.numpy", [[1], 2, 3, 4.0]), ("plain.random.cuda", 7), ("plain.random.numpy", "x"),
    ("plain.due", [10**12]), ("plain.due", ["x"]), ("plain.due", [-1]), ("plain.due", None), ("plain.schedulers", [None]), ("plain.schedulers", "x"),
    ("plain.schedulers.0.step", 3), ("plain.schedulers.0.optimizer", None), ("plain.schedulers.0.lr_lambdas", 7), ("plain.schedulers.0", [1]),
    ("plain.kinds", "LambdaLR"), ("plain.optimizers", None), ("plain.optimizers.0.state", []), ("plain.optimizers.0.groups", {}), ("plain.optimizers.0.kind", 3),
    ("plain.scaler", {"scale": "x"}), ("plain.scaler", 3), ("overrides", [1]), ("extra", 3), ("overrides", {"lr_scale": "x"}),
    ("overrides", {"lr_scale": math.nan}), ("overrides", {"lr_scale": None}), ("overrides", {"clip": 10**400}), ("overrides", {"warmup_steps": math.inf}),
    ("tensors.param/0.weight", "sparse"), ("tensors.opt/0/0.weight/exp_avg", "expanded"), ("plain", {}),
], ids=str)
def test_contents_that_are_not_what_they_should_be_are_refused_before_anything_is_touched(where: str, value: Any, tmp_path: Path) -> None:
    store, run = Checkpoints(tmp_path), Run()
    run.go(3)
    info = store.save(capture_copy(run.state, 3))
    body = torch.load(info.path / "state.pt", weights_only=True)
    if value == "sparse":
        body["tensors"]["param/0.weight"] = body["tensors"]["param/0.weight"].to_sparse()
    elif value == "expanded":
        body["tensors"]["opt/0/0.weight/exp_avg"] = torch.zeros(1).expand(1 << 50)
    else:
        body = spoilt(body, where, value)
    buffer = io.BytesIO()
    torch.save(body, buffer)
    plant(info, buffer.getvalue())
    fresh = Run(seed=9)
    before = fingerprint(fresh)
    with pytest.raises(CheckpointError) as caught:
        fresh.resume(store)
    assert str(caught.value).isprintable()
    same(before, fingerprint(fresh))
    fresh.go(4)


def test_a_file_that_unpacks_to_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path)
    info = store.save(copy_of(1))
    packed = io.BytesIO()
    with zipfile.ZipFile(info.path / "state.pt") as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, bytes(64 << 20) if name.endswith("data/0") else old.read(name))
    assert len(packed.getvalue()) < 1 << 20
    plant(info, packed.getvalue())
    with pytest.raises(CheckpointError, match="unpack"):
        store.load(info.id)


@pytest.mark.parametrize(("version", "where", "is_loaded"), [
    ("2.5.1", "own", False), ("2.6.0", "own", True), ("2.9.1+cu128", "own", True), ("2.9.1+cu128", "elsewhere", False), ("2.10.0a0+git1", "elsewhere", True),
    ("3.0", "elsewhere", True), ("1.13", "elsewhere", False),
])
def test_a_torch_that_files_can_harm_loads_none_or_only_those_of_ones_own_runs(version: str, where: str, is_loaded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUIMON_RUNS", str(tmp_path / "own"))
    store = Checkpoints(tmp_path / where / "run" / "checkpoints")
    store.directory.parent.mkdir(parents=True)
    info = store.save(copy_of(1))
    monkeypatch.setattr(checkpoints.torch, "__version__", version)
    if is_loaded:
        assert store.load(info.id)["step"] == 1
    else:
        with pytest.raises(CheckpointError, match=r"refused: torch .*CVE-202[56]-\d+.*2\.10") as caught:
            store.load(info.id)
        assert str(caught.value).isprintable()
    assert store.verify(info.id).step == 1


@pytest.mark.parametrize("source", ["a\0b", "/nowhere/a\0b", "x" * 5000, "/" + "x" * 5000, "..", "../..", "~nobody-at-all/x", "", "/dev/null", "/dev/null/x", "\ud800"], ids=lambda s: repr(s[:20]))
def test_a_source_that_is_none_is_one_line(source: str) -> None:
    run = Run()
    with pytest.raises(TuimonError) as caught:
        tuimon.resume(source, run.model, run.optimizer)
    assert "\n" not in str(caught.value)


def test_a_whole_run_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give files away")
    store, run = Checkpoints(tmp_path / "run" / "checkpoints"), Run()
    store.directory.parent.mkdir()
    info = store.save(capture_copy(run.state, 3))
    os.chown(store.directory, 12345, -1)
    before = fingerprint(run)
    with pytest.raises(CheckpointError, match="its directory belongs to user 12345"):
        run.resume(store)
    same(before, fingerprint(run))
    with pytest.raises(CheckpointError, match="its directory belongs to user 12345"):
        store.save(copy_of(4))
    assert os.listdir(store.directory) == [info.id]


def test_what_was_made_for_nobody_is_not_unpacked_into_names(tmp_path: Path) -> None:
    """Notes and reasons come from the file: no control characters in them reach a terminal."""
    store, run = Checkpoints(tmp_path), Run()
    captured = capture_copy(run.state, 3)
    captured.plain[EVIL] = {1, 2}
    store.save(captured)
    info = Run(seed=2).resume(store)
    assert info.notes
    assert all(note.isprintable() for note in info.notes)
