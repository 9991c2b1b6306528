"""What tests that train share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture
def one_thread() -> None:
    """One torch thread and a fixed seed: tiny models, exact comparisons."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
