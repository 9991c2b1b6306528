"""What tests of other people's trainers share: one thread, one seed, no network, nothing left over between tests."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

for _name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY"):
    os.environ[_name] = "1"  # read when the frameworks are imported


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiny models, exact comparisons; whoever looks for a network is told that there is none."""
    import torch

    def refuse(*address: Any) -> None:
        raise AssertionError(f"somebody wants to reach {address}")

    torch.set_num_threads(1)
    torch.manual_seed(0)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    if "accelerate" in sys.modules:
        from accelerate.state import AcceleratorState, GradientState

        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
