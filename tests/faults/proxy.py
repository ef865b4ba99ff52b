"""A proxy that cuts, stalls and delays connections, and alters nothing. Clients come by TCP."""
import selectors
import socket
import threading
import time


class Proxy:
    """Forwards 127.0.0.1:port to upstream: a (host, port), or the path of a UNIX socket. Faults count bytes upstream ->
    client, over all connections since the fault was set."""

    def __init__(self, upstream=None):
        self.upstream = upstream
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.lock = threading.RLock()
        self.pairs = []  # (client, server), or (client, None) while there is nobody to talk to
        self.cuts = self.carried = 0
        self.heal()
        self.closing = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    # ---- faults ----------------------------------------------------------------------------------

    def heal(self):
        with self.lock:
            self.stalled = self.refusing = False
            self.cut_at = None
            self.delay = 0.0

    def stall(self):
        """Nothing passes in either direction, and nobody is told: a cable pulled. New connections are accepted."""
        self.stalled = True

    def refuse(self):
        """Every connection is cut, new ones at once."""
        with self.lock:
            self.refusing = True
            self._cut()

    def cut(self):
        """Every present connection is cut, in mid-message if need be; new ones are welcome."""
        with self.lock:
            self._cut()

    def cut_after(self, count):
        """Cuts every connection once so many more bytes came from upstream; then goes on as `cut`."""
        with self.lock:
            self.cut_at = self.carried + count

    # ---- work ------------------------------------------------------------------------------------

    def _cut(self):
        for pair in self.pairs:
            for end in pair:
                if end:
                    end.close()
            self.cuts += 1
        self.pairs = []

    def _accept(self):
        client, _ = self.listener.accept()
        if self.refusing:
            client.close()
            return
        try:
            if isinstance(self.upstream, tuple):
                server = socket.create_connection(self.upstream, timeout=5)
            else:
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self.upstream))
        except OSError:
            if not self.stalled:
                client.close()
                return
            server = None
        self.pairs.append((client, server))

    def _carry(self, source, target, down):
        try:
            data = source.recv(65536)
            if self.delay:
                time.sleep(self.delay)
            if down and self.cut_at is not None and self.carried + len(data) >= self.cut_at:
                data = data[:self.cut_at - self.carried]
                target.sendall(data)
                self.cut_at = None
                self._cut()
                return
            if data:
                target.sendall(data)
                self.carried += len(data) if down else 0
                return
        except OSError:
            pass
        self._drop(source)

    def _drop(self, end):
        for pair in [p for p in self.pairs if end in p]:
            self.pairs.remove(pair)
            for e in pair:
                if e:
                    e.close()

    def _run(self):
        while not self.closing:
            with self.lock:
                with selectors.DefaultSelector() as ready:
                    ready.register(self.listener, selectors.EVENT_READ)
                    if not self.stalled:
                        for client, server in self.pairs:
                            if server:
                                ready.register(client, selectors.EVENT_READ, (client, server, False))
                                ready.register(server, selectors.EVENT_READ, (server, client, True))
                    events = ready.select(0)
                for key, _ in events:
                    if key.fileobj is self.listener:
                        self._accept()
                    elif key.fileobj.fileno() >= 0 and not self.stalled:
                        self._carry(*key.data)
            if not events:
                time.sleep(0.002)

    def close(self):
        self.closing = True
        self.thread.join(10)
        with self.lock:
            self._cut()
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
