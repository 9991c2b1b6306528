"""What watching adds to a step, counted, not timed: numbers read, kernels, tensors, calls, system calls, growth."""

from __future__ import annotations

import gc
import os
import platform
import re
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import torch
import training_loops as loops
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from training_loops import Net

import tuimon

pytestmark = pytest.mark.usefixtures("one_thread")

READS = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2")
"""Operations whose result the host must see before it can go on."""


class Ops(TorchDispatchMode):
    """What is dispatched in a step: kernels by name, how many of them bring a number to the host, new storages."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self.reads = self.storages = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.reads += name in READS
        if not func.is_view:
            self.kernels[name] += 1
            given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
            made = {t.untyped_storage()._cdata for t in tree_leaves(result) if isinstance(t, Tensor)}
            self.storages += len(made - given)
        return result


class Deep(Net):
    """The same with more layers."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8)) for _ in range(layers))


class Loop:
    """A training loop that goes on for as many steps as asked."""

    def __init__(self, layers: int = 2) -> None:
        torch.manual_seed(0)
        self.model, self.scaler = Deep(layers), torch.amp.GradScaler("cpu", init_scale=2.0**10)
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        self.tokens = loops.batch(0)

    def go(self, steps: int) -> None:
        for _ in range(steps):
            self.step(loops.loss_of(self.model, self.tokens))
            self.opt.zero_grad()

    def step(self, loss: Tensor) -> None:
        loss.backward()
        self.opt.step()


class Clipping(Loop):
    def step(self, loss: Tensor) -> None:
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 0.05)
        self.opt.step()


class Scaling(Loop):
    def step(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.opt)
        nn.utils.clip_grad_norm_(self.model.parameters(), 0.05)
        self.scaler.step(self.opt)
        self.scaler.update()


LOOPS = (Loop, Clipping, Scaling)
BEFORE = 13
"""Steps before those that are counted: everything is allocated, the next two measure the least, the third all."""


def ops_of(kind: type[Loop], layers: int, run_dir: Path | None, detail: Any, before: int = BEFORE) -> list[Ops]:
    """What is dispatched in each of the three steps after the first `before`; watched where there is a `run_dir`."""
    loop, found = kind(layers), []
    monitor = tuimon.attach(loop.model, loop.opt, run_dir=run_dir, detail=detail, checkpoints="off") if run_dir else None
    loop.go(before)
    for _ in range(3):
        with Ops() as ops:
            loop.go(1)
        found.append(ops)
    if monitor is not None:
        monitor.close()
    return found


LOSS = {"copy_": 2}
"""Into the sum of the step's losses, from there into the row."""
NORMS = {"_foreach_norm": 1, "stack": 1}
UPDATE = {"_foreach_copy_": 1, "_foreach_sub_": 1}
ALL = Counter(LOSS) + Counter(UPDATE) + Counter(NORMS) + Counter(NORMS) + Counter(NORMS)
FREE = Counter(LOSS) + Counter({"copy_": 1})
"""Clipping has computed the norm."""
SCALE = Counter({"copy_": 1})


@pytest.mark.parametrize(("kind", "lean", "lean_norms", "rich"), [
    (Loop, Counter(LOSS) + Counter(NORMS), 1, ALL), (Clipping, FREE, 0, ALL), (Scaling, FREE + SCALE, 0, ALL + SCALE),
])
@pytest.mark.parametrize("layers", [2, 5])
def test_a_step_has_these_kernels_more_however_deep_the_model_and_no_tensor_but_its_norms(
    kind: type[Loop], lean: Counter[str], lean_norms: int, rich: Counter[str], layers: int, tmp_path: Path
) -> None:
    bare, light = ops_of(kind, layers, None, ""), ops_of(kind, layers, tmp_path / "light", "light")
    full = ops_of(kind, layers, tmp_path / "full", "full")
    tensors = len(list(Deep(layers).parameters()))
    for b, ops, kernels, norms in zip((*bare, *bare), (*light, *full), (lean, lean, rich) + 3 * (rich,),
                                      (lean_norms, lean_norms, 3, 3, 3, 3), strict=True):
        assert ops.kernels - b.kernels == kernels
        assert not b.kernels - ops.kernels
        assert ops.storages - b.storages == norms * tensors
        assert ops.reads == b.reads


