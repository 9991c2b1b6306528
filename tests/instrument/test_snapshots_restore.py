"""A run that was put back goes on exactly as if nothing had happened."""

import copy
import os

import pytest
import torch
from torch import nn

from tuimon.errors import CheckpointError, UsageError
from tuimon.instrument.snapshots import Snapshots, capture_copy
from tuimon.instrument.state import TrainingState

torch.set_num_threads(1)


class Net(nn.Module):
    """Two layers with a tied weight, a norm with buffers, a frozen tensor and an expanded buffer."""

    def __init__(self):
        super().__init__()
        self.one, self.norm, self.two = nn.Linear(6, 6, bias=False), nn.BatchNorm1d(6), nn.Linear(6, 6)
        self.two.weight = self.one.weight
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.register_buffer("wide", torch.zeros(1).expand(5))
        self.register_buffer("cache", torch.zeros(2), persistent=False)

    def forward(self, x):
        return self.two(torch.tanh(self.norm(self.one(x))))


OPTIMIZERS = {
    "adamw-foreach": lambda p: torch.optim.AdamW(p, 1e-2, foreach=True),
    "adamw-fused": lambda p: torch.optim.AdamW(p, 1e-2, fused=True),
    "adamw-amsgrad": lambda p: torch.optim.AdamW(p, 1e-2, amsgrad=True),
    "adamw-tensor-lr": lambda p: torch.optim.AdamW(p, torch.tensor(1e-2), foreach=False),
    "adam-loop": lambda p: torch.optim.Adam(p, 1e-2, foreach=False),
    "nadam": lambda p: torch.optim.NAdam(p, 1e-2),
    "radam": lambda p: torch.optim.RAdam(p, 1e-2),
    "sgd": lambda p: torch.optim.SGD(p, 1e-2),
    "sgd-momentum": lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9, dampening=0.5),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-3, momentum=0.5, centered=True),
    "adafactor": lambda p: torch.optim.Adafactor(p, 1e-2),
    "adagrad": lambda p: torch.optim.Adagrad(p, 1e-2, initial_accumulator_value=0.1),
    "rprop": lambda p: torch.optim.Rprop(p, 1e-3),
    "asgd": lambda p: torch.optim.ASGD(p, 1e-2, t0=2),
}


def setup(name="adamw-foreach", seed=0):
    torch.manual_seed(seed)
    net = Net()
    return net, OPTIMIZERS[name]([p for p in net.parameters() if p.requires_grad])


def train(net, optimizer, first, last, scale=1.0):
    """Updates first..last on data that depends on the step alone."""
    losses = []
    for step in range(first, last + 1):
        x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
        loss = (net(x) - x.roll(1, 1)).square().mean() * scale
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def everything(net, optimizer):
    return {k: t.clone() for k, t in TrainingState(net, optimizer).tensors().items()}


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for key in ours:
        assert torch.equal(ours[key], theirs[key]), key


@pytest.mark.parametrize("at", [0, 1, 5])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restored_run_continues_bit_for_bit_like_the_uninterrupted_one(name, at):
    net, optimizer = setup(name)
    train(net, optimizer, 1, at)
    snapshots = Snapshots(TrainingState(net, optimizer))
    snapshots.capture(at)
    straight = train(net, optimizer, at + 1, at + 6)
    after = everything(net, optimizer)
    train(net, optimizer, 50, 60, scale=1e4)
    snapshots.restore(at)
    assert train(net, optimizer, at + 1, at + 6) == straight
    assert_same(everything(net, optimizer), after)


def test_restoring_writes_into_the_same_storages_and_keeps_ties():
    net, optimizer = setup()
    train(net, optimizer, 1, 3)
    state = TrainingState(net, optimizer)
    snapshots = Snapshots(state)
    snapshots.capture(3)
    before = {k: t.data_ptr() for k, t in state.tensors().items()}
    train(net, optimizer, 4, 6)
    snapshots.restore(3)
    assert {k: t.data_ptr() for k, t in state.tensors().items()} == before
    assert net.two.weight is net.one.weight
    assert not any("two.weight" in k for k in before)
    assert "param/frozen" in before


