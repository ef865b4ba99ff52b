"""A bucket's server in a bad hour: what stands before it turns requests away with SlowDown, and cuts connections."""
import itertools
import socket
import threading

BUSY = b"<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
ANSWER = (b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: "
          + str(len(BUSY)).encode() + b"\r\n\r\n" + BUSY)


class Storm:
    """127.0.0.1:port in the clear. Of each `period` connections one passes; that is cut after `carry` bytes of either way."""

    def __init__(self, upstream, period=3, carry=900_000):
        host, port = upstream.removeprefix("http://").split(":")
        self.upstream, self.period, self.carry = (host, int(port)), period, carry
        self.numbers = itertools.count(1)
        self.busy = self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, next(self.numbers)), daemon=True).start()

    def _serve(self, client, number):
        if number % self.period:
            self.busy += 1
            with client:
                client.recv(65536)
                client.sendall(ANSWER)
                client.shutdown(socket.SHUT_WR)
                client.settimeout(5)
                try:
                    while client.recv(65536):  # so that what is on its way does not reset what was said
                        pass
                except OSError:
                    pass
            return
        with client, socket.create_connection(self.upstream) as server:
            left = [self.carry]
            up = threading.Thread(target=self._carry, args=(client, server, left), daemon=True)
            up.start()
            self._carry(server, client, left)
            for end in (client, server):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
            up.join(10)

    def _carry(self, source, target, left):
        try:
            while (data := source.recv(min(65536, max(left[0], 1)))) and left[0] > 0:
                target.sendall(data)
                left[0] -= len(data)
            if left[0] <= 0:
                self.cuts += 1
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
