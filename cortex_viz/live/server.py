"""The pages of a training, served to browsers on this machine: `http.server`, with a secret in the address.

::

    GET  /TOKEN/             the page, with all that the board holds now
    GET  /TOKEN/events       server-sent events: what changes on the board from then on
    POST /TOKEN/stop         asks for the end of the training; needs the header X-Cortex
    POST /TOKEN/checkpoint   asks for a checkpoint; answered when it is written; needs the header X-Cortex

All else is 403: another path, a token that is not this one, and a Host that is not this server's, by which a
page from elsewhere would reach it under a name of its own (DNS rebinding).  What changes something needs a
header that no page of another origin may send, and the own origin.
"""

from __future__ import annotations

import errno
import hmac
import ipaddress
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

from cortex_compute.errors import ArgumentError, CortexError
from cortex_viz.live.board import Board, Wishes

PATIENCE = 10.0  # seconds that a browser has to send its request, and to take each piece of what it is sent
PIECE = 1 << 16  # bytes
HEARTBEAT = 5.0  # seconds between two signs of life, where nothing changes
CONNECTIONS = 64  # at once: each is a thread
FAREWELL = 1.0  # seconds in which browsers may fetch the last state
HEADER = "X-Cortex"


class Server(ThreadingHTTPServer):
    """Serves a board to any number of browsers, in threads of its own, until `finish`.

    ``port`` 0 takes any that is free.  ``page`` makes the page of what the board holds.  Raises
    `ArgumentError` where host and port cannot be had.
    """

    allow_reuse_address = os.name == "posix"  # on Windows it would share the port with others

    def __init__(
        self, host: str, port: int, token: str, board: Board, wishes: Wishes, page: Callable[[int, Any], str]
    ) -> None:
        self.host, self.token = host.lower(), token
        self.board, self.wishes, self.page = board, wishes, page
        self._open: dict[Any, threading.Thread] = {}
        self._lock = threading.Lock()
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            self.address_family = found[0][0]
            super().__init__((host, port), Handler)
        except (OSError, OverflowError) as error:
            where = f"port {port} of {host}" if port else host
            advice = "give another --live-port, or none for any that is free"
            if isinstance(error, socket.gaierror) or getattr(error, "errno", None) == errno.EADDRNOTAVAIL:
                advice = "give an address of this machine as --live-host, or none for 127.0.0.1"
            why = getattr(error, "strerror", None) or error
            raise ArgumentError(f"the live page cannot be served at {where} ({why}): {advice}") from None
        self._loop = threading.Thread(target=self.serve_forever, args=(0.1,), name="cortex live", daemon=True)

    def server_bind(self) -> None:
        """Takes the port.  What the standard library adds is a look-up of the host's name, which may take
        seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    @property
    def address(self) -> str:
        """Where the page is, with the secret."""
        host = self.host
        if _is_number(host) and ipaddress.ip_address(host).is_unspecified:  # all addresses of this machine
            host = socket.gethostname()
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.server_port}/{self.token}/"

    def start(self) -> None:
        """Begins to serve."""
        self._loop.start()

    def finish(self) -> None:
        """Ends all of it, once each browser has the last state, or soon (`FAREWELL`): no thread is left."""
        due = time.monotonic() + FAREWELL
        self.wishes.end()  # their threads wait for an answer, which nobody else would give
        self.board.close()
        for thread in self._readers().values():
            thread.join(max(0.0, due - time.monotonic()))
        self.shutdown()
        self._loop.join()
        left = self._readers()
        for connection in left:
            _hang_up(connection)
        for thread in left.values():
            thread.join()
        self.server_close()

    @property
    def watched(self) -> bool:
        """Whether a browser is there."""
        return bool(self._open)

    def _readers(self) -> dict[Any, threading.Thread]:
        with self._lock:
            return dict(self._open)

    def knows(self, host: str) -> bool:
        """Whether a Host header names this server; its port may be that of a tunnel."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in (self.host, "localhost") or _is_loopback(name):
            return True
        # Where others are let in it has more than one name; a number is what a stranger's name is not.
        return not _is_loopback(self.host) and (name == socket.gethostname().lower() or _is_number(name))

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for each connection, known until it ends."""
        work = threading.Thread(
            target=self.process_request_thread,
            args=(request, client_address),
            name="cortex page",
            daemon=True,
        )
        with self._lock:
            self._open[request] = work
        work.start()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is a thread left for it."""
        return len(self._open) < CONNECTIONS

    def shutdown_request(self, request: Any) -> None:
        """The end of a connection."""
        super().shutdown_request(request)
        with self._lock:
            self._open.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no error."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _hang_up(connection: socket.socket) -> None:
    """Wakes the thread that reads from, or writes to, a connection."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it has ended by itself


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_number(host) and ipaddress.ip_address(host).is_loopback)


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def new_token() -> str:
    """A secret that nobody guesses: 128 bits."""
    return secrets.token_urlsafe(16)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    timeout = PATIENCE
    server_version, sys_version = "cortex", ""

    def do_GET(self) -> None:
        asked = self._asked()
        if asked == "":
            version, entries = self.server.board.read()
            self._answer(200, self.server.page(version, entries), "text/html")
        elif asked == "events":
            self._events()
        else:
            self._refuse()

    def do_POST(self) -> None:
        asked = self._asked() if self._from_own_page() else None
        if asked == "stop":
            there = self.server.wishes.stop()
            self._answer(202 if there else 409, "stopping" if there else "the training is over")
        elif asked == "checkpoint":
            try:
                self._answer(200, self.server.wishes.checkpoint().result())
            except (CortexError, OSError) as error:
                self._answer(409, str(error))
        else:
            self._refuse()

    def _refuse(self) -> None:
        self._answer(403, "This page has a secret in its address: take the one that the training printed.\n")

    do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse

    def _asked(self) -> str | None:
        """What follows the token in the path; None where the token, or the host, is not this server's."""
        token, _, rest = self.path.partition("?")[0].lstrip("/").partition("/")
        known = hmac.compare_digest(token.encode(), self.server.token.encode())
        hosts = self.headers.get_all("Host", [])
        return rest if known and len(hosts) == 1 and self.server.knows(hosts[0]) else None

    def _from_own_page(self) -> bool:
        origin = self.headers.get("Origin", f"http://{self.headers.get('Host')}")
        return HEADER in self.headers and origin == f"http://{self.headers.get('Host')}"

    def _events(self) -> None:
        """All changes as they come, until the end of the training, or until nobody reads any more."""
        since = _number(self.headers.get("Last-Event-ID") or self.path.partition("?since=")[2])
        self._head(200, "text/event-stream")
        more = True
        while more:
            more = self.server.board.wait(since, HEARTBEAT)
            now, changes = self.server.board.read(since)
            event = f"id: {now}\ndata: {json.dumps(changes)}\n\n" if changes else ": nothing new\n\n"
            self._send(event.encode())
            since = now

    def _answer(self, status: int, content: str, kind: str = "text/plain") -> None:
        body = content.encode()
        self._head(status, kind, len(body))
        if self.command != "HEAD":
            self._send(body)

    def _send(self, body: bytes) -> None:
        """In pieces: a socket's timeout is for all that it is given at once."""
        for start in range(0, len(body), PIECE):
            self.wfile.write(body[start : start + PIECE])

    def _head(self, status: int, kind: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: standard error is the training's."""


HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address is a secret
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # no page from elsewhere lays the buttons under its own
    "Cross-Origin-Resource-Policy": "same-origin",
}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