def test_state_born_after_the_snapshot_keeps_its_address_in_capturable_groups():
    # torch refuses capturable on the CPU at step(), so the flag is raised between the steps
    net, optimizer = setup("nadam")
    snapshots = Snapshots(TrainingState(net, optimizer))
    snapshots.capture(0)
    train(net, optimizer, 1, 3)
    addresses = {h.key: h.value.data_ptr() for h in snapshots.state.held()}
    for group in optimizer.param_groups:
        group["capturable"] = True
    snapshots.restore(0)
    held = {h.key: h for h in snapshots.state.held()}
    assert {k: h.value.data_ptr() for k, h in held.items()} == addresses
    for h in held.values():
        assert torch.all(h.value == (1.0 if h.name == "mu_product" else 0.0)), h.key


def test_a_tensor_learning_rate_and_the_schedule_go_on_unless_asked_for():
    net, optimizer = setup("adamw-tensor-lr")
    snapshots = Snapshots(TrainingState(net, optimizer))
    train(net, optimizer, 1, 2)
    snapshots.capture(2)
    optimizer.param_groups[0]["lr"].fill_(0.5)
    snapshots.restore(2)
    assert optimizer.param_groups[0]["lr"].item() == 0.5


def test_lists_and_numbers_in_optimizer_state_come_back():
    torch.manual_seed(0)
    net = nn.Linear(4, 4)
    optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=3, history_size=3)
    x = torch.randn(8, 4)

    def closure():
        optimizer.zero_grad()
        loss = (net(x) - x.roll(1, 1)).square().mean()
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    snapshots = Snapshots(TrainingState(net, optimizer))
    snapshots.capture(3)
    straight = [optimizer.step(closure).item() for _ in range(3)]
    snapshots.restore(3)
    assert [optimizer.step(closure).item() for _ in range(3)] == straight


def test_a_compiled_model_is_not_recompiled_and_continues_bit_for_bit():
    torch._dynamo.reset()
    net, optimizer = setup()
    compiled = torch.compile(net, backend="aot_eager")
    state = TrainingState(compiled, optimizer)
    assert "param/one.weight" in state.tensors()
    snapshots = Snapshots(state)
    train(compiled, optimizer, 1, 2)
    snapshots.capture(2)
    straight = train(compiled, optimizer, 3, 5)
    snapshots.restore(2)
    with torch._dynamo.config.patch(error_on_recompile=True):
        assert train(compiled, optimizer, 3, 5) == straight


@pytest.mark.parametrize("at", [0, 2])
def test_the_loss_scale_goes_back_with_the_weights(at):
    net, optimizer = setup()
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=2)
    snapshots = Snapshots(TrainingState(net, optimizer, scaler))

    def steps(n):
        for step in range(n):
            x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step))
            scaler.scale(net(x).square().mean()).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()

    steps(at)
    snapshots.capture(at)
    before = scaler.state_dict()
    steps(5)
    address = scaler._scale.data_ptr()
    assert scaler.state_dict() != before
    snapshots.restore(at)
    assert scaler.state_dict() == before
    assert scaler._scale.data_ptr() == address


def test_parameters_that_only_an_optimizer_holds_are_named_and_restored():
    net, _ = setup()
    extra = nn.Parameter(torch.zeros(4))
    optimizer = torch.optim.SGD([{"params": list(net.one.parameters())}, {"params": [extra]}], lr=0.1)
    state = TrainingState(net, optimizer)
    assert state.tensors()["param/optimizer.0.1.0"].data_ptr() == extra.data_ptr()
    snapshots = Snapshots(state)
    snapshots.capture(0)
    with torch.no_grad():
        extra.fill_(3.0)
    snapshots.restore(0)
    assert torch.equal(extra, torch.zeros(4))


def test_two_optimizers_and_a_group_added_later():
    net, _ = setup()
    first = torch.optim.AdamW(net.one.parameters(), 1e-2)
    second = torch.optim.SGD([net.two.bias], 1e-2, momentum=0.9)
    snapshots = Snapshots(TrainingState(net, [first, second]))

    def step(n):
        for _ in range(n):
            net(torch.ones(4, 6)).sum().backward()
            first.step()
            second.step()
            net.zero_grad()

    step(2)
    snapshots.capture(2)
    kept = everything(net, [first, second])
    second.add_param_group({"params": list(net.norm.parameters())})
    step(2)
    snapshots.restore(2)
    assert_same(everything(net, [first, second]), kept)


