"""A connection to a real Redis on which replies get lost: Redis does what it is asked, and whoever
asked does not hear of it.
"""

import hashlib
import select
import socket
import socketserver
import threading
from typing import Self
from urllib.parse import urlsplit

from redis import Redis

CHUNK = 65_536


class LossyRedis:
    """A context manager that hands on what clients and the server at `server_url` say, at a `url`
    of its own.
    """

    def __init__(self, server_url: str) -> None:
        self._server_url, self._doomed = server_url, dict[bytes, int]()
        at = urlsplit(server_url)
        lossy = self

        class Connection(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection((at.hostname, at.port)) as server:
                    lossy._hand_on(self.request, server)

        socketserver.ThreadingTCPServer.daemon_threads = True
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Connection)
        self.url = f"redis://127.0.0.1:{self._server.server_address[1]}/0"

    def lose_replies(self, script: str, times: int) -> None:
        """Let the next so many replies to a script get lost, each with its connection."""
        with Redis.from_url(self._server_url) as redis:
            # Redis must do what it is asked, not answer that it does not know the script.
            redis.script_load(script)
        # The name that Redis gives it.
        self._doomed[hashlib.sha1(script.encode()).hexdigest().encode()] = times  # noqa: S324

    def still_to_lose(self) -> int:
        """Return how many replies are yet to be lost."""
        return sum(self._doomed.values())

    def _hand_on(self, client: socket.socket, server: socket.socket) -> None:
        is_doomed = False
        while True:
            ready, _, _ = select.select([client, server], [], [])
            for source, target in ((client, server), (server, client)):
                if source not in ready:
                    continue
                data = source.recv(CHUNK)
                if not data or (source is server and is_doomed):
                    return
                is_doomed = is_doomed or (source is client and self._dooms(data))
                target.sendall(data)

    def _dooms(self, command: bytes) -> bool:
        for word, times in self._doomed.items():
            if times and word in command:
                self._doomed[word] -= 1
                return True
        return False

    def __enter__(self) -> Self:
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
