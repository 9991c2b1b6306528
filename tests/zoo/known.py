"""Where we fall short, by name: what is listed here is expected to fail, and a surprise when it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SMALL: Final[Mapping[str, str]] = {
    "leak-20": "the loss first leaps, as the model has never seen such batches, and then falls from 2.5 to 0.26: the leap "
               "is told, the fall is not",
    "no-warmup-high-lr-20": "lost at step 4, found at step 8: an early divergence wants several losses in a row",
    "schedule-per-micro-batch-20": "called at step 197, where the rate is a thousandth of its peak, and the label's onset "
                                   "is step 200, where it is zero",
}
"""Run of the small zoo -> what is said of it instead, and why."""
