"""Receivers of mail."""
import socketserver
import subprocess
import sys
import threading

SERVER = """
import asyncio, sys
from aiosmtpd.controller import Controller
class Handler:
    async def handle_DATA(self, server, session, envelope):
        open(sys.argv[2], 'ab').write(envelope.original_content + b'\\n====\\n')
        return '250 ok'
Controller(Handler(), hostname='127.0.0.1', port=int(sys.argv[1])).start()
asyncio.new_event_loop().run_forever()
"""


class MailServer:
    """A real one (python3-aiosmtpd, for make test-long alone); not there until start()."""

    def __init__(self, port, box):
        self.port, self.box, self.process = port, box, None

    def start(self):
        self.process = subprocess.Popen([sys.executable, "-c", SERVER, str(self.port), str(self.box)])

    def got(self):
        return self.box.read_bytes().split(b"\n====\n")[:-1] if self.box.exists() else []

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()


class Mail(socketserver.ThreadingTCPServer):
    """As much of SMTP (RFC 5321) as takes a message."""
    allow_reuse_address = daemon_threads = True

    class Session(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b"220 here\r\n")
            for line in self.rfile:
                word = line.split()[0].upper() if line.split() else b""
                if self.server.refused is not None and word in (b"EHLO", b"AUTH"):
                    if word == b"EHLO":
                        self.wfile.write(b"250-here\r\n250 AUTH PLAIN\r\n")
                        continue
                    self.wfile.write(b"334 \r\n")
                    told = self.rfile.readline().strip()
                    self.server.refused.append(told)
                    self.wfile.write(b"535 not " + told + b"\r\n")
                    continue
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    message = b"".join(iter(self.rfile.readline, b".\r\n"))
                    if self.server.most and len(message) > self.server.most:
                        self.wfile.write(b"552 too large\r\n")
                        continue
                    self.server.got.append(message)
                self.wfile.write(b"250 ok\r\n")
                if word == b"QUIT":
                    return

    def __init__(self, port=0, most=0, refuses=False):
        """most: the bytes of a message that it takes; 0: any. refuses: it wants a password, takes none, and says it back for all to
        hear; refused has what it was told."""
        super().__init__(("127.0.0.1", port), Mail.Session)
        self.most, self.refused = most, [] if refuses else None
        self.got, self.port = [], self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
