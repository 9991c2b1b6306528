"""Where a number means something else than its name says, the run says so: once, in its log, for every reader."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import odd_loops as odd
import pytest
import torch
import training_loops as loops
from torch import Tensor, nn
from training_loops import Book, Net

import tuimon
from tuimon.cli import main
from tuimon.record.segments import LogReader

pytestmark = pytest.mark.usefixtures("one_thread")
TORCHS_OWN = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute")
CLIPPED = "norm after the script's own clipping: it changes gradients between backward and step"
ASSIGNED = "norm of gradients that the script sets itself: whether it clips them before is not seen"
NO_LOSS = "not seen: call monitor.log(loss=...)"
Change = Callable[[nn.Module], Any]


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-2)


def labels(run_dir: Path) -> dict[str, str]:
    """What the events say; each metric once, and the log's marks say the same."""
    found = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    said = [(e["metric"], e["text"]) for e in found if e["kind"] == "label"]
    assert len(dict(said)) == len(said)
    marks = [m for chunk in LogReader(run_dir / "metrics").poll() for m in chunk.marks if m.kind == "label"]
    assert [(m.fields["metric"], m.fields["text"]) for m in marks] == said
    return dict(said)


def watched(loop: loops.Loop, folder: Path, steps: int = 12, make: Callable[[nn.Module], Any] = adamw, **options: Any) -> tuple[Book, tuimon.Monitor]:
    model = Net()
    opt = make(model)
    opts = list(opt) if isinstance(opt, list | tuple) else [opt]
    book = Book(opts)
    with tuimon.attach(model, *opts, run_dir=folder, **options) as monitor:
        loop(model, opts, book, steps)
    return book, monitor


def by_hand(model: nn.Module) -> None:
    grads = [p.grad for p in model.parameters()]
    norm = torch.stack([g.norm() for g in grads]).norm()
    for g in grads:
        g.mul_(torch.clamp(0.05 / norm, max=1.0))


def by_new_tensors(model: nn.Module) -> None:
    for p in model.parameters():
        p.grad = p.grad * 0.5


def noisily(model: nn.Module) -> None:
    """One tensor only."""
    model.head.weight.grad.add_(0.01)


def after_their_clipping(model: nn.Module) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), 0.05)
    by_hand(model)


def before_their_clipping(model: nn.Module) -> None:
    by_hand(model)
    nn.utils.clip_grad_norm_(model.parameters(), 0.05)


CHANGES: list[Change] = [by_hand, by_new_tensors, noisily, after_their_clipping, before_their_clipping]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("detail", ["full", "light"])
def test_gradients_that_the_script_changes_itself_are_labelled_once(change: Change, detail: str, tmp_path: Path) -> None:
    _, monitor = watched(loops.clipping(change), tmp_path / "run", detail=detail)
    assert labels(monitor.run_dir) == {"grad_norm": CLIPPED}


def test_what_is_labelled_is_what_the_optimizer_got(tmp_path: Path) -> None:
    def loop(model: nn.Module, opts: Any, book: Book, steps: int) -> None:
        for i in range(steps):
            loops.loss_of(model, loops.batch(i)).backward()
            by_hand(model)
            book.gradients()
            odd.stepping(opts, book)

    book, monitor = watched(loop, tmp_path / "run", 3)
    assert labels(monitor.run_dir) == {"grad_norm": CLIPPED}
    rows = loops.read(monitor.run_dir).columns["grad_norm"]
    assert [rows[i] for i in (1, 2, 3)] == pytest.approx([s["grad_norm"] for s in book.steps], rel=1e-5)
    assert rows[2] <= 0.0501


def test_under_a_scaler_too(tmp_path: Path) -> None:
    def loop(model: nn.Module, opts: Any, book: Book, steps: int) -> None:
        scaler = torch.amp.GradScaler("cpu")
        for i in range(steps):
            scaler.scale(loops.loss_of(model, loops.batch(i))).backward()
            scaler.unscale_(opts[0])
            by_hand(model)
            scaler.step(opts[0])
            scaler.update()
            opts[0].zero_grad()

    assert labels(watched(loop, tmp_path / "run")[1].run_dir) == {"grad_norm": CLIPPED}


