"""Training scripts as people write them: none of them knows tuimon, but for OWN."""

PLAIN = """
import argparse, pickle, sys
from dataclasses import dataclass
import torch
from torch import nn

torch.set_num_threads(1)
parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--steps", type=int, default=12)
parser.add_argument("-m", dest="momentum", type=float, default=0.9)


@dataclass
class Batch:
    x: torch.Tensor
    y: torch.Tensor


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.out = nn.Linear(8, 11)

    def forward(self, x):
        return self.out(self.embed(x))


def main(args):
    torch.manual_seed(0)
    net = Net()
    opt = torch.optim.SGD(net.parameters(), lr=args.lr, momentum=args.momentum)
    schedule = torch.optim.lr_scheduler.StepLR(opt, 4)
    for step in range(args.steps):
        total = 0.0
        for _ in range(2):
            batch = Batch(torch.randint(0, 11, (4, 5)), torch.randint(0, 11, (4, 5)))
            loss = nn.functional.cross_entropy(net(batch.x).flatten(0, 1), batch.y.flatten()) / 2
            loss.backward()
            total += loss.item()
        opt.step()
        schedule.step()
        opt.zero_grad()
        print(f"\\rstep {step} {total.hex()}", end="")
    print()
    assert type(pickle.loads(pickle.dumps(batch))) is Batch
    print("facts", sys.argv, __name__, __file__, sys.path[0], sys.modules["__main__"].Net is Net, open("data.txt").read())


if __name__ == "__main__":
    main(parser.parse_args())
"""

LOADER = """
import sys
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)

if __name__ == "__main__":
    data = TensorDataset(torch.randn(48, 6), torch.randn(48, 1))
    loader = DataLoader(data, batch_size=4, num_workers=2, multiprocessing_context=sys.argv[1])
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
    opt = torch.optim.Adam(model.parameters())
    for x, y in loader:
        opt.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        opt.step()
"""

GAN = """
import torch
from torch import nn

torch.set_num_threads(1)


class Generator(nn.Sequential): ...
class Discriminator(nn.Sequential): ...


g = Generator(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 6))
d = Discriminator(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1))
opt_d = torch.optim.Adam(d.parameters())
opt_g = torch.optim.Adam(g.parameters())
for step in range(7):
    fake = g(torch.randn(8, 4))
    loss_d = d(torch.randn(8, 6)).mean() - d(fake.detach()).mean()
    opt_d.zero_grad(); loss_d.backward(); opt_d.step()
    loss_g = -d(fake).mean()
    opt_g.zero_grad(); loss_g.backward(); opt_g.step()
    print("losses", step, loss_g.item().hex(), loss_d.item().hex())
"""

SWEEP = """
import torch
from torch import nn

torch.set_num_threads(1)
for width in (4, 8, 16):
    model = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))
    opt = torch.optim.AdamW(model.parameters())
    for _ in range(width):
        opt.zero_grad()
        model(torch.randn(5, 3)).square().mean().backward()
        opt.step()
"""

OWN = """
import os
import torch, tuimon
from torch import nn

torch.set_num_threads(1)
model = nn.Linear(3, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
if os.environ.get("EARLY"):
    model(torch.randn(2, 3)).sum().backward()  # a first look, before anybody attaches
    opt.zero_grad()
monitor = tuimon.attach(model, opt)
print("dir", monitor.run_dir)
for _ in range(5):
    opt.zero_grad()
    model(torch.randn(5, 3)).square().mean().backward()
    opt.step()
"""

SEVERAL = """
import copy
import torch
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x):
        return self.head(self.body(x).relu())


def train(kind, net, *opts, scaler=None):
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    opts = list(opts)
    for step in range(4):
        if kind == "Later" and step == 2:
            opts.append(torch.optim.Adam(net.head.parameters()))
        x = torch.randn(5, 3)
        if kind == "Grad":
            loss = net(x).square().mean()
            for p, g in zip(net.parameters(), torch.autograd.grad(loss, list(net.parameters()))):
                p.grad = g
            opts[0].step()
        elif kind == "Closure":
            def closure():
                opts[0].zero_grad()
                loss = net(x).square().mean()
                loss.backward()
                return loss
            loss = opts[0].step(closure)
        else:
            loss = net(x).square().mean()
            for opt in opts:
                opt.zero_grad()
            scaler.scale(loss).backward()
            for opt in opts:
                scaler.step(opt)
            scaler.update()
        print("loss", kind, float(loss).hex())


class Several(Net): ...  # several optimizers of one model, and a copy of it that nobody trains
def several():
    net = Several()
    ema = copy.deepcopy(net)
    train("Several", net, torch.optim.SGD(net.body.parameters(), lr=0.1), torch.optim.Adam(net.head.parameters()))

class Wrapped(Net): ...  # the optimizer was given what is inside of the wrapper
def wrapped():
    net = Wrapped()
    train("Wrapped", torch.compile(net, backend="eager"), torch.optim.Adam(net.parameters()))

class Closure(Net): ...
def closure():
    net = Closure()
    train("Closure", net, torch.optim.LBFGS(net.parameters(), max_iter=2))

class Grad(Net): ...  # no backward at all
def grad():
    net = Grad()
    train("Grad", net, torch.optim.SGD(net.parameters(), lr=0.1))

class Later(Net): ...  # a second optimizer of the same model, made after the first has begun
def later():
    net = Later()
    train("Later", net, torch.optim.SGD(net.parameters(), lr=0.1))

class Scaled(Net): ...
def scaled():
    net = Scaled()
    train("Scaled", net, torch.optim.SGD(net.parameters(), lr=0.01), scaler=torch.amp.GradScaler("cpu", init_scale=1024.0))

class Encoder(nn.Linear): ...  # one optimizer over two modules
class Decoder(nn.Linear): ...
def parts():
    encoder, decoder = Encoder(3, 4), Decoder(4, 1)
    train("Encoder+Decoder", lambda x: decoder(encoder(x)), torch.optim.Adam([*encoder.parameters(), *decoder.parameters()]))

def loose():  # tensors that no module holds
    weight = torch.randn(3, 1, requires_grad=True)
    train("tensors", lambda x: x @ weight, torch.optim.SGD([weight], lr=0.1))

class Bagged(Net): ...  # a list of models is no model
def bagged():
    bag = nn.ModuleList([Bagged(), Net()])
    train("Bagged", bag[0], torch.optim.SGD(bag[0].parameters(), lr=0.1))

for example in (scaled, several, wrapped, closure, grad, later, parts, loose, bagged):
    example()
"""

PARTS_OF = {"never.py": "print('nothing to train here')\n",
            "crashes.py": SWEEP.replace("(4, 8, 16)", "(4,)") + "raise ValueError('no such layer')\n"}
