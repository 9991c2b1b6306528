"""A checkpoint of several ranks, written by hand: cut in any way it is read in any other, and refused where it was changed."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import tuimon
from tuimon.errors import CheckpointError
from tuimon.instrument.checkpoints import Checkpoints
from tuimon.instrument.ranks import chunks, layouts
from tuimon.instrument.ranks.layouts import Layout, whole
from tuimon.instrument.snapshots import capture_copy
from tuimon.instrument.state import TrainingState, random_state
from tuimon.record.manifest import Manifest, Opened, Written

WORLD = 3


def a_run(seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    net = nn.Linear(5, 7)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    net(torch.ones(2, 5)).sum().backward()
    optimizer.step()
    return net, optimizer


def rows_of(size: tuple[int, ...], rank: int) -> Layout:
    """As `fully_shard` cuts: the first dimension into equal stretches, the last ones short or empty; scalars are rank 0's."""
    if not size:
        return Layout((), (), (), WORLD, rank)
    step = -(-size[0] // WORLD)
    begin, end = (min(size[0], step * k) for k in (rank, rank + 1))
    return Layout(size, (begin, *(0 for _ in size[1:])), (end - begin, *size[1:]))


class All:
    """Three ranks, one after the other."""

    world, bytes, why = WORLD, 0, ""

    def __init__(self, tensors: Mapping[str, Tensor], cut: Callable[[tuple[int, ...], int], Layout] = rows_of) -> None:
        self._tensors, self._cut = tensors, cut

    def write(self, aside: Path) -> Mapping[str, Written]:
        files: dict[str, Written] = {}
        for rank in range(WORLD):
            plan = {key: self._cut(tuple(t.shape), rank) for key, t in self._tensors.items()}
            here = {key: t[plan[key].offsets[0]:][: plan[key].sizes[0]] if t.dim() else t for key, t in self._tensors.items()}
            mine = {"random": random_state(), "loader": None} if rank else {}
            files |= chunks.write_part(aside, rank, here, plan, mine)
        saved = chunks.gathered([(aside / chunks.index(k)).read_bytes() for k in range(WORLD)],
                                [files[chunks.shards(k)].size for k in range(WORLD)])
        return files | {chunks.METADATA: chunks.write_metadata(aside, saved)}


@pytest.fixture
def shelf(tmp_path: Path) -> tuple[Checkpoints, str, dict[str, Tensor]]:
    state = TrainingState(*a_run())
    tensors = {key: tensor.clone() for key, tensor in state.tensors().items()}
    store = Checkpoints(tmp_path / "checkpoints")
    return store, store.save(capture_copy(state, 4), 4, beside=All(tensors)).id, tensors


def test_what_three_ranks_wrote_is_read_as_one(shelf: Any) -> None:
    store, name, tensors = shelf
    found = store.load(name)["tensors"]
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[key], tensor) for key, tensor in tensors.items())
    info = store.verify(name)
    assert (info.world, info.bytes > 5000) == (WORLD, True)
    net, optimizer = a_run(1)
    resumed = tuimon.resume(store.directory, net, optimizer)
    assert resumed.step == 4
    assert all(torch.equal(t, tensors[k]) for k, t in TrainingState(net, optimizer).tensors().items())


def test_every_file_is_private(shelf: Any) -> None:
    store, name, _ = shelf
    folder = store.directory / name
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == 3 * WORLD + 2


@pytest.mark.filterwarnings("ignore::UserWarning")   # it says that it assumes one process
def test_torchs_own_tool_reads_it(shelf: Any) -> None:
    """With nothing of tuimon: the files are those of torch.distributed.checkpoint."""
    from torch.distributed.checkpoint import FileSystemReader, load

    store, name, tensors = shelf
    found = {key: torch.zeros_like(tensor) for key, tensor in tensors.items()}
    load(found, storage_reader=FileSystemReader(store.directory / name), no_dist=True)
    assert all(torch.equal(found[key], tensor) for key, tensor in tensors.items())


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_cut_in_any_way_it_is_read_in_any_other(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """And parts that several hold are written once, also where they are shared out by rows."""
    size = tuple(data.draw(st.lists(st.integers(0, 9), min_size=0, max_size=3)))
    tensor = torch.arange(int(torch.tensor(size).prod()) if size else 1, dtype=torch.float32).reshape(size)
    kinds = {"rows": rows_of, "copies": lambda s, k: replace(whole(s), copies=WORLD, copy=k)}
    cut = kinds[data.draw(st.sampled_from(sorted(kinds)))]
    folder = tmp_path_factory.mktemp("cut")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layouts, "SMALL", data.draw(st.sampled_from([0, 1 << 20])))
        store = Checkpoints(folder)
        name = store.save(capture_copy(TrainingState(*a_run()), 1), 1, beside=All({"x": tensor}, cut)).id
    wanted = whole(size)
    if size:
        begin = data.draw(st.integers(0, size[0]))
        wanted = Layout(size, (begin, *(0 for _ in size[1:])), (data.draw(st.integers(0, size[0] - begin)), *size[1:]))

    class Some:
        def of(self, _key: str, _size: Any) -> Layout:
            return wanted

    with Opened(folder, name) as opened, chunks.Shelf(opened) as found:
        [got] = found.tensors(Some()).values()  # type: ignore[arg-type]
    assert torch.equal(got, tensor[wanted.offsets[0]:][: wanted.sizes[0]] if size else tensor)


