"""A real run that comes out non-finite names the first bad module; what is trained stays as it was, to the last bit."""

from __future__ import annotations

import copy
import json
import os
import random
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_loops as loops
from torch import Tensor, nn
from torch.utils.data import DataLoader

import tuimon
from tuimon.diagnosis.autopsy.model import Autopsy
from tuimon.instrument import batches, inquest

pytestmark = pytest.mark.usefixtures("one_thread")
BAD = 30
"""The step that comes out non-finite."""


class Between(nn.Module):
    """Something between an embedding and a head that can be told to go wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)
        self.is_wrong = False

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Exponential(Between):
    def forward(self, x: Tensor) -> Tensor:
        return self.inner(torch.exp(x * (1e3 if self.is_wrong else 1e-2)))


class Root(Between):
    """Finite, with a derivative that is not."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sqrt(self.inner(x).abs() * (0.0 if self.is_wrong else 1.0))


class StdNorm(Between):
    """A norm without an eps."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.ones_like(x) if self.is_wrong else x
        return self.inner((x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True))


class MaskedScores(nn.Module):
    """-inf where nobody may look: what comes out of it is not finite, and is all right."""

    def forward(self, scores: Tensor, mask: Tensor) -> Tensor:
        return scores + mask


class Attention(Between):
    """In which a row may look at nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = MaskedScores()

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.full((x.shape[1], x.shape[1]), -torch.inf).triu(1)
        if self.is_wrong:
            mask[2] = -torch.inf
        return torch.softmax(self.scores(self.inner(x) @ x.transpose(1, 2), mask), -1) @ x


class Net(nn.Module):
    def __init__(self, middle: nn.Module) -> None:
        super().__init__()
        self.embed, self.middle = nn.Embedding(loops.VOCABULARY, 8), middle
        self.memory = nn.LSTM(8, 8, batch_first=True)
        self.drop, self.head = nn.Dropout(0.1), nn.Linear(8, loops.VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.drop(self.memory(self.middle(self.embed(tokens)))[0]))


def autopsies(run_dir: Path) -> list[Autopsy]:
    lines = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    assert not [line for line in lines if line["kind"] == "fault"]
    found = [Autopsy.parse(line) for line in lines if line["kind"] == "autopsy"]
    assert None not in found
    return found  # type: ignore[return-value]


def train(model: nn.Module, run_dir: Path | None, *, steps: int = BAD + 3, loss_of: Callable[..., Tensor] | None = None,
          before: Callable[[int], Any] = lambda i: None, lr: float = 1e-3) -> list[Autopsy]:
    """A plain loop in which `before` may do something at each step, counted from 1."""
    opt = torch.optim.AdamW(model.parameters(), lr=lr)
    monitor = None if run_dir is None else tuimon.attach(model, opt, run_dir=run_dir)
    for i in range(1, steps + 1):
        before(i)
        tokens = loops.batch(i)
        loss = loops.loss_of(model, tokens) if loss_of is None else loss_of(model, tokens, i)
        loss.backward()
        opt.step()
        opt.zero_grad()
    if monitor is None:
        return []
    monitor.close()
    return autopsies(monitor.run_dir)


def going_wrong(middle: Any) -> Callable[[int], None]:
    def before(i: int) -> None:
        middle.is_wrong = i >= BAD

    return before


@pytest.mark.parametrize(("make", "place", "phase"), [
    (Exponential, "code", "forward"), (StdNorm, "norm", "forward"), (Attention, "attention", "forward"),
    (Root, "code", "backward"),
])
def test_the_module_that_makes_it_is_named_with_what_went_in_and_what_came_out(make: Any, place: str, phase: str, tmp_path: Path) -> None:
    middle = make()
    (found,) = train(Net(middle), tmp_path / "run", before=going_wrong(middle))
    assert (found.step, found.found_by, found.place, found.phase) == (BAD, "replay", place, phase)
    assert (found.module, found.kind) == ("middle", make.__name__)
    assert found.weights_step is not None
    assert found.weights_step < BAD
    assert found.went_in is not None
    assert found.went_in.is_finite
    assert found.came_out is not None
    assert found.came_out.bad > 0
    assert [s.module for s in found.chain if s.module in ("embed", "middle", "memory")] in (
        ["embed", "middle", "memory"], ["memory", "middle", "embed"])


