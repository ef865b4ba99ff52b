"""/metrics, the alert rules and the dashboard. That they name what there is: always. By Prometheus itself, against a running
coordinator, with the configuration of docs/metrics.md: in make test-long."""
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import urllib.parse
import urllib.request

import pytest
import yaml

from support.shell import PROJECT, free_port, run, wait_for
from support.stack import Stack

RULES, TESTS = (PROJECT / "deploy/prometheus" / f for f in ("pgseal.rules.yml", "pgseal.rules.test.yml"))
DASHBOARD = json.loads((PROJECT / "deploy/grafana/pgseal.json").read_text())
PAGE = (PROJECT / "docs/metrics.md").read_text()
FAMILIES = {name: labels.split(", ") for name, labels in re.findall(
    r'^  X\(\w+, "(\w+)", \w+, "([\w, ]*)", "', (PROJECT / "coordinator/metrics/families.h").read_text(), re.M)}
NAME = re.compile(r"\b(?:pgseal|process)_[a-z0-9_]+")


def alerts():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions():
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def filled(expression):
    return re.sub(r"\$(environment|owner|database)\b", ".*", expression)


def test_rules_and_dashboard_name_what_there_is():
    variables = [v["definition"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]
    for expression in [rule["expr"] for rule in alerts()] + expressions() + variables:
        assert NAME.findall(expression) or "up{" in expression, expression
        for name in NAME.findall(expression):
            assert name in FAMILIES, (name, expression)
        for name, matchers in re.findall(r"((?:pgseal|process)_\w+)\{([^}]*)\}", expression):
            for label in re.findall(r"(\w+)=", matchers):
                assert label in FAMILIES[name] + ["job", "instance"], (label, expression)


def test_every_alert_is_tried_and_says_what_to_do():
    names = [rule["alert"] for rule in alerts()]
    assert len(set(names)) == len(names) > 15
    fired = {t["alertname"] for test in yaml.safe_load(TESTS.read_text())["tests"] for t in test["alert_rule_test"] if t.get("exp_alerts")}
    assert fired == set(names)
    for rule in alerts():
        assert rule["labels"]["severity"] in ("warning", "critical") and set(rule["annotations"]) == {"summary", "remedy"}


def test_the_dashboard_is_whole():
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identities)) == len(identities)
    taken = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert taken.setdefault(cell, panel["title"]) == panel["title"]
    for panel in panels():
        assert panel["description"] and panel["datasource"]["uid"] == "${source}"
        assert {t["refId"] for t in panel["targets"]} == {chr(65 + i) for i in range(len(panel["targets"]))}


# ---- by Prometheus itself ----

needs_prometheus = pytest.mark.long  # make test-long installs it


@needs_prometheus
def test_promtool_finds_nothing(tmp_path):
    run(["promtool", "check", "rules", RULES])
    run(["promtool", "test", "rules", TESTS])
    of_dashboard = {"groups": [{"name": "d", "rules": [{"record": f"d:{i}", "expr": filled(e)} for i, e in enumerate(expressions())]}]}
    (tmp_path / "dashboard.yml").write_text(yaml.safe_dump(of_dashboard))
    run(["promtool", "check", "rules", tmp_path / "dashboard.yml"])


@pytest.fixture(scope="module")
def stack(base, server):
    server.create("metrics_db")
    server.sql("metrics_db", "CREATE TABLE item AS SELECT i FROM generate_series(1, 1000) i")
    s = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p", {"prod-api": server.conninfo("metrics_db"),
                                                                             "unreachable": "host=127.0.0.1 port=1 dbname=x"}).start()
    fleet = s.dir / "fleet.yaml"
    fleet.write_text('policies: [{name: all, objectives: {proof_age: 7d, restore_time: 1h, data_loss: 1d}, schedule: {cron: "0 4 * * *"},'
                     ' rotation: {kinds: [latest]}}]\n')
    s.cli("apply", "-f", fleet)
    s.seal("prod-api", "metrics")
    yield s
    s.remove()


@pytest.fixture(scope="module")
def prometheus(stack):
    """As docs/metrics.md says, but for the places."""
    directory = stack.dir / "prometheus"
    directory.mkdir()
    shutil.copy(RULES, directory)
    token = directory / "pgseal.token"
    token.write_text(stack.cli("token", "create", "--name", "prometheus", "--role", "viewer").stdout.strip().splitlines()[-1])
    config = yaml.safe_load(re.search(r"^```yaml\n(.*?)^```$", PAGE, re.M | re.S).group(1))
    job = config["scrape_configs"][0]
    assert job["job_name"] == "pgseal"
    job["authorization"]["credentials_file"] = str(token)
    job["static_configs"] = [{"targets": [f"127.0.0.1:{stack.http}"]}]
    job["scrape_interval"] = "1s"
    job["scrape_timeout"] = "1s"
    config["global"] = {"evaluation_interval": "1s"}
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    run(["promtool", "check", "config", directory / "prometheus.yml"])
    port = free_port()
    process = subprocess.Popen(["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data",
                                f"--web.listen-address=127.0.0.1:{port}"], stdout=subprocess.DEVNULL, stderr=(directory / "log").open("w"))

    def ask(path, **query):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def is_up():
        try:
            return any(r["value"][1] == "1" for r in ask("query", query='up{job="pgseal"}')["result"])
        except OSError:
            return False

    wait_for("prometheus has scraped", is_up, timeout=60, every=0.5)
    yield ask
    process.terminate()
    process.wait(30)


@needs_prometheus
def test_promtool_takes_what_is_answered(stack):
    text = stack.api("GET", "/metrics")[1]
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stdout and not done.stderr, done.stdout + done.stderr


@needs_prometheus
def test_prometheus_has_what_is_documented(stack, prometheus):
    documented = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", PAGE, re.M))
    assert set(documented) == set(FAMILIES)
    known = prometheus("metadata")
    for name in set(known) & set(documented):
        assert known[name][0]["type"] == documented[name]
    # one that is told of the last forecast of rotation comes with that
    missing = {name for name in documented if not prometheus("query", query=name)["result"]}
    assert missing <= {"pgseal_agent_certificate_expiry_timestamp_seconds", "pgseal_rotation_forecast_missed_databases",
                       "pgseal_rotation_load_ratio", "pgseal_rotation_late"}, missing
    for expression in expressions():
        prometheus("query", query=filled(expression))
    sealed = prometheus("query", query='pgseal_database_rows{database="prod-api"}')["result"]
    assert [r["value"][1] for r in sealed] == ["1000"]


@needs_prometheus
def test_an_alert_fires(stack, prometheus):
    def firing():
        return {(a["labels"]["alertname"], a["labels"].get("database")) for a in prometheus("alerts")["alerts"] if a["state"] == "firing"}
    for tag in ("one", "two"):
        stack.wait_final(stack.request("unreachable", tag))
    wait_for("the alert fires", lambda: ("PgsealCheckpointsFail", "unreachable") in firing(), timeout=60, every=0.5)
    assert ("PgsealCheckpointsFail", "prod-api") not in firing()
