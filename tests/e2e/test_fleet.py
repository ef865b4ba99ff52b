"""A database that is nowhere but in fleet.yaml: applied, checkpointed on time, made up for what was missed, never twice."""
import datetime
import glob
import json
import re

from support.shell import PROJECT, wait_for

LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class Clock:
    """The coordinator's wall clock, which can be set while it runs."""

    def __init__(self, directory):
        library, = glob.glob(LIBRARY)
        self.file = directory / "clock"
        self.set(0)
        self.wrap = ["env", f"LD_PRELOAD={library}", f"FAKETIME_TIMESTAMP_FILE={self.file}", "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"]

    def set(self, offset):
        part = self.file.with_suffix(".new")
        part.write_text(f"{offset:+d}\n")
        part.rename(self.file)

    def seconds_before(self, hours, seconds):
        """So long before the full hour that begins so many hours from now."""
        now = datetime.datetime.now(datetime.timezone.utc)
        into = now.minute * 60 + now.second
        self.offset = hours * 3600 - into - seconds
        self.set(self.offset)
        return (now + datetime.timedelta(seconds=self.offset + seconds + 1)).strftime("%Y-%m-%dT%H:00Z")


FLEET = {"databases": [{"name": "shop", "environment": "test", "owner": "team-shop", "labels": ["tier=gold"]}],
         "policies": [{"name": "hourly", "match": {"labels": ["tier=*"]}, "schedule": {"cron": "@hourly"},
                       "drill": {"assertions": [{"name": "items", "sql": "SELECT count(*) = 100 FROM item"}]}},
                      {"name": "promises", "objectives": {"proof_age": "7d", "restore_time": "90m", "data_loss": "26h"}},
                      {"name": "nobody", "match": {"names": ["nobody-*"]}}]}


def events(stack, kind):
    return [e for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"] if e["kind"] == kind]


def scheduled(stack):
    """Tags of what was requested, oldest first, with how they ended."""
    found = stack.api("GET", "/api/v1/checkpoints?database=shop")[1]["checkpoints"]
    return [(c["tag"], c["state"]) for c in reversed(found)]


def test_fleet(make_stack, server, tmp_path):
    server.create("fleet_shop")
    server.sql("fleet_shop", "CREATE TABLE item AS SELECT generate_series(1, 100) i")
    clock = Clock(tmp_path)
    clock.seconds_before(2, 600)
    stack = make_stack({"shop": server.conninfo("fleet_shop")}, undeclared=["shop"], lease_seconds=15, wrap_coordinator=clock.wrap)
    fleet = stack.dir / "fleet.yaml"
    fleet.write_text(json.dumps(FLEET, indent=1))

    # A dry run says what would be, and does nothing; the same command without it does.
    dry = stack.cli("apply", "-f", fleet, "--dry-run")
    line = fleet.read_text()[:fleet.read_text().index('"nobody"')].count("\n") + 1
    assert "+ database shop" in dry.stdout and "Nothing was applied" in dry.stdout
    assert f"fleet.yaml:{line}: policy nobody matches no database" in dry.stderr
    assert stack.api("GET", "/api/v1/databases")[1]["databases"] == []
    assert "Applied: version 1" in stack.cli("apply", "-f", fleet).stdout
    assert "is this document already" in stack.cli("apply", "-f", fleet).stdout
    assert [e["detail"]["version"] for e in events(stack, "fleet.applied")] == [1]
    assert stack.cli("fleet").stdout == fleet.read_text()
    shown = stack.cli("fleet", "shop").stdout
    assert "team-shop" in shown and re.search(r"objectives.proof_age +7d\n.*restore_time +90m\n.*data_loss +26h\n", shown), shown

    # What is wrong is told with its line, and leaves everything as it was.
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("databases:\n  - name: shop\n    schedual: x\n")
    refused = stack.cli("apply", "-f", wrong, check=False)
    assert refused.returncode == 2 and "wrong.yaml:3" in refused.stderr and "schedual" in refused.stderr

    # It runs when it is due.
    first = clock.seconds_before(2, 1)
    wait_for("the scheduled checkpoint", lambda: scheduled(stack) == [(f"scheduled-{first}", "sealed")], timeout=150)
    assert events(stack, "schedule.missed") == []

    # The clock is set forward: what it leaps over is made up for by one run.
    last = clock.seconds_before(5, -900)
    wait_for("the run that makes up", lambda: scheduled(stack)[1:] == [(f"scheduled-{last}", "sealed")], timeout=150)
    missed, = events(stack, "schedule.missed")
    assert missed["detail"] | {"first": 0} == {"action": "run_once", "first": 0, "last": last, "or_more": False, "runs": 3}

    # Set back, and a new coordinator: nothing runs a second time.
    clock.seconds_before(5, 1)
    stack.kill("coordinator")
    stack.start_coordinator()
    entry, = json.loads(stack.cli("schedule", "--json").stdout)["schedule"]
    assert entry["missed_count"] == 3 and entry["last"]["state"] == "sealed" and entry["last"]["outcome"] == "requested"
    wait_for("the hour that was", lambda: datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=clock.offset)
             > datetime.datetime.strptime(last, "%Y-%m-%dT%H:%MZ").replace(tzinfo=datetime.timezone.utc) + datetime.timedelta(seconds=2))
    assert len(scheduled(stack)) == 2
    assert "shop" in stack.cli("schedule").stdout
    assert "'shpo' has no schedule" in stack.cli("schedule", "shpo").stdout
    assert stack.cli("ledger", "--database", "shpo").stdout.startswith("No checkpoints of 'shpo'")
    stack.assert_clean()


