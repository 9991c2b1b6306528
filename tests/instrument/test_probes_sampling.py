"""Probing changes nothing, counts nothing twice, leaves nothing behind, and costs nothing on steps without a sample."""

from __future__ import annotations

import copy
import functools
import gc
import io
import itertools
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from probing import Layer, Trunk, found_in, tokens
from test_cost_guards import Ops
from test_ring_in_flight import on_gpu
from torch import Tensor, nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts
from torch.utils.data import DataLoader

import tuimon
from tuimon.instrument.cadence import PROBES_DENSEST, PROBES_EARLY_SECONDS, PROBES_SHARE, PROBES_SPARSEST, Cadence
from tuimon.instrument.probes.sampling import EMPTY, Look, Sampling

pytestmark = pytest.mark.usefixtures("one_thread")
TORCHS_OWN = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute")


def made(kind: type[nn.Module] = Trunk) -> tuple[Any, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = kind(Layer(), Layer())
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2)


def loss_of(model: nn.Module, i: int = 0) -> Tensor:
    batch = tokens(i)
    return nn.functional.cross_entropy(model(batch).flatten(0, 1).float(), batch.flatten())


def step(model: nn.Module, opt: torch.optim.Optimizer, i: int = 0) -> float:
    loss = loss_of(model, i)
    loss.backward()
    opt.step()
    opt.zero_grad()
    return loss.item()


def hooks_of(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) for m in model.modules())


class Dropping(Trunk):
    """With dropout, so that a random number drawn by us would show."""

    def forward(self, batch: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(batch), 0.1)