@TORCHS_OWN
def test_clipping_within_a_compiled_region_is_seen_as_the_scripts_own(tmp_path: Path) -> None:
    torch._dynamo.reset()

    def loop(model: nn.Module, opts: Any, book: Book, steps: int) -> None:
        @torch.compile(backend="aot_eager")
        def clip() -> None:
            nn.utils.clip_grad_norm_(model.parameters(), 0.05)

        loops.clipping(lambda _: clip())(model, opts, book, steps)

    assert labels(watched(loop, tmp_path / "run", 4)[1].run_dir) == {"grad_norm": CLIPPED}


SGD = torch.optim.SGD
QUIET: dict[str, tuple[loops.Loop, Any]] = {
    "plain": (loops.plain, adamw),
    "accumulated and clipped": (loops.accumulating(divided=True, clip=True), adamw),
    "clipped part by part": (loops.clipping(lambda m: [nn.utils.clip_grad_norm_(p, 0.05) for p in m.parameters()]), adamw),
    "unscaled and clipped": (loops.scaled(unscale=True, clip=0.05), adamw),
    "scaled": (loops.scaled(), adamw),
    "scaled, fused": (loops.scaled(), lambda m: torch.optim.AdamW(m.parameters(), fused=True)),
    "scaled, all at once, overflow": (odd.accumulated_and_scaled, adamw),
    "two scalers": (odd.double_scaler, lambda m: [SGD(m.embed.parameters(), lr=0.1), SGD([*m.blocks.parameters(), *m.head.parameters()], lr=0.1)]),
    "zeroed in place": (loops.zeroing_in_place, adamw),
    "closure": (loops.with_closure, lambda m: SGD(m.parameters(), lr=0.1)),
    "lbfgs": (loops.with_closure, lambda m: torch.optim.LBFGS(m.parameters(), max_iter=3)),
    "clipped in a closure": (odd.clipped_in_closure, adamw),
    "weight decay, maximized": (loops.plain, lambda m: SGD(m.parameters(), lr=0.01, maximize=True, weight_decay=0.1, foreach=True)),
    "adversarial": (odd.adversarial, adamw),
    "two steps per backward": (odd.stepping_twice, adamw),
    "steps without a backward": (odd.without_backward, adamw),
    "hooks within backward": (odd.with_hooks, adamw),
    "the last group short": (odd.unevenly, adamw),
    "steps within backward": (odd.within_backward, odd.each_its_own),
}


@pytest.mark.parametrize("case", QUIET)
def test_a_loop_that_changes_nothing_itself_is_never_labelled(case: str, tmp_path: Path) -> None:
    loop, make = QUIET[case]
    assert labels(watched(loop, tmp_path / "run", make=make)[1].run_dir) == {}


def test_our_own_clipping_is_not_taken_for_the_scripts(tmp_path: Path) -> None:
    model = Net()
    opt = adamw(model)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        monitor.probe.overrides.set(clip=0.05)
        odd.stepping_twice(model, [opt], Book([opt]), 8)
    assert labels(monitor.run_dir) == {}


def test_a_change_that_happens_once_labels_nothing(tmp_path: Path) -> None:
    seen: list[int] = []

    def once(model: nn.Module) -> None:
        seen.append(1)
        if len(seen) == 3:
            by_hand(model)

    assert labels(watched(loops.clipping(once), tmp_path / "run")[1].run_dir) == {}


def test_a_script_that_begins_late_is_noticed_all_the_same(tmp_path: Path) -> None:
    seen: list[int] = []

    def late(model: nn.Module) -> None:
        seen.append(1)
        if len(seen) > 20:
            by_hand(model)

    assert labels(watched(loops.clipping(late), tmp_path / "run", 70)[1].run_dir) == {"grad_norm": CLIPPED}


def test_gradients_without_a_backward_are_the_scripts_and_their_loss_is_asked_for(tmp_path: Path) -> None:
    _, monitor = watched(odd.with_autograd_grad, tmp_path / "run")
    assert labels(monitor.run_dir) == {"grad_norm": ASSIGNED, "loss": NO_LOSS}


