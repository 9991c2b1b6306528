"""A report in a real browser: it is drawn, nothing complains, nothing leaves, and it fits a phone."""

from __future__ import annotations

import shutil
import struct
import subprocess
import threading
import zlib
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.viewer.synthetic import exploding
from tuimon.formats.judged import find
from tuimon.formats.report.gather import gather
from tuimon.formats.report.page import page

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed: apt-get install chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--enable-logging=stderr")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    run = exploding(root=tmp_path_factory.mktemp("runs"))
    (source,), _ = find([str(run.dir.path)])
    return page(gather(source, now=1_790_000_000.0))


def browse(tmp_path, words, *flags):
    """What it prints, and what its console says."""
    file = tmp_path / "report.html"
    file.write_text(words)
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, file.as_uri()],
        capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_it_is_drawn_and_the_console_stays_silent(tmp_path, words):
    dom, console = browse(tmp_path, words, "--dump-dom")
    assert console == []
    assert dom.count("<path") == words.count("<path") > 10
    assert "Exploding gradients" in dom


@pytest.fixture
def server():
    """An address, and the paths that were asked for there."""
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, *_):
            pass

    listening = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}", asked
    listening.shutdown()
    thread.join()
    listening.server_close()


def test_even_a_page_that_was_tampered_with_runs_nothing_and_asks_for_nothing(tmp_path, words, server):
    address, asked = server
    evil = f"<script>document.title='owned'</script><img src='{address}/x' onerror='document.title=1'><link rel=stylesheet href='{address}/y'>"
    dom, console = browse(tmp_path, words.replace("</main>", f"{evil}</main>"), "--dump-dom")
    assert asked == []
    assert "<title>exploding: Exploding gradients</title>" in dom
    assert len(console) >= 3   # each of them was tried, and refused


MEASURE = "<script>onload=()=>{document.title=`${document.documentElement.scrollWidth} of ${innerWidth}`}</script>"


def test_no_part_is_wider_than_a_phone(tmp_path, words):
    measured = words.replace("Content-Security-Policy", "Nothing").replace("</main>", f"{MEASURE}</main>").replace("<details", "<details open")
    dom, _ = browse(tmp_path, measured, "--window-size=390,900", "--dump-dom")
    wide, of = (int(n) for n in dom.split("<title>")[1].split("</title>")[0].split(" of "))
    assert wide <= of <= 500


def corner(path):
    """The top left pixel of a PNG."""
    raw, at, data = path.read_bytes(), 8, b""
    while at < len(raw):
        (size,), kind = struct.unpack(">I", raw[at:at + 4]), raw[at + 4:at + 8]
        data += raw[at + 8:at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    return tuple(zlib.decompress(data)[1:4])


def test_it_is_light_or_dark_as_the_reader_s_machine_is(tmp_path, words):
    for name, flags in {"light": (), "dark": ("--blink-settings=preferredColorScheme=0",)}.items():
        browse(tmp_path, words, "--window-size=800,600", f"--screenshot={tmp_path / name}.png", *flags)
    assert min(corner(tmp_path / "light.png")) > 240
    assert max(corner(tmp_path / "dark.png")) < 40