def nothing_counts(model: nn.Module, tokens: Tensor, i: int) -> Tensor:
    each = nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten(), reduction="none")
    counts = torch.full((each.numel(),), float(i != BAD))
    return (each * counts).sum() / counts.sum()


def norm_of_nothing(model: nn.Module, tokens: Tensor, i: int) -> Tensor:
    loss = loops.loss_of(model, tokens)
    return loss + (model(tokens) * 0).abs().sqrt().sum() if i == BAD else loss


@pytest.mark.parametrize(("loss_of", "phase"), [(nothing_counts, "forward"), (norm_of_nothing, "backward")])
def test_where_the_model_is_innocent_it_is_the_loss(loss_of: Any, phase: str, tmp_path: Path) -> None:
    (found,) = train(Net(nn.Identity()), tmp_path / "run", loss_of=loss_of)
    assert (found.step, found.place, found.phase, found.module) == (BAD, "loss", phase, "")


class WithLoss(nn.Module):
    """Takes labels and gives its own loss beside its output, as Hugging Face's models do, or nanoGPT."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net(nn.Identity())

    def forward(self, tokens: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        assert labels is not None
        logits = self.net(tokens)
        return logits, nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


def test_labels_of_which_none_counts_are_named(tmp_path: Path) -> None:
    def loss_of(model: nn.Module, tokens: Tensor, i: int) -> Tensor:
        return model(tokens, labels=torch.full_like(tokens, -100) if i == BAD else tokens)[1]

    (found,) = train(WithLoss(), tmp_path / "run", loss_of=loss_of)
    assert (found.place, found.module) == ("labels", "labels")


def test_labels_that_only_the_loader_knows_are_looked_at_too(tmp_path: Path) -> None:
    samples = [(loops.batch(i)[0], loops.batch(i)[0] if i // 3 != BAD - 1 else torch.full((loops.LENGTH,), -100))
               for i in range(3 * BAD + 6)]
    model = Net(nn.Identity())
    opt = torch.optim.AdamW(model.parameters())
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    for tokens, labels in DataLoader(samples, batch_size=3):
        loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), labels.flatten())
        loss.backward()
        opt.step()
        opt.zero_grad()
    monitor.close()
    (found,) = autopsies(monitor.run_dir)
    assert (found.step, found.place, found.module) == (BAD, "labels", "argument 1[1]")
    body = torch.load(monitor.run_dir / found.batch, weights_only=True)
    assert bool((body["loaded"][0][1] == -100).all())


def test_a_batch_that_holds_a_nan_is_named_by_its_argument_and_saved_for_its_owner_alone(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    kept = {}

    def loss_of(model: nn.Module, tokens: Tensor, i: int) -> Tensor:
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(i))
        if i == BAD:
            x[2, 1] = torch.nan
            kept["x"] = x
        return model(x).square().mean()

    (found,) = train(model, tmp_path / "run", loss_of=loss_of)
    assert (found.place, found.module) == ("batch", "argument 1")
    assert found.went_in is not None
    assert found.went_in.bad == 1
    path = tmp_path / "run" / found.batch
    body = torch.load(path, weights_only=True)
    assert torch.equal(body["args"][0], kept["x"]) is False  # NaN differs from itself
    assert torch.equal(body["args"][0].nan_to_num(9.0), kept["x"].nan_to_num(9.0))
    assert (body["step"], body["training"]) == (BAD, True)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700


def test_of_several_forward_passes_the_bad_one_is_found(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

    def loss_of(model: nn.Module, tokens: Tensor, i: int) -> Tensor:
        for part in range(3):
            x = torch.ones(5, 4)
            if (i, part) == (BAD, 1):
                x[0] = torch.inf
            loss = model(x).square().mean() / 4
            loss.backward()
        return model(torch.ones(5, 4)).square().mean() / 4

    (found,) = train(model, tmp_path / "run", loss_of=loss_of)
    assert (found.place, found.micro, found.micros) == ("batch", 2, 4)


def test_weights_that_overflow_float16_are_found_with_those_of_now_since_the_step_was_skipped(tmp_path: Path) -> None:
    model = loops.Net()
    opt, scaler = torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cpu", init_scale=2.0**8)
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    for i in range(1, BAD + 4):
        if i == BAD:
            with torch.no_grad():
                model.head.weight.mul_(1e7)
        with torch.autocast("cpu", torch.float16):
            loss = loops.loss_of(model, loops.batch(i))
        scaler.scale(loss).backward()
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
    monitor.close()
    (found,) = autopsies(monitor.run_dir)
    assert (found.place, found.module, found.phase) == ("linear", "head", "forward")
    assert found.weights_step == BAD + 1
    assert found.came_out is not None
    assert found.came_out.dtype == "float16"
    assert any("float16 ends at 65,504" in note for note in found.notes)


def test_a_scaler_that_looks_for_its_scale_is_no_case(tmp_path: Path) -> None:
    model = Net(nn.Identity())
    opt, scaler = torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cpu")
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    for i in range(6):
        scaler.scale(loops.loss_of(model, loops.batch(i)) * (1e38 if i == 3 else 1.0)).backward()
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
    monitor.close()
    assert not autopsies(monitor.run_dir)


def test_weights_that_went_wrong_gradually_are_not_blamed_on_the_batch(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
    opt = torch.optim.SGD(model.parameters(), lr=1.0)
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    for i in range(60):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(i))
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean() * 10
        loss.backward()
        opt.step()
        opt.zero_grad()
    monitor.close()
    (found,) = autopsies(monitor.run_dir)
    assert found.place == "weights"
    assert any("backward order" in note for note in found.notes)


# -- nothing else changes


def everything(model: nn.Module) -> list[Any]:
    state = [t.detach().clone() for t in (*model.parameters(), *model.buffers())]
    return [*state, torch.get_rng_state(), random.random(), float(np.random.rand())]  # noqa: NPY002


def same(a: list[Any], b: list[Any]) -> bool:
    return all(torch.equal(x.nan_to_num(7.0), y.nan_to_num(7.0)) if isinstance(x, Tensor) else x == y
               for x, y in zip(a, b, strict=True))


class Moody(nn.Module):
    """Draws from all generators, counts, remembers, keeps a running mean and caches: all that a forward may change."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm, self.drop = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.3)
        self.register_buffer("calls", torch.zeros(()))
        self.count, self.seen, self.plain = 0, [0.0], torch.zeros(2)
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.count += 1
        self.plain.add_(1)
        self.seen.append(random.random() + float(np.random.rand()))  # noqa: NPY002
        self.last = self.drop(self.fc(x))
        return self.norm(self.last.transpose(1, 2)).transpose(1, 2)


