"""The training process of the demo: read `train` from top to bottom, it is the loop. Everything else serves it.

    python -m tuimon.demo.train exploding --seed 3        # recorded by tuimon, like any user's script
    python -m tuimon.demo.train exploding --bare          # the same loop without tuimon: prints its losses as JSON
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

import tuimon
from tuimon.demo.corpus import SimpleTextDataset, Window, create_dataloader, read_text, split_tokens
from tuimon.demo.faults import masked_loss, plant, sorting, token_loss
from tuimon.demo.model import GPTModel, create_model_config
from tuimon.demo.options import DemoOptions, Device, Size, add_arguments, from_arguments
from tuimon.demo.scenarios import Scenario
from tuimon.demo.tokenizer import create_tokenizer
from tuimon.errors import TuimonError, UsageError
from tuimon.record.printing import mention, print_words

if TYPE_CHECKING:
    from tuimon.instrument.resume import ResumeInfo

OPTIMIZERS: Final[dict[str, type[Adam]]] = {"AdamW": AdamW, "Adam": Adam}
BATCH: Final[dict[str, int]] = {"tiny": 12, "small": 16, "gpt2": 8}
TOKENS: Final[dict[str, tuple[str, int]]] = {"tiny": ("char", 0), "small": ("bpe", 512), "gpt2": ("bpe", 4096)}
"""Kind and vocabulary of the tokenizer."""
VALIDATION_BATCHES: Final = 4


def train(options: DemoOptions, *, bare: bool = False) -> list[Tensor]:
    """Train one scenario to its end. The losses, one per step, where `bare`."""
    scenario, total, batch = options.plan, options.total_steps, options.plan.batch or BATCH[options.size]
    device = choose_device(options.device, options.size)
    if options.size == "tiny":
        torch.set_num_threads(1)  # more threads cost this model more than they give: 20 steps/s become 15
    torch.manual_seed(options.seed)

    # text -> tokens -> windows
    text = read_text(options.text)
    kind, vocab_size = TOKENS[options.size]
    tokenizer = create_tokenizer(text, kind, vocab_size)
    config = create_model_config(options.size, **{**scenario.model, "vocab_size": tokenizer.vocab_size})
    parts = split_tokens(tokenizer.encode(text), config["max_seq_len"])
    train_set = SimpleTextDataset(parts.train[:scenario.few], max_seq_len=config["max_seq_len"], stride=scenario.stride)
    validation_set = SimpleTextDataset(parts.validation, max_seq_len=config["max_seq_len"])
    validation = create_dataloader(validation_set, batch, shuffle=False)

    # what is trained, by what, how fast
    model = GPTModel(**config).to(device)
    optimizer = create_optimizer(model, scenario, options.lr)
    scheduler = LambdaLR(optimizer, lambda done: scenario.schedule.factor(done + 1, total))
    scaler = torch.amp.GradScaler(device.type, enabled=scenario.half)  # does nothing unless enabled
    resumed = resume(options, model, optimizer, scheduler, scaler)
    begin = resumed.step if resumed else 0
    loader = create_dataloader(train_set, batch, seed=options.seed, steps=total, skip=begin,
                               arrange=sorting(train_set, batch, scenario.faulty_from) if scenario.sorts else None)
    loss_of = masked_loss if scenario.masked else token_loss

    monitor = Unwatched() if bare else tuimon.attach(
        model, optimizer, scheduler=scheduler, name=options.scenario, run_dir=options.run_dir, total_steps=total,
        tokens_per_step=batch * config["max_seq_len"], vocab_size=tokenizer.vocab_size, on_critical=options.on_critical,
        resumed=resumed)

    pace = Pace(options.most_per_second)
    losses: list[Tensor] = []
    with monitor:
        model.train()
        for step, drawn in enumerate(loader, start=begin + 1):
            if monitor.should_stop:
                break
            if step == scenario.faulty_from and scenario.fault:
                monitor.note(scenario.fault)
            inputs, targets = plant(scenario, step, drawn, model, options.seed)  # as it is, but at the planted steps

            with torch.autocast(device.type, torch.float16, enabled=scenario.half):
                loss = loss_of(model(inputs.to(device)), targets.to(device))
            optimizer.zero_grad()
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
            if scenario.clip is not None:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), scenario.clip)
            scaler.step(optimizer)
            scaler.update()
            scheduler.step()

            if bare:
                losses.append(loss.detach())
            if step % scenario.validate_every == 0 or step == total:
                monitor.log(val_loss=validate(model, validation, device))
            pace.wait()  # after the step's work: the demo is to be watched
    return losses


@torch.no_grad()
def validate(model: GPTModel, loader: DataLoader[Window], device: torch.device) -> Tensor:
    """Mean loss over the same few validation batches each time; a scalar still on the device."""
    model.eval()
    total = torch.zeros((), device=device)
    for seen, (inputs, targets) in enumerate(loader, start=1):
        total += token_loss(model(inputs.to(device)), targets.to(device))
        if seen == VALIDATION_BATCHES:
            break
    model.train()
    return total / seen


def create_optimizer(model: nn.Module, scenario: Scenario, lr: float | None) -> Optimizer:
    """The scenario's optimizer over all parameters, at its learning rate or another."""
    kind = OPTIMIZERS[scenario.optimizer]
    return kind(model.parameters(), lr=scenario.lr if lr is None else lr, betas=scenario.betas,
                weight_decay=scenario.weight_decay)


