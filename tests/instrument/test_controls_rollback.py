"""After a rollback, the same batches give the run that was never disturbed, bit for bit, in the same memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from control_parts import Viewer
from torch import Tensor, nn
from torch.optim import Optimizer
from training_loops import Net

import tuimon
from tuimon.instrument.state import TrainingState

pytestmark = pytest.mark.usefixtures("one_thread")
EVERY = 4


class Block(nn.Module):
    """Tied weights, a norm with buffers, a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net(tied=True)
        self.norm = nn.BatchNorm1d(loops.VOCABULARY)
        self.frozen = nn.Parameter(torch.ones(loops.VOCABULARY), requires_grad=False)

    def forward(self, tokens: Tensor) -> Tensor:
        logits = self.net(tokens)
        return self.norm((logits * self.frozen).flatten(0, 1)).view_as(logits)


class Counting(Optimizer):
    """Keeps what some optimizers keep: Python numbers, lists, nothing yet; a counter and a distance in its groups."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr, "k": 0, "d": None})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            group["k"] += 1
            group["d"] = 1.0 / group["k"] if group["k"] < 6 else torch.tensor(1.0 / group["k"])
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state.update(step=0, past=[], slow=None, ratio=1.0)
                state["step"] += 1
                state["ratio"] *= 0.9
                state["past"] = [*state["past"][-1:], p.grad.clone()]
                state["slow"] = p.clone() if state["slow"] is None else state["slow"].lerp(p, 0.5)
                p.sub_(sum(state["past"]) * group["lr"] * state["ratio"] * float(group["d"]) + 1e-3 * state["slow"])


class Script:
    """A training script: `update(i)` is its i-th update, on data that depend on i alone."""

    def __init__(self, opts: Callable[[nn.Module], Sequence[Optimizer]], *, wrap: Callable[[nn.Module], Any] = lambda m: m,
                 micro: int = 1, scaler: bool = False, closure: bool = False, keep_grads: bool = False,
                 compiled_step: bool = False, dtype: Any = None, autocast: bool = False) -> None:
        torch.manual_seed(5)
        self.inner = Block().to(dtype=dtype) if dtype else Block()
        self.model = wrap(self.inner)
        self.opts = list(opts(self.inner))
        self.micro, self.closure, self.keep_grads, self.autocast = micro, closure, keep_grads, autocast
        self.scaler = torch.amp.GradScaler("cpu", init_scale=64.0, growth_interval=3) if scaler else None
        self.steps = [torch.compile(o.step, backend="eager") if compiled_step else o.step for o in self.opts]

    def loss(self, i: int, scale: float = 1.0) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.autocast):
            return loops.loss_of(self.model, loops.batch(i)) * scale

    def update(self, i: int, scale: float = 1.0) -> float:
        if self.closure:
            return self.opts[0].step(lambda: self.evaluate(i, scale)).item()
        for opt in self.opts:
            opt.zero_grad(set_to_none=not self.keep_grads)
        total = 0.0
        for j in range(self.micro):
            loss = self.loss(self.micro * i + j, scale)
            (self.scaler.scale(loss) if self.scaler else loss).backward()
            total += loss.item()
        for opt, step in zip(self.opts, self.steps, strict=True):
            if self.scaler:
                self.scaler.step(opt)
            else:
                step()
        if self.scaler:
            self.scaler.update()
        return total

    def evaluate(self, i: int, scale: float) -> Tensor:
        self.opts[0].zero_grad()
        loss = self.loss(i, scale)
        loss.backward()
        return loss

    def everything(self) -> dict[str, Any]:
        """All that the next update depends on."""
        state = TrainingState(self.model, self.opts)
        found: dict[str, Any] = {k: t.clone() for k, t in state.tensors().items()}
        found.update({h.key: repr(h.value) for h in state.held() if not isinstance(h.value, Tensor)})
        found["groups"] = [{k: repr(v) for k, v in g.items() if k != "params"} for o in self.opts for g in o.param_groups]
        if self.scaler:
            found["scaler"] = self.scaler.state_dict()
        return found

    def memory(self) -> dict[str, int]:
        return {k: t.data_ptr() for k, t in TrainingState(self.model, self.opts, self.scaler).tensors().items()
                if not k.startswith("pending/")}


def using(kind: Any, **options: Any) -> Callable[[nn.Module], Sequence[Optimizer]]:
    return lambda m: [kind([p for p in m.parameters() if p.requires_grad], **options)]


def muon(model: nn.Module) -> Sequence[Optimizer]:
    inner = [p for p in model.net.blocks.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if p.requires_grad and not any(p is q for q in inner)]
    return [torch.optim.Muon(inner, lr=1e-2), torch.optim.AdamW(rest, lr=1e-2)]


ADAMW = using(torch.optim.AdamW, lr=1e-2)
SCRIPTS: dict[str, Callable[[], Script]] = {
    "adamw foreach": lambda: Script(using(torch.optim.AdamW, lr=1e-2, foreach=True)),
    "adamw fused": lambda: Script(using(torch.optim.AdamW, lr=1e-2, fused=True)),
    "adamw for-loop": lambda: Script(using(torch.optim.AdamW, lr=1e-2, foreach=False)),
    "adamw amsgrad": lambda: Script(using(torch.optim.AdamW, lr=1e-2, amsgrad=True)),
    "adamw tensor lr": lambda: Script(lambda m: [torch.optim.AdamW(m.parameters(), lr=torch.tensor(1e-2))]),
    "sgd momentum": lambda: Script(using(torch.optim.SGD, lr=0.05, momentum=0.9)),
    "sgd nesterov": lambda: Script(using(torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True)),
    "rmsprop": lambda: Script(using(torch.optim.RMSprop, lr=1e-3)),
    "rmsprop centered": lambda: Script(using(torch.optim.RMSprop, lr=1e-3, centered=True, momentum=0.5)),
    "adafactor": lambda: Script(using(torch.optim.Adafactor, lr=1e-2)),
    "muon and adamw": lambda: Script(muon),
    "lbfgs": lambda: Script(using(torch.optim.LBFGS, lr=0.2, max_iter=3, history_size=3), closure=True),
    "sgd with closure": lambda: Script(using(torch.optim.SGD, lr=0.05, momentum=0.9), closure=True),
    "state that is no tensor": lambda: Script(using(Counting)),
    "accumulation": lambda: Script(ADAMW, micro=4),
    "accumulation, zeroed in place": lambda: Script(ADAMW, micro=2, keep_grads=True),
    "scaler": lambda: Script(ADAMW, scaler=True),
    "scaler, fused": lambda: Script(using(torch.optim.AdamW, lr=1e-2, fused=True), scaler=True),
    "scaler, two optimizers": lambda: Script(muon, scaler=True, micro=2),
    "bf16 weights": lambda: Script(ADAMW, dtype=torch.bfloat16),
    "bf16 autocast": lambda: Script(ADAMW, autocast=True),
    "compiled model": lambda: Script(ADAMW, wrap=lambda m: torch.compile(m, backend="aot_eager")),
    "compiled step": lambda: Script(using(torch.optim.SGD, lr=0.05, momentum=0.9), compiled_step=True),
}

MOVES_BY_ITSELF = {"lbfgs", "state that is no tensor"}
"""The optimizer itself puts new tensors in the place of old ones."""


@pytest.fixture
def fresh_compiler() -> Any:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert torch.equal(value, theirs[key]) if isinstance(value, Tensor) else value == theirs[key], key


def attach(script: Script, run_dir: Path) -> tuple[tuimon.Monitor, Viewer]:
    monitor = tuimon.attach(script.model, *script.opts, run_dir=run_dir)
    monitor._open.steering._every = EVERY
    return monitor, Viewer(monitor)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("to", [0, EVERY])
@pytest.mark.parametrize("case", SCRIPTS)
def test_replaying_after_a_rollback_is_the_undisturbed_run(case: str, to: int, tmp_path: Path) -> None:
    alone = SCRIPTS[case]()
    losses = [alone.update(i) for i in range(to + 4)]
    script = SCRIPTS[case]()
    monitor, viewer = attach(script, tmp_path / "run")
    with monitor:
        assert [script.update(i) for i in range(EVERY)] == losses[:EVERY]
        memory = script.memory()
        script.update(50, 3.0)
        script.update(51, -2.0)
        command = viewer.ask("rollback", step=to)
        script.update(52, 3e38 if script.scaler else 3.0)  # with a scaler: a step that is skipped
        assert viewer.outcome(command)["outcome"] == "applied"
        assert [script.update(i) for i in range(to, to + 4)] == losses[to:]
        if case not in MOVES_BY_ITSELF:
            held = {k for k in memory if not k.startswith("opt/") or to}
            assert {k: v for k, v in script.memory().items() if k in held} == {k: memory[k] for k in held}
    same(script.everything(), alone.everything())


def test_a_run_whose_optimizer_has_never_stepped_is_rolled_back(tmp_path: Path) -> None:
    alone, script = SCRIPTS["scaler"](), SCRIPTS["scaler"]()
    losses = [alone.update(i) for i in range(4)]
    monitor, viewer = attach(script, tmp_path / "run")
    with monitor:
        script.update(50, 3e38)
        command = viewer.ask("rollback")
        script.update(51, 3e38)
        assert viewer.outcome(command)["outcome"] == "applied"
        assert not script.opts[0].state
        assert [script.update(i) for i in range(4)] == losses
    same(script.everything(), alone.everything())


@pytest.mark.filterwarnings("ignore:tuimon. 1 trainable:UserWarning")
def test_layers_that_were_thawed_or_handed_over_since_go_back_too(tmp_path: Path) -> None:
    def build() -> Script:
        return Script(lambda m: [torch.optim.AdamW([p for n, p in m.named_parameters() if "head" not in n
                                                    and p.requires_grad and "embed" not in n], lr=1e-2)])

    alone, script = build(), build()
    losses = [alone.update(i) for i in range(EVERY + 3)]
    monitor, viewer = attach(script, tmp_path / "run")
    with monitor:
        for i in range(EVERY):
            script.update(i)
        script.inner.frozen.requires_grad_(True)
        script.opts[0].add_param_group({"params": [script.inner.frozen, script.inner.net.embed.weight]})
        script.update(50, 3.0)
        command = viewer.ask("rollback", step=EVERY)
        script.update(51, 3.0)
        assert viewer.outcome(command)["outcome"] == "applied"
        assert not script.opts[0].state.get(script.inner.frozen)
        for p in (script.inner.frozen, script.inner.net.embed.weight):
            script.opts[0].param_groups[1]["lr"] = 0.0
            script.opts[0].param_groups[1]["weight_decay"] = 0.0
            assert p.grad is not None
        assert [script.update(i) for i in range(EVERY, EVERY + 3)] == losses[EVERY:]


def test_a_parameter_that_did_not_exist_at_the_snapshot_is_a_refusal_in_one_line(tmp_path: Path) -> None:
    script = SCRIPTS["adamw foreach"]()
    monitor, viewer = attach(script, tmp_path / "run")
    with monitor:
        script.update(0)
        script.inner.extra = nn.Parameter(torch.zeros(2))
        before = script.everything()
        command = viewer.ask("rollback", step=0)
        script.update(1)
        answer = viewer.outcome(command)
        assert answer["outcome"] == "refused"
        assert "it lacks param/extra" in answer["why"]
        assert before["param/frozen"].equal(script.inner.frozen)
        script.update(2)


def test_what_schedules_and_people_set_goes_on_over_a_rollback(tmp_path: Path) -> None:
    script = SCRIPTS["adamw foreach"]()
    monitor, viewer = attach(script, tmp_path / "run")
    with monitor:
        script.update(0)
        script.opts[0].param_groups[0].update(lr=0.5, betas=(0.5, 0.5), weight_decay=0.25)
        viewer.ask("rollback", step=0)
        script.update(1)
        group = script.opts[0].param_groups[0]
        assert (group["lr"], group["betas"], group["weight_decay"]) == (0.5, (0.5, 0.5), 0.25)


def test_snapshots_hold_no_more_than_their_copies_and_none_once_the_run_is_closed(tmp_path: Path) -> None:
    import gc
    import weakref

    script = SCRIPTS["adamw foreach"]()
    monitor, viewer = attach(script, tmp_path / "run")
    snapshots = monitor._open.steering._snapshots
    with monitor:
        for i in range(5 * EVERY):
            script.update(i)
        viewer.ask("rollback", step=snapshots.steps[0])
        script.update(30)
        assert len(snapshots._slots) + len(snapshots._spare) <= snapshots.capacity
        copies = [weakref.ref(t) for s in snapshots._slots for t in s.host.tensors.values()]
        copies += [weakref.ref(t) for h in snapshots._spare for t in h.tensors.values()]
        assert copies
    gc.collect()
    assert not [c for c in copies if c() is not None]
