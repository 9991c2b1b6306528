"""Models and loops beyond the textbook, as real scripts have them; each keeps its book by hand. `None` in a book: not measured."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_ as clipped_early
from torch.optim import Optimizer
from torch.utils.checkpoint import checkpoint
from training_loops import BATCH, LENGTH, Book, Loop, Net, batch, loss_of

TOKENS = BATCH * LENGTH
Prepared = tuple[nn.Module, Loop]


# -- models


class Checkpointed(Net):
    """Activations are computed again in backward."""

    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = x + checkpoint(block, x, use_reentrant=self.reentrant)
        return self.head(x)


class Adapted(nn.Module):
    """A frozen linear layer and a low-rank change to it."""

    def __init__(self, base: nn.Linear, rank: int = 2) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, base.in_features) * 0.1)
        self.up = nn.Parameter(torch.randn(base.out_features, rank) * 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + x @ self.down.T @ self.up.T


def adapted() -> Net:
    """LoRA by hand: nothing of the model is trained but the adapters."""
    model = Net().requires_grad_(False)
    for block in model.blocks:
        block[0], block[2] = Adapted(block[0]), Adapted(block[2])
    return model


class Stateful(Net):
    """With buffers and chance."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(LENGTH), nn.Dropout(0.3)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.norm(self.embed(tokens))
        for block in self.blocks:
            x = x + self.drop(block(x))
        return self.head(x)


def normed() -> Net:
    """Weights that are computed from others."""
    model = Net()
    nn.utils.parametrizations.weight_norm(model.head)
    return model


def frozen(part: str) -> Callable[[], Net]:
    def make() -> Net:
        model = Net()
        getattr(model, part).requires_grad_(False)
        return model

    return make


# -- optimizers that people write


