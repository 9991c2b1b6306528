"""Which tensors are watched, by what name, and what the log's vectors say of each."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import training_loops as loops
from torch import Tensor, nn
from training_loops import Book, Net

import tuimon
from tuimon.instrument.cadence import Cadence, Detail
from tuimon.record.layered import LayerGroups
from tuimon.record.rundir import RunDir
from tuimon.record.segments import LogReader

pytestmark = pytest.mark.usefixtures("one_thread")


def one_step(model: nn.Module, opt: torch.optim.Optimizer, i: int = 0) -> None:
    loops.loss_of(model, loops.batch(i)).backward()
    opt.step()
    opt.zero_grad()


def test_every_vector_holds_each_tensors_own_norm_in_the_order_of_the_table(tmp_path: Path) -> None:
    model = Net()
    opt = torch.optim.SGD(reversed(list(model.parameters())), lr=0.1)
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full")
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    loops.loss_of(model, loops.batch(0)).backward()
    grads = {n: p.grad.norm().item() for n, p in model.named_parameters()}
    opt.step()
    monitor.close()
    info, rows = RunDir(monitor.run_dir).read_info(), loops.read(monitor.run_dir).tensors
    assert info is not None
    assert rows.steps.tolist() == [1]
    assert rows.grad_seen.all()
    for i, entry in enumerate(info.tensors):
        after = model.get_parameter(entry.name).detach()
        assert rows.grad[0, i] == pytest.approx(grads[entry.name], rel=1e-5)
        moved = ((after - before[entry.name]).norm() / after.norm()).item()
        assert rows.update[0, i] == pytest.approx(moved, rel=1e-4)


def test_the_weights_norms_are_logged_at_one_of_eight_steps_tied_once_frozen_ones_where_an_optimizer_holds_them(tmp_path: Path) -> None:
    model = Net(tied=True)
    model.blocks[0][0].weight.requires_grad_(False)
    model.blocks[1][0].weight.requires_grad_(False)
    opt = torch.optim.AdamW([p for p in model.parameters() if p is not model.blocks[1][0].weight], lr=1e-2)
    monitor, norms = tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="auto"), {}
    for i in range(1, 20):
        one_step(model, opt, i)
        norms[i] = {n: p.detach().norm().item() for n, p in model.named_parameters()}
    monitor.close()
    info = RunDir(monitor.run_dir).read_info()
    assert info is not None
    names = [e.name for e in info.tensors]
    assert len(names) == len(norms[1])
    (chunk,) = LogReader(monitor.run_dir / "metrics").poll()
    assert chunk.weights.steps.tolist() == [1, 8, 16]
    for i, step in enumerate(chunk.weights.steps.tolist()):
        assert chunk.weights.seen[i].tolist() == [name != "blocks.1.0.weight" for name in names]
        for j, name in enumerate(names):
            if chunk.weights.seen[i, j]:
                assert chunk.weights.values[i, j] == pytest.approx(norms[step][name], rel=1e-6)
    rms, seen = LayerGroups.of(info.table).weight_rms(chunk.weights)
    assert seen.all()
    head = [p.detach() for n, p in model.named_parameters() if n.startswith("embed.")]
    assert len(head) == 1
    assert rms[-1, 0] == pytest.approx(norms[16]["embed.weight"] / math.sqrt(head[0].numel()), rel=1e-6)


@pytest.mark.parametrize(("detail", "tensors"), [("full", 9), ("auto", 9), ("auto", 99), ("auto", 999), ("light", 9)])
@pytest.mark.parametrize("timed", [True, False])
def test_the_weights_norms_take_an_eighth_of_the_bytes_of_the_gradients_at_most(detail: Detail, tensors: int, timed: bool) -> None:
    cadence = Cadence(detail, tensors, timed=timed, from_step=1000)
    steps = range(1001, 1001 + 10 * 1024)
    weighed = [n for n in steps if cadence.wants_all(n) and cadence.wants_weights(n)]
    assert weighed[0] == 1001
    assert 8 * (len(weighed) - 1) <= sum(map(cadence.wants_vectors, steps))
    assert len(weighed) >= 10 * 1024 // 128


def test_a_frozen_layer_is_listed_untrained_and_a_thawed_one_is_seen_from_then_on(tmp_path: Path) -> None:
    model = Net()
    model.embed.weight.requires_grad_(False)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    book = Book([opt])
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full") as monitor:
        loops.plain(model, [opt], book, 2)
        model.embed.weight.requires_grad_(True)
        loops.plain(model, [opt], book, 2)
    info, recorded = RunDir(monitor.run_dir).read_info(), loops.read(monitor.run_dir)
    assert info is not None
    assert [e.trained for e in info.tensors] == [e.name != "embed.weight" for e in info.tensors]
    place = [e.name for e in info.tensors].index("embed.weight")
    assert recorded.tensors.grad_seen[:, place].tolist() == [False, False, True, True]
    assert np.isnan(recorded.tensors.grad[0, place])
    for step, true in enumerate(book.steps, start=1):
        assert recorded.row(step)["grad_norm"] == pytest.approx(true["grad_norm"], rel=1e-5)


def test_a_group_that_is_added_later_counts_from_its_first_step(tmp_path: Path) -> None:
    model = Net()
    opt = torch.optim.AdamW([*model.embed.parameters(), *model.blocks.parameters()], lr=1e-2)
    book = Book([opt])
    with pytest.warns(UserWarning, match=r"1 trainable tensors are held by no attached optimizer: head\.weight"):
        monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full")
    loops.plain(model, [opt], book, 2)
    opt.add_param_group({"params": model.head.parameters()})
    model.zero_grad()
    loops.plain(model, [opt], book, 2)
    monitor.close()
    recorded = loops.read(monitor.run_dir)
    for step, true in enumerate(book.steps, start=1):
        for name, value in true.items():
            assert recorded.row(step)[name] == pytest.approx(value, rel=2e-5), f"{name} at step {step}"
    assert recorded.tensors.grad_seen[:, -1].tolist() == [False, False, True, True]


def test_tied_weights_are_one_tensor(tmp_path: Path) -> None:
    model = Net(tied=True)
    opt = torch.optim.AdamW(model.parameters())
    book = Book([opt])
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full") as monitor:
        loops.plain(model, [opt], book, 2)
    info = RunDir(monitor.run_dir).read_info()
    assert info is not None
    assert [e.name for e in info.tensors].count("embed.weight") == 1
    assert "head.weight" not in [e.name for e in info.tensors]
    assert loops.read(monitor.run_dir).row(2)["grad_norm"] == pytest.approx(book.steps[1]["grad_norm"], rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_of_other_widths_are_summed_in_at_least_single_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    model = Net().to(dtype)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    book = Book([opt])
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full") as monitor:
        loops.plain(model, [opt], book, 2)
    for step, true in enumerate(book.steps, start=1):
        row = loops.read(monitor.run_dir).row(step)
        assert row["param_norm"] == pytest.approx(true["param_norm"], rel=1e-6)
        assert row["grad_norm"] == pytest.approx(true["grad_norm"], rel=1e-6)
        assert row["update_norm"] == pytest.approx(true["update_norm"], rel=1e-5)


def test_what_is_not_finite_is_recorded_as_it_is_and_named(tmp_path: Path) -> None:
    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        for i in range(6):
            loss = loops.loss_of(model, loops.batch(i))
            loss.backward()
            if i == 3:
                model.head.weight.grad.fill_(math.inf)
            if i == 4:
                model.embed.weight.grad.fill_(math.nan)
            opt.step()
            opt.zero_grad()
    recorded = loops.read(monitor.run_dir)
    assert recorded.row(4)["grad_norm"] == math.inf
    assert math.isnan(recorded.row(5)["grad_norm"])
    at = recorded.tensors.steps.tolist().index(4)
    assert np.isinf(recorded.tensors.grad[at]).sum() == 1
    assert {5, 6} <= set(recorded.tensors.steps.tolist())


def test_a_step_without_any_gradient_has_no_norm_and_no_loss_rather_than_zero(tmp_path: Path) -> None:
    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full") as monitor:
        opt.step()
        one_step(model, opt)
    recorded = loops.read(monitor.run_dir)
    assert not {"loss", "grad_norm", "tokens", "data_time", "clipped", "skipped"} & recorded.row(1).keys()
    assert {"loss", "grad_norm", "param_norm"} <= recorded.row(2).keys()


def test_two_networks_that_train_each_other_have_each_their_own_loss(tmp_path: Path) -> None:
    maker, judge = nn.Linear(4, 4), nn.Linear(4, 1)
    make_opt, judge_opt = torch.optim.SGD(maker.parameters(), lr=0.1), torch.optim.SGD(judge.parameters(), lr=0.1)
    first = tuimon.attach(maker, make_opt, run_dir=tmp_path / "maker")
    second = tuimon.attach(judge, judge_opt, run_dir=tmp_path / "judge")
    true: list[tuple[float, float]] = []
    for i in range(3):
        noise = torch.randn(8, 4, generator=torch.Generator().manual_seed(i))
        judge_opt.zero_grad()
        judge_loss = judge(maker(noise).detach()).square().mean() + (judge(noise) - 1).square().mean()
        judge_loss.backward()
        judge_opt.step()
        make_opt.zero_grad()
        make_loss = (judge(maker(noise)) - 1).square().mean()
        make_loss.backward()
        make_opt.step()
        true.append((make_loss.item(), judge_loss.item()))
    first.close()
    second.close()
    for i, monitor in enumerate((first, second)):
        recorded = loops.read(monitor.run_dir).columns["loss"]
        assert [recorded[n] for n in (1, 2, 3)] == pytest.approx([pair[i] for pair in true], rel=1e-6)


def test_a_reentrant_backward_inside_a_backward_is_not_a_loss(tmp_path: Path) -> None:
    from torch.utils.checkpoint import checkpoint

    model, head = nn.Linear(3, 1), nn.Linear(1, 1)
    both = nn.ModuleList([model, head])
    opt = torch.optim.SGD(both.parameters(), lr=0.1)
    with tuimon.attach(both, opt, run_dir=tmp_path / "run") as monitor:
        x = torch.ones(1, 3, requires_grad=True)
        inner: Tensor = checkpoint(model, x, use_reentrant=True)
        loss = head(inner).sum()
        loss.backward()
        opt.step()
    assert loops.read(monitor.run_dir).row(1)["loss"] == pytest.approx(loss.item(), rel=1e-6)


def test_a_backward_that_the_script_gets_wrong_raises_torchs_own_error_and_is_no_part_of_the_step(tmp_path: Path) -> None:
    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full") as monitor:
        with pytest.raises(RuntimeError, match="does not require grad"):
            loops.loss_of(model, loops.batch(0)).detach().backward()
        with pytest.raises(RuntimeError, match="only for scalar outputs"):
            model(loops.batch(0)).backward()
        with pytest.raises(TypeError):
            torch.autograd.backward(3)
        loss = loops.loss_of(model, loops.batch(0))
        loss.backward()
        opt.step()
        assert monitor.probe.unmeasured is None
    assert loops.read(monitor.run_dir).row(1)["loss"] == pytest.approx(loss.item())


def test_attached_between_backward_and_step_only_the_loss_of_that_step_is_missing(tmp_path: Path) -> None:
    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    book = Book([opt])
    loops.loss_of(model, loops.batch(9)).backward()
    book.gradients()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full") as monitor:
        book.weights()
        opt.step()
        book.stepped()
        opt.zero_grad()
        loops.plain(model, [opt], book, 12)
    recorded = loops.read(monitor.run_dir)
    assert not {"loss", "tokens"} & recorded.row(1).keys()
    for step, true in enumerate(book.steps, start=1):
        row = recorded.row(step)
        assert {name: row[name] for name in true} == pytest.approx(true, rel=2e-5)
    assert "label" not in (monitor.run_dir / "events.jsonl").read_text()


def test_a_weighted_backward_counts_as_weighted(tmp_path: Path) -> None:
    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        loss = loops.loss_of(model, loops.batch(0))
        loss.backward(torch.tensor(0.25))
        opt.step()
    assert loops.read(monitor.run_dir).row(1)["loss"] == pytest.approx(0.25 * loss.item(), rel=1e-6)


def test_a_backward_that_does_not_reach_the_model_is_not_its_loss(tmp_path: Path) -> None:
    model, stranger = Net(), nn.Linear(2, 1)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        for i in range(2):
            opt.zero_grad(set_to_none=False)
            stranger(torch.ones(1, 2)).sum().backward()
            loss = loops.loss_of(model, loops.batch(i))
            loss.backward()
            opt.step()
    assert loops.read(monitor.run_dir).row(2)["loss"] == pytest.approx(loss.item(), rel=1e-6)


@pytest.mark.parametrize("is_sent", [True, False], ids=["every micro-batch sent", "kept aside until the last"])
def test_under_fully_shard_the_loss_of_accumulated_micro_batches_is_that_of_all_of_them(is_sent: bool, tmp_path: Path) -> None:
    import torch.distributed as dist
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import init_device_mesh

    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    try:
        model = Net()
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        opt = torch.optim.SGD(model.parameters(), lr=0.1)
        means = []
        with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
            for step in range(3):
                losses = []
                for micro in range(4):
                    model.set_requires_gradient_sync(is_sent or micro == 3)
                    loss = loops.loss_of(model, loops.batch(4 * step + micro))
                    (loss / 4).backward()
                    losses.append(loss.item())
                opt.step()
                opt.zero_grad()
                means.append(sum(losses) / 4)
        logged = loops.read(tmp_path / "run").columns["loss"]
        assert [logged[step + 1] for step in range(3)] == pytest.approx(means, rel=1e-5)
    finally:
        dist.destroy_process_group()
