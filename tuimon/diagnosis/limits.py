"""Where the ordinary ends, for the statistics that all rules share; what is one rule's own stands with it. Pure."""

from __future__ import annotations

import math
from typing import Final

LOG2: Final = math.log(2.0)
LOG4: Final = math.log(4.0)
LOG5: Final = math.log(5.0)
OUTLYING: Final = 4.0
"""Standard deviations of the log gradient norm that a single one, or their smoothed mean, must lie above its usual."""
SMOOTHED: Final = 1 / 3
"""Standard deviation of that mean against that of a single value: weight 0.2, so sqrt(0.2 / 1.8)."""
EARLY: Final = 100
"""Rows after a start that the early rules were measured on."""
HOLD: Final = 256
"""Rows for which an open critical incident keeps the baselines as they were."""
NEAR: Final = 3
"""Rows within which two channels count as agreeing."""
LONG_AGO: Final = -(1 << 40)
HIGH_UPDATE: Final = 2e-2
"""An update ratio beyond which a step changes the weights too much."""
HEALTHY_UPDATE: Final = (1e-4, HIGH_UPDATE)
"""Between which update ratios training usually goes well."""
DIP: Final = 3
"""Update ratios in a row that are not high, and end the stretch of those that are."""
FEW_CHANGED: Final = 0.10
"""Share of the weights below which a step changes but few of them."""
LOG_HIGH_UPDATE: Final = math.log10(HIGH_UPDATE)
HALF: Final = ("bfloat16", "float16")
"""What weights may be kept in that cannot hold small steps."""
FIRST_ADAM: Final = 10
"""Rows after a start in which Adam moves every weight by the learning rate, whatever its gradient is."""
