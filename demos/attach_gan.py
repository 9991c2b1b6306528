"""Two networks, two optimizers, two monitors: each records its own loss and gradients."""

import sys

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

import tuimon

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 400
torch.manual_seed(0)
torch.set_num_threads(1)  # more threads cost models this small more than they give


def real(n: int) -> torch.Tensor:
    """Points on a ring."""
    angle = 2 * torch.pi * torch.rand(n)
    return torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(n, 2)


generator = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
critic = nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
generator_optimizer = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.99))
critic_optimizer = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.5, 0.99))

generator_monitor = tuimon.attach(generator, generator_optimizer, name="gan-generator", total_steps=steps)  # this one
critic_monitor = tuimon.attach(critic, critic_optimizer, name="gan-critic", total_steps=steps)  # and this one

for _ in range(steps):
    points, noise = real(64), torch.randn(64, 8)
    fake = generator(noise)

    guesses = torch.cat([critic(points), critic(fake.detach())])
    truth = torch.cat([torch.ones(64, 1), torch.zeros(64, 1)])
    critic_optimizer.zero_grad()
    binary_cross_entropy_with_logits(guesses, truth).backward()
    critic_optimizer.step()

    generator_optimizer.zero_grad()
    softplus(-critic(fake)).mean().backward()
    generator_optimizer.step()
    generator_monitor.log(radius=fake.norm(dim=1).mean())  # any number; here it should come to 1

print(f"mean radius of what it makes: {generator(torch.randn(1000, 8)).norm(dim=1).mean().item():.2f}")
