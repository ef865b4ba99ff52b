"""A receiver of OTLP/HTTP, and what a trace has to be like whatever is in it."""
import http.server
import json
import threading

from support.shell import free_port


class Collector:
    """Not there until start(). answers: (status, headers, body) of the next requests; then 200 with an empty message."""

    def __init__(self):
        self.port, self.got, self.answers, self.server = free_port(), [], [], None
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self):
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers, answer = collector.answers.pop(0) if collector.answers else (200, {}, b"{}")
                collector.got.append((status, self.path, dict(self.headers), body))
                self.send_response(status)
                for name, value in (headers | {"Content-Length": str(len(answer)), "Content-Type": "application/json"}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def bodies(self):
        return [json.loads(body) for status, _, _, body in self.got if status == 200]

    def spans(self):
        return [span for body in self.bodies() for r in body["resourceSpans"] for s in r["scopeSpans"] for span in s["spans"]]


def attributes(span):
    return {a["key"]: next(iter(a["value"].values())) for a in span["attributes"]}


def by_trace(spans):
    """{trace: {path from the root, such as "checkpoint/dump/storing": [spans]}}; each parent is there, and children are within."""
    traces = {}
    for trace in {s["traceId"] for s in spans}:
        mine = {s["spanId"]: s for s in spans if s["traceId"] == trace}
        assert len(mine) == sum(s["traceId"] == trace for s in spans), "two spans have one id"
        paths = {}
        for span in mine.values():
            path, at = [span["name"]], span
            assert 0 < int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
            while (parent := mine.get(at.get("parentSpanId"))) is not None:
                assert int(parent["startTimeUnixNano"]) <= int(at["startTimeUnixNano"]), (path, span, parent)
                assert int(at["endTimeUnixNano"]) <= int(parent["endTimeUnixNano"]), (path, span, parent)
                path.insert(0, parent["name"])
                at = parent
            paths.setdefault("/".join(path), []).append(span)
        traces[trace] = paths
    return traces