@pytest.mark.parametrize("autocast", [False, True])
def test_losses_weights_gradients_and_random_numbers_are_bit_for_bit_those_of_a_run_without_probes(
    autocast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for probed in (True, False):
        if not probed:
            monkeypatch.setattr("tuimon.instrument.attach.find", lambda *_: ())
        model, opt = made(Dropping)
        losses = []
        with tuimon.attach(model, opt, run_dir=tmp_path / f"{probed}", detail="full") as monitor:
            for i in range(25):
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                    loss = loss_of(model, i)
                loss.backward()
                losses.append((loss.item(), *(p.grad.sum().item() for p in model.parameters())))
                opt.step()
                opt.zero_grad()
        ends.append((losses, [p.detach().clone() for p in model.parameters()], torch.get_rng_state()))
        assert bool(found_in(monitor.run_dir)) == probed
    assert ends[0][0] == ends[1][0]
    assert all(torch.equal(a, b) for a, b in zip(ends[0][1], ends[1][1], strict=True))
    assert torch.equal(ends[0][2], ends[1][2])


def test_a_step_is_sampled_at_its_first_pass_with_gradients_in_training_and_at_no_other(tmp_path: Path) -> None:
    """A second pass, micro-batches that follow, evaluation before, and a look without gradients do not count."""
    model, opt = made()
    expected: dict[int, float] = {}
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full", checkpoints="off"):
        for n in range(1, 12):
            with torch.no_grad():
                model(tokens(91))
            model.eval()
            model(tokens(92)).sum()
            model.train()
            (loss_of(model, 10 * n) + loss_of(model, 93)).backward()
            for j in range(3):
                loss_of(model, 10 * n + j).backward()
            if n in (1, 10):
                held: list[Tensor] = []
                handle = model.layers[0].register_forward_hook(lambda _m, _a, out, held=held: held.append(out.detach()))
                loss_of(model, 10 * n)
                handle.remove()
                expected[n] = held[0].square().mean().sqrt().item()
            opt.step()
            opt.zero_grad()
    assert found_in(tmp_path / "run")["layers.0", "activation_rms"] == pytest.approx(expected)


def save_all(*_: Any, **__: Any) -> CheckpointPolicy:
    """Operations of ours that came in between would be taken for the model's."""
    return CheckpointPolicy.MUST_SAVE


class Checkpointed(Trunk):
    """Each layer is computed again in backward."""

    how: dict[str, Any]

    def forward(self, batch: Tensor) -> Tensor:
        x = self.embed(batch)
        for layer in self.layers:
            x = x + checkpoint(layer, x, **self.how)
        return self.head(x)


@pytest.mark.parametrize("how", [
    {"use_reentrant": False}, {"use_reentrant": True},
    {"use_reentrant": False, "context_fn": functools.partial(create_selective_checkpoint_contexts, save_all)},
], ids=["", "re-entrant", "selective"])
def test_what_checkpointing_computes_again_counts_once_and_is_not_disturbed(
    how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, found = [], []
    for kind, probed in ((Trunk, True), (Checkpointed, True), (Checkpointed, False)):
        if not probed:
            monkeypatch.setattr("tuimon.instrument.attach.find", lambda *_: ())
        model, opt = made(kind)
        model.how = how
        run_dir = tmp_path / f"{kind.__name__}{probed}"
        with tuimon.attach(model, opt, run_dir=run_dir, detail="full", checkpoints="off") as monitor:
            losses.append([step(model, opt, i) for i in range(12)])
            assert not monitor.probe.off
        found.append(found_in(run_dir))
    assert losses[1] == losses[2]
    assert found[1].keys() == found[0].keys()
    for name, steps in found[0].items():
        assert found[1][name][1] == pytest.approx(steps[1], rel=1e-5)
        assert sorted(found[1][name]) == sorted(steps) == [1, 10]


def ops_at(run_dir: Path | None, probed: bool, first: int, monkeypatch: pytest.MonkeyPatch) -> list[Ops]:
    found = []
    with monkeypatch.context() as patch:
        if not probed:
            patch.setattr("tuimon.instrument.attach.find", lambda *_: ())
        model, opt = made()
        with tuimon.attach(model, opt, run_dir=run_dir, detail="light", checkpoints="off"):
            for i in range(first):
                step(model, opt, i)
            for i in range(3):
                with Ops() as ops:
                    loss_of(model, i).backward()
                    opt.step()
                    opt.zero_grad()
                found.append(ops)
    return found


def test_only_the_sampled_step_has_a_kernel_more_and_none_of_them_reads_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_probes = ops_at(tmp_path / "a", True, 126, monkeypatch)  # of 127, 128 and 129 the second is a sample
    without = ops_at(tmp_path / "b", False, 126, monkeypatch)
    more = [a.kernels - b.kernels for a, b in zip(with_probes, without, strict=True)]
    assert (more[0], more[2]) == (Counter(), Counter())
    assert more[1]["special_entr"] == more[1]["logsumexp"] * 2 == 2
    assert [a.reads for a in with_probes] == [b.reads for b in without]


def test_between_samples_no_module_has_a_hook_and_after_the_first_backward_none_is_left(tmp_path: Path) -> None:
    model, opt = made()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="light", checkpoints="off"):
        assert hooks_of(model) == 0
        loss = loss_of(model)
        assert hooks_of(model) > 5
        loss.backward()
        assert hooks_of(model) == 0
        opt.step()
        step(model, opt)
        loss_of(model)
        assert hooks_of(model) == 0


def test_closing_in_the_midst_of_a_sample_removes_every_hook(tmp_path: Path) -> None:
    model, opt = made()
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full")
    loss = loss_of(model)
    assert hooks_of(model) > 5
    monitor.close()
    assert hooks_of(model) == 0
    loss.backward()


def test_copies_and_files_of_a_model_in_the_midst_of_a_sample_carry_nothing_of_tuimon(tmp_path: Path) -> None:
    model, opt = made()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full") as monitor:
        loss = loss_of(model)
        copied, file = copy.deepcopy(model), io.BytesIO()
        torch.save(model, file)
        assert b"tuimon" not in file.getvalue()
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        for other in (copied, loaded):
            for p in other.parameters():
                nn.init.zeros_(p)
            assert not any(isinstance(h, Look) for m in other.modules() for h in m._forward_hooks.values())
            loss_of(other).backward()
        loss.backward()
        opt.step()
    assert found_in(monitor.run_dir)["layers.0", "activation_rms"][1] > 0


def test_a_model_that_outlives_its_run_keeps_no_probe_alive(tmp_path: Path) -> None:
    model, opt = made()
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full")
    loss_of(model)
    sampling = weakref.ref(monitor.probe.sampling)
    del opt
    gc.collect()
    assert sampling() is None
    loss_of(model).backward()


def test_an_error_in_a_hook_ends_probing_with_one_fault_and_nothing_else(tmp_path: Path) -> None:
    model, opt = made()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full", checkpoints="off") as monitor:
        step(model, opt)
        del monitor.probe.sampling._readings[0].place  # as if something in torch had changed under us
        for i in range(8):
            step(model, opt, i)
        with pytest.warns(RuntimeWarning, match="tuimon has switched off its probes part, training goes on"):
            step(model, opt)
        for i in range(12):
            step(model, opt, i)
        assert hooks_of(model) == 0
    assert (monitor.run_dir / "events.jsonl").read_text().count('"kind": "fault"') == 1
    recorded = loops.read(monitor.run_dir)
    assert recorded.steps == list(range(1, 23))
    assert sorted(recorded.columns["attention_logit"]) == [1]
    assert sorted(recorded.columns["grad_norm"]) == recorded.steps


def test_the_row_of_a_sampled_step_has_the_worst_of_each_quantity(tmp_path: Path) -> None:
    model, opt = made()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full", checkpoints="off") as monitor:
        for i in range(10):
            step(model, opt, i)
    columns, found = loops.read(monitor.run_dir).columns, found_in(monitor.run_dir)
    for name, worst in (("attention_logit", max), ("attention_entropy", min), ("dead_units", max)):
        each = [steps for (_, quantity), steps in found.items() if quantity == name]
        assert columns[name] == {n: worst(steps[n] for steps in each) for n in (1, 10)}


def test_a_loop_that_never_calls_the_model_itself_is_sampled_by_its_loader_from_the_fourth_step_on(tmp_path: Path) -> None:
    model, opt = made()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full", checkpoints="off"):
        for _, batch in DataLoader([(i, tokens(i)[0]) for i in range(24)], batch_size=2):
            nn.functional.cross_entropy(model.forward(batch).flatten(0, 1), batch.flatten()).backward()
            opt.step()
            opt.zero_grad()
    assert found_in(tmp_path / "run")["layers.1.attn", "attention_logit"].keys() == {4, 10}


@TORCHS_OWN
@pytest.mark.parametrize("when", ["whole", "after", "in place", "blocks", "blocks later"])
@pytest.mark.parametrize("loader", [False, True])
def test_a_compiled_model_is_compiled_as_often_as_without_probes_and_what_is_left_of_it_is_measured(
    when: str, loader: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, found = [], []
    for probed in (True, False):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        if not probed:
            monkeypatch.setattr("tuimon.instrument.attach.find", lambda *_: ())
        model, opt = made()
        called = torch.compile(model, backend="eager", fullgraph=True) if when == "whole" else model
        if when == "blocks":
            model.layers[0].compile(backend="eager", fullgraph=True)
        with tuimon.attach(called, opt, run_dir=tmp_path / f"{probed}", detail="full", checkpoints="off") as monitor:
            if when == "after":
                called = torch.compile(model, backend="eager", fullgraph=True)
            elif when == "in place":
                model.compile(backend="eager", fullgraph=True)
            elif when == "blocks later":
                model.layers[0] = torch.compile(model.layers[0], backend="eager", fullgraph=True)
            for batch in DataLoader([tokens(i)[0] for i in range(44)], batch_size=2) if loader else map(tokens, range(22)):
                nn.functional.cross_entropy(called(batch).flatten(0, 1), batch.flatten()).backward()
                opt.step()
                opt.zero_grad()
        counts.append((dict(torch._dynamo.utils.counters["stats"]), dict(torch._dynamo.utils.counters["graph_break"])))
        found.append({name for name, steps in found_in(monitor.run_dir).items() if steps})
    assert counts[0] == counts[1]
    assert counts[0][0]["unique_graphs"] >= 1
    assert {("layers.1.attn", "attention_logit"), ("head", "logit_scale")} <= found[0] or "blocks" not in when
    assert not any(module.startswith("layers.0") for module, _ in found[0])


def test_where_nothing_reaches_the_modules_sampling_ends_and_says_so_once(tmp_path: Path) -> None:
    model, opt = made()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full", checkpoints="off") as monitor:
        for _, batch in DataLoader([(i, tokens(i)[0]) for i in range(60)]):
            (model.embed.weight[batch].sum() * 1e-3).backward()
            opt.step()
            opt.zero_grad()
        assert not monitor.probe.sampling.is_due
    assert not any(found_in(tmp_path / "run").values())
    assert (tmp_path / "run" / "events.jsonl").read_text().count("activations are not measured") == 1


def planned(cadence: Cadence, steps: range, seconds: float, cost: float) -> list[int]:
    asked = []
    for n in steps:
        if cadence.wants_probes(n):
            asked.append(n)
            cadence.learn_probes(cost)
        cadence.learn(seconds, 1e-5, None)
    return asked


def test_full_light_and_a_device_sample_at_fixed_strides() -> None:
    assert planned(Cadence("full", 9, timed=True), range(1, 41), 0.1, 1.0) == [1, 10, 20, 30, 40]
    assert planned(Cadence("light", 9, timed=True), range(1, 400), 0.1, 1.0) == [1, 128, 256, 384]
    assert planned(Cadence("auto", 9, timed=False), range(1, 200), 0.1, 1.0) == [1, 64, 128, 192]
    assert planned(Cadence("full", 9, timed=True, from_step=72), range(73, 91), 0.1, 1.0) == [73, 80, 90]


@pytest.mark.parametrize(("cost", "later"), [(1e-4, PROBES_DENSEST), (2e-2, 64), (1.0, PROBES_SPARSEST)])
def test_auto_samples_densely_at_first_then_as_rarely_as_its_share_asks(cost: float, later: int) -> None:
    cadence = Cadence("auto", 9, timed=True)
    asked = planned(cadence, range(1, 5000), 0.1, cost)
    early = [n for n in asked if n <= 256]
    if cost == 1e-4:
        assert early == [1, *range(16, 257, 16)]
    assert cost * len([n for n in early if n % later]) <= PROBES_EARLY_SECONDS + cost
    assert {b - a for a, b in itertools.pairwise(asked) if a > 1024} == {later}
    assert cost / later <= PROBES_SHARE * 0.1 or later == PROBES_SPARSEST


@pytest.mark.parametrize("detail", ["auto", "light"])
def test_after_a_rollback_activations_are_looked_at_more_often_for_a_while(detail: Any) -> None:
    cadence = Cadence(detail, 9, timed=False)
    cadence.look_again(1003)
    assert planned(cadence, range(1004, 1080), 0.1, 1.0) == list(range(1008, 1065, 8))


def test_what_probes_cost_is_part_of_the_overhead_and_left_out_of_what_weights_may_cost() -> None:
    costs = []
    for probe in (0.0, 0.02):
        cadence = Cadence("auto", 9, timed=True)
        for _ in range(50):
            cadence.learn(0.1, 1e-4, 8e-4)
            cadence.learn_probes(probe)
        costs.append((cadence.overhead, cadence.stride))
    assert (costs[0][1], costs[1][1]) == (1, 2)
    assert 0.003 < costs[1][0] < 0.01


def test_a_sampling_of_nothing_is_never_due() -> None:
    sampling = Sampling(nn.Linear(2, 2), (), Cadence("full", 1, timed=True), from_step=0, on_fault=lambda *_: None,
                        say=lambda _: None)
    assert not sampling.is_due
    assert EMPTY > 1
    assert all(sampling.taken(n) is None and not sampling.is_due for n in range(1, 40))


@on_gpu()
def test_on_cuda_no_sampled_step_synchronises_and_its_numbers_are_those_of_the_cpu(tmp_path: Path) -> None:
    found = []
    for device in ("cpu", "cuda"):
        model, opt = made()
        model.to(device)
        batches = [tokens(i).to(device) for i in range(12)]
        with tuimon.attach(model, opt, run_dir=tmp_path / device, detail="full", checkpoints="off") as monitor:
            torch.cuda.set_sync_debug_mode("error" if device == "cuda" else "default")
            try:
                for batch in batches:
                    nn.functional.cross_entropy(model(batch).flatten(0, 1), batch.flatten()).backward()
                    opt.step()
                    opt.zero_grad()
            finally:
                torch.cuda.set_sync_debug_mode("default")
            assert not monitor.probe.off
        found.append(found_in(monitor.run_dir))
    for name, steps in found[0].items():
        assert found[1][name][1] == pytest.approx(steps[1], rel=1e-3)
        assert sorted(found[1][name]) == [1, 10]
