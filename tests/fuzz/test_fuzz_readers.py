"""No bytes from outside do more than cost themselves: by day a few that are made up by chance, by night as many as there is time for."""

from __future__ import annotations

import importlib.util
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.blind import mutated
from tests.fuzz.found import FOUND
from tests.fuzz.readers import READERS

MINUTES = float(os.environ.get("TUIMON_FUZZ_MINUTES", "2"))
"""By night, for each reader."""
BY_DAY = 12


@pytest.fixture
def folders(tmp_path):
    at, seeds = tmp_path / "at", tmp_path / "seeds"
    for path in (at, seeds):
        path.mkdir(mode=0o700)
    return at, seeds


@pytest.mark.parametrize("name", READERS)
def test_what_is_as_it_should_be_is_read_and_what_is_nearly_so_costs_itself(name, folders):
    (at, seeds), chance = folders, random.Random(7)
    known = READERS[name].seeds(seeds)
    assert known
    for data in [*known, *FOUND.get(name, []), *(mutated(chance, known) for _ in range(BY_DAY))]:
        READERS[name].read(at, data)


@pytest.mark.nightly
@pytest.mark.timeout(int(60 * MINUTES) + 300)
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed: pip install atheris")
@pytest.mark.parametrize("name", READERS)
def test_no_bytes_are_found_that_a_reader_cannot_stand(name, tmp_path):
    words = [sys.executable, "-m", "tests.fuzz", name, "--seconds", str(int(60 * MINUTES)), "--seed", str(random.randrange(1, 1 << 30))]
    fuzzed = subprocess.run(words, cwd=Path(__file__).parents[2], env={**os.environ, "TMPDIR": str(tmp_path)},
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", text=True, check=False)
    done = re.findall(r"^#(\d+)\s+DONE\s+cov: (\d+)", fuzzed.stdout, re.MULTILINE)
    print(f"{name}: {done}")
    kept = [path for path in tmp_path.iterdir() if path.is_file()]
    assert fuzzed.returncode == 0, f"{kept}: {fuzzed.stdout[-3000:]}"
    assert done
