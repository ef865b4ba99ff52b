"""Traces of checkpoints, by OTLP/HTTP: joined with who asked, of what really happened, and never in the way of it."""
import json

from support.otlp import Collector, attributes, by_trace
from support.shell import BIN, run, wait_for

CALLER = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")
PARENT = f"00-{CALLER[0]}-{CALLER[1]}-01"
SECRET = "Bearer t0p-secret-of-the-collector"
STAGES = {"dump": {"preflight", "snapshot", "dumping", "storing", "counting"},
          "drill": {"prepare", "restore", "index", "assert", "redump", "compare"}}


def metrics(stack):
    text = stack.api("GET", "/metrics")[1]
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("pgseal_traces")}


def check(stack):
    return run([BIN / "pgseal-coordinator", "check", "--config", stack.dir / "coordinator.yaml"], check=False)


def seconds(span):
    return (int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])) / 1e9


def told(checkpoint, kind):
    return checkpoint["detail"]["stages"][kind]


def test_a_checkpoint_and_its_later_drill(make_stack, server):
    collector = Collector()
    server.create("traced")
    server.sql("traced", "CREATE TABLE item AS SELECT i, md5(i::text) AS text FROM generate_series(1, 1000) i; CREATE INDEX ON item (i)")
    stack = make_stack({"shop": server.conninfo("traced")}, start=False, traces={
        "endpoint": collector.url + "/", "headers_file": "otlp.headers", "service_name": "pgseal-test"})
    headers = stack.dir / "otlp.headers"
    headers.write_text(f"# for the collector\nAuthorization: {SECRET}\n\nX-Scope: backups\n")
    headers.chmod(0o644)
    assert "otlp.headers may be read by others" in check(stack).stderr
    headers.chmod(0o600)
    assert check(stack).returncode == 0
    stack.start()
    # Nobody is there: what waits for a checkpoint does not wait for that.
    status, sealed, _ = stack.api("POST", "/api/v1/checkpoints", {"database": "shop", "tag": "deploy", "wait": True}, headers={"traceparent": PARENT})
    assert status == 200 and sealed["state"] == "sealed", sealed
    sealed = stack.show(sealed["id"])
    assert sealed["detail"]["traceparent"] == PARENT
    wait_for("the first attempt", lambda: "traces cannot be sent" in stack.log("coordinator"), every=0.2)
    collector.answers = [(503, {"Retry-After": "1"}, b"later"), (429, {}, b"")]
    collector.start()
    done = stack.cli("drill", sealed["id"])
    assert done.returncode == 0, done.stderr
    wait_for("both traces", lambda: len(by_trace(collector.spans())) == 2, every=0.2)
    assert [status for status, *_ in collector.got][:3] == [503, 429, 200]
    for _, path, got, _ in collector.got:
        assert path == "/v1/traces" and got["Authorization"] == SECRET and got["X-Scope"] == "backups" and got["Content-Type"] == "application/json"
    resource = attributes(collector.bodies()[0]["resourceSpans"][0]["resource"])
    assert resource["service.name"] == "pgseal-test" and resource["service.version"] and resource["service.instance.id"]

    traces = by_trace(collector.spans())
    mine = traces.pop(CALLER[0])
    (root,) = mine["checkpoint"]
    assert root["parentSpanId"] == CALLER[1] and root["kind"] == 2 and root["status"] == {"code": 1}
    assert root["flags"] & 0x301 == 0x301
    assert attributes(root) == attributes(root) | {
        "pgseal.database": "shop", "pgseal.checkpoint.id": sealed["id"], "pgseal.checkpoint.tag": "deploy", "pgseal.checkpoint.state": "sealed",
        "db.system.name": "postgresql", "pgseal.checkpoint.rows": str(sealed["rows"]), "pgseal.checkpoint.size_bytes": str(sealed["size_bytes"])}
    assert [e["name"] for e in root["events"]] == ["stored"]
    assert abs(seconds(root) - sealed["seconds"]) < 0.1
    for kind, stages in STAGES.items():
        (waited,), (attempt,) = mine[f"checkpoint/{kind} queued"], mine[f"checkpoint/{kind}"]
        assert waited["endTimeUnixNano"] == attempt["startTimeUnixNano"]
        assert attributes(attempt)["pgseal.agent"] and attributes(attempt)["pgseal.job.attempt"] == "1" and attributes(attempt)["pgseal.job.state"] == "done"
        found = {path.rsplit("/", 1)[1]: spans[0] for path, spans in mine.items() if path.startswith(f"checkpoint/{kind}/")}
        assert stages <= set(found), (kind, found)
    dumping, storing = mine["checkpoint/dump/dumping"][0], mine["checkpoint/dump/storing"][0]
    assert abs(seconds(dumping) - told(sealed, "dump")["dumping"]) < 0.001
    assert int(dumping["endTimeUnixNano"]) <= int(storing["startTimeUnixNano"]) + 1000

    ((_, later),) = traces.items()  # the drill that was asked for afterwards
    (root,) = later["drill of checkpoint"]
    assert "parentSpanId" not in root and attributes(root)["pgseal.drill.outcome"] == "proven" and root["kind"] == 1
    assert root["links"] == [{"traceId": CALLER[0], "spanId": mine["checkpoint"][0]["spanId"]}]
    assert "drill of checkpoint/drill/redump" in later and "drill of checkpoint/drill queued" in later

    count = len(collector.spans())
    assert metrics(stack) == {'pgseal_traces_spans_total{result="sent"}': count, 'pgseal_traces_spans_total{result="refused"}': 0,
                              'pgseal_traces_spans_total{result="dropped"}': 0, "pgseal_traces_queued_spans": 0}
    shown = json.dumps(stack.show(sealed["id"])) + stack.log("coordinator")
    assert SECRET not in shown and "t0p-secret" not in shown
    assert shown.count("traces are sent again") == 1