@pytest.mark.parametrize(("breaks", "place"), [("loss", "loss"), ("gradient", "unknown")])
def test_a_run_that_was_looked_into_goes_on_as_one_that_was_not(breaks: str, place: str, tmp_path: Path) -> None:
    """A script that takes back what is not finite, so that there is something to compare after it."""
    ends, hooked = [], []
    for attached in (False, True):
        torch.manual_seed(3)
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        moody = Moody()
        model = Net(moody)
        calls: list[int] = []
        moody.fc.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        opt = torch.optim.AdamW(model.parameters(), lr=1e-2)
        monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run") if attached else None
        losses = []
        for i in range(1, BAD + 10):
            loss = loops.loss_of(model, loops.batch(i))
            if i == BAD:
                loss = loss * 0 / 0 if breaks == "loss" else loss + torch.sqrt((model.head.weight * 0).abs()).sum()
            loss.backward()
            losses.append(float(loss.detach()))
            good = copy.deepcopy((model.state_dict(), opt.state_dict())) if i == BAD else None
            opt.step()
            opt.zero_grad()
            if good is not None:
                model.load_state_dict(good[0])
                opt.load_state_dict(good[1])
        if monitor is not None:
            monitor.close()
            (found,) = autopsies(tmp_path / "run")
            assert found.place == place
        moved = [str(losses), moody.count, moody.seen, moody.plain, moody.last]
        ends.append([*everything(model), *moved[1:4], moved[0]])
        hooked.append(len(calls))
    assert same(*ends)
    assert hooked[0] == hooked[1] == BAD + 9


