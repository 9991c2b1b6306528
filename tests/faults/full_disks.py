"""Disks that really are full: a small file system of one's own, and what fills it. Skipped where nothing can be mounted."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager, suppress

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@contextmanager
def mounted(where, *arguments):
    """A file system at `where`, which is made."""
    where.mkdir()
    done = subprocess.run(["mount", *arguments, str(where)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no mount here: {done.stderr.strip()}")
    try:
        yield where
    finally:
        subprocess.run(["umount", "-l", str(where)], check=True)


@contextmanager
def filled(where):
    """Not a byte is left there for anything new, until it ends."""
    ballast = os.open(where / "ballast", os.O_WRONLY | os.O_CREAT)
    try:
        for size in (4096, 1):
            with suppress(OSError):
                while True:
                    os.write(ballast, bytes(size))
        yield
    finally:
        os.close(ballast)
        os.unlink(where / "ballast")