def test_what_is_not_sampled_canceled_or_refused(make_stack):
    collector = Collector()
    collector.start()
    stack = make_stack({"shop": "dbname=nowhere"}, agents=(), agent_wait_seconds=1, traces={"endpoint": collector.url + "/v1/traces"})
    unsampled = {"traceparent": PARENT[:-1] + "0"}
    assert stack.api("POST", "/api/v1/checkpoints", {"database": "shop", "tag": "a", "wait": False}, headers=unsampled)[0] == 202
    broken = stack.api("POST", "/api/v1/checkpoints", {"database": "shop", "tag": "b", "wait": False}, headers={"traceparent": PARENT.upper()})[1]
    wait_for("its end", lambda: stack.show(broken["id"])["state"] == "errored", every=0.2)
    wait_for("its trace", collector.spans, every=0.2)
    (trace,) = by_trace(collector.spans()).values()
    (root,) = trace["checkpoint"]
    assert root["traceId"] != CALLER[0] and "parentSpanId" not in root and attributes(root)["pgseal.checkpoint.id"] == broken["id"]
    assert root["status"]["code"] == 2 and "no agent" in root["status"]["message"] and attributes(root)["error.type"] == "no_agent"
    assert set(trace) == {"checkpoint", "checkpoint/dump queued", "checkpoint/drill queued"}

    # By the pipeline's environment; whoever is not in a trace has one of his own.
    (stack.dir / "x").mkdir()
    collector.answers = [(400, {}, b"{}"), (200, {}, json.dumps({"partialSuccess": {"rejectedSpans": "2", "errorMessage": "no\nroom"}}).encode())]
    for tag, wanted in (("refused", 3), ("partly", 1 + 2)):
        before = len(collector.got)
        failed = stack.cli("checkpoint", "shop", "--tag", tag, check=False, env={"TRACEPARENT": PARENT})
        assert failed.returncode != 0 and "no_agent" in failed.stderr + failed.stdout, failed
        wait_for(tag, lambda: len(collector.got) > before, every=0.2)  # noqa: B023
        assert collector.got[-1][0] in (400, 200) and CALLER[0] in collector.got[-1][3].decode()
        assert len(json.loads(collector.got[-1][3])["resourceSpans"][0]["scopeSpans"][0]["spans"]) == wanted
    wait_for("the numbers", lambda: metrics(stack)['pgseal_traces_spans_total{result="refused"}'] == 5, every=0.2)
    assert metrics(stack)['pgseal_traces_spans_total{result="sent"}'] == 4
    assert "no?room" in stack.log("coordinator")

    # What has ended when it is stopped is sent; a receiver that never answers does not hold it.
    before = len(collector.got)
    last = stack.request("shop", "last")
    wait_for("its end", lambda: stack.show(last)["state"] == "errored", every=0.1)
    assert stack.kill("coordinator", 15) == 0
    assert any(last in body.decode() for _, _, _, body in collector.got[before:])


def test_settings_that_are_wrong(make_stack):
    stack = make_stack({"shop": "dbname=nowhere"}, agents=(), start=False)
    config = stack.dir / "coordinator.yaml"
    base = config.read_text()
    config.write_text(json.dumps(json.loads(base) | {"ledger": "nowhere/ledger.db"}))
    assert "ledger: there is no directory " in check(stack).stderr
    there = {"endpoint": "https://collector.example.com"}
    for traces, told_of in (({"endpoint": "http://collector.example.com:4318"}, "not encrypted"), ({"endpoint": "collector"}, "traces.endpoint: it "),
                            ({"endpoint": "https://c/?key=x"}, "headers_file"), ({}, "endpoint"), (there | {"header": "x"}, "header"),
                            (there | {"headers_file": "gone"}, "gone"), (there | {"ca_file": "gone"}, "gone"), (there | {"service_name": "a\nb"}, "traces.service_name: ")):
        config.write_text(json.dumps(json.loads(base) | {"traces": traces}))
        refused = check(stack)
        assert refused.returncode == 1 and told_of in refused.stderr, refused.stderr
    (stack.dir / "h").write_text("Authorization secret-without-colon\n")
    (stack.dir / "h").chmod(0o600)
    config.write_text(json.dumps(json.loads(base) | {"traces": {"endpoint": "http://collector.example.com:4318", "unencrypted": True, "headers_file": "h"}}))
    refused = check(stack)
    assert refused.returncode == 1 and "h:1: it has to be" in refused.stderr and "secret-without" not in refused.stderr