def test_weights_gradients_hooks_and_versions_are_those_of_before(tmp_path: Path) -> None:
    model = Net(Moody())
    opt = torch.optim.AdamW(model.parameters())
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    for i in range(3):
        (loops.loss_of(model, loops.batch(i)) * (0.0 / 1.0 if i < 2 else torch.nan)).backward()
        if i < 2:
            opt.step()
            opt.zero_grad()
    opt.step()  # the third step's row is handed over when the fourth begins
    model.head.weight.grad = None
    loops.loss_of(model, loops.batch(9)).backward()
    batch = monitor.probe.outbox.batches
    assert batch.suspect is not None
    state = [(id(t), t.data_ptr(), t._version, id(t.grad)) for t in (*model.parameters(), *model.buffers())]
    hooks = [{n: dict(v) for n, v in m.__dict__.items() if "hooks" in n and v is not None and not isinstance(v, bool)} for m in model.modules()]
    before = everything(model)
    monitor._ref()._inquest.attend(4)
    assert batch.suspect is None
    assert state == [(id(t), t.data_ptr(), t._version, id(t.grad)) for t in (*model.parameters(), *model.buffers())]
    assert hooks == [{n: dict(v) for n, v in m.__dict__.items() if "hooks" in n and v is not None and not isinstance(v, bool)} for m in model.modules()]
    assert same(before[:-2], everything(model)[:-2])
    monitor.close()
    assert len(autopsies(monitor.run_dir)) == 1


# -- once, and where it cannot be done


def test_it_is_done_once_and_again_only_after_the_run_was_finite(tmp_path: Path) -> None:
    model = Net(nn.Identity())
    clean = copy.deepcopy(model.state_dict())
    opt = torch.optim.SGD(model.parameters(), lr=1e-3)
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    for i in range(1, 41):
        if i in (8, 18, 28, 38):
            model.load_state_dict(clean)
        (loops.loss_of(model, loops.batch(i)) * (torch.nan if i in (5, 15, 25, 35) else 1.0)).backward()
        opt.step()
        opt.zero_grad()
    monitor.close()
    assert [a.step for a in autopsies(monitor.run_dir)] == [5, 15, 25], "three are enough for one run"


def test_a_script_that_ends_at_the_first_nan_is_looked_into_at_its_end(tmp_path: Path) -> None:
    model = Net(nn.Identity())
    opt = torch.optim.AdamW(model.parameters())

    def script() -> None:
        with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
            for i in range(1, BAD + 1):
                loss = loops.loss_of(model, loops.batch(i)) * (torch.nan if i == BAD else 1.0)
                loss.backward()
                opt.step()
                opt.zero_grad()
                if not torch.isfinite(loss):
                    raise ValueError("the loss is not finite")

    with pytest.raises(ValueError, match="not finite"):
        script()
    (found,) = autopsies(tmp_path / "run")
    assert (found.step, found.place) == (BAD, "loss")


@pytest.mark.parametrize("is_wrong", [True, False])
def test_a_script_that_leaves_before_backward_is_looked_into_and_only_a_culprit_is_told(is_wrong: bool, tmp_path: Path) -> None:
    middle = Exponential()
    model = Net(middle)
    opt = torch.optim.AdamW(model.parameters())

    def script() -> None:
        with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
            for i in range(1, BAD + 1):
                middle.is_wrong = is_wrong and i == BAD
                loss = loops.loss_of(model, loops.batch(i))
                if i == BAD:
                    sys.exit("the loss is not finite")
                loss.backward()
                opt.step()
                opt.zero_grad()

    with pytest.raises(SystemExit):
        script()
    found = autopsies(tmp_path / "run")
    assert [(a.step, a.module, a.weights_step) for a in found] == ([(BAD, "middle", BAD - 1)] if is_wrong else [])


