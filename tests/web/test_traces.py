"""Traces, held against OpenTelemetry's own messages: those of its JavaScript library, by npm (here, since npm is)."""
import json
import os
import shutil
import subprocess

from support import npm
from support.otlp import Collector
from support.shell import wait_for


def test_the_messages_are_opentelemetrys(make_stack, server):
    node, place = shutil.which("node"), npm.place("otlp", "@opentelemetry/otlp-transformer/build/src/generated/root.js")
    collector = Collector()
    collector.start()
    server.create("traced_web")
    server.sql("traced_web", "CREATE TABLE item AS SELECT i FROM generate_series(1, 100) i")
    stack = make_stack({"shop": server.conninfo("traced_web"), "gone": "dbname=nowhere"}, traces={"endpoint": collector.url})
    sealed = stack.seal("shop", "odd \u00fc <b>")
    stack.cli("drill", sealed["id"])
    failed = stack.request("gone", "x")
    wait_for("what fails", lambda: stack.show(failed)["state"] == "errored", every=0.3)
    wait_for("all traces", lambda: len({s["traceId"] for s in collector.spans()}) == 3, every=0.3)
    check = (npm.HERE / "otlp/check.cjs").read_text()

    def checked(bodies):
        return subprocess.run([node, "-e", check], input="\n".join(json.dumps(b) for b in bodies), text=True, capture_output=True, check=False,
                              timeout=60, cwd=place, env={**os.environ, "NODE_PATH": str(place / "node_modules")})

    done = checked(collector.bodies())
    assert done.returncode == 0 and done.stdout == f"{len(collector.spans())} spans\n", done.stderr
    for spoil in (lambda s: s.update(unknown=1), lambda s: s.update(kind="2"), lambda s: s.update(startTimeUnixNano=5.5),
                  lambda s: s.update(spanId=s["spanId"] + "00"), lambda s: s["attributes"][0].update(value={"text": "x"})):
        body = json.loads(json.dumps(collector.bodies()[0]))
        spoil(body["resourceSpans"][0]["scopeSpans"][0]["spans"][0])
        assert checked([body]).returncode != 0, "the check takes anything"
