"""A driver that answers, refuses, hangs, dies or says nonsense: the viewer never waits for it and always says which."""

from __future__ import annotations

import json
import os
import sys
import time

import pytest

from tuimon.viewer.machine import gpu as child
from tuimon.viewer.machine.gpus import PATIENCE, PATIENCE_AT_START, GpuWatch, gpu_of, is_present
from tuimon.viewer.machine.model import Gpu, Gpus

NVML = """
import os, threading, types

class NVMLError(Exception): pass
def no(*_): raise NVMLError("Not Supported")

def nvmlInit(): {init}
def nvmlDeviceGetCount(): {count}
def nvmlDeviceGetHandleByIndex(i): return i
def nvmlDeviceGetName(h): return b"Fake \\x1b[31mGPU"
def nvmlDeviceGetUtilizationRates(h): return types.SimpleNamespace(gpu=98, memory=40)
def nvmlDeviceGetMemoryInfo(h): return types.SimpleNamespace(total=80 << 30, used=61 << 30, free=19 << 30)
def nvmlDeviceGetPowerUsage(h): return 612_000
def nvmlDeviceGetEnforcedPowerLimit(h): return 700_000
def nvmlDeviceGetTemperature(h, sensor): return 71
def nvmlDeviceGetClockInfo(h, kind): return 1755
def nvmlDeviceGetMaxClockInfo(h, kind): return 1980
def nvmlDeviceGetCurrentClocksThrottleReasons(h): return 0x4 | 0x1
def nvmlDeviceGetComputeRunningProcesses(h): return [types.SimpleNamespace(pid=41, usedGpuMemory=60 << 30), types.SimpleNamespace(pid=42, usedGpuMemory=None)]
asked = []
"""
WHOLE = Gpu(0, "Fake GPU", 0.98, 80 << 30, 61 << 30, 612.0, 700.0, 71, 1755, 1980, ("power limit",), ((41, 60 << 30), (42, None)))


@pytest.fixture
def watching(tmp_path):
    """Makes a watch whose child finds a driver that behaves as told."""
    watches = []

    def make(init="pass", count="return 1", more=""):
        (tmp_path / "pynvml.py").write_text(NVML.format(init=init, count=count) + more)
        watches.append(GpuWatch(present=lambda: True, package=lambda: True, environment={**os.environ, "PYTHONPATH": str(tmp_path)}))
        return watches[-1]

    yield make
    for watch in watches:
        watch.close()
        assert watch._child is None


def until(watch, mono, wanted, seconds=30.0):
    """Ask again and again at one and the same moment, until it is as waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = watch.poll(mono)
        if wanted(found):
            return found
        os.sched_yield()
    raise AssertionError(found)


def ended(watch):
    """Wait for the child to be gone, as a driver that crashes takes it along."""
    watch._child.wait(30)


def test_what_a_driver_tells_is_told(watching):
    watch = watching()
    assert watch.poll(0.0).state == "starting"
    assert until(watch, 0.1, lambda found: found.state == "ok") == Gpus("ok", (WHOLE,))
    pid = watch._child.pid
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
    for second in range(1, 8):
        until(watch, float(second), lambda found, second=second: found.state == "ok" and watch._asked == float(second))
    assert (watch._child.pid, watch.starts) == (pid, 1)


def test_what_a_driver_does_not_tell_is_unknown_and_never_zero(watching):
    refused = ("nvmlDeviceGetPowerUsage", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetMemoryInfo", "nvmlDeviceGetTemperature",
               "nvmlDeviceGetCurrentClocksThrottleReasons", "nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetMaxClockInfo")
    watch = watching(more="\n".join(f"{name} = no" for name in refused) + "\ndel nvmlDeviceGetEnforcedPowerLimit\n")
    found = until(watch, 0.0, lambda found: found.state == "ok")
    assert found.gpus == (Gpu(0, "Fake GPU", clock=1755),)


def test_a_gpu_that_fell_off_the_bus_is_named_beside_the_others(watching):
    watch = watching(count="return 2", more="""
def nvmlDeviceGetHandleByIndex(i):
    if i == 1: raise NVMLError("GPU is lost")
    return i
