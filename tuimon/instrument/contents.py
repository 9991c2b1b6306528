"""What a checkpoint's contents must be before anything of a run is touched. CheckpointError, in one line, else.

A file whose digest is right was written by somebody who knows how, which says nothing about what is in it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final

import torch
from torch import Tensor

from tuimon.errors import CheckpointError, UsageError
from tuimon.instrument.overrides import Overrides
from tuimon.instrument.state import random_state, set_random_state

_SCALER: Final = ("scale", "growth", "growth_factor", "backoff_factor", "growth_interval")


def check_packing(file: BinaryIO) -> None:
    """A zip as torch writes it: nothing in it takes more room than it has in the file."""
    try:
        with zipfile.ZipFile(file) as packed:
            entries = packed.infolist()
    except (zipfile.BadZipFile, NotImplementedError):
        raise CheckpointError("refused, it is not as torch.save writes") from None
    size = file.seek(0, 2)
    if any(e.compress_type != zipfile.ZIP_STORED for e in entries) or sum(e.file_size for e in entries) > size:
        raise CheckpointError("refused, it would unpack to more than it holds")


def check_body(body: Any, step: int) -> None:
    """The shape of what `Checkpoints.save` writes."""
    if not isinstance(body, dict) or body.get("format") != 1:
        raise CheckpointError("its contents are of another version of tuimon")
    tensors, plain = body.get("tensors"), body.get("plain")
    if body.get("step") != step or not isinstance(tensors, dict) or not isinstance(plain, dict):
        raise CheckpointError("its contents do not match its manifest")
    if not all(isinstance(k, str) and is_plain(t) for k, t in tensors.items()):
        raise CheckpointError("its contents are not a training state")
    overrides, extra = body.get("overrides") or {}, body.get("extra") or {}
    if not (isinstance(overrides, dict) and isinstance(extra, dict)):
        raise CheckpointError("its contents are not what a run had in force")
    try:
        Overrides().load(overrides)
    except UsageError:
        raise CheckpointError("its contents are not what a run had in force") from None


def is_plain(value: Any) -> bool:
    """Whether it is a tensor in host memory that can be copied out of, and takes no more room copied."""
    return (isinstance(value, Tensor) and value.layout is torch.strided and not value.is_quantized
            and value.device.type == "cpu" and value.nbytes <= value.untyped_storage().nbytes())


def non_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The first parameter that holds a value which is not finite: going on from there is of no use."""
    for key, tensor in tensors.items():
        has_none = not (tensor.is_floating_point() or tensor.is_complex())
        if key.startswith("param/") and not (has_none or bool(torch.isfinite(tensor).all())):
            return key
    return None


def is_number(value: Any) -> bool:
    """Whether it can be calculated with."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_random(state: Any) -> None:
    """States that the random generators take; they are left as they were."""
    before = random_state()
    try:
        set_random_state(state)
    except Exception:  # each says it in its own way
        raise CheckpointError("its random numbers are none") from None
    finally:
        set_random_state(before)


def check_scale(numbers: Any) -> None:
    """A GradScaler's numbers."""
    if not isinstance(numbers, dict) or not all(is_number(numbers.get(name)) for name in _SCALER):
        raise CheckpointError("its loss scale is none")


def check_moves(schedules: Sequence[Any], saved: Any, due: Any) -> None:
    """One dictionary a schedule, which hides none of its methods, and the 0 or 1 step() calls that the loop owed it."""
    if not (isinstance(saved, list) and isinstance(due, list) and all(type(n) is int and 0 <= n <= 1 for n in due)):
        raise CheckpointError("its schedules are none")
    for schedule, entries in zip(schedules, saved, strict=True):
        if not isinstance(entries, Mapping) or not all(isinstance(k, str) for k in entries):
            raise CheckpointError("its schedules are none")
        hidden = next((k for k in entries if k == "optimizer" or callable(getattr(type(schedule), k, None))), None)
        if hidden is not None:
            raise CheckpointError(f"its schedule would replace {hidden!r:.40} of {type(schedule).__name__}")
        inner = getattr(schedule, "_schedulers", None)
        if isinstance(inner, list) and isinstance(entries.get("_schedulers"), list):
            check_moves(inner[: len(entries["_schedulers"])], entries["_schedulers"][: len(inner)], [])