@pytest.mark.parametrize("after", [True, False])
def test_a_loss_that_the_script_logs_is_not_asked_for(after: bool, tmp_path: Path) -> None:
    model = Net()
    opt = adamw(model)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        for i in range(12):
            loss = loops.loss_of(model, loops.batch(i))
            for p, g in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True):
                p.grad = g
            if not after:
                monitor.log(loss=loss)
            opt.step()
            if after:
                monitor.log(loss=loss)
            opt.zero_grad()
    assert "loss" not in labels(monitor.run_dir)
    assert len(loops.read(monitor.run_dir).columns["loss"]) == 12


@pytest.mark.parametrize(("reads_tokens", "told"), [(True, None), (True, 15), (False, None)])
def test_tokens_are_asked_for_where_a_model_reads_them_and_none_are_seen(reads_tokens: bool, told: int | None, tmp_path: Path) -> None:
    model: Any = Net() if reads_tokens else nn.Linear(4, 1)
    opt = adamw(model)

    def loss(i: int) -> Tensor:
        """Past the model's own call, as pipelines and some frameworks go."""
        return model.head(model.embed(loops.batch(i))).square().mean() if reads_tokens else model(torch.ones(2, 4)).sum()

    with tuimon.attach(model, opt, run_dir=tmp_path / "run", tokens_per_step=told) as monitor:
        for i in range(12):
            loss(i).backward()
            opt.step()
    assert ("tokens" in labels(monitor.run_dir)) is (reads_tokens and told is None)


def test_looking_costs_no_number_and_little_else(tmp_path: Path) -> None:
    """Versions are compared at the first steps and then at one in sixteen, and no more once it is said."""
    looks: dict[str, int] = {}
    for name, change in {"plain": lambda m: None, "own": by_hand}.items():
        model = Net()
        opt = adamw(model)
        with tuimon.attach(model, opt, run_dir=tmp_path / name) as monitor:
            looking = []
            for i in range(64):
                loops.loss_of(model, loops.batch(i)).backward()
                change(model)
                looking.append(monitor.probe.labels.looks)
                opt.step()
                opt.zero_grad()
        looks[name] = sum(looking)
    assert looks == {"plain": 16 + 3, "own": 2}


def test_diagnose_says_what_a_number_means(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, monitor = watched(loops.clipping(by_hand), tmp_path / "run")
    assert main(["diagnose", str(monitor.run_dir)]) in (0, 3)
    assert f"note on grad_norm: {CLIPPED}" in capsys.readouterr().out
    main(["diagnose", "--json", str(monitor.run_dir)])
    assert json.loads(capsys.readouterr().out)["labels"] == [{"metric": "grad_norm", "text": CLIPPED}]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("said", [False, True])
def test_a_step_that_a_cuda_graph_replays_says_that_it_must_be_told(said: bool, tmp_path: Path) -> None:
    model = nn.Linear(8, 1).cuda()
    opt = torch.optim.AdamW(model.parameters(), lr=torch.tensor(1e-3, device="cuda"), capturable=True)
    x = torch.ones(4, 8, device="cuda")

    def once() -> None:
        opt.zero_grad(set_to_none=False)
        model(x).square().mean().backward()
        opt.step()

    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                once()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            once()
        for _ in range(5):
            graph.replay()
            if said:
                monitor.step()
    assert loops.read(monitor.run_dir).steps == list(range(1, 4 + 5 * said))
    assert "steps replayed by a CUDA graph are not seen" in labels(monitor.run_dir)["step"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_capturable_optimizer_is_recorded_as_it_is_and_trains_bit_for_bit(tmp_path: Path) -> None:
    ends = []
    for attached in (False, True):
        torch.manual_seed(0)
        model = nn.Linear(8, 1).cuda()
        opt = torch.optim.AdamW(model.parameters(), lr=torch.tensor(1e-3, device="cuda"), capturable=True)
        book = Book([opt])
        monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full") if attached else None
        for _ in range(3):
            loss = model(torch.ones(4, 8, device="cuda")).square().mean()
            loss.backward()
            book.gradients()
            odd.stepping([opt], book, loss=loss.item(), lr=1e-3)
        if monitor is not None:
            monitor.close()
            for step, true in enumerate(book.steps, start=1):
                row = loops.read(monitor.run_dir).row(step)
                assert {n: row[n] for n in true} == pytest.approx(true, rel=2e-5)
        ends.append(copy.deepcopy(model.state_dict()))
    assert all(torch.equal(a, b) for a, b in zip(ends[0].values(), ends[1].values(), strict=True))
