"""Attached, a script's objects behave as ever; detached, nothing of tuimon is left."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader
from training_loops import Book, Net, pair

import tuimon
from tuimon.instrument.patches import PATCHES

TORCHS_OWN = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute")
"""Compiling loads parts of torch that warn about other parts of torch."""


pytestmark = pytest.mark.usefixtures("one_thread")


def step(model: nn.Module, opt: torch.optim.Optimizer, i: int = 0) -> float:
    loss = loops.loss_of(model, loops.batch(i))
    loss.backward()
    opt.step()
    opt.zero_grad()
    return loss.item()


def start_compiling_anew() -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def originals() -> list[Any]:
    return [getattr(patch.place(), patch.name) for patch in PATCHES]


def test_every_patched_function_is_the_very_same_after_the_last_one_closes(tmp_path: Path) -> None:
    before = originals()
    mine, other = pair(), pair()
    first = tuimon.attach(*mine, run_dir=tmp_path / "a")
    second = tuimon.attach(*other, run_dir=tmp_path / "b")
    assert all(now is not then for now, then in zip(originals(), before, strict=True))
    first.close()
    assert all(now is not then for now, then in zip(originals(), before, strict=True))
    second.close()
    second.close()
    assert all(now is then for now, then in zip(originals(), before, strict=True))


def test_a_function_that_somebody_else_patched_in_between_stays_theirs(tmp_path: Path) -> None:
    before = torch.autograd.backward
    model, opt = pair()
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    ours = torch.autograd.backward

    def theirs(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs)

    torch.autograd.backward = theirs
    try:
        monitor.close()
        assert torch.autograd.backward is theirs
        step(model, opt)
    finally:
        torch.autograd.backward = before


def test_no_hook_is_left_after_closing(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
        step(model, opt)
    assert not model._forward_pre_hooks
    assert not opt._optimizer_step_pre_hooks
    assert not opt._optimizer_step_post_hooks


def test_copies_and_files_of_an_attached_model_carry_nothing_of_tuimon(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        step(model, opt)
        copied, copied_opt = copy.deepcopy(model), copy.deepcopy(opt)
        file = io.BytesIO()
        torch.save(model, file)
        pickle.dumps(opt)
        assert b"tuimon" not in file.getvalue()
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        for other in (copied, loaded):
            loops.loss_of(other, loops.batch(0)).backward()
        assert not copied_opt._optimizer_step_pre_hooks
        assert model.state_dict().keys() == Net().state_dict().keys()
        step(model, opt)
    assert loops.read(monitor.run_dir).columns["tokens"] == {1: 15.0, 2: 15.0}


class Reads(TorchDispatchMode):
    """Counts what brings a number to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.reads += func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.is_nonzero.default)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("detail", ["full", "auto"])
@pytest.mark.parametrize("capturable", [False, True])
def test_no_number_is_read_from_a_tensor_while_training(capturable: bool, detail: str, tmp_path: Path) -> None:
    """Outside of what the loop itself reads: `optimizer.step` of AdamW reads its step counters unless capturable."""
    counts = []
    for attached in (False, True):
        model = Net()
        opt = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.1), momentum=0.9, foreach=not capturable)
        monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run", detail=detail) if attached else None
        with Reads() as reads:
            for i in range(20):
                loss = loops.loss_of(model, loops.batch(i))
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
                if monitor is not None:
                    monitor.probe.overrides.set(lr_scale=0.5, clip=0.02)
                    monitor.log(val_loss=loss)
                opt.step()
                opt.zero_grad()
        counts.append(reads.reads)
        if monitor is not None:
            monitor.close()
    assert counts[0] == counts[1]


def test_one_file_alone_reads_tensors() -> None:
    """`.item()`, `.tolist()`, `.cpu()` and `.numpy()` stand in transfer.py, or beside a word that says why."""
    folder = Path(tuimon.__file__).parent / "instrument"
    ours = ("measure", "outbox", "hooks", "patches", "window", "tracked", "updates", "rows", "overrides", "cadence",
            "monitor", "attach", "describe", "sheet", "rounding", "labels", "unmeasured", "arguments", "step",
            *(f"probes/{name}" for name in ("families", "finding", "quantities", "readings", "sampling")))
    for name in ours:
        for number, line in enumerate((folder / f"{name}.py").read_text().splitlines(), start=1):
            assert not any(word in line for word in (".item()", ".tolist()", ".cpu()", ".numpy()")), f"{name}:{number}"


def test_an_error_of_ours_switches_measuring_off_with_one_warning_and_training_goes_on(tmp_path: Path) -> None:
    model, opt = pair()
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    before = step(model, opt)
    monitor.probe.overrides.set(lr_scale=0.1)
    del monitor.probe.tracked  # as if something in torch had changed under us
    with pytest.warns(RuntimeWarning, match="tuimon has switched off its measure part, training goes on"):
        step(model, opt)
    assert opt.param_groups[0]["lr"] == 1e-2
    for i in range(30):
        after = step(model, opt, i)
    assert after != before
    monitor.close()
    assert '"kind": "fault"' in (monitor.run_dir / "events.jsonl").read_text()
    assert loops.read(monitor.run_dir).steps == [1]


