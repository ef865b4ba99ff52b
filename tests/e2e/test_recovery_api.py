"""Plans and restores, as far as the coordinator decides: who may ask, what for, and what is refused. Nothing is restored here."""
import pathlib
import tempfile

import pytest

from support.shell import wait_for
from support.stack import Stack
from test_api import call

NOT_SO = {"assertions": [{"name": "never", "sql": "SELECT false"}]}


@pytest.fixture(scope="module")
def stack(base, server):
    """`prod` is production, with a sealed checkpoint; `bad` has one that is stored, but not proven. No agent restores."""
    for name in ("recovery_prod", "recovery_bad"):
        server.create(name)
        server.sql(name, "CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item SELECT generate_series(1, 10)")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="r.", dir=base)) / "p"
    s = Stack(directory, {"prod": server.conninfo("recovery_prod"), "bad": server.conninfo("recovery_bad")},
              each={"prod": {"environment": "production"}, "bad": NOT_SO}, agent_wait_seconds=3).start()
    s.seal("prod", "friday")
    s.refuse("bad", "failed", "assertion_failed", "friday")
    for name, role, databases in (("pipeline", "ci", ["*"]), ("eyes", "viewer", ["*"]), ("elsewhere", "operator", ["bad"])):
        _, made, _ = s.api("POST", "/api/v1/tokens", {"name": name, "role": role, "databases": databases})
        setattr(s, name, made["token"])
    yield s
    s.remove()


IN_PLACE = {"database": "prod", "mode": "in_place", "tables": ["item"], "confirm": "prod"}


def restore(stack, changes=None, **kw):
    body = {**IN_PLACE, **(changes or {})}
    return call(stack, "POST", "/api/v1/restores", json_body={k: v for k, v in body.items() if v is not None}, **kw)


def refused(answer, status, code):
    got, body, _ = answer
    assert (got, body["error"]["code"]) == (status, code), body
    assert body["ok"] is False and body["error"]["message"] and body["error"]["remedy"]


@pytest.mark.parametrize("who, plan, put_back", [("pipeline", 202, 403), ("eyes", 403, 403), ("elsewhere", 404, 404)])
def test_who_may(stack, who, plan, put_back):
    token = getattr(stack, who)
    status, body, _ = call(stack, "POST", "/api/v1/plans", json_body={"database": "prod"}, token=token)
    assert status == plan
    assert restore(stack, token=token)[0] == put_back
    if plan == 202:
        job = f"/api/v1/jobs/{body['id']}"
        assert call(stack, "GET", "/api/v1/jobs/{id}", job, token=token)[1]["requested_by"] == who
        refused(call(stack, "GET", "/api/v1/jobs/{id}", job, token=stack.elsewhere), 404, "not_found")
        assert call(stack, "POST", "/api/v1/jobs/{id}/cancel", f"{job}/cancel", token=stack.eyes)[0] == 403
        assert call(stack, "POST", "/api/v1/jobs/{id}/cancel", f"{job}/cancel", token=token)[1]["state"] == "canceled"


@pytest.mark.parametrize("changes, status, code", [
    ({"confirm": None}, 409, "confirmation_needed"),
    ({"confirm": "prod-api"}, 409, "confirmation_needed"),
    ({"database": "prodd"}, 404, "not_found"),
    ({"checkpoint": "monday"}, 404, "not_found"),
    ({"database": "bad", "confirm": None}, 404, "not_found"),  # which has nothing sealed
    ({"database": "bad", "confirm": None, "checkpoint": "friday"}, 409, "conflict"),
    ({"database": "bad", "confirm": "prod", "checkpoint": "friday", "unproven": True}, 409, "confirmation_needed"),
    ({"tabels": ["item"]}, 400, "invalid_argument"),
    ({"sql": "DROP TABLE item"}, 400, "invalid_argument"),
    ({"mode": "clean"}, 400, "invalid_argument"),
    ({"mode": "script", "tables": None}, 400, "invalid_argument"),
    ({"tables": None}, 400, "invalid_argument"),
    ({"tables": ["it\0em"]}, 400, "invalid_argument"),
    ({"tables": ["\"" + "i" * 1023 + "\""]}, 400, "invalid_argument"),
])
def test_what_is_refused(stack, changes, status, code):
    before = len(stack.api("GET", "/api/v1/jobs?kind=restore")[1]["jobs"])
    refused(restore(stack, changes), status, code)
    assert len(stack.api("GET", "/api/v1/jobs?kind=restore")[1]["jobs"]) == before


def test_nobody_restores(stack):
    """Both end in time, the checkpoint is as it was, and the ledger has who asked."""
    wanted = {"database": "bad", "checkpoint": "friday", "unproven": True, "confirm": None}
    ids = [restore(stack)[1]["id"], restore(stack, wanted)[1]["id"],
           call(stack, "POST", "/api/v1/plans", json_body={"database": "prod", "purpose": "guard"})[1]["id"]]
    for identity in ids:
        ended = wait_for("it to end", lambda: (lambda j: j if j["state"] == "errored" else None)(
            call(stack, "GET", "/api/v1/jobs/{id}", f"/api/v1/jobs/{identity}")[1]), timeout=60, every=0.3)
        assert ended["error"]["code"] == "no_agent" and "'restore'" in ended["error"]["remedy"], ended
        assert ended["report"] is None and ended["attempt"] == 1
    for database, state in (("prod", "sealed"), ("bad", "failed")):
        assert len(stack.api("GET", f"/api/v1/checkpoints?database={database}&state={state}")[1]["checkpoints"]) == 1
    assert call(stack, "GET", "/api/v1/jobs", "/api/v1/jobs?kind=restore&database=prod")[1]["jobs"][0]["id"] == ids[0]
    events = {e["job_id"]: e for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"] if e["kind"] == "restore.requested"}
    assert events[ids[0]]["actor"] == "admin" and events[ids[0]]["detail"]["tables"] == ["item"], events
    assert events[ids[0]]["detail"]["address"] == "127.0.0.1"