def test_auto_never_does_more_in_a_step_than_full_and_never_less_than_light(tmp_path: Path) -> None:
    bare = ops_of(Loop, 2, None, "")[0]
    for ops in ops_of(Loop, 2, tmp_path / "start", "auto", before=17) + ops_of(Loop, 2, tmp_path / "later", "auto", before=70):
        assert ops.kernels - bare.kernels in (ALL, Counter(LOSS) + Counter(NORMS))


def test_the_thousandth_step_costs_what_the_fifteenth_does(tmp_path: Path) -> None:
    early = ops_of(Clipping, 2, tmp_path / "early", "light")
    late = ops_of(Clipping, 2, tmp_path / "late", "light", before=BEFORE + 16 * 60)
    assert [(o.kernels, o.storages, o.reads) for o in early] == [(o.kernels, o.storages, o.reads) for o in late]


HERE = Path(tuimon.__file__).parent
HARMLESS = ("builtins", "collections", "math", "time.perf_counter", "time.time", "_thread.get_ident", "sys._getframe", "torch", "numpy", "enum", "tuimon")
"""Where what tuimon calls in a step may come from: nothing that waits, locks, or talks to the system."""
CALLS = {Loop: 115, Clipping: 135, Scaling: 152}
"""Functions of tuimon's own that a step runs. What they call costs as much again: about 0.1 us each."""
USUAL = 20
"""Steps before an ordinary one: the first sixteen compare all gradients, to see whether a number needs a label."""


class Calls:
    """What Python calls on this thread in tuimon's name: functions of its own, and what those call."""

    def __init__(self) -> None:
        self.ours: Counter[CodeType] = Counter()
        self.others: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        caller = frame if event == "c_call" else frame.f_back
        if event == "call" and is_ours(frame):
            if not frame.f_code.co_name.startswith("<"):  # comprehensions grow with the number of tensors
                self.ours[frame.f_code] += 1
        elif event in {"call", "c_call"} and caller is not None and is_ours(caller):
            if event == "call":
                self.others[frame.f_globals.get("__name__", "")] += 1
            else:
                module = getattr(arg, "__module__", None) or type(getattr(arg, "__self__", None)).__module__
                self.others[f"{module}.{arg.__name__}"] += 1

    def __enter__(self) -> Calls:  # noqa: PYI034  # Self is younger than Python 3.10
        sys.setprofile(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)


def is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(str(HERE))


def calls_of(kind: type[Loop], layers: int, run_dir: Path) -> Calls:
    loop = kind(layers)
    with tuimon.attach(loop.model, loop.opt, run_dir=run_dir, detail="light", checkpoints="off"):
        loop.go(USUAL)
        with Calls() as calls:
            loop.go(1)
    return calls


def names_of_locks() -> set[str]:
    """Attributes that hold one anywhere in the instrument."""
    found = set()
    for file in (HERE / "instrument").glob("*.py"):
        found |= set(re.findall(r"self\.(\w+)(?:: [^=]+)? = (?:threading|queue)\.\w+", file.read_text()))
    return found


@pytest.mark.parametrize("kind", LOOPS)
def test_a_step_runs_a_bounded_number_of_functions_however_deep_the_model_and_none_that_locks_or_waits(
    kind: type[Loop], tmp_path: Path
) -> None:
    calls, deeper = calls_of(kind, 2, tmp_path / "2"), calls_of(kind, 5, tmp_path / "5")
    assert sum(calls.ours.values()) <= CALLS[kind]
    assert calls.ours == deeper.ours
    assert calls.others == deeper.others
    assert [name for name in calls.others if not name.startswith(HARMLESS)] == []
    locks = names_of_locks()
    assert {"_draining", "_wake"} <= locks, "otherwise the next line asserts nothing"
    assert not [code.co_name for code in calls.ours if locks & set(code.co_names)]