def test_a_cache_that_grew_is_left_alone_but_a_grown_parameter_is_refused():
    net, optimizer = setup()
    snapshots = Snapshots(TrainingState(net, optimizer))
    snapshots.capture(0)
    net.cache = torch.ones(9)
    snapshots.restore(0)
    assert torch.equal(net.cache, torch.ones(9))
    net.frozen = nn.Parameter(torch.ones(4), requires_grad=False)
    with pytest.raises(CheckpointError, match=r"param/frozen is float32\[3\] there and float32\[4\] here"):
        snapshots.restore(0)


def test_tensors_made_in_inference_mode_do_not_stand_in_the_way():
    net, optimizer = setup()
    with torch.inference_mode():
        net.register_buffer("rope", torch.ones(3), persistent=False)
    snapshots = Snapshots(TrainingState(net, optimizer))
    snapshots.capture(0)
    kept = everything(net, optimizer)
    train(net, optimizer, 1, 2)
    snapshots.restore(0)
    assert_same(everything(net, optimizer), kept)


def test_a_snapshot_damaged_in_memory_is_refused_and_the_run_stays_as_it_is():
    net, optimizer = setup()
    train(net, optimizer, 1, 2)
    snapshots = Snapshots(TrainingState(net, optimizer))
    snapshots.capture(2)
    snapshots.seal(2)
    train(net, optimizer, 3, 3)
    snapshots._slots[0].host.tensors["param/one.weight"].view(torch.int32)[1, 1] ^= 1 << 7
    before = everything(net, optimizer)
    with pytest.raises(CheckpointError, match="damaged in memory"):
        snapshots.restore(2)
    assert_same(everything(net, optimizer), before)


def test_a_snapshot_of_weights_that_were_not_finite_is_refused():
    net, optimizer = setup()
    snapshots = Snapshots(TrainingState(net, optimizer))
    with torch.no_grad():
        net.two.bias[2] = float("nan")
    snapshots.capture(1)
    with pytest.raises(CheckpointError, match=r"non-finite values in param/two\.bias"):
        snapshots.restore(1)