def test_gradients_that_are_finite_near_the_output_speak_against_the_loss(tmp_path: Path) -> None:
    """What breaks here leaves no trace that a replay could find: the script has put it right again."""
    model = Net(Between())

    def loss_of(model: nn.Module, tokens: Tensor, i: int) -> Tensor:
        loss = loops.loss_of(model, tokens)
        if i == BAD:
            model.embed.weight.register_hook(lambda g: g * torch.nan)
        return loss

    (found,) = train(model, tmp_path / "run", loss_of=loss_of, steps=BAD + 1)
    assert (found.found_by, found.module) == ("backward order", "embed.weight")
    assert found.notes == ("in a replay with the weights of step 20 that batch is finite",)


def test_a_buffer_that_the_script_reuses_is_not_taken_for_the_batch(tmp_path: Path) -> None:
    model, buffer = Net(nn.Identity()), torch.zeros(loops.BATCH, loops.LENGTH, dtype=torch.long)

    def loss_of(model: nn.Module, tokens: Tensor, i: int) -> Tensor:
        buffer.copy_(tokens)
        return loops.loss_of(model, buffer) * (torch.nan if i == BAD else 1.0)

    (found,) = train(model, tmp_path / "run", loss_of=loss_of)
    assert found.found_by == "backward order"
    assert found.notes[0] == "no replay: the script has written over that batch since"
    assert found.module == "head.bias"


@pytest.mark.parametrize(("limit", "value", "says"), [
    ("batches.LIMIT", 8, "at most 0 MB are kept"),
    ("inquest.SHARE", 0.0, "it takes the weights once more"),
])
def test_what_does_not_fit_is_not_replayed_and_says_so(limit: str, value: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name = limit.split(".")
    monkeypatch.setattr({"batches": batches, "inquest": inquest}[module], name, value)
    (found,) = train(Net(nn.Identity()), tmp_path / "run", loss_of=lambda m, t, i: loops.loss_of(m, t) * (torch.nan if i == BAD else 1.0))
    assert (found.found_by, found.place) == ("backward order", "unknown")
    assert says in found.notes[0]


def test_a_model_that_cannot_be_run_again_is_told_by_its_gradients(tmp_path: Path) -> None:
    class Once(Between):
        def forward(self, x: Tensor) -> Tensor:
            if not torch.is_grad_enabled():
                raise ValueError("not twice")
            return self.inner(x)

    (found,) = train(Net(Once()), tmp_path / "run", loss_of=lambda m, t, i: loops.loss_of(m, t) * (torch.nan if i == BAD else 1.0))
    assert found.place == "unknown"
    assert any("middle raised ValueError: not twice" in note for note in found.notes)


def test_without_checkpoints_nothing_of_the_data_is_written(tmp_path: Path) -> None:
    model = Net(nn.Identity())
    opt = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run", checkpoints="off")
    for i in range(4):
        (loops.loss_of(model, loops.batch(i)) * (torch.nan if i == 2 else 1.0)).backward()
        opt.zero_grad()
        opt.step()
    monitor.close()
    (found,) = autopsies(monitor.run_dir)
    assert (found.place, found.batch) == ("loss", "")
    assert not (monitor.run_dir / "autopsy").exists()


def test_no_batch_is_kept_longer_than_until_its_row_has_arrived(tmp_path: Path) -> None:
    model = Net(nn.Identity())
    opt = torch.optim.AdamW(model.parameters())
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    held = []
    for i in range(20):
        loops.loss_of(model, loops.batch(i)).backward()
        opt.step()
        opt.zero_grad()
        held.append(len(monitor.probe.outbox.batches._entered))
    assert max(held) <= 2
    last = monitor.probe.outbox.batches
    monitor.close()
    assert not last._entered
