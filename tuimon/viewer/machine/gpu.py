"""The child that asks the NVIDIA driver: a line on its input is a question, a line of JSON on its output the answer.

`python -m tuimon.viewer.machine.gpu`. In a process of its own because a driver may hang, and a call that hangs inside
the kernel takes whoever made it along. Standard library and pynvml (of nvidia-ml-py) only; it ends with its input. What
a GPU does not tell is null.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import Any, Final

MOST: Final = 16
"""GPUs that are asked."""
SLOWED: Final = (
    (0x4, "power limit"), (0x8, "hardware slowdown"), (0x20, "too hot"), (0x40, "too hot (hardware)"),
    (0x80, "power brake"), (0x2, "clocks were set"), (0x10, "sync boost"), (0x200, "board limit"),
    (0x400, "reliability voltage"),
)
"""Bits of the driver's answer why clocks are low, most telling first; idle and display are no reasons to tell."""


def main() -> int:
    """Answer until the questions end."""
    with contextlib.suppress(OSError):
        os.nice(10)
    try:
        import pynvml
    except ImportError:
        return _say({"absent": "package"})
    try:
        pynvml.nvmlInit()
    except Exception as error:
        return _say({"absent": "driver", "why": str(error)})
    for _ in sys.stdin:
        _say({"gpus": answer(pynvml)})
    return 0


def answer(nvml: Any) -> list[dict[str, Any]]:
    """All GPUs, by what pynvml or something of its shape says. Raises where it cannot count them: that is not none."""
    return [_one(nvml, index) for index in range(min(MOST, nvml.nvmlDeviceGetCount()))]


def _one(nvml: Any, index: int) -> dict[str, Any]:
    try:
        gpu = nvml.nvmlDeviceGetHandleByIndex(index)
    except Exception as error:
        return {"index": index, "lost": str(error)}
    name = _asked(nvml, "nvmlDeviceGetName", gpu)
    use, memory = _asked(nvml, "nvmlDeviceGetUtilizationRates", gpu), _asked(nvml, "nvmlDeviceGetMemoryInfo", gpu)
    bits = _asked(nvml, "nvmlDeviceGetCurrentClocksThrottleReasons", gpu)
    running = _asked(nvml, "nvmlDeviceGetComputeRunningProcesses", gpu) or []
    return {
        "index": index,
        "name": name.decode("utf-8", "replace") if isinstance(name, bytes) else name,
        "busy": _scaled(getattr(use, "gpu", None), 0.01),
        "memory": getattr(memory, "total", None), "memory_used": getattr(memory, "used", None),
        "power": _scaled(_asked(nvml, "nvmlDeviceGetPowerUsage", gpu), 1e-3),
        "power_limit": _scaled(_asked(nvml, "nvmlDeviceGetEnforcedPowerLimit", gpu), 1e-3),
        "temperature": _asked(nvml, "nvmlDeviceGetTemperature", gpu, 0),
        "clock": _asked(nvml, "nvmlDeviceGetClockInfo", gpu, 1),
        "clock_most": _asked(nvml, "nvmlDeviceGetMaxClockInfo", gpu, 1),
        "slowed": [word for bit, word in SLOWED if int(bits or 0) & bit],
        "processes": [[one.pid, one.usedGpuMemory] for one in running[:64]],
    }


def _asked(nvml: Any, what: str, *arguments: Any) -> Any:
    """The answer, or None: each GPU and driver refuses something ("not supported"), and names come and go."""
    try:
        return getattr(nvml, what)(*arguments)
    except Exception:
        return None


def _scaled(value: Any, factor: float) -> float | None:
    return None if value is None else float(value) * factor


def _say(answer: dict[str, Any]) -> int:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
