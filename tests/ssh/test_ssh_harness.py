"""The far machine of these tests is one: a real sshd, with links as bad as they say."""

from __future__ import annotations

import subprocess
import time

import pytest
from sshd import FarMachine


@pytest.mark.parametrize(("host", "said"), [
    ("far", "tuimon"), ("jump", "tuimon"), ("line", "tuimon"), ("noisy", "Welcome to node7.\n\x1b[1;31m* 3 updates wait *\x1b[0m\ntuimon"),
])
def test_every_way_leads_to_the_same_far_side(far: FarMachine, host, said):
    done = far.run(host, 'tuimon --version && echo "$TUIMON_RUNS"')
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(said)
    assert done.stdout.endswith(f"{far.runs}\n")


def test_on_a_bare_one_there_is_python_and_nothing_else(far: FarMachine):
    done = far.run("bare", 'tuimon; echo $?; for m in zlib json numpy tuimon; do python3 -c "import $m"; echo $?; done')
    assert done.stdout.split() == ["127", "0", "0", "1", "1"]
    assert far.run("nopython", "python3 -V").returncode == 127


def test_a_link_has_its_rate_and_delay_and_counts_what_it_carries(far: FarMachine):
    slow = far.host("modem", delay=0.02, rate=64_000)
    with subprocess.Popen(far.argv(slow, "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        assert cat.stdin is not None
        assert cat.stdout is not None
        cat.stdin.write(b"x")
        cat.stdin.flush()
        assert cat.stdout.read(1) == b"x"
        before, begun = far.link(slow).carried(), time.monotonic()
        cat.stdin.write(b"y" * 16_000)
        cat.stdin.close()
        assert len(cat.stdout.read()) == 16_000
        assert time.monotonic() - begun > 16_000 / 64_000 + 2 * 0.02   # never faster, whatever the machine does
    up, down = (after - was for after, was in zip(far.link(slow).carried(), before, strict=True))
    assert 16_000 < up < 18_000
    assert 16_000 < down < 18_000


def test_a_frozen_link_carries_nothing_and_goes_on_where_it_was_and_a_cut_one_ends(far: FarMachine):
    link = far.link("line")
    with subprocess.Popen(far.argv("line", "cat"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
        assert cat.stdin is not None
        assert cat.stdout is not None
        cat.stdin.write(b"a")
        cat.stdin.flush()
        assert cat.stdout.read(1) == b"a"
        link.freeze()
        cat.stdin.write(b"b")
        cat.stdin.flush()
        link.thaw()
        assert cat.stdout.read(1) == b"b"
        link.cut()
        assert cat.stdout.read() == b""
    assert cat.returncode == 255
    assert far.run("line", "true").returncode == 255
    link.mend()
    assert far.run("line", "true").returncode == 0