@pytest.mark.nightly
def test_what_python_holds_does_not_grow_with_the_steps(tmp_path: Path) -> None:
    loop = Clipping()
    with tuimon.attach(loop.model, loop.opt, run_dir=tmp_path / "run", detail="light") as monitor:
        held = []
        for steps in (1900, 1500, 1500):   # fewer tell nothing: what the judge remembers goes up and down by hundreds
            loop.go(steps)
            until = time.monotonic() + 20.0
            while time.monotonic() < until and len(monitor._recorder._intake):
                time.sleep(0.01)
            gc.collect()
            held.append(sys.getallocatedblocks())
    assert min(held[1] - held[0], held[2] - held[1]) < 1000, "a list of what was measured would grow by one a step"


SYSTEM_CALLS = textwrap.dedent("""
    import ctypes, faulthandler, os, signal, sys, threading

    import torch

    sys.path.insert(0, sys.argv[1])
    import tuimon
    from test_cost_guards import Clipping, Loop, Scaling

    # x86-64: mmap mprotect munmap brk mremap madvise, futex, clock_gettime gettimeofday, sched_yield, rt_sigreturn
    MEMORY_GIL_CLOCK = 9, 10, 11, 12, 25, 28, 202, 228, 96, 24, 15
    ALLOW, TRAP = 0x7FFF0000, 0x00030000

    class Instruction(ctypes.Structure):
        _fields_ = [("code", ctypes.c_ushort), ("yes", ctypes.c_ubyte), ("no", ctypes.c_ubyte), ("k", ctypes.c_uint)]

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("first", ctypes.POINTER(Instruction))]

    def forbid_all_other() -> bool:
        LOAD, IS, RETURN = 0x20, 0x15, 0x06
        lines = [(LOAD, 0, 0, 0)]
        for number in MEMORY_GIL_CLOCK:
            lines += [(IS, 0, 1, number), (RETURN, 0, 0, ALLOW)]
        lines += [(IS, 0, 3, 1), (LOAD, 0, 0, 16), (IS, 0, 1, 2), (RETURN, 0, 0, ALLOW)]  # write, to stderr: the report
        lines += [(RETURN, 0, 0, TRAP)]
        array = (Instruction * len(lines))(*(Instruction(*line) for line in lines))
        libc = ctypes.CDLL(None)
        return libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(Program(len(lines), array)), 0, 0) == 0

    def train(kind, answers, done) -> None:
        torch.set_num_threads(1)
        loop = kind()
        monitor = tuimon.attach(loop.model, loop.opt, run_dir=f"{sys.argv[2]}/{kind.__name__}")
        loop.go(200)
        answers += [forbid_all_other(), monitor]
        loop.go(120)
        done.set()
        threading.Event().wait()

    faulthandler.register(signal.SIGSYS, all_threads=False)
    for kind in (Loop, Clipping, Scaling):   # each in a thread of its own: a filter cannot be taken off again
        answers, done = [], threading.Event()
        threading.Thread(target=train, args=(kind, answers, done), daemon=True).start()
        finished = done.wait(60)
        print(kind.__name__, *answers[:1], finished, flush=True)
        answers[1].close()
    os._exit(0)
""")


@pytest.mark.skipif(sys.platform != "linux" or platform.machine() != "x86_64", reason="needs Linux's seccomp on x86-64")
def test_the_training_thread_makes_no_system_call_but_for_memory_and_the_interpreters_own_lock(tmp_path: Path) -> None:
    """120 steps under a filter that traps every other one in this thread, snapshots included; the writer is free."""
    ran = subprocess.run(
        [sys.executable, "-c", SYSTEM_CALLS, str(Path(__file__).parent), str(tmp_path)],
        capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    )
    if ran.stdout.startswith("Loop False"):
        pytest.skip("this system does not let a process filter its own system calls")
    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [f"{kind.__name__} True True" for kind in LOOPS]