def resume(options: DemoOptions, model: nn.Module, optimizer: Optimizer, scheduler: LambdaLR,
           scaler: torch.amp.GradScaler) -> ResumeInfo | None:
    """Put everything where the newest good checkpoint of the run left it. None: a fresh run."""
    if options.resume is None:
        return None
    if options.run_dir is None:
        raise UsageError("--resume belongs to `tuimon demo`, which knows where runs are")
    from tuimon.instrument.checkpoints import Checkpoints
    from tuimon.instrument.resume import resume as go_on

    found = go_on(Checkpoints(Path(options.run_dir) / "checkpoints"), model, optimizer, scheduler=scheduler,
                  scaler=scaler)
    for line in found.notes:
        mention(line)
    return found


def choose_device(device: Device, size: Size) -> torch.device:
    """cpu, cuda, or what pays: a tiny model spends its time on launching kernels, so "auto" leaves it on the CPU."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this PyTorch sees no CUDA device; --device auto takes what there is")
    if device == "auto":
        device = "cuda" if size != "tiny" and torch.cuda.is_available() else "cpu"
    return torch.device(device)


class Pace:
    """Keeps a loop from running faster than a person can read."""

    def __init__(self, speed: float) -> None:
        self.period = 1.0 / speed
        self.due = time.monotonic() + self.period

    def wait(self) -> None:
        """Sleep until the next step is due. A slow step is not made up for by fast ones."""
        now = time.monotonic()
        if now < self.due:
            time.sleep(min(self.due - now, self.period))
        self.due = max(self.due, now) + self.period


class Watcher(Protocol):
    """What the loop asks of a monitor."""

    @property
    def should_stop(self) -> bool:
        """Whether to leave."""

    def log(self, **scalars: Any) -> None:
        """Record what a monitor cannot see by itself."""

    def note(self, text: str) -> None:
        """Say what has just happened."""

    def __enter__(self) -> Any: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None,
                 ) -> bool | None: ...


class Unwatched:
    """The monitor of a run that nobody monitors."""

    should_stop = False

    def log(self, **scalars: Any) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def __enter__(self) -> Unwatched:  # noqa: PYI034  # Self is not in 3.10
        return self

    def __exit__(self, *_: object) -> None:
        return None


def leave(number: int, _frame: FrameType | None) -> None:
    """SIGTERM ends the loop as an exception does, so that what was recorded is closed properly."""
    raise SystemExit(128 + number)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, as the options say. Exit status 2 and one line for what cannot be."""
    parser = argparse.ArgumentParser(prog="python -m tuimon.demo.train", allow_abbrev=False)
    add_arguments(parser)
    parser.add_argument("--bare", action="store_true", help="without tuimon; print the losses as JSON")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, leave)
    try:
        losses = train(from_arguments(args), bare=args.bare)
    except TuimonError as error:
        mention(f"tuimon: {error}")
        return 2
    if args.bare:
        print_words(json.dumps({"losses": [said(value) for value in torch.stack(losses).tolist()] if losses else []}))
    return 0


def said(loss: float) -> float | str:
    """A loss as strict JSON can carry it."""
    return loss if math.isfinite(loss) else str(loss)


if __name__ == "__main__":
    sys.exit(main())
