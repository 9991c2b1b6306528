"""A real tree of processes that computes, allocates and forks is seen doing so; one that is gone or elsewhere, too."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from tuimon.record.liveness import identity
from tuimon.viewer.machine import counts, sampler
from tuimon.viewer.machine.counts import TreeReader, limits_of, role_of
from tuimon.viewer.machine.gpus import GpuWatch
from tuimon.viewer.machine.model import Gpus, Limits, Target
from tuimon.viewer.machine.sampler import Sampler, Watch, columns

MB = 2**20
CHILD = """
import os, sys, time
kept = []
for line in sys.stdin:
    what = line.split()
    if what[0] == "burn":
        until = time.process_time() + float(what[1])
        while time.process_time() < until: pass
    elif what[0] == "hold":
        kept.append(bytearray(os.urandom(1 << 20)) * int(what[1]))
    elif what[0] == "open":
        kept += [open(os.devnull) for _ in range(int(what[1]))]
    elif what[0] == "fork":
        ready, go = os.pipe()
        if os.fork() == 0:
            os.close(go); os.read(ready, 1); os._exit(0)
        os.close(ready); kept.append(go)
    print("done", flush=True)
"""


class Training:
    """A process that does one thing at a time."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.does("rest")
        self.identity = identity(self.process.pid)

    def does(self, *what):
        self.process.stdin.write(" ".join(map(str, what)) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def training():
    found = Training()
    yield found
    found.end()


def machine():
    return Sampler(GpuWatch(present=lambda: False))


def test_a_tree_that_computes_allocates_opens_and_forks_is_seen_doing_so(training, tmp_path):
    look, target = machine(), Target(training.identity, str(tmp_path))
    first = look.sample(target, 0.0)
    assert (first.where, first.pid, first.gpus.state) == ("here", training.process.pid, "none")
    assert first.tree.cores is None   # one reading makes no rate
    assert first.host.disk_free > 0 and first.host.memory_used < first.host.memory
    training.does("burn", 0.3)
    training.does("hold", 64)
    training.does("open", 12)
    training.does("fork")
    second = look.sample(target, 10.0)   # as if ten seconds had gone by
    assert 0.025 <= second.tree.cores <= 0.5
    assert second.tree.resident - first.tree.resident > 60 * MB
    assert [one.role for one in second.tree.processes] == ["training", second.tree.processes[1].name]
    assert second.tree.processes[0].files - first.tree.processes[0].files >= 12
    assert second.tree.threads == 2
    assert second.tree.resident < second.tree.resident_sum   # the fork shares its parent's library pages
    assert second.host.cpu is not None and len(second.host.busy) == psutil.cpu_count()
    third = look.sample(target, 11.0)
    assert third.tree.processes[0].files == second.tree.processes[0].files   # counted seldom, shown always
    assert {"cores", "resident", "cpu", "received"} <= set(columns(third))


def test_a_process_that_ends_between_two_looks_is_gone_and_the_machine_goes_on(training):
    look, target = machine(), Target(training.identity)
    assert look.sample(target, 0.0).where == "here"
    training.end()
    after = look.sample(target, 0.5)
    assert (after.where, after.tree) == ("gone", None)
    assert after.host is not None
    assert "cores" not in columns(after)


def test_another_process_with_the_same_number_and_an_earlier_boot_are_not_the_training(training):
    assert machine().sample(Target(replace(training.identity, started=1.0, since_boot=1.0)), 0.0).where == "gone"
    assert machine().sample(Target(replace(training.identity, boot_id="before")), 0.0).where == "gone"


def test_of_a_run_on_another_host_nothing_of_this_machine_is_shown(training):
    found = machine().sample(Target(replace(training.identity, host="far-away")), 0.0)
    assert (found.where, found.host_name, found.host, found.tree) == ("elsewhere", "far-away", None, None)
    assert columns(found) == {}


def test_before_a_training_process_is_known_the_machine_is_looked_at():
    found = machine().sample(Target(), 0.0)
    assert found.where == "unknown" and found.host is not None


def test_who_belongs_to_the_tree_is_asked_less_where_asking_is_dear(training):
    ticks = iter(range(0, 1_000_000, 100))   # each look at the clock is 100 s later
    look, asked = Sampler(GpuWatch(present=lambda: False), clock=lambda: float(next(ticks))), []
    find = look._reader.find
    look._reader.find = lambda process: asked.append(1) or find(process)
    for second in range(20):
        look.sample(Target(training.identity), float(second))
    assert len(asked) == 1


class Closed:
    """A process of another user, as psutil shows it."""

    pid = 77

    def oneshot(self):
        return contextlib.nullcontext()

    def cpu_times(self):
        return psutil.Process().cpu_times()

    def memory_info(self):
        return psutil.Process().memory_info()

    def num_threads(self):
        return 3

    def status(self):
        return "running"

    def create_time(self):
        return 1.0

    def _denied(self):
        raise psutil.AccessDenied(self.pid)

    num_ctx_switches = io_counters = num_fds = _denied


def test_of_another_users_process_what_may_be_seen_is_seen():
    found = counts._counts(Closed(), "python", "training", files=True)
    assert (found.threads, found.switches, found.files, found.read, found.written) == (3, None, None, None, None)
    assert found.resident > 0


def test_a_tree_of_which_nothing_may_be_seen_is_there_and_not_gone(training, monkeypatch):
    class Hidden(psutil.Process):
        def status(self):
            raise psutil.AccessDenied(self.pid)

    monkeypatch.setattr(psutil, "Process", Hidden)
    reader = TreeReader()
    assert reader.find(training.identity)
    assert reader.read(files=True) == []
    found = machine().sample(Target(training.identity), 0.0)
    assert found.where == "here" and found.tree.processes == ()


@pytest.mark.parametrize(("name", "command", "role"), [
    ("pt_data_worker", ["python", "train.py"], "data worker"),
    ("python", ["python", "-c", "from multiprocessing.resource_tracker import main;main(3)"], "resource tracker"),
    ("python", ["python", "-c", "from multiprocessing.spawn import spawn_main", "--multiprocessing-fork"], "spawned worker"),
    ("python", ["python", "/x/torch/_inductor/compile_worker/__main__.py"], "compile worker"),
    ("rsync", ["rsync", "-a"], "rsync"), ("", [], "?"),
])
def test_what_a_process_of_the_tree_does(name, command, role):
    assert role_of(name, command, first=False) == role
    assert role_of(name, command, first=True) == "training"


def test_the_limits_of_a_container_are_the_least_of_all_groups_around_the_process(tmp_path):
    groups, proc = tmp_path / "cgroup", tmp_path / "proc"
    inner = groups / "jobs" / "job-7"
    inner.mkdir(parents=True)
    (proc / "42").mkdir(parents=True)
    (proc / "42" / "cgroup").write_text("4:memory:/x\n0::/jobs/job-7\n")
    (inner / "memory.max").write_text("max\n")
    (inner / "cpu.max").write_text("400000 100000\n")
    (groups / "jobs" / "memory.max").write_text(f"{512 * MB}\n")
    (groups / "jobs" / "memory.current").write_text(f"{100 * MB}\n")
    (groups / "jobs" / "cpu.max").write_text("250000 100000\n")
    (groups / "cpu.max").write_text("max 100000\n")
    (groups / "memory.max").write_text(f"{900 * MB}\n")   # more than the group inside it has
    assert limits_of(42, root=str(groups), proc=str(proc)) == Limits(512 * MB, 100 * MB, 2.5)
    assert limits_of(43, root=str(groups), proc=str(proc)) == Limits()
    (groups / "memory.max").unlink()
    (proc / "42" / "cgroup").write_text("0::/../../elsewhere\n")
    assert limits_of(42, root=str(groups), proc=str(proc)) == Limits()
    (groups / "memory.max").write_text("not a number\n")
    (groups / "cpu.max").write_text("100000 0\n")
    assert limits_of(42, root=str(groups), proc=str(proc)) == Limits()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs to bind to one")
def test_cpus_that_training_is_bound_to_are_all_that_it_may_use(training):
    before = counts.allowed(training.process.pid).cpus
    os.sched_setaffinity(training.process.pid, {min(os.sched_getaffinity(0))})
    assert counts.allowed(training.process.pid).cpus == min(1.0, before or 1.0)
    assert counts.allowed(2**22 - 3) == Limits()


def seen(watch, target, wanted, seconds=20.0):
    """What the watch sees, as soon as it is what is waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        look = watch.see(target, time.monotonic())
        if look.number and wanted(look):
            return look
        os.sched_yield()
    raise AssertionError(look)


def test_the_thread_looks_at_whom_it_is_told_and_ends_when_it_is_closed(training, monkeypatch):
    monkeypatch.setattr(sampler, "EVERY", 0.01)
    closed = []

    class Closing(Sampler):
        def close(self):
            closed.append(self)

    watch = Watch(lambda: Closing(GpuWatch(present=lambda: False)))
    seen(watch, Target(), lambda look: look.sample.where == "unknown" and len(look.traces.times) >= 2)
    look = seen(watch, Target(training.identity), lambda look: look.sample.where == "here" and len(look.traces.times) >= 2)
    assert look.traces.of("resident")[-1] > 0
    began = time.monotonic()   # another attempt is another process: its curves begin anew
    look = seen(watch, Target(identity()), lambda look: look.sample.pid == os.getpid())
    assert look.traces.times[0] >= began
    watch.close()
    assert not watch._thread.is_alive() and closed


def test_a_look_that_hangs_holds_up_nobody_and_one_that_fails_ends_nothing(monkeypatch):
    import threading

    monkeypatch.setattr(sampler, "EVERY", 0.01)
    hangs, goes_on, tries = threading.Event(), threading.Event(), []

    class Broken(Sampler):
        def sample(self, target, mono):
            tries.append(mono)
            if len(tries) < 3:
                raise RuntimeError("a kernel that answers like no other")
            hangs.set()
            goes_on.wait(60)
            return super().sample(target, mono)

    watch = Watch(lambda: Broken(GpuWatch(present=lambda: False)))
    assert hangs.wait(20)
    look = watch.see(Target(), time.monotonic())
    assert look.number == 2 and look.sample.where == "unknown" and look.sample.gpus == Gpus()
    goes_on.set()
    watch.close()
