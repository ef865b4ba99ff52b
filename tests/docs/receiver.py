#!/usr/bin/env python3
"""receiver.py CERTIFICATE KEY FILE: answers 202 to whatever comes by HTTPS on 443, and writes each request into FILE, a line of
JSON each: what stands behind the addresses that alerts go to."""
import http.server
import json
import ssl
import sys


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        with open(sys.argv[3], "a") as out:
            out.write(json.dumps({"path": self.path, "host": self.headers["Host"], "headers": dict(self.headers), "body": body}) + "\n")
        self.send_response(202)
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print("listening", flush=True)
server.serve_forever()
