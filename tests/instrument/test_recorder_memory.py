"""How the memory that training holds comes into its log: once a second, in the newest row, whatever asking does."""

from __future__ import annotations

from types import MappingProxyType

import psutil
import pytest
import torch
from steering_parts import Rig, rig
from training_loops import pair, train

import tuimon
from tuimon.instrument.memory import Memory, reader_for
from tuimon.record.chunk import Mark
from tuimon.record.rundir import RunDir
from tuimon.record.segments import LogReader, Row


def row(step, **values):
    return Row(step, float(step), MappingProxyType({"loss": 1.0, **values}))


def test_the_newest_row_says_it_once_a_second_and_what_was_handed_over_stays_as_it_is():
    memory = Memory(lambda: 5e9)
    items = [row(1), row(2), Mark(2, "note", {})]
    first, last, mark = memory.noted(items, 10.0)
    assert (dict(first.values), dict(last.values), mark) == ({"loss": 1.0}, {"loss": 1.0, "memory": 5e9}, items[2])
    assert dict(items[1].values) == {"loss": 1.0}
    assert memory.noted(items, 10.9) is items
    assert "memory" in memory.noted(items, 11.0)[1].values


def test_it_waits_for_a_row_and_leaves_what_the_script_logged():
    memory = Memory(lambda: 5e9)
    assert memory.noted([Mark(1, "note", {})], 10.0) == [Mark(1, "note", {})]
    assert memory.noted([row(2, memory=7.0)], 10.1)[0].values["memory"] == 7.0


def test_where_nobody_can_tell_nothing_is_said():
    items = [row(1)]
    assert Memory(None).noted(items, 10.0) is items


def logged(run: Rig) -> tuple[list[int], list[float]]:
    reader, steps, memory = LogReader(run.run.metrics), [], []
    while chunks := reader.poll():
        for chunk in chunks:
            steps += chunk.steps.tolist()
            memory += chunk.measured("memory")[1].tolist() if "memory" in chunk.columns else []
    return steps, memory


def test_log_and_judge_see_the_same(tmp_path):
    with rig(tmp_path, memory=lambda: 5e9) as run:
        run.train(50)
        run.judged(50)
        run.close()
        assert logged(run) == (list(range(1, 51)), [5e9])
        assert [c.measured("memory")[1].tolist() for c in run.judge.fed if "memory" in c.columns] == [[5e9]]


def test_a_reader_that_breaks_is_a_fault_once_and_every_row_is_written(tmp_path):
    def broken() -> float:
        raise RuntimeError("no such counter")

    with rig(tmp_path, memory=broken) as run:
        run.train(50)
        assert "no such counter" in run.wait("fault", part="memory").text("error")
        run.train(100)
        run.judged(100)
        run.close()
        assert logged(run) == (list(range(1, 101)), [])
        assert len(run.seen("fault")) == 1


@pytest.mark.usefixtures("one_thread")
def test_on_the_cpu_it_is_what_the_process_holds(tmp_path):
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
        train(model, opt, 20)
    (found,) = [c.measured("memory")[1] for c in LogReader(RunDir(tmp_path / "run").metrics).poll()
                if "memory" in c.columns]
    assert found[0] == pytest.approx(psutil.Process().memory_info().rss, rel=0.3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_it_is_what_the_allocator_has_given_out():
    read, before = reader_for(torch.device("cuda", 0)), torch.cuda.memory_allocated(0)
    held = torch.zeros(1 << 20, device="cuda:0")
    assert read() - before == held.nbytes