class Sign(Optimizer):
    """One's own optimizer."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(p.grad.sign(), alpha=group["lr"])


class Sharpness(Optimizer):
    """SAM: the gradient is taken at a worse place nearby; another optimizer, inside, steps."""

    def __init__(self, params: Any, rho: float = 0.05) -> None:
        super().__init__(params, {"rho": rho})
        self.base_optimizer = torch.optim.SGD(self.param_groups, lr=0.1)
        self.away: list[tuple[Tensor, Tensor]] = []

    @torch.no_grad()
    def climb(self) -> None:
        here = [p for g in self.param_groups for p in g["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in here]).norm()
        self.away = [(p, p.clone()) for p in here]
        for p in here:
            p.add_(p.grad * 0.05 / norm)
        self.zero_grad()

    @torch.no_grad()
    def descend(self) -> None:
        for p, before in self.away:
            p.copy_(before)
        self.base_optimizer.step()


# -- loops


def stepping(opts: Sequence[Optimizer], book: Book, **known: float | None) -> None:
    """The second half of a plain step."""
    book.weights()
    for opt in opts:
        opt.step()
    book.stepped(**known)
    for opt in opts:
        opt.zero_grad()


def each(once: Callable[[nn.Module, Sequence[Optimizer], Book, int], None]) -> Loop:
    """The same at every step."""
    def loop(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
        for i in range(steps):
            once(model, opts, book, i)

    return loop


@each
def in_double(model: nn.Module, opts: Sequence[Optimizer], book: Book, i: int) -> None:
    loss = loss_of(model, batch(i)).double() * 3
    loss.backward()
    book.gradients()
    stepping(opts, book, loss=loss.item(), tokens=TOKENS)


@each
def twice_backward(model: nn.Module, opts: Sequence[Optimizer], book: Book, i: int) -> None:
    """The roots add up, as the gradients do."""
    loss = loss_of(model, batch(i))
    loss.backward(retain_graph=True)
    loss.backward()
    book.gradients()
    stepping(opts, book, loss=2 * loss.item(), tokens=TOKENS)


@each
def with_autograd_grad(model: nn.Module, opts: Sequence[Optimizer], book: Book, i: int) -> None:
    """No root is seen: the loss is unknown, never 0."""
    params = book.params()
    for p, g in zip(params, torch.autograd.grad(loss_of(model, batch(i)), params), strict=True):
        p.grad = g
    book.gradients()
    stepping(opts, book, loss=None, tokens=TOKENS)


@each
def functional_gradients(model: nn.Module, opts: Sequence[Optimizer], book: Book, i: int) -> None:
    """As in JAX: a function of parameters, and its gradient."""
    def objective(params: dict[str, Tensor]) -> Tensor:
        out = torch.func.functional_call(model, params, (batch(i),))
        return nn.functional.cross_entropy(out.flatten(0, 1), batch(i).flatten())

    grads = torch.func.grad(objective)({n: p.detach() for n, p in model.named_parameters()})
    for name, p in model.named_parameters():
        p.grad = grads[name]
    book.gradients()
    stepping(opts, book, loss=None, tokens=TOKENS)


@each
def functional_forward(model: nn.Module, opts: Sequence[Optimizer], book: Book, i: int) -> None:
    out = torch.func.functional_call(model, dict(model.named_parameters()), (batch(i),))
    loss = nn.functional.cross_entropy(out.flatten(0, 1), batch(i).flatten())
    loss.backward()
    book.gradients()
    stepping(opts, book, loss=loss.item(), tokens=TOKENS)


@each
def several_roots(model: nn.Module, opts: Sequence[Optimizer], book: Book, i: int) -> None:
    a, b = loss_of(model, batch(i)), loss_of(model, batch(i + 50)) * 0.5
    torch.autograd.backward([a, b])
    book.gradients()
    stepping(opts, book, loss=a.item() + b.item(), tokens=2 * TOKENS)


@each
def several_tasks(model: nn.Module, opts: Sequence[Optimizer], book: Book, i: int) -> None:
    a = loss_of(model, batch(i))
    a.backward()
    b = loss_of(model, batch(i + 50)) * 0.5
    b.backward()
    book.gradients()
    stepping(opts, book, loss=a.item() + b.item(), tokens=2 * TOKENS)


@each
def stepping_twice(model: nn.Module, opts: Sequence[Optimizer], book: Book, i: int) -> None:
    """The second step uses the same gradients and has no loss of its own."""
    loss = loss_of(model, batch(i))
    loss.backward()
    for known in ({"loss": loss.item(), "tokens": TOKENS}, {"loss": None, "tokens": None}):
        book.gradients()
        book.weights()
        opts[0].step()
        book.stepped(**known)
    opts[0].zero_grad()


@each
def without_backward(model: nn.Module, opts: Sequence[Optimizer], book: Book, i: int) -> None:
    """Every second step has no gradients at all."""
    book.weights()
    opts[0].step()
    book.stepped(loss=None, grad_norm=None, tokens=None)
    loss = loss_of(model, batch(i))
    loss.backward()
    book.gradients()
    stepping(opts, book, loss=loss.item(), tokens=TOKENS)


@each
def adversarial(model: nn.Module, opts: Sequence[Optimizer], book: Book, i: int) -> None:
    """A backward for something else in between, whose gradients are thrown away: it is not the loss."""
    (loss_of(model, batch(i + 50)) * 7).backward()
    model.zero_grad()
    loss = loss_of(model, batch(i))
    loss.backward()
    book.gradients()
    stepping(opts, book, loss=loss.item())


@each
def validating(model: nn.Module, opts: Sequence[Optimizer], book: Book, i: int) -> None:
    """Evaluation between forward and step counts for nothing."""
    loss = loss_of(model, batch(i))
    with torch.no_grad():
        loss_of(model, batch(i + 50))
    loss.backward()
    book.gradients()
    with torch.inference_mode():
        loss_of(model, batch(i + 51))
    stepping(opts, book, loss=loss.item(), tokens=TOKENS)


@each
def zeroed_late(model: nn.Module, opts: Sequence[Optimizer], book: Book, i: int) -> None:
    """Between forward and backward, by the model."""
    loss = loss_of(model, batch(i))
    model.zero_grad()
    loss.backward()
    book.gradients()
    book.weights()
    for opt in opts:
        opt.step()
    book.stepped(loss=loss.item(), tokens=TOKENS)


@each
def with_hooks(model: nn.Module, opts: Sequence[Optimizer], book: Book, i: int) -> None:
    """Tensor hooks that change gradients within backward: what they give is the gradient."""
    handles = [p.register_hook(lambda g: g * 0.5) for p in model.parameters()]
    loss = loss_of(model, batch(i))
    loss.backward()
    for handle in handles:
        handle.remove()
    book.gradients()
    stepping(opts, book, loss=loss.item(), tokens=TOKENS)


@contextlib.contextmanager
def no_sync() -> Iterator[None]:
    """What DDP's is to a single process."""
    yield


