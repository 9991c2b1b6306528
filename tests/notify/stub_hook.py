"""A user's webhook, on loopback: it takes messages, or is slow, or says no."""

from __future__ import annotations

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


class Hook:
    """A context. `answers` are the statuses of the next requests, then 200; None hangs until the end."""

    def __init__(self, *answers: int | None, retry_after: str = "") -> None:
        self.got: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._answers, self._retry_after, self._over = list(answers), retry_after, threading.Event()
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = hook._answers.pop(0) if hook._answers else 200
                hook.got.put({"path": self.path, "answer": answer, "headers": dict(self.headers),
                              "body": json.loads(body) if "json" in self.headers["Content-Type"] else body.decode()})
                if answer is None:
                    hook._over.wait(60)
                    return
                self.send_response(answer)
                if hook._retry_after:
                    self.send_header("Retry-After", hook._retry_after)
                if 300 <= answer < 400:
                    self.send_header("Location", "http://127.0.0.1:1/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook/SECRET?key=SECRET"

    def next(self) -> dict[str, Any]:
        return self.got.get(timeout=60)

    def __enter__(self) -> Hook:  # noqa: PYI034  # Self is younger than Python 3.10
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