class Stubborn(torch.Tensor):
    """A tensor whose memory cannot be written; what stands before it in the same call is, as a device would."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func.__name__ == "copy_":
            raise RuntimeError("device lost\nand a trace")
        if func.__name__ == "_foreach_copy_" and any(type(t) is Stubborn for t in args[0]):
            last = next(i for i, t in enumerate(args[0]) if type(t) is Stubborn)
            torch._foreach_copy_(args[0][:last], args[1][:last])
            raise RuntimeError("device lost\nand a trace")
        return super().__torch_function__(func, types, args, kwargs or {})


def test_a_restore_that_fails_half_way_leaves_the_run_as_it_was():
    net, optimizer = setup("sgd-momentum")
    net.register_buffer("zz", torch.zeros(3))
    snapshots = Snapshots(TrainingState(net, optimizer))
    snapshots.capture(0)
    train(net, optimizer, 1, 3)
    before = everything(net, optimizer)
    net.zz = torch.zeros(3).as_subclass(Stubborn)
    with pytest.raises(CheckpointError, match=r"not restored, the run is as it was: device lost$"):
        snapshots.restore(0)
    net.zz = torch.zeros(3)
    assert_same(everything(net, optimizer), before)
    snapshots.restore(0)
    assert not optimizer.state.get(net.one.weight)


def test_sparse_tensors_are_refused_in_one_line():
    net, optimizer = setup()
    net.register_buffer("sparse", torch.eye(3).to_sparse())
    with pytest.raises(CheckpointError, match=r"buffer/sparse is a torch\.sparse_coo tensor"):
        Snapshots(TrainingState(net, optimizer)).capture(0)


def test_uninitialised_and_meta_parameters_are_passed_over():
    net = nn.Sequential(nn.LazyLinear(3), nn.Linear(2, 2, device="meta"), nn.Linear(2, 2))
    state = TrainingState(net, torch.optim.SGD(net[2].parameters(), lr=0.1))
    assert set(state.tensors()) == {"param/2.weight", "param/2.bias"}


def test_a_sharded_tensor_is_copied_by_its_local_part(tmp_path):
    import torch.distributed as dist
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor, init_device_mesh

    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        net = nn.Linear(4, 4, bias=False)
        net.weight = nn.Parameter(distribute_tensor(net.weight.detach(), mesh, [Shard(0)]))
        optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
        snapshots = Snapshots(TrainingState(net, optimizer))

        def step():
            net.weight.grad = distribute_tensor(torch.ones(4, 4), mesh, [Shard(0)])
            optimizer.step()

        step()
        snapshots.capture(1)
        kept = net.weight.to_local().clone()
        step()
        step_two = net.weight.to_local().clone()
        optimizer.state.clear()
        snapshots.restore(1)
        assert torch.equal(net.weight.to_local(), kept)
        assert isinstance(optimizer.state[net.weight]["exp_avg"], DTensor)
        step()
        assert torch.equal(net.weight.to_local(), step_two)
    finally:
        dist.destroy_process_group()


def test_capturing_changes_nothing_about_the_run():
    net, optimizer = setup()
    other, bare = copy.deepcopy(net), None
    bare = OPTIMIZERS["adamw-foreach"]([p for p in other.parameters() if p.requires_grad])
    snapshots = Snapshots(TrainingState(net, optimizer))
    torch.manual_seed(5)
    watched = []
    for step in range(1, 6):
        snapshots.capture(step)
        watched += train(net, optimizer, step, step)
    dice = torch.rand(3)
    torch.manual_seed(5)
    assert watched == train(other, bare, 1, 5)
    assert torch.equal(dice, torch.rand(3))


def test_buffers_are_reused_so_that_steady_captures_allocate_nothing():
    net, optimizer = setup()
    snapshots = Snapshots(TrainingState(net, optimizer), slots=3)
    train(net, optimizer, 1, 1)
    for step in range(1, 4):
        snapshots.capture(step)
    memory = {t.data_ptr() for s in snapshots._slots for t in s.host.tensors.values()}
    for step in range(4, 9):
        snapshots.capture(step)
    assert {t.data_ptr() for s in snapshots._slots for t in s.host.tensors.values()} == memory


def test_preparing_allocates_the_remaining_slots_in_the_shape_of_the_newest():
    net, optimizer = setup()
    snapshots = Snapshots(TrainingState(net, optimizer), slots=3)
    snapshots.prepare()
    train(net, optimizer, 1, 1)
    snapshots.capture(1)
    snapshots.prepare()
    memory = {t.data_ptr() for h in snapshots._spare for t in h.tensors.values()}
    snapshots.capture(2)
    snapshots.capture(3)
    assert {t.data_ptr() for s in snapshots._slots[1:] for t in s.host.tensors.values()} == memory


def test_a_copy_for_a_writer_needs_no_snapshots_and_is_given_back_once():
    net, optimizer = setup()
    captured = capture_copy(TrainingState(net, optimizer), 3)
    assert torch.equal(captured.tensors["param/one.weight"], net.one.weight)
    assert captured.bytes > 0
    captured.release()
    captured.release()
    with pytest.raises(CheckpointError, match="given back already"):
        _ = captured.tensors


def test_too_few_slots_are_refused():
    with pytest.raises(UsageError, match="at least 3"):
        Snapshots(TrainingState(*setup()), slots=2)


def test_what_does_not_fit_says_why():
    net, optimizer = setup()
    snapshots = Snapshots(TrainingState(net, optimizer))
    good = snapshots.fits()
    assert good
    assert 0 < good.needed < good.available
    assert good.available <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    poor = snapshots.fits(fraction=1e-12)
    assert not poor
    assert "4 snapshots need 0.0 GB" in poor.why
    assert "checkpoints on disk only" in poor.why


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_cuda_copies_overlap_and_restore_bit_for_bit():
    net, _ = setup()
    net.cuda()
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 1e-2, fused=True)

    def steps(first, last):
        losses = []
        for step in range(first, last + 1):
            x = torch.randn(8, 6, generator=torch.Generator().manual_seed(step)).cuda()
            loss = net(x).square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
        return [v.item() for v in losses]

    snapshots = Snapshots(TrainingState(net, optimizer))
    steps(1, 3)
    torch.cuda.set_sync_debug_mode("error")
    try:
        snapshots.capture(3)
        snapshots.capture(3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    straight = steps(4, 9)
    snapshots.restore(3)
    assert steps(4, 9) == straight