def refused(store: Checkpoints, name: str) -> str:
    """One line, and nothing was touched."""
    net, optimizer = a_run(1)
    before = [p.clone() for p in net.parameters()]
    with pytest.raises(CheckpointError) as caught:
        tuimon.resume(store.directory, net, optimizer, id=name)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("file", ["__1_0.distcp", "rank-2.json", "rank-1.pt", ".metadata", "state.pt"])
def test_one_changed_byte_anywhere_is_found(shelf: Any, file: str) -> None:
    store, name, _ = shelf
    path = store.directory / name / file
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(CheckpointError, match="is damaged: sha256"):
        store.verify(name)
    if file not in ("rank-1.pt", ".metadata"):   # which one rank alone has no use for
        assert f"its {file} is damaged" in refused(store, name)


@pytest.mark.parametrize("file", ["__1_0.distcp", "rank-2.json"])
def test_a_file_that_is_missing_or_a_link_is_named(shelf: Any, file: str, tmp_path: Path) -> None:
    store, name, _ = shelf
    path = store.directory / name / file
    path.rename(tmp_path / "away")
    assert f"its {file} is missing" in refused(store, name)
    path.symlink_to(tmp_path / "away")
    assert "symbolic link" in refused(store, name)


def resealed(store: Checkpoints, name: str, file: str, raw: bytes) -> None:
    """By somebody who knows how."""
    folder = store.directory / name
    (folder / file).write_bytes(raw)
    manifest = Manifest.decode((folder / "manifest.json").read_bytes())
    told = {**manifest.digests, file: hashlib.sha256(raw).hexdigest()}, {**manifest.sizes, file: len(raw)}
    (folder / "manifest.json").write_bytes(replace(manifest, digests=told[0], sizes=told[1]).encode())


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch harmed",)


def test_torchs_metadata_is_a_pickle_that_nobody_here_reads(
    shelf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store, name, tensors = shelf
    resealed(store, name, ".metadata", pickle.dumps(Evil()))
    store.verify(name)
    assert all(torch.equal(store.load(name)["tensors"][key], tensor) for key, tensor in tensors.items())
    assert not (tmp_path / "harmed").exists()


def evil() -> bytes:
    packed = io.BytesIO()
    torch.save(Evil(), packed)
    return packed.getvalue()


def with_entry(**changed: Any) -> Callable[[bytes], bytes]:
    def change(raw: bytes) -> bytes:
        body = json.loads(raw)
        body["tensors"]["param/weight"] |= changed
        return json.dumps(body).encode()

    return change


@pytest.mark.parametrize(("change", "why"), [
    (with_entry(size=[10**12, 10**6]), "is damaged|do not make a whole|different tensors"),
    (with_entry(offsets=[-1, 0]), "is damaged"), (with_entry(at=-5), "is damaged"), (with_entry(length=10**12), "is damaged"),
    (with_entry(dtype="load"), "is damaged"), (with_entry(dtype="float64"), "is damaged|different tensors|another than it says"),
    (with_entry(sizes=[1.5, 5]), "is damaged"), (with_entry(sizes=[2, 5]), "do not make a whole"),
    (lambda _: b"[" * 100_000, "is damaged"), (lambda _: b"{}", "is damaged"), (lambda _: b"", "is damaged"),
    (lambda raw: raw.replace(b'"rank": 1', b'"rank": 0'), "another version"),
], ids=range(12))
def test_an_index_that_cannot_be_is_refused(shelf: Any, change: Callable[[bytes], bytes], why: str) -> None:
    store, name, _ = shelf
    resealed(store, name, "rank-1.json", change((store.directory / name / "rank-1.json").read_bytes()))
    assert re.search(why, refused(store, name))


def test_code_in_the_place_of_a_tensor_is_not_run(shelf: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store, name, _ = shelf
    was, raw = (store.directory / name / "__1_0.distcp").read_bytes(), evil()
    resealed(store, name, "__1_0.distcp", was + raw)
    path = store.directory / name / "rank-1.json"
    resealed(store, name, "rank-1.json", with_entry(at=len(was), length=len(raw))(path.read_bytes()))
    assert "refused, it holds more than tensors and numbers" in refused(store, name)
    assert not (tmp_path / "harmed").exists()


def test_names_that_lead_elsewhere_are_no_manifest(shelf: Any) -> None:
    store, name, _ = shelf
    path = store.directory / name / "manifest.json"
    manifest = Manifest.decode(path.read_bytes())
    for odd in ("../state.pt", "rank-1.json/../x", "__1_0.distcp\n", "healthy"):
        path.write_bytes(replace(manifest, digests={**manifest.digests, odd: "0" * 64}, sizes={**manifest.sizes, odd: 0}).encode())
        assert "its manifest is damaged" in refused(store, name)


def test_a_newest_one_that_is_damaged_is_passed_over(shelf: Any) -> None:
    store, name, tensors = shelf
    later = store.save(capture_copy(TrainingState(*a_run(2)), 9), 9, beside=All(tensors)).id
    (store.directory / later / "__2_0.distcp").write_bytes(b"")
    net, optimizer = a_run(1)
    info = tuimon.resume(store.directory, net, optimizer)
    assert info.id == name
    assert "passed over" in info.notes[0]
    assert "__2_0.distcp has 0 bytes" in info.notes[0]


def test_one_that_cannot_be_written_whole_costs_no_other(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store, name, tensors = shelf

    class Broken(All):
        def write(self, aside: Path) -> Mapping[str, Written]:
            super().write(aside)
            raise CheckpointError("rank 1 has died")

    with pytest.raises(CheckpointError, match="rank 1 has died"):
        store.save(capture_copy(TrainingState(*a_run()), 5), 5, beside=Broken(tensors))
    assert sorted(os.listdir(store.directory)) == [name]
    store.verify(name)