def unevenly(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    """Accumulation by 4 over batches that do not divide by it: the last group is short."""
    batches, total, group = 4 * steps - 2, 0.0, 0
    for j in range(batches):
        is_last = j % 4 == 3 or j == batches - 1
        with contextlib.nullcontext() if is_last else no_sync():
            loss = loss_of(model, batch(j)) / 4
            loss.backward()
        total, group = total + loss.item(), group + 1
        if is_last:
            book.gradients()
            stepping(opts, book, loss=total, tokens=group * TOKENS)
            total, group = 0.0, 0


def thawing(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    """The embedding is trained from the third step on."""
    for i in range(steps):
        if i == 2:
            model.embed.weight.requires_grad_(True)
        loss = loss_of(model, batch(i))
        loss.backward()
        book.gradients()
        stepping(opts, book, loss=loss.item(), tokens=TOKENS)


def growing(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    """The head joins in the middle."""
    for i in range(steps):
        if i == 2:
            opts[0].add_param_group({"params": model.head.requires_grad_(True).parameters(), "lr": 1e-3})
        loss = loss_of(model, batch(i))
        loss.backward()
        book.gradients()
        stepping(opts, book, loss=loss.item(), tokens=TOKENS)


def disabled_scaler(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for i in range(steps):
        loss = loss_of(model, batch(i))
        scaler.scale(loss).backward()
        scaler.unscale_(opts[0])
        book.gradients()
        clipped_early(model.parameters(), 0.05)
        book.weights()
        scaler.step(opts[0])
        scaler.update()
        book.stepped(loss=loss.item(), loss_scale=None, clipped=0.05)
        opts[0].zero_grad()


def double_scaler(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    """A scaler per optimizer, of different scales; the loss is the sum of what each was given."""
    scalers = [torch.amp.GradScaler("cpu", init_scale=2.0**n) for n in (4, 10)]
    parts = [o.param_groups[0]["params"] for o in opts]
    for i in range(steps):
        losses = [loss_of(model, batch(i)), loss_of(model, batch(i + 50))]
        for scaler, loss, mine in zip(scalers, losses, parts, strict=True):
            torch.autograd.backward(scaler.scale(loss), inputs=mine)
        for scaler, opt in zip(scalers, opts, strict=True):
            scaler.unscale_(opt)
        book.gradients()
        book.weights()
        for scaler, opt in zip(scalers, opts, strict=True):
            scaler.step(opt)
            scaler.update()
        book.stepped(loss=losses[0].item() + losses[1].item(), skipped=0.0)
        for opt in opts:
            opt.zero_grad()


def accumulated_and_scaled(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    """All of it at once: accumulation by 4, a scaler, unscale_, clipping; the second step overflows."""
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for i in range(steps):
        total = 0.0
        for j in range(4):
            loss = loss_of(model, batch(4 * i + j)) / 4
            if (i, j) == (1, 2):
                loss = loss * torch.tensor(1e38)
            scaler.scale(loss).backward()
            total += loss.item()
        scale = scaler.get_scale()
        scaler.unscale_(opts[0])
        if i == 1:
            book.before = []
        else:
            book.gradients()
            book.weights()
        clipped_early(model.parameters(), 0.05)
        scaler.step(opts[0])
        scaler.update()
        book.stepped(loss=total, skipped=float(i == 1), clipped=0.05, loss_scale=scale, tokens=4 * TOKENS)
        opts[0].zero_grad()


def clipped_in_closure(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    """As Lightning does it."""
    for i in range(steps):
        first: list[float] = []

        def closure(i: int = i, first: list[float] = first) -> Tensor:
            opts[0].zero_grad()
            loss = loss_of(model, batch(i))
            loss.backward()
            book.gradients()
            clipped_early(model.parameters(), 0.05)
            first.append(loss.item())
            return loss

        book.weights()
        opts[0].step(closure)
        book.stepped(loss=first[0], clipped=0.05, tokens=TOKENS)


def sharpened(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    """The loss is the one whose gradient is stepped on: the second."""
    sam: Any = opts[0]
    for i in range(steps):
        loss_of(model, batch(i)).backward()
        book.weights()
        sam.climb()
        loss = loss_of(model, batch(i))
        loss.backward()
        book.gradients()
        sam.descend()
        book.stepped(loss=loss.item())
        sam.zero_grad()


def in_float64(loop: Loop) -> Loop:
    def inner(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
        torch.set_default_dtype(torch.float64)
        try:
            loop(model, opts, book, steps)
        finally:
            torch.set_default_dtype(torch.float32)

    return inner


def each_its_own(model: nn.Module) -> list[Optimizer]:
    """An optimizer per tensor."""
    return [torch.optim.SGD([p], lr=0.1) for p in model.parameters()]


def within_backward(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    """Each tensor is stepped as soon as its gradient is there, and the gradient given back: it never costs memory."""
    squares: list[float] = []

    def stepping_one(p: Tensor) -> None:
        squares.append(p.grad.double().square().sum().item())
        mine[p].step()
        mine[p].zero_grad()

    mine = {o.param_groups[0]["params"][0]: o for o in opts}
    handles = [p.register_post_accumulate_grad_hook(stepping_one) for p in model.parameters()]
    for i in range(steps):
        squares.clear()
        loss = loss_of(model, batch(i))
        book.weights()
        loss.backward()
        book.stepped(loss=loss.item(), grad_norm=sum(squares) ** 0.5, tokens=TOKENS)
    for handle in handles:
        handle.remove()


# -- what a script makes beside model and optimizer; attach may stand before it or after


def scheduled(model: nn.Module, opts: Sequence[Optimizer]) -> Prepared:
    schedule = torch.optim.lr_scheduler.LambdaLR(opts[0], lambda i: 0.9**i)

    def loop(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
        for i in range(steps):
            loss = loss_of(model, batch(i))
            loss.backward()
            book.gradients()
            stepping(opts, book, loss=loss.item(), lr=1e-2 * 0.9**i, lr_scheduled=1e-2 * 0.9**i)
            schedule.step()

    return model, loop


def scaled_from_outside(model: nn.Module, opts: Sequence[Optimizer]) -> Prepared:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)

    def loop(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
        for i in range(steps):
            loss = loss_of(model, batch(i))
            scaler.scale(loss).backward()
            book.gradients(scaler.get_scale())
            book.weights()
            scaler.step(opts[0])
            scaler.update()
            book.stepped(loss=loss.item(), skipped=0.0, loss_scale=2.0**10)
            opts[0].zero_grad()

    return model, loop


def grown_beforehand(model: nn.Module, opts: Sequence[Optimizer]) -> Prepared:
    opts[0].add_param_group({"params": model.head.requires_grad_(True).parameters(), "lr": 1e-3})
    from training_loops import plain

    return model, plain


def loaded(model: nn.Module, opts: Sequence[Optimizer]) -> Prepared:
    """A checkpoint, from a twin that has trained for two steps."""
    from training_loops import plain

    twin = Net()
    trained = torch.optim.AdamW(twin.parameters(), lr=1e-3)
    plain(twin, [trained], Book([trained]), 2)
    model.load_state_dict(twin.state_dict())
    opts[0].load_state_dict(copy.deepcopy(trained.state_dict()))
    return model, plain


def compiled_model(model: nn.Module, opts: Sequence[Optimizer]) -> Prepared:
    torch._dynamo.reset()
    from training_loops import plain

    def loop(called: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
        plain(called, opts, book, steps)
        for step in book.steps:
            step.pop("tokens")  # a hook on what is compiled sees nothing; without a loader they are unknown

    return torch.compile(model, backend="eager", fullgraph=True), loop


def compiled_step(model: nn.Module, opts: Sequence[Optimizer]) -> Prepared:
    torch._dynamo.reset()
    from training_loops import plain

    opts[0].step = torch.compile(opts[0].step, backend="eager")  # type: ignore[method-assign]
    return model, plain


def compiled_whole(model: nn.Module, opts: Sequence[Optimizer]) -> Prepared:
    """The hand's arithmetic is done on a copy."""
    torch._dynamo.reset()

    @torch.compile(backend="eager")
    def whole(tokens: Tensor) -> Tensor:
        loss = loss_of(model, tokens)
        loss.backward()
        opts[0].step()
        opts[0].zero_grad()
        return loss

    def loop(_model: nn.Module, _opts: Sequence[Optimizer], book: Book, steps: int) -> None:
        for i in range(steps):
            twin = copy.deepcopy(model)
            grads = torch.autograd.grad(loss_of(twin, batch(i)), list(twin.parameters()))
            book.weights()
            loss = whole(batch(i))
            book.stepped(loss=loss.item(), grad_norm=torch.cat([g.double().flatten() for g in grads]).norm().item())

    return model, loop


def parallel(model: nn.Module, opts: Sequence[Optimizer]) -> Prepared:
    from training_loops import plain

    return nn.DataParallel(model), plain