def test_where_warnings_are_errors_even_that_raises_nothing(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        del monitor.probe.tracked
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            step(model, opt)


def test_the_scripts_own_errors_pass_untouched(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
        loss = loops.loss_of(model, loops.batch(0))
        loss.backward()
        with pytest.raises(RuntimeError, match="backward through the graph a second time"):
            loss.backward()
        model.head.weight.grad.fill_(float("nan"))
        with pytest.raises(RuntimeError, match="non-finite"):
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)


def test_a_backward_that_raised_is_not_part_of_the_loss(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        graph = loops.loss_of(model, loops.batch(0))
        graph.backward()
        with pytest.raises(RuntimeError):
            graph.backward()
        opt.step()
    assert loops.read(monitor.run_dir).row(1)["loss"] == pytest.approx(graph.item())


@TORCHS_OWN
@pytest.mark.parametrize("when", ["before", "after", "wrapper"])
def test_a_compiled_model_is_measured_wherever_attach_stands(when: str, tmp_path: Path) -> None:
    start_compiling_anew()
    model, opt = pair()
    book = Book([opt])
    compiled = torch.compile(model, backend="eager", fullgraph=True) if when != "before" else None
    monitor = tuimon.attach(compiled if when == "wrapper" else model, opt, run_dir=tmp_path / "run", detail="full")
    if compiled is None:
        compiled = torch.compile(model, backend="eager", fullgraph=True)
    loops.plain(compiled, [opt], book, 3)
    monitor.close()
    recorded = loops.read(monitor.run_dir)
    for number, true in enumerate(book.steps, start=1):
        row = recorded.row(number)
        for name in ("loss", "grad_norm", "param_norm", "update_norm"):
            assert row[name] == pytest.approx(true[name], rel=2e-5)
    assert torch._dynamo.utils.counters["stats"].get("unique_graphs") == 1


@TORCHS_OWN
def test_a_compiled_optimizer_step_keeps_its_graphs_and_is_measured_every_time(tmp_path: Path) -> None:
    graphs = []
    for attached in (False, True):
        start_compiling_anew()
        model, opt = pair()
        book = Book([opt])
        monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full") if attached else None
        opt.step = torch.compile(opt.step, backend="eager")  # type: ignore[method-assign]
        loops.plain(model, [opt], book, 3)
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
        if monitor is not None:
            monitor.close()
            columns = loops.read(monitor.run_dir).columns
            assert [columns["update_norm"][n] for n in (1, 2, 3)] == pytest.approx(
                [s["update_norm"] for s in book.steps], rel=2e-5)
    assert graphs[0] == graphs[1] > 0


@TORCHS_OWN
def test_a_step_compiled_whole_is_measured(tmp_path: Path) -> None:
    start_compiling_anew()
    model, opt = pair()
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full")

    @torch.compile(backend="eager")
    def whole(tokens: torch.Tensor) -> torch.Tensor:
        loss = loops.loss_of(model, tokens)
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    losses = [whole(loops.batch(i)).item() for i in range(3)]
    monitor.close()
    columns = loops.read(monitor.run_dir).columns
    assert [columns["loss"][n] for n in (1, 2, 3)] == pytest.approx(losses, rel=1e-6)
    assert set(columns["update_norm"]) == {1, 2, 3}


def test_waiting_for_data_and_tokens_come_from_the_loader_where_the_model_cannot_tell(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        for _, tokens in DataLoader([(i, loops.batch(i)[0]) for i in range(6)], batch_size=2):
            loss = nn.functional.cross_entropy(model.head(model.embed(tokens)).flatten(0, 1), tokens.flatten())
            loss.backward()
            opt.step()
            opt.zero_grad()
    columns = loops.read(monitor.run_dir).columns
    assert columns["tokens"] == dict.fromkeys((1, 2, 3), 10.0)
    assert columns["data_time"].keys() == {1, 2, 3}
    assert all(0 < columns["data_time"][n] <= columns["step_time"][n] for n in (2, 3))


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.nightly)])
def test_loader_workers_and_children_record_nothing(method: str, tmp_path: Path) -> None:
    code = textwrap.dedent(f"""
        import sys, torch
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import training_loops as loops
        import tuimon
        from torch.utils.data import DataLoader

        if __name__ == "__main__":
            torch.set_num_threads(1)
            model = loops.Net()
            opt = torch.optim.SGD(model.parameters(), lr=0.1)
            monitor = tuimon.attach(model, opt, run_dir="run")
            data = [loops.batch(i)[0] for i in range(8)]
            for tokens in DataLoader(data, batch_size=2, num_workers=1, multiprocessing_context={method!r}):
                loops.loss_of(model, tokens).backward()
                opt.step()
                opt.zero_grad()
            import os
            if os.fork() == 0:
                loops.loss_of(model, loops.batch(0)).backward()
                opt.step()
                monitor.log(loss=1.0)
                monitor.close()
                os._exit(0)
            os.wait()
            monitor.close()
    """)
    script = tmp_path / "script.py"
    script.write_text(code)
    env = {**os.environ, "PYTHONPATH": str(Path(tuimon.__file__).parents[1])}
    subprocess.run([sys.executable, "-W", "ignore", str(script)], cwd=tmp_path, check=True, timeout=200, env=env)
    assert loops.read(tmp_path / "run").steps == [1, 2, 3, 4]
    assert (tmp_path / "run" / "events.jsonl").read_text().count('"kind": "end"') == 1