""")
    found = until(watch, 0.0, lambda found: found.state == "ok")
    assert [one.lost for one in found.gpus] == ["", "GPU is lost"]


def test_a_driver_that_hangs_is_told_killed_and_asked_again_ever_less(watching):
    watch = watching(count="asked.append(1); return 1 if len(asked) < 2 else threading.Event().wait()")
    assert until(watch, 0.0, lambda found: found.state == "ok").gpus == (WHOLE,)
    assert watch.poll(PATIENCE - 0.1).state == "ok"   # asked again at 0.0, and patient
    pid = watch._child.pid
    late = watch.poll(PATIENCE + 1.0)
    assert (late.state, late.waited, late.gpus) == ("silent", 4, (WHOLE,))   # the last answer stays, and is called old
    assert watch._child is None
    assert not _is_there(pid)
    assert watch.poll(PATIENCE + 1.5).waited == 4   # not yet started again
    watch.poll(PATIENCE + 2.5)
    assert watch.starts == 2
    until(watch, 6.0, lambda found: found.state == "ok")
    pid = watch._child.pid
    assert watch.poll(20.0).state == "silent"
    assert not _is_there(pid)
    watch.poll(21.5)
    assert watch.starts == 2   # two seconds this time
    watch.poll(22.5)
    assert watch.starts == 3


def _is_there(pid, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return False
        except OSError:
            return False
        os.sched_yield()
    return True


def test_a_driver_that_hangs_from_the_start_is_given_time_to_wake_up(watching):
    watch = watching(init="threading.Event().wait()")
    watch.poll(0.0)
    assert watch.poll(PATIENCE + 1).state == "silent" and watch._child is not None
    assert watch.poll(PATIENCE_AT_START + 1).state == "silent" and watch._child is None


def test_a_driver_that_takes_its_caller_along_is_started_again(watching):
    watch = watching(count="os._exit(3)")
    watch.poll(0.0)
    ended(watch)
    assert watch.poll(0.5).state == "silent"
    watch.poll(2.0)
    assert watch.starts == 2


def test_a_driver_that_cannot_count_for_once_has_not_lost_its_gpus_for_good(watching):
    watch = watching(count="asked.append(1); return 1 if len(asked) < 2 else no()")
    until(watch, 0.0, lambda found: found.state == "ok")
    late = until(watch, 1.0, lambda found: found.state != "ok")
    assert (late.state, late.gpus) == ("silent", (WHOLE,))
    watch.poll(2.5)
    assert until(watch, 2.5, lambda found: found.state == "ok").gpus == (WHOLE,)


def test_an_answer_without_end_is_not_listened_to_for_ever():
    flood = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    watch = GpuWatch(present=lambda: True, package=lambda: True, command=[sys.executable, "-c", flood])
    until(watch, 0.0, lambda found: found.state == "silent")
    assert watch._child is None
    watch.close()


def test_a_driver_that_refuses_says_why_and_is_left_alone(watching):
    watch = watching(init='raise NVMLError("Driver/library version mismatch")')
    found = until(watch, 0.0, lambda found: found.state != "starting")
    assert found == Gpus("no-driver", why="Driver/library version mismatch")
    assert watch.poll(100.0) == found and watch.starts == 1


def test_a_machine_whose_driver_counts_no_gpu_has_none(watching):
    assert until(watching(count="return 0"), 0.0, lambda found: found.state != "starting") == Gpus("none")


@pytest.mark.parametrize("answer", ["not json", "[]", "{}", '{"gpus": 3}', '{"gpus": [{"index": "x"}]}', '{"gpus": [null]}', '"x"'])
def test_an_answer_that_is_none_ends_the_child_and_no_more(answer):
    watch = GpuWatch(present=lambda: True, package=lambda: True, command=[sys.executable, "-c", f"print({answer!r}, flush=True); input(); input()"])
    watch.poll(0.0)
    assert until(watch, 0.1, lambda _: watch._child is None).state == "silent"
    watch.close()


def test_where_there_is_no_gpu_or_nothing_to_ask_it_with_nothing_is_started(tmp_path, monkeypatch):
    nothing = GpuWatch(present=lambda: False, command=["/nowhere"])
    assert nothing.poll(0.0) == Gpus("none")
    assert GpuWatch(present=lambda: True, package=lambda: False, command=["/nowhere"]).poll(0.0) == Gpus("no-package")
    assert GpuWatch(present=lambda: True, package=lambda: True, command=["/nowhere"]).poll(0.0).state == "no-driver"
    assert nothing.starts == 0
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not is_present([str(tmp_path / "nvidiactl")])
    (tmp_path / "nvidiactl").touch()
    assert is_present([str(tmp_path / "nvidiactl")])


def test_the_child_without_its_package_says_so(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(os, "nice", lambda _: 0)
    assert child.main() == 0
    assert json.loads(capsys.readouterr().out) == {"absent": "package"}


def test_numbers_from_a_driver_are_taken_only_where_they_are_numbers():
    found = gpu_of({"index": 1, "name": None, "busy": True, "power": float("nan"), "memory": "80 GB", "clock": 10, "slowed": None})
    assert found == Gpu(1, "GPU", clock=10)
