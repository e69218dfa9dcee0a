"""Who may see, and who may stop, a training."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cortex_compute.errors import ArgumentError
from cortex_viz.live.board import Board, Wishes
from cortex_viz.live.server import Server

TOKEN = "a-secret"
OWN = {"X-Cortex": "live"}


def made(host: str = "127.0.0.1", port: int = 0) -> Server:
    return Server(host, port, TOKEN, Board(), Wishes(), lambda version, entries: f"{version} {entries}")


@pytest.fixture
def server() -> Iterator[Server]:
    server = made()
    server.start()
    yield server
    server.finish()
    assert not threads()


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("cortex ")]


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    reply = connection.getresponse()
    body = reply.read().decode()
    connection.close()
    return reply.status, body


def test_the_page_is_what_the_board_holds(server: Server) -> None:
    server.board.put({"a": "ä"})
    assert ask(server, f"/{TOKEN}/") == (200, "1 {'a': 'ä'}")


PATHS = """
/ /a-secre/ /a-secret2/ /A-SECRET/ // /a-secret/other /a-secret/../ //[x /%61-secret/ /events /a-secre/events
/favicon.ico /?a-secret/ /ä/ http://127.0.0.1/a-secret/
"""
HOSTS = """
evil.example evil.example:PORT [ 127.0.0.1.evil.example:PORT 10.0.0.1:PORT localhost.evil.example
127.0.0.1@evil.example evil.example#localhost 0x7f.1 [::2]:PORT
"""


@pytest.mark.parametrize("path", PATHS.split())
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_all_but_the_secret_is_refused(server: Server, path: str, method: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.putrequest(method, "/", skip_host=True)
    connection._buffer[0] = f"{method} {path} HTTP/1.1".encode("latin-1")  # type: ignore[attr-defined]
    connection.putheader("Host", f"127.0.0.1:{server.server_port}")
    connection.putheader("X-Cortex", "live")
    connection.endheaders()
    reply = connection.getresponse()
    assert reply.status == 403
    assert TOKEN not in reply.read().decode()
    connection.close()
    assert not server.wishes.pending


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"])
def test_other_methods_are_refused(server: Server, method: str) -> None:
    assert ask(server, f"/{TOKEN}/stop", method, **OWN)[0] == 403


@pytest.mark.parametrize("host", [*HOSTS.split(), ""])
def test_another_host_is_refused(server: Server, host: str) -> None:
    host = host.replace("PORT", str(server.server_port))
    assert ask(server, f"/{TOKEN}/", Host=host)[0] == 403
    assert ask(server, f"/{TOKEN}/stop", "POST", Host=host, **OWN)[0] == 403
    assert not server.wishes.pending


@pytest.mark.parametrize(
    "host", ["127.0.0.1:PORT", "localhost:PORT", "LOCALHOST", "127.0.0.1:9000", "[::1]:80"]
)
def test_own_names_are_known(server: Server, host: str) -> None:
    """Behind a tunnel the port is another one."""
    assert ask(server, f"/{TOKEN}/", Host=host.replace("PORT", str(server.server_port)))[0] == 200


def test_no_host_and_two_hosts_are_refused(server: Server) -> None:
    own = f"Host: 127.0.0.1:{server.server_port}\r\n"
    for hosts, status in (("", 403), (own * 2, 403), (own, 200)):
        with socket.create_connection(("127.0.0.1", server.server_port), 60) as connection:
            connection.sendall(f"GET /{TOKEN}/ HTTP/1.0\r\n{hosts}\r\n".encode())
            assert int(connection.makefile("rb").readline().split()[1]) == status


def test_what_changes_something_comes_from_the_own_page_alone(server: Server) -> None:
    path, own = f"/{TOKEN}/stop", f"http://127.0.0.1:{server.server_port}"
    assert ask(server, path)[0] == 403
    assert ask(server, path, "POST")[0] == 403
    assert ask(server, path, "POST", Origin="http://evil.example", **OWN)[0] == 403
    assert ask(server, path, "POST", Origin="null", **OWN)[0] == 403
    assert not server.wishes.pending
    assert ask(server, path, "POST", Origin=own, **OWN) == (202, "stopping")
    assert server.wishes.pending
    server.wishes.end()
    assert ask(server, path, "POST", **OWN)[0] == 409


def test_a_checkpoint_is_answered_when_it_is_written(server: Server) -> None:
    answers: list[Any] = []
    asker = threading.Thread(
        target=lambda: answers.append(ask(server, f"/{TOKEN}/checkpoint", "POST", **OWN))
    )
    asker.start()
    while not server.wishes.pending:
        time.sleep(0.001)
    assert not answers
    server.wishes.grant(lambda: "written", lambda: None)
    asker.join(60)
    assert answers == [(200, "written")]


def test_headers_keep_the_secret_and_the_buttons(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request("GET", f"/{TOKEN}/")
    headers = dict(connection.getresponse().headers)
    connection.close()
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"


class Reader:
    """The events that a browser would see."""

    def __init__(self, server: Server, query: str = "", **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
        self.connection.request("GET", f"/{TOKEN}/events{query}", headers=headers)
        self.reply = self.connection.getresponse()

    def next(self) -> tuple[int, dict[str, Any]] | None:
        """The next event, None at the end; comments, which are signs of life, are passed over."""
        while line := self.reply.readline().decode():
            if line.startswith("id: "):
                data = self.reply.readline().decode().removeprefix("data: ")
                return int(line.removeprefix("id: ")), json.loads(data)
        self.connection.close()
        return None


def test_events_are_what_changes(server: Server) -> None:
    server.board.put({"a": 1})
    whole, since = Reader(server), Reader(server, "?since=1")
    again = Reader(server, "?since=0", **{"Last-Event-ID": "1"})
    assert whole.next() == (1, {"a": 1})
    server.board.put({"b": "\n</script>"})
    for reader in (whole, since, again):
        assert reader.next() == (2, {"b": "\n</script>"})
    server.board.close()
    assert [reader.next() for reader in (whole, since, again)] == [None] * 3


@pytest.mark.parametrize("since", ["x", "-1", "9" * 30, ""])
def test_a_strange_number_gets_all(server: Server, since: str) -> None:
    server.board.put({"a": 1})
    reader = Reader(server, f"?since={since}")
    assert reader.next() == (1, {"a": 1})
    server.board.close()
    assert reader.next() is None


def lazy_reader(server: Server, buffer: int = 4096) -> socket.socket:
    """Asks for events and leaves their reading to the caller."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.connect(("127.0.0.1", server.server_port))
    host = f"Host: 127.0.0.1:{server.server_port}"
    connection.sendall(f"GET /{TOKEN}/events HTTP/1.1\r\n{host}\r\n\r\n".encode())
    return connection


def test_who_does_not_read_holds_nobody_up() -> None:
    server = made()
    server.start()
    silent = socket.create_connection(("127.0.0.1", server.server_port))
    lazy = lazy_reader(server)
    reader = Reader(server)
    for number in range(5):  # each more than any buffer holds
        server.board.put({"large": str(number) * (1 << 23)})
        found = reader.next()
        assert found is not None
        assert found[1]["large"][0] == str(number)
    server.board.put({"last": 1})
    server.finish()
    assert not threads()
    assert reader.next() == (6, {"last": 1})  # who reads has the last state
    for connection in (silent, lazy):
        connection.close()
    reader.connection.close()


def test_who_reads_slowly_gets_all(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Through a tunnel an event takes longer than anybody who does not read at all is waited for."""
    monkeypatch.setattr("cortex_viz.live.server.Handler.timeout", 1.0)
    whole = 12_000_000  # more than the buffers on the way hold
    server.board.put({"large": "x" * whole})
    got = 0
    with lazy_reader(server, 1 << 17) as connection:
        while got < whole and (piece := connection.recv(1 << 17)):
            got += len(piece)
            time.sleep(0.02)  # 6.5 MB a second at most: the event needs more than the second
    assert got >= whole


def test_the_end_waits_for_nobody_who_waits_for_it() -> None:
    server = made()
    server.start()
    answers: list[Any] = []
    url = f"/{TOKEN}/checkpoint"
    asker = threading.Thread(target=lambda: answers.append(ask(server, url, "POST", **OWN)), daemon=True)
    asker.start()
    while not server.wishes.pending:
        time.sleep(0.001)
    ending = threading.Thread(target=server.finish, daemon=True)
    ending.start()
    for thread in (ending, asker):
        thread.join(60)
        assert not thread.is_alive()
    assert answers == [(409, "the training is over")]


def test_there_is_an_end_of_connections(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setattr("cortex_viz.live.server.CONNECTIONS", 2)
    two = [Reader(server), Reader(server)]
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        ask(server, f"/{TOKEN}/")
    server.board.close()
    assert [reader.next() for reader in two] == [None, None]


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ArgumentError, match=rf"port {port} of 127\.0\.0\.1 .*use.*--live-port"):
            made(port=port)


@pytest.mark.parametrize(
    ("host", "port", "wrong"),
    [
        ("127.0.0.1", 70000, "port"),
        ("no.such.host.invalid", 0, "host"),
        ("192.0.2.1", 0, "host"),
        ("192.0.2.1", 8000, "host"),
    ],
)
def test_what_cannot_be_had_is_told(host: str, port: int, wrong: str) -> None:
    with pytest.raises(ArgumentError, match=rf"cannot be served at .*: give [^:]*--live-{wrong}"):
        made(host, port)


def test_asked_to_it_listens_elsewhere() -> None:
    server = made("0.0.0.0")
    server.start()
    name = socket.gethostname()
    assert server.address == f"http://{name}:{server.server_port}/{TOKEN}/"
    for host, status in (("192.0.2.7:80", 200), (name, 200), (f"evil.example:{server.server_port}", 403)):
        assert ask(server, f"/{TOKEN}/", Host=host)[0] == status
    server.finish()


def test_a_browser_that_went_away_is_forgotten(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setattr("cortex_viz.live.server.HEARTBEAT", 0.01)
    server.board.put({"a": 1})
    reader = Reader(server)
    assert reader.next() == (1, {"a": 1})
    assert server.watched
    reader.reply.close()
    reader.connection.close()
    for thread in list(server._open.values()):
        thread.join(60)
    assert not server.watched
