#!/usr/bin/env python3
"""mailbox.py PORT DIRECTORY: takes whatever mail comes, without TLS (loopback alone), and puts each into a file."""
import pathlib
import socketserver
import sys


class Mailbox(socketserver.StreamRequestHandler):
    def say(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def handle(self):
        self.say("220 mailbox")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.say("250-mailbox")
                self.say("250 SIZE 50000000")
            elif verb == b"DATA":
                self.say("354 go on")
                mail = b""
                while (part := self.rfile.readline()) not in (b".\r\n", b""):
                    mail += part
                directory = pathlib.Path(sys.argv[2])
                (directory / f"{len(list(directory.iterdir()))}.eml").write_bytes(mail)
                self.say("250 taken")
            elif verb == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 fine")


socketserver.ThreadingTCPServer.allow_reuse_address = True
server = socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Mailbox)
print("listening", flush=True)
server.serve_forever()
