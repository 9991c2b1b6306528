"""A history within a bounded memory tells what one that keeps everything tells: extremes, bad values, resumes."""

from __future__ import annotations

import math
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from writers import LogWriter

from tuimon.record import bands, history, segments, track
from tuimon.record.archive import Archive
from tuimon.record.chunk import Chunk, Mark, ProbeRows, TensorRows, WeightRows
from tuimon.record.history import History, thin
from tuimon.record.places import Places
from tuimon.record.probes import ProbeEntry
from tuimon.record.segments import LogReader, Row, TensorRow
from tuimon.record.track import narrow

ODD = (math.nan, math.inf, -math.inf, 1e300, -1e300, 5e-324, 0.0)


@contextmanager
def small(direct=0, fetched=0, page=4096):
    """Limits so small that a short run is a long one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(track, "KEPT", 32)
        patch.setattr(track, "AGAIN", 32)
        patch.setattr(history, "LEAST", 16)
        patch.setattr(history, "BLOCKS", 16)
        patch.setattr(history, "DIRECT", direct)
        patch.setattr(history, "FETCHED", fetched)
        patch.setattr(segments, "SEGMENT_BYTES", 20_000)
        yield Places(page)


class Told:
    """A run as it is written: what was measured, kept in full beside the log."""

    def __init__(self, folder, places):
        self.folder, self.points, self.attempt, self.step, self.writer = folder, {}, 0, 0, None
        folder.mkdir(exist_ok=True)
        self.reader = LogReader(folder, places=places)
        self.history = History(None, (), Archive(folder, places))

    def resume(self, from_step):
        self.attempt, self.step = self.attempt + 1, from_step
        self.points = {s: v for s, v in self.points.items() if s <= from_step}
        if self.writer is not None:
            self.writer.close()
        self.writer = LogWriter(self.folder, attempt=self.attempt, from_step=from_step, tensors=0)

    def go(self, values, together):
        """A step each; `None` is a step at which the loss was not measured."""
        rows = []
        for value in values:
            self.step += 1
            rows.append(Row(self.step, 0.0, {"lr": 0.1} | ({} if value is None else {"loss": value})))
            if value is not None:
                self.points[self.step] = value
        for at in range(0, len(rows), together):
            self.writer.append(rows[at:at + together])

    def read(self, most):
        while chunks := self.reader.poll(most):
            for chunk in chunks:
                self.history.extend(chunk)
        return self.history

    def window(self, first, last):
        steps = np.array([s for s in self.points if first <= s <= last], np.int64)
        return steps, np.array([self.points[s] for s in steps.tolist()], np.float64)


def values_of(seed, count):
    rng = np.random.default_rng(seed)
    found = (rng.normal(size=count) * 10.0 ** rng.integers(-3, 4)).tolist()
    for i in rng.integers(0, count, count // 40).tolist():
        found[i] = ODD[rng.integers(len(ODD))]
    for i in rng.integers(0, count, count // 30).tolist():
        found[i] = None
    return found


STRETCHES = st.lists(st.tuples(st.integers(1, 700), st.integers(1, 90), st.floats(0, 1)), min_size=1, max_size=5)
WINDOWS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(1, 60)), min_size=1, max_size=4)


@given(STRETCHES, WINDOWS, st.integers(0, 1 << 30), st.sampled_from([500, 70_000]), st.booleans())
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_extremes_and_bad_values_survive_whatever_is_kept_fetched_or_done_again(
        tmp_path_factory, stretches, windows, seed, most, at_once):
    with small() as places:
        run = Told(tmp_path_factory.mktemp("run"), places)
        for i, (count, together, back) in enumerate(stretches):
            run.resume(int(back * run.step))
            run.go(values_of(seed + i, count), together)
            if not at_once:
                run.read(most)
        got = run.read(most)
        for left, right, columns in [(0.0, 1.0, 20), *windows]:
            first, last = sorted((1 + int(left * run.step), 1 + int(right * run.step)))
            check(got, run, first, last, columns)
        assert got.last_step == run.step


def check(got, run, first, last, columns):
    """One window, thinned by the pyramid, against the points that lie in it."""
    steps, values = run.window(first, last)
    thinned, exact = got.thin("loss", first, last, columns), thin(steps, values, first, last, columns)
    assert len(thinned) <= columns
    assert (np.diff(thinned.steps) > 0).all()
    assert not len(thinned) or first <= thinned.steps[0] <= thinned.steps[-1] <= last
    assert thinned.bad.sum() >= bool(exact.bad.any())
    finite = values[np.isfinite(values)]
    if len(finite):
        assert np.nanmin(narrow(thinned.low)) <= narrow(finite).min()
        assert np.nanmax(narrow(thinned.high)) >= narrow(finite).max()
    # What is beyond the window may come in by the blocks that reach out of it, and no further.
    widest = max((level.points for level in got.tracks["loss"].levels), default=0) if "loss" in got.names else 0
    around = narrow(run.window(first - 2 * widest, last + 2 * widest)[1])
    around = around[np.isfinite(around)]
    there = np.concatenate((thinned.low, thinned.high))
    assert np.isin(narrow(there[np.isfinite(there)]), around).all()
    if first == 1 and last >= run.step:
        assert np.array_equal(np.nanmin(narrow(thinned.low)) if len(finite) else 0, narrow(finite).min() if len(finite) else 0)


@given(STRETCHES, WINDOWS, st.integers(0, 1 << 30))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_points_that_are_not_kept_come_out_of_the_log_as_they_were(tmp_path_factory, stretches, windows, seed):
    with small(direct=1 << 30, fetched=1 << 30) as places:
        run = Told(tmp_path_factory.mktemp("run"), places)
        for i, (count, together, back) in enumerate(stretches):
            run.resume(int(back * run.step))
            run.go(values_of(seed + i, count), together)
        got = run.read(3000)
        for left, right, columns in [(0.0, 1.0, 50), *windows]:
            first, last = sorted((1 + int(left * run.step), 1 + int(right * run.step)))
            steps, values = run.window(first, last)
            found = got.window("loss", first, last)
            np.testing.assert_array_equal(found.steps, steps)
            np.testing.assert_array_equal(found.values, values)
            thinned, exact = got.thin("loss", first, last, columns), thin(steps, values, first, last, columns)
            for part in ("steps", "low", "high", "last", "bad"):
                np.testing.assert_array_equal(getattr(thinned, part), getattr(exact, part))
        tail = got.tail("loss", 20)
        assert tail.steps.tolist() == list(run.points)[-len(tail):]
        assert len(tail) == min(20, len(run.points))


def test_a_resume_from_far_back_leaves_the_pyramid_as_if_the_rest_had_never_been(tmp_path):
    with small() as places:
        run = Told(tmp_path / "metrics", places)
        run.resume(0)
        run.go([float(i) for i in range(6000)], 50)
        run.read(5000)
        run.resume(1234)
        run.go([0.5] * 700, 50)
        got = run.read(5000)
        assert len(got.tracks["loss"]) == 1934
        thinned = got.thin("loss", 1, 1934, 10)
        assert narrow(thinned.high).max() == 1233.0
        assert thinned.low[-1] == thinned.high[-1] == 0.5


def test_memory_grows_with_the_logarithm_of_the_run(tmp_path):
    with small() as places:
        run = Told(tmp_path / "metrics", places)
        run.resume(0)
        held = []
        for _ in range(4):
            run.go([1.0] * 4000, 500)
            kept = run.read(9000).tracks["loss"]
            held.append(kept.steps.size + sum(level.ends.size for level in kept.levels))
        assert held[-1] < held[0] + 60
        assert len(places.table) > 4


def test_the_index_of_pages_stays_small_and_still_finds_every_row(tmp_path, monkeypatch):
    from tuimon.record import places as module

    monkeypatch.setattr(module, "MOST_PAGES", 8)
    with small(direct=1 << 30, fetched=1 << 30, page=200) as places:
        run = Told(tmp_path / "metrics", places)
        run.resume(0)
        run.go([float(i) for i in range(3000)], 10)
        got = run.read(1000)
        assert len(places.table) <= 16
        assert places.page_bytes > 200
        assert got.window("loss", 700, 1300).values.tolist() == [float(i) for i in range(699, 1300)]


def test_what_was_taken_away_is_absent_and_no_fault(tmp_path):
    with small(direct=1 << 30, fetched=1 << 30) as places:
        run = Told(tmp_path / "metrics", places)
        run.resume(0)
        run.go([1.0] * 3000, 50)
        got = run.read(5000)
        for path in run.folder.iterdir():
            path.unlink()
        assert len(got.window("loss", 1, 500)) == 0
        assert len(got.thin("loss", 1, 500, 10)) == 0
        assert got.value("loss") == 1.0


def test_the_step_some_measurements_before_is_found_whether_or_not_points_are_kept(tmp_path):
    with small() as places:
        run = Told(tmp_path / "metrics", places)
        run.resume(0)
        run.go([1.0] * 3000, 50)
        got = run.read(5000)
        assert got.step_before("loss", 2990, 8) == 2982
        assert 2000 - 8 - 2 * 1024 <= got.step_before("loss", 2000, 8) <= 2000 - 8
        assert got.step_before("loss", 3, 8) <= 3
        assert got.step_before("nothing", 3, 8) is None


def rows_of(steps, grad, seen=None):
    grad = np.array(grad, np.float32).reshape(len(steps), -1)
    seen = np.ones(grad.shape, np.bool_) if seen is None else np.array(seen, np.bool_)
    return TensorRows(np.array(steps, np.int64), grad, np.abs(grad), seen)


@given(st.integers(1, 900), st.integers(1, 200), st.integers(0, 1 << 30), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_of_old_per_tensor_rows_the_greatest_of_each_tensor_survives(count, together, seed, back):
    rng = np.random.default_rng(seed)
    grad = rng.lognormal(size=(count, 3)).astype(np.float32)
    grad[rng.integers(count), 0], grad[rng.integers(count), 1] = np.inf, np.nan
    seen = rng.random((count, 3)) < 0.8
    whole = rows_of(range(1, count + 1), np.where(seen, grad, np.nan), seen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands, "LEAST_ROWS", 16)
        patch.setattr(bands, "MOST_ROWS", 16)
        kept = bands.Bands(bands.TensorShape(3), 3)
        for at in range(0, count, together):
            kept.extend(whole.between(at, at + together))
        found = kept.rows
        assert len(found) <= 16 + 2 * 16 + 1
        assert (np.diff(found.steps) > 0).all()
        assert found.steps[-1] == count
        np.testing.assert_array_equal(found.grad_seen.any(0), seen.any(0))
        for tensor in range(3):
            then, now = grad[seen[:, tensor], tensor], found.grad[found.grad_seen[:, tensor], tensor]
            assert np.isnan(now).any() == np.isnan(then).any()
            if len(then) and not np.isnan(then).any():
                assert now.max() == then.max()
        after = int(back * count)
        kept.cut(after)
        assert len(kept) == 0 or kept.rows.steps[-1] <= after
        kept.extend(rows_of([after + 1], [[1.0, 2.0, 3.0]]))
        assert kept.rows.steps[-1] == after + 1


def test_few_rows_stay_as_they_were_and_without_an_archive_all_do():
    told = History()
    for i in range(300):
        told.extend(Chunk.of([i + 1], loss=[1.0], tensors=rows_of([i + 1], [[float(i)]])))
    assert told.tensor_rows().grad[:, 0].tolist() == list(range(300))


def test_of_old_probe_rows_the_worst_survives_in_the_sense_of_each_quantity(monkeypatch, tmp_path):
    monkeypatch.setattr(bands, "MOST_ROWS", 8)
    monkeypatch.setattr(bands, "LEAST_ROWS", 8)
    entries = [ProbeEntry("blocks.0.attn", "attention_logit"), ProbeEntry("blocks.0.attn", "attention_entropy")]
    told = History(None, entries, Archive(tmp_path, Places()))
    for i in range(1, 200):
        values = np.array([[1.0 + (i == 20), 0.5 - 0.4 * (i == 30)]], np.float32)
        there = np.ones((1, 2), np.bool_)
        told.extend(Chunk.of([i], loss=[1.0], probes=ProbeRows(np.array([i]), values, there),
                             weights=WeightRows(np.array([i]), values, there)))
    rows = told.probe_rows()
    assert len(rows) < 40
    assert rows.values[:, 0].max() == 2.0
    assert rows.values[:, 1].min() == np.float32(0.1)
    rows, changed = told.weight_rows(), told.revision_of("weights")
    assert len(rows) < 40
    assert rows.values.max(0).tolist() == [2.0, 0.5]
    assert changed > 0
    told.extend(Chunk.of([151], loss=[1.0], marks=(Mark(150, "attempt"),)))
    assert told.probe_rows().steps[-1] <= 150
    assert told.weight_rows().steps[-1] <= 150
    assert told.revision_of("weights") > changed


def test_tensor_rows_in_between_do_not_hide_the_rows(tmp_path):
    with small(direct=1 << 30, fetched=1 << 30, page=3000) as places:
        writer = LogWriter(tmp_path, attempt=1, from_step=0, tensors=40)
        for i in range(1, 800):
            grad = np.full(40, float(i), np.float32)
            writer.append([TensorRow(i, grad, grad > 0, None)] * (i % 4 == 0) + [Row(i, 0.0, {"loss": float(i)})])
        reader, got = LogReader(tmp_path, places=places), History(None, (), Archive(tmp_path, places))
        while chunks := reader.poll(6000):
            for chunk in chunks:
                got.extend(chunk)
        assert got.window("loss", 100, 300).values.tolist() == [float(i) for i in range(100, 301)]


@given(st.integers(300, 2500), st.lists(st.floats(0, 1), min_size=1, max_size=5), st.integers(0, 1 << 30))
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_was_known_at_an_old_moment_is_told_as_it_was(tmp_path_factory, count, moments, seed):
    with small() as places:
        run = Told(tmp_path_factory.mktemp("run"), places)
        run.resume(0)
        run.go(values_of(seed, count), 40)
        got = run.read(4000)
        for moment in moments:
            at = int(moment * count)
            steps, values = run.window(0, at)
            np.testing.assert_array_equal(got.tail("loss", 30, at).steps, steps[-30:])
            found = got.value_at("loss", at)
            assert found is None if not len(values) else found == values[-1] or math.isnan(found)


@given(st.integers(1, 3000), WINDOWS)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_point_of_a_window_is_in_one_column(tmp_path_factory, count, windows):
    with small() as places:
        run = Told(tmp_path_factory.mktemp("run"), places)
        run.resume(0)
        run.go([float(i) for i in range(1, count + 1)], 100)   # so that a value says which step it is of
        got = run.read(4000)
        for left, right, columns in [(1 - 25 / count, 1.0, 1), *windows]:
            first, last = sorted((1 + int(max(0.0, left) * (count - 1)), 1 + int(right * (count - 1))))
            thinned = got.thin("loss", first, last, columns)
            assert (thinned.low[1:] == thinned.high[:-1] + 1).all()
            assert thinned.low[0] == first if got.tracks["loss"].holds(first) else thinned.low[0] <= first
            assert thinned.high[-1] == last if got.tracks["loss"].holds(last) else thinned.high[-1] >= last


def test_the_next_measurement_is_found_also_where_points_are_not_kept(tmp_path):
    with small() as places:
        run = Told(tmp_path / "run", places)
        run.resume(0)
        run.go([float(i) if i % 7 == 0 else None for i in range(3000)], 50)
        got = run.read(100_000)
        steps = np.array(sorted(run.points))
        for step in range(0, 2990, 13):
            after = got.tracks["loss"].step_after(step)
            following = steps[steps > step]
            assert after in following[:track.FINEST * 4].tolist()
        assert got.tracks["loss"].step_after(int(steps[-1])) is None
