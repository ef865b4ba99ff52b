"""However a rehearsal ends, its copy ends with it, and it is said that it came to no end."""
import os
import subprocess

import pytest

from support.shell import processes, wait_for
from support.stack import BIN, Stack


@pytest.fixture(scope="module")
def stack(base, server, engine):
    server.create("tried")
    server.sql("tried", "CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 1000) i")
    s = Stack(base / "f" / "p", {"shop": server.conninfo("tried")}, engine=engine, images={15: engine.image(15)},
              agents=("dump+drill+rehearse",)).start()
    try:
        s.seal("shop", "before")
        yield s
    finally:
        s.remove()


def kill_job(stack, client):
    children = [pid for pid, argv in processes() if "job" in argv and any(str(stack.dir) in a for a in argv)]
    assert children
    for pid in children:
        os.kill(pid, 9)


def kill_agent(stack, client):
    name, = stack.agents
    stack.kill(name)
    stack.start_agent(name)


def restart_coordinator(stack, client):
    """The tunnel's two ends find each other in its memory alone: it breaks, and the command sees its connections closed."""
    stack.kill("coordinator")
    stack.start_coordinator()


def cancel(stack, client):
    job = stack.api("GET", "/api/v1/jobs?kind=rehearse&limit=1")[1]["jobs"][0]
    assert stack.api("POST", f"/api/v1/jobs/{job['id']}/cancel")[0] in (200, 202)


def kill_client(stack, client):
    """It is noticed once nothing was heard of it for a minute."""
    client.kill()


# Like a migration that goes on until its database is gone.
COMMAND = "while /usr/lib/postgresql/15/bin/psql -Xqc 'SELECT 1' >/dev/null; do touch %s; sleep 0.2; done; exit 7"


@pytest.mark.parametrize("fault", [kill_job, kill_agent, pytest.param(restart_coordinator, marks=pytest.mark.long),
                                   pytest.param(cancel, marks=pytest.mark.long),
                                   pytest.param(kill_client, marks=pytest.mark.long)])
def test_nothing_is_left(stack, fault):
    started = stack.dir / "started"
    started.unlink(missing_ok=True)
    with open(stack.dir / "said", "w+") as said:
        client = subprocess.Popen([BIN / "pgseal", "rehearse", "shop", "--secret-file", stack.dir / "keys/rehearse.secret",
                                   "--command", COMMAND % started], stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                  env={**os.environ, "PGSEAL_URL": stack.url, "PGSEAL_TOKEN": stack.token})
        try:
            wait_for("the command", started.exists)
            assert any(left.startswith("container") for left in stack.leftovers())
            fault(stack, client)
            code = client.wait(60)
        finally:
            client.kill()
            print((stack.dir / "said").read_text())
    assert code not in (0, 5)
    stack.assert_clean(timeout=90)
    job = wait_for("its end", lambda: next((j for j in stack.api("GET", "/api/v1/jobs?kind=rehearse&limit=1")[1]["jobs"]
                                            if j["state"] in ("errored", "canceled")), None))
    assert job["state"] == ("canceled" if fault is cancel else "errored"), job
