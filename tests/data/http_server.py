"""A web server on this machine that misbehaves as told, for the tests of downloads."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Server:
    """`content` is served at every path. `faults` are used up, one a request; afterwards all goes well.

    A fault is a status such as 503; or ("cut", n): close the connection after n bytes; or ("stall", n): send nothing
    more after n bytes; or ("chunk", n): the same as a cut, without telling a length; or ("range", text): answer with
    that Content-Range.
    """

    content: bytes
    faults: list = field(default_factory=list)
    ignores_ranges: bool = False
    requests: list[str | None] = field(default_factory=list)  # the Range header of each request
    url: str = ""


@contextmanager
def serve(content: bytes, faults: list | None = None, ignores_ranges: bool = False) -> Iterator[Server]:
    state = Server(content, list(faults or []), ignores_ranges)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested = self.headers.get("Range")
            state.requests.append(requested)
            fault = state.faults.pop(0) if state.faults else None
            if isinstance(fault, int):
                self.send_error(fault)
                return
            kind, argument = fault or (None, None)
            start = int(requested[len("bytes=") : -1]) if requested and not state.ignores_ranges else 0
            if start >= len(state.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(state.content)}")
                self.end_headers()
                return
            body = state.content[start:]
            self.send_response(206 if requested and not state.ignores_ranges else 200)
            if requested and not state.ignores_ranges:
                content_range = f"bytes {start}-{len(state.content) - 1}/{len(state.content)}"
                self.send_header("Content-Range", argument if kind == "range" else content_range)
            if kind == "chunk":
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(b"%x\r\n" % argument + body[:argument] + b"\r\n")
                return
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:argument] if kind in ("cut", "stall") else body)
            if kind == "stall":
                self.wfile.flush()
                time.sleep(0.6)

        def log_message(self, *_) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_port}/data.bin"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
