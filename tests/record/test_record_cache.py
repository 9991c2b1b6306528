"""The cache: what was stored comes back, and anything else is as if it were not there."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from writers import LogWriter

from tuimon.record.cache import Cache
from tuimon.record.chunk import Mark
from tuimon.record.recall import Recall, read_anew
from tuimon.record.rundir import cache_root
from tuimon.record.segments import Row, TensorRow, WeightRow

ARRAYS = {"a": np.arange(7), "b": np.linspace(0, 1, 5), "c": np.zeros((0, 3), np.float32), "d": np.ones((2, 3), np.bool_)}


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "deep" / "cache")


def only(cache):
    (path,) = cache.root.iterdir()
    return path


def test_what_was_stored_comes_back_and_nobody_else_may_read_it(cache):
    assert cache.store("one", {"x": [1, "ü"], "inf": float("inf")}, ARRAYS)
    found = cache.load("one")
    assert found.meta == {"x": [1, "ü"], "inf": "Infinity"}
    for name, array in ARRAYS.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)
    assert stat.S_IMODE(cache.root.stat().st_mode) == 0o700
    assert stat.S_IMODE(only(cache).stat().st_mode) == 0o600
    assert cache.load("another") is None
    cache.remove("one")
    assert cache.load("one") is None


@given(st.floats(0, 1), st.integers(1, 255), st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_damaged_store_is_none_or_unharmed(tmp_path_factory, where, bits, is_cut):
    cache = Cache(tmp_path_factory.mktemp("cache"))
    cache.store("one", {"x": 1}, ARRAYS)
    raw = bytearray(only(cache).read_bytes())
    at = int(where * (len(raw) - 1))
    if is_cut:
        del raw[at:]
    else:
        raw[at] ^= bits
    only(cache).write_bytes(raw)
    found = cache.load("one")
    if found is not None:   # a byte between two arrays means nothing
        assert found.meta == {"x": 1}
        assert all((found.arrays[name] == array).all() for name, array in ARRAYS.items())


def test_a_store_that_others_could_have_written_is_none(cache, tmp_path):
    cache.store("one", {}, ARRAYS)
    path = only(cache)
    path.chmod(0o622)
    assert cache.load("one") is None
    path.chmod(0o600)
    cache.root.chmod(0o777)
    assert cache.load("one") is None
    assert not cache.store("two", {}, ARRAYS)
    cache.root.chmod(0o700)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert cache.load("one") is None
    path.unlink()
    os.mkfifo(path, 0o600)
    assert cache.load("one") is None


def test_the_least_used_stores_go_when_there_are_too_many(tmp_path):
    cache = Cache(tmp_path / "cache", most=3 * 9000)
    for i, name in enumerate(("old", "used", "new")):
        cache.store(name, {}, {"a": np.zeros(1000)})
        os.utime(cache.root / f"{name}.tuimon", (1000 + i, 1000 + i))
    assert cache.load("old") is not None
    cache.store("newest", {}, {"a": np.zeros(1000)})
    assert {p.stem for p in cache.root.iterdir()} == {"old", "new", "newest"}


def test_a_folder_that_cannot_be_had_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    cache = Cache(tmp_path / "file")
    assert not cache.store("one", {}, ARRAYS)
    assert cache.load("one") is None


def test_the_cache_is_where_the_user_wants_caches(tmp_path):
    assert cache_root({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "tuimon"
    assert cache_root({"XDG_CACHE_HOME": "not/absolute"}).parts[-2:] == (".cache", "tuimon")


def run(folder, steps=3000, attempt=1, from_step=0):
    folder.mkdir(exist_ok=True)
    writer = LogWriter(folder, attempt=attempt, from_step=from_step, tensors=3)
    grad, items = np.arange(3, dtype=np.float32), []
    for i in range(from_step + 1, from_step + steps + 1):
        items += [TensorRow(i, grad * i, grad >= 0, None)] * (i % 50 == 0)
        items += [WeightRow(i, grad + i, grad >= 1)] * (i % 400 == 0)
        items += [Row(i, 1e9 + i, {"loss": float(i % 97)})]
    items.append(Mark(from_step + 9, "note", {"text": "ü"}))
    writer.append(items)
    writer.beat(1.0, 2.0, "running")
    return writer


def read_all(read):
    while chunks := read.log.poll():
        for chunk in chunks:
            read.history.extend(chunk)
    return read


def same(one, other):
    assert one.log.place == other.log.place
    assert (one.history.last_step, one.history.last_time, one.history.names) == (
        other.history.last_step, other.history.last_time, other.history.names)
    assert one.history.marks == other.history.marks
    for part in ("steps", "grad", "update", "grad_seen"):
        np.testing.assert_array_equal(getattr(one.history.tensor_rows(), part), getattr(other.history.tensor_rows(), part))
    assert len(one.history.weight_rows()) > 0
    for part in ("steps", "values", "seen"):
        np.testing.assert_array_equal(getattr(one.history.weight_rows(), part), getattr(other.history.weight_rows(), part))
    for first, last in ((1, 10_000), (500, 600), (2900, 3100)):
        for part in ("steps", "low", "high", "last", "bad"):
            np.testing.assert_array_equal(getattr(one.history.thin("loss", first, last, 40), part),
                                          getattr(other.history.thin("loss", first, last, 40), part))


def test_a_run_is_opened_where_it_was_left_and_goes_on_from_there(tmp_path, cache, monkeypatch):
    monkeypatch.setattr("tuimon.record.track.KEPT", 64)
    monkeypatch.setattr("tuimon.record.history.DIRECT", 100)
    folder = tmp_path / "metrics"
    writer = run(folder)
    recall = Recall(cache, folder)
    assert recall.load(None, ()) is None
    assert recall.save(read_all(read_anew(folder, None, ())))
    found = recall.load(None, ())
    assert found.log.poll() == []
    same(found, read_all(read_anew(folder, None, ())))
    writer.append([Row(3001, 0.0, {"loss": -5.0})])
    same(read_all(found), read_all(read_anew(folder, None, ())))
    run(folder, 500, attempt=2, from_step=1700)
    same(read_all(recall.load(None, ())), read_all(read_anew(folder, None, ())))


def grown_elsewhere(folder):
    first, _ = sorted(folder.iterdir())
    first.write_bytes(first.read_bytes() + b"\0")


def replaced(folder):
    path = max(folder.iterdir())
    raw = path.read_bytes()
    path.unlink()
    (folder / "aside").write_bytes(b"")   # another inode
    path.write_bytes(raw)


def cut_short(folder):
    path = max(folder.iterdir())
    path.write_bytes(path.read_bytes()[:-30])


def overwritten(folder):
    path = max(folder.iterdir())
    raw = bytearray(path.read_bytes())
    raw[-40] ^= 1
    path.write_bytes(raw)


def taken_away(folder):
    max(folder.iterdir()).unlink()


@pytest.mark.parametrize("change", [grown_elsewhere, replaced, cut_short, overwritten, taken_away])
def test_a_log_that_is_not_the_one_that_was_read_is_read_again(tmp_path, cache, change):
    folder = tmp_path / "metrics"
    run(folder, 300).close()
    run(folder, 300, attempt=2, from_step=200).close()
    recall = Recall(cache, folder)
    recall.save(read_all(read_anew(folder, None, ())))
    recall.save_note("note", read_all(read_anew(folder, None, ())).log, {"a": 1})
    assert recall.load_note("note")[1] == {"a": 1}
    change(folder)
    assert recall.load(None, ()) is None
    assert recall.load_note("note") is None


def test_a_store_that_is_sound_and_not_ours_is_none(tmp_path, cache):
    folder = tmp_path / "metrics"
    run(folder, 300).close()
    recall = Recall(cache, folder)
    recall.save(read_all(read_anew(folder, None, ())))
    name = only(cache).stem
    stored = cache.load(name)
    for meta, arrays in (
        ({**stored.meta, "version": 99}, stored.arrays),
        ({**stored.meta, "tracks": 5}, stored.arrays),
        ({**stored.meta, "place": {"segment": 3}}, stored.arrays),
        (stored.meta, {}),
        (stored.meta, {**stored.arrays, "0.steps": np.arange(3)}),
        (stored.meta, {**stored.arrays, "tensors.1": np.arange(3)}),
    ):
        assert cache.store(name, meta, arrays)
        assert recall.load(None, ()) is None
    assert cache.store(name, stored.meta, stored.arrays)
    assert recall.load(None, ()) is not None


def _stores(root, viewer):
    cache = Cache(root)
    return all(cache.store("all" if n % 2 else f"{viewer}", {"n": n}, ARRAYS) and cache.load("all") for n in range(300))


def test_several_viewers_may_store_at_once(cache):
    assert cache.store("all", {}, ARRAYS)
    with ProcessPoolExecutor(3, get_context("spawn")) as viewers:
        assert all(viewers.map(_stores, [cache.root] * 3, range(3)))