def test_image(make_stack, server, engine, tmp_path):
    """Drills are in the image that a policy names, by an agent that allows it; that nobody offers one is told."""
    server.create("fleet_image")
    server.sql("fleet_image", "CREATE TABLE t AS SELECT 1 AS i")
    image = engine.image(15)
    stack = make_stack({"shop": server.conninfo("fleet_image")}, engine=engine, images={15: "localhost/no-such-image:15"},
                       drill={"allow_images": [image.replace("postgres", "*")]})
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text("policies:\n  - name: gis\n    drill:\n      image: localhost/other:15\n")
    assert "fleet.yaml:4: drill.image of database shop is localhost/other:15, which no agent" in stack.cli("apply", "-f", fleet).stderr
    fleet.write_text(f"policies:\n  - name: gis\n    drill:\n      image: {image}\n")
    assert "drill.image" not in stack.cli("apply", "-f", fleet).stderr
    assert image in stack.cli("fleet", "shop").stdout
    assert stack.seal("shop", "t")["restore_drill"] == "proven"  # the agent's own is nowhere
    stack.assert_clean()


def test_watched_file(make_stack, tmp_path):
    """What is changed in the file holds a second later; what is wrong in it is told, and changes nothing."""
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text((PROJECT / "deploy/fleet.yaml").read_text())
    stack = make_stack({}, start=False, fleet=str(fleet))
    stack.start_coordinator()
    names = lambda: [d["name"] for d in stack.api("GET", "/api/v1/databases")[1]["databases"]]
    assert names() == ["payments", "shop", "wiki"]
    page = stack.api("GET", "/api/v1/databases?limit=2")[1]
    assert [d["name"] for d in page["databases"]] == ["payments", "shop"] and page["next"] == "shop"
    rest = stack.api("GET", "/api/v1/databases?limit=2&after=shop")[1]
    assert [d["name"] for d in rest["databases"]] == ["wiki"] and "next" not in rest
    assert page["databases"][0]["objectives"] == {
        "proof_age_seconds": 3 * 86400, "proof_age_met": None, "restore_time_seconds": 14400, "restore_time_met": None,
        "data_loss_seconds": 93600, "data_loss_met": None,
        "schedule_gap_seconds": 3600, "schedule_meets_data_loss": True}
    assert rest["databases"][0]["objectives"]["schedule_gap_seconds"] == 25 * 3600
    refused = stack.cli("apply", "-f", fleet, check=False)
    assert refused.returncode == 4 and str(fleet) in refused.stderr
    fleet.write_text("databases: [{name: other}]\n")
    wait_for("the new fleet", lambda: names() == ["other"])
    fleet.write_text("databases: [{name: other, colour: red}]\n")
    wait_for("the complaint", lambda: "colour" in (stack.api("GET", "/api/v1/fleet")[1]["problem"] or ""))
    assert names() == ["other"] and "colour" in stack.log("coordinator")
