"""Nothing that somebody else writes becomes part of the page: every field that a page shows, filled with markup and with
text that is too long for it. Each is found in the page as the text that it is, nothing runs, nothing is pushed aside."""
import json
import pathlib
import tempfile
from urllib.parse import quote

import pytest

from conftest import shoot
from support.shell import wait_for
from support.stack import Stack

pytestmark = pytest.mark.long

# What would run, load, hide the page or leave its element, if it were more than text. NAME says where it was.
RUN = "'\"></td></script><img src=x onerror=owned()><svg onload=owned()><style>*{display:none}</style>"


def evil(name, most=128):
    """At most so many bytes, all of one word: it has to be broken somewhere."""
    text = f"<{name} {RUN}".replace(" ", "/")
    return (text + "W" * most)[:most]


SCHEMA, TABLE, COLUMN = evil("s", 63), evil("t", 63), evil("c", 63)
LONG = "w" * 63
WATCH = """window.told = []; window.owned = () => told.push('it ran');
    addEventListener('securitypolicyviolation', (e) => told.push(`${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
    addEventListener('error', (e) => told.push(e.message)); addEventListener('unhandledrejection', (e) => told.push(String(e.reason)));"""


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture(scope="module")
def bad(base, server):
    """Names, owners, environments, tags, tables, errors, assertions, reasons: all of them are markup, or as long as may be."""
    server.create("web_evil")
    table = f"{quoted(SCHEMA)}.{quoted(TABLE)}"
    server.sql("web_evil", f"""CREATE SCHEMA {quoted(SCHEMA)};
        CREATE TABLE {table} ({quoted(COLUMN)} int PRIMARY KEY, note text);
        INSERT INTO {table} SELECT i, 'x' FROM generate_series(1, 1000) i;
        CREATE UNLOGGED TABLE {quoted(evil('u', 63))} (a int); INSERT INTO {quoted(evil('u', 63))} VALUES (1);
        CREATE TABLE {quoted(evil('gone', 63))} (a int); INSERT INTO {quoted(evil('gone', 63))} VALUES (1);
        CREATE VIEW {quoted(evil('view', 63))} AS SELECT 1 AS {quoted(evil('vc', 63))}""")
    # Its rows cannot be read: the type that they are of has no output.
    server.create("web_broken")
    server.sql("web_broken", f"""CREATE TYPE bad; CREATE FUNCTION bad_in(cstring) RETURNS bad LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
        CREATE FUNCTION bad_out(bad) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'shell_out';
        CREATE TYPE bad (INPUT = bad_in, OUTPUT = bad_out, INTERNALLENGTH = 4, PASSEDBYVALUE, ALIGNMENT = int4);
        CREATE TABLE {quoted(evil('broken', 63))} (a bad); INSERT INTO {quoted(evil('broken', 63))} VALUES ('1')""")
    # And what this role may not read is named in the remedy.
    server.sql("web_broken", f"DROP ROLE IF EXISTS {quoted(evil('role', 63))}; CREATE ROLE {quoted(evil('role', 63))} LOGIN")
    conninfo = server.conninfo("web_evil")
    label = {"environment": evil("env"), "owner": evil("owner"), "lock_timeout_seconds": 60}
    agent = f"a{LONG[1:]}"
    s = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p",
              {LONG: conninfo, "refused": server.conninfo(evil("db", 63)), "doubted": conninfo, "broken": server.conninfo("web_broken"),
               "barred": server.conninfo("web_broken", user=evil("role", 63))},
              agents=("dump+drill", "restore"),
              each={LONG: label, "refused": label, "doubted": {**label, "assertions": [{"name": evil("assertion"), "sql": "SELECT false"}]}},
              oidc={"issuer": "http://127.0.0.1:9", "client_id": "pgseal", "public_url": "http://127.0.0.1:9", "name": evil("issuer"),
                    "grants": [{"value": "dba", "role": "viewer"}]}).start()
    sealed = s.seal(LONG, evil("tag"))["id"]
    refused = s.checkpoint("refused", evil("tag2"))[1]["id"]
    doubted = s.checkpoint("doubted", evil("tag3"))[1]["id"]
    broken, barred = (s.checkpoint(name, evil("tag4"))[1]["id"] for name in ("broken", "barred"))
    server.sql("web_evil", f"DELETE FROM {table} WHERE {quoted(COLUMN)} <= 5; DROP TABLE {quoted(evil('gone', 63))}; DROP VIEW {quoted(evil('view', 63))}")
    operator = s.api("POST", "/api/v1/tokens", {"name": agent, "role": "operator"})[1]["token"]

    def ended(kind, body):
        status, job, _ = s.api("POST", f"/api/v1/{kind}", body, token=operator)
        assert status in (200, 202), job
        wait_for(kind, lambda: s.api("GET", f"/api/v1/jobs/{job['id']}")[1]["state"] in ("done", "failed", "errored"), every=0.3)
        return job["id"]

    jobs = [ended("plans", {"database": LONG}),
            ended("restores", {"database": LONG, "mode": "beside", "tables": [table], "confirm": LONG}),
            ended("restores", {"database": LONG, "mode": "in_place", "tables": [quoted(evil("nothing", 40))], "confirm": LONG}),
            ended("restores", {"database": LONG, "mode": "new_database", "target_name": evil("target", 63), "confirm": LONG})]
    s.api("POST", "/api/v1/databases/doubted/cordon", {"reason": evil("cordon")}, token=operator)
    s.api("POST", "/api/v1/agents/restore/drain", {"reason": evil("drain")}, token=operator)
    s.api("POST", f"/api/v1/checkpoints/{sealed}/pin", {"reason": evil("pin")}, token=operator)
    for body in ({"database": "refused", "reason": evil("silence")}, {"condition": "checkpoint_errored", "reason": evil("quiet")}):
        status, answer, _ = s.api("POST", "/api/v1/silences", {**body, "seconds": 3600}, token=operator)
        assert status == 201, answer
    wait_for("the alert", lambda: any(a["key"] == "checkpoint_failed/doubted" for a in s.api("GET", "/api/v1/alerts")[1]["alerts"]), every=0.3)
    status, answer, _ = s.api("POST", "/api/v1/alerts/acknowledge", {"key": "checkpoint_failed/doubted", "reason": evil("noted")}, token=operator)
    assert status == 201, answer
    status, answer, _ = s.api("POST", "/api/v1/fleet/pause", {"reason": evil("pause")}, token=operator)
    assert status == 200, answer
    s.api("POST", "/api/v1/fleet/resume", {}, token=operator)
    s.operator, s.ids, s.table = operator, {"sealed": sealed, "refused": refused, "doubted": doubted, "broken": broken, "barred": barred, "jobs": jobs}, table
    yield s
    s.remove()


def placed(bad):
    """Each page, and what is shown on it that somebody else wrote."""
    i = bad.ids
    return {
        "": [LONG, evil("env"), evil("owner")],
        f"database/{LONG}": [LONG, evil("env"), evil("owner"), evil("tag")],
        "database/refused": [evil("db", 63), evil("tag2"), evil("silence"), "What helps:"],
        "database/broken": [evil("broken", 63)],
        "database/barred": [quoted(evil("broken", 63)), f"""TO {quoted(evil("role", 63))}""", "GRANT"],
        "database/doubted": [evil("assertion"), evil("tag3"), evil("cordon")],
        f"checkpoint/{i['sealed']}": [evil("tag"), evil("env"), SCHEMA, TABLE, evil("u", 63)],
        f"checkpoint/{i['refused']}": [evil("db", 63)],
        f"checkpoint/{i['doubted']}": [evil("assertion"), "Condemned: it does not restore to what was dumped"],
        f"checkpoint/{i['broken']}": [evil("broken", 63), "The dump failed: there is nothing to restore", "What helps:"],
        f"checkpoint/{i['barred']}": [quoted(evil("broken", 63)), quoted(evil("role", 63))],
        "ledger": [LONG, evil("tag"), evil("db", 63)],
        "ledger?view=events": [evil("tag"), evil("cordon"), evil("drain"), evil("pin"), evil("silence"), evil("quiet"), evil("noted"), evil("pause"), f"a{LONG[1:]}"],
        "drills": [],
        "agents": [evil("drain")],
        f"job/{i['jobs'][0]}": [SCHEMA, TABLE, evil("gone", 63), evil("view", 63)],
        f"job/{i['jobs'][1]}": [quoted(TABLE), evil("tag")],
        f"job/{i['jobs'][2]}": [quoted(evil("nothing", 40))],
        f"job/{i['jobs'][3]}": [evil("target", 63)],
        f"database/{RUN.replace('/', '%2F')}": [],
        RUN.replace("/", "%2F"): [],
        f"ledger?database={RUN}": [],
    }


# What only markup of somebody else's could have made; and what sticks out of the screen and cannot be scrolled to.
MADE = "[...document.body.querySelectorAll('[onerror], [onload], script:not([src]), style, iframe, object, embed, base, form[action], link, img:not([src=\"/ui/seal.svg\"])')].map((e) => e.outerHTML)"
OUTSIDE = """[...document.querySelectorAll('body *')].filter((e) => { const r = e.getBoundingClientRect();
    return r.width > 1 && r.right > innerWidth + 1 && !e.closest('.scroll, pre, .unseen, .skip, svg') && getComputedStyle(e).visibility !== 'hidden'; })
    .filter((e) => { for (let p = e.parentElement; p; p = p.parentElement) if (getComputedStyle(p).overflowX !== 'visible') return p === document.body; return true; })
    .map((e) => `${e.tagName}.${e.className} ${e.textContent.slice(0, 60)}`)"""


def check(page, place, texts):
    text = page.js("document.body.textContent")
    missing = [t for t in texts if t not in text]
    hidden = page.js("getComputedStyle(document.querySelector('main')).display") != "block"
    made, outside = page.js(MADE), page.js(OUTSIDE)
    wide = page.js("document.documentElement.scrollWidth > innerWidth")
    wrong = {"missing": missing, "made": made, "outside": outside[:5], "wide": wide, "hidden": hidden}
    return [{"place": place, **wrong}] if any(wrong.values()) else []


@pytest.mark.parametrize("width", [390, 1400])
def test_every_field(browser, bad, width):
    with browser.page(width=width) as page:
        page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        page.sign_in(bad.url, bad.operator)
        wrong = []
        for number, (place, texts) in enumerate(placed(bad).items()):
            page.js(f"""(() => {{ document.querySelector('.page')?.classList.add('was'); location.hash = {json.dumps('#/' + place)}; }})()""")
            page.wait("document.querySelector('.page:not(.was) h1')")
            try:
                page.wait(f"{json.dumps(texts)}.every((t) => document.body.textContent.includes(t))", 8)
            except AssertionError:
                pass  # check says which is missing
            wrong += check(page, place, texts)
            shoot(page, f"evil-{number}-{width}", whole=True)
        assert not wrong, json.dumps(wrong, indent=1)
        assert page.js("told") == []
        assert [c for c in page.complaints() if "404" not in c] == []


# A coordinator that lies: whatever of its answers is text is markup instead, but for what the page decides by; what may be
# missing is there; and what members are called is markup where the page shows that. So also what no test can have a real
# agent, issuer or server say.
LIES = """(() => { const was = window.fetch, run = %s, kept = /(^|_)(id|at|state|kind|role|csrf|approval|way|mode|change|checkpoint|time|day|drill|restore_drill|attention)$/;
    const evil = (key) => `<${key}${run}WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW`;
    window.evil = evil;
    const error = () => ({code: evil('code'), message: evil('message'), remedy: evil('remedy'), object: evil('object')});
    const filled = {silenced: () => ({key: evil('key'), condition: evil('condition'), by: evil('by'), until: '2030-01-01T00:00:00Z', reason: evil('silence')}),
      cordoned: () => ({by: evil('by'), reason: evil('cordon')}), drained: () => ({by: evil('by'), reason: evil('drain')}), error,
      waits_for: () => evil('waits_for'), agent: () => evil('agent'), approved_by: () => evil('approved_by'), owner: () => evil('owner'), table: () => evil('table'),
      requested_by: () => evil('requested_by'), environment: () => evil('environment'), dump_public_key: () => evil('dump_public_key'), host: () => evil('host')};
    const lie = (value, key) => typeof value === 'string' ? kept.test(key) ? value : evil(key) : value === null ? filled[key]?.() ?? null
      : Array.isArray(value) ? value.map((v) => lie(v, key)) : typeof value !== 'object' ? value
      : Object.assign(Object.fromEntries(Object.entries(value).map(([k, v]) => [k, lie(v, k)])),
          ['tools', 'versions', 'detail', 'request', 'report'].includes(key) ? {[evil('member')]: evil('value')} : {});
    const more = (at, body) => {
      if (at.includes('/agents'))
        for (const a of body.agents) {
          a.jobs = [{id: 'x', kind: 'dump', database: 'd', checkpoint: 'x', progress: {phase: 'p'}}];
          a.machine = {told_at: new Date().toISOString(), load1: 1, cpus: 2, memory_total_bytes: 9, memory_available_bytes: 3, slots: [{capability: 'c', used: 1, total: 2}], disks: [{places: ['disk', 'other'], free_bytes: 1, total_bytes: 2}]};
        }
      if (/\\/checkpoints\\/[^/?]+$/.test(at)) {
        body.detail = {...body.detail, source: {encoding: '', collation: '', collation_provider: '', collation_actual: ''}, versions: {server: ''}, differences: [{kind: 'k', object: 'o', detail: 'd', remedy: 'r'}],
          omissions: [{kind: 'k', object: 'o', detail: 'd'}], notes: [{kind: 'k', message: 'n'}]};
        if (window.running)
          body = {...body, state: 'drilling', jobs: body.jobs.map((j, i) => ({...j, state: i ? 'queued' : 'running', waits_for: null, progress: {phase: '', table: '', bytes: 1, bytes_total: 9}}))};
      }
      if (at.includes('/rotation'))
        Object.assign(body, {queue: [{database: 'q', kind: 'canary', checkpoint: 'x', proven_at: null, due_at: null, score: 1}], forecast: {missed: 1, missing_databases: 1, barred: 1, unproven: 1, first_miss: {database: 'm', at: '2030-01-01T00:00:00Z'}}});
      return body;
    };
    window.fetch = async (path, ...rest) => {
      const at = String(path);
      if (window.running && /checkpoints\\/.*\\/events/.test(at)) {
        const body = await (await window.fetch(at.replace('/events', ''))).json();
        const events = `event: checkpoint\\ndata: ${JSON.stringify(body)}\\n\\nevent: progress\\ndata: ${JSON.stringify({job_id: body.jobs[0].id, progress: lie({phase: '', table: '', bytes: 1, bytes_total: 9}, '')})}\\n\\n`;
        return new Response(new ReadableStream({start: (c) => c.enqueue(new TextEncoder().encode(events))}));
      }
      const answer = await was(path, ...rest);
      if (!answer.headers.get('content-type')?.startsWith('application/json'))
        return answer;
      const body = await answer.json();
      return Response.json(answer.ok ? lie(more(at, body), '') : {error: error()}, {status: answer.status});
    }; })()""" % json.dumps(RUN.replace(" ", "/"))


def lies(bad):
    """Where, and which members of the answers are seen there."""
    i = bad.ids
    return {
        "": ["database", "environment", "owner", "error_code"],
        "database/doubted": ["environment", "owner", "tag", "code", "message", "remedy", "object", "condition", "by", "silence", "reason"],
        f"checkpoint/{i['sealed']}": ["tag", "database", "object", "detail", "remedy", "message", "encoding", "collation", "collation_provider", "collation_actual", "member", "value",
                                      "server", "schema", "name", "agent", "prefix", "dump_agent", "dump_public_key", "manifest_sha256", "proof_sha256", "requested_by"],
        f"checkpoint/{i['doubted']}": ["code", "message", "remedy", "object"],
        f"job/{i['jobs'][0]}": ["database", "environment", "advice", "note", "usable", "locks", "command", "schema", "name", "requested_by", "agent", "member", "value"],
        f"job/{i['jobs'][1]}": ["script", "tables", "requested_by", "approved_by"],
        f"job/{i['jobs'][2]}": ["code", "message", "remedy", "object"],
        "ledger": ["database", "tag", "code", "message"],
        "ledger?view=events": ["member", "value", "actor", "database", "reason"],
        "drills": ["database", "agent", "code"],
        "agents": ["name", "host", "version", "capabilities", "capability", "places", "member", "value", "drain", "database", "phase"],
        "nothing": [],
    }


@pytest.mark.parametrize("width", [390, 1400])
def test_a_coordinator_that_lies(browser, bad, width):
    with browser.page(width=width) as page:
        page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        page.sign_in(bad.url, bad.operator)
        page.wait("document.querySelector('.fleet tbody tr th a')")
        page.js(LIES)
        page.js("location.hash = '#/drills'")
        page.wait("document.querySelector('.page.at-drills .legend')")
        wrong = []
        for number, (place, members) in enumerate(lies(bad).items()):
            page.js(f"""(() => {{ document.querySelector('.page')?.classList.add('was'); location.hash = {json.dumps('#/' + place)}; }})()""")
            page.wait("document.querySelector('.page:not(.was) h1')")
            try:
                page.wait(f"{json.dumps(members)}.every((m) => document.documentElement.outerHTML && document.body.textContent.includes(evil(m)))", 6)
            except AssertionError:
                pass  # check says which is missing
            wrong += check(page, place, page.js(f"{json.dumps(members)}.map(evil)"))
            if width == 390 and (place == "agents" or place.startswith("database/")):
                wide = page.js("[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.getAttribute('aria-label'))")
                wrong += [{"place": place, "scrolls sideways": wide}] if wide else []
            shoot(page, f"lies-{number}-{width}", whole=True)
        page.js(f"window.running = true; location.hash = '#/checkpoint/{bad.ids['sealed']}'")
        page.wait("document.querySelector('#progress .job') && document.body.textContent.includes(evil('waits_for'))")
        wrong += check(page, "running", page.js("['waits_for', 'phase', 'table', 'agent'].map(evil)"))
        shoot(page, f"lies-running-{width}", whole=True)
        # What a form was refused for.
        page.js("location.hash = '#/database/doubted'")
        page.click(".page button", "Back up now")
        page.wait("document.querySelector('dialog input')")
        page.js("document.querySelector('dialog input').value = ' '")
        page.click("dialog button", "Back up now")
        page.wait("document.querySelector('dialog .notice.bad')")
        wrong += check(page, "refused form", page.js("['message', 'remedy'].map(evil)"))
        page.key("Escape", number=27)
        assert not wrong, json.dumps(wrong, indent=1)
        assert page.js("told") == []
        assert [c for c in page.complaints() if "404" not in c and "409" not in c] == []


def test_who_signs_in(browser, bad):
    """The names that an issuer gives people, and its own; what it says when it refuses; and where it sends one."""
    for width in (390, 1400):
        with browser.page(width=width) as page:
            page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
            page.open(bad.url + "/")
            page.wait("!!document.querySelector('.other-way button')")
            assert not check(page, "sign in", [f"Sign in with {evil('issuer')}"])
            page.open(f"{bad.url}/api/v1/sign-in/callback?error={quote(evil('error'))}&error_description={quote(evil('described'))}&state={quote(evil('state'))}&iss={quote(evil('iss'))}")
            page.wait("document.body.innerText.length > 10")
            assert page.js(MADE.replace("link, ", "")) == [], page.js(MADE)
            page.call("Page.addScriptToEvaluateOnNewDocument", source=LIES.replace("|role|", "|role|databases|"))
            page.sign_in(bad.url, bad.operator)
            page.wait("document.querySelector('.fleet tbody tr th a')")
            assert not check(page, "signed in", page.js("[evil('name')]"))
            shoot(page, f"lies-signed-in-{width}")
            # It would have one leave for code: the browser does not.
            page.js("(() => { const was = fetch; window.fetch = async (path, asked) => asked?.method === 'DELETE' ? Response.json({sign_out_at: 'javascript:owned()'}) : was(path, asked); })()")
            page.click("#sign-out")
            page.wait("document.querySelector('.sign-in')")
            page.wait("told.length > 0")
            assert "it ran" not in page.js("told"), page.js("told")


def test_in_dialogs_and_while_it_runs(browser, bad, server):
    with browser.page(width=1400) as page:
        page.call("Page.addScriptToEvaluateOnNewDocument", source=WATCH)
        page.sign_in(bad.url, bad.operator)
        page.js(f"location.hash = '#/database/{LONG}'")
        page.click("button", "Restore")
        page.wait("document.querySelector('dialog option')")
        assert not check(page, "the restore's dialog", [LONG, evil("env"), evil("tag")])
        page.key("Escape", number=27)
        page.js("location.hash = '#/agents'")
        page.click("button[aria-label='Undrain restore']")
        page.wait("document.querySelector('dialog')")
        assert not check(page, "the agent's dialog", [])
        page.key("Escape", number=27)
        with server.locked("web_evil", bad.table) as waits:
            id = bad.request(LONG, evil("running"))
            waits()
            page.js(f"location.hash = '#/checkpoint/{id}'")
            page.wait("document.querySelector('#progress .job')")
            assert not check(page, "a running checkpoint", [evil("running")])
        wait_for("its end", lambda: bad.show(id)["state"] == "sealed", every=0.3, timeout=90)
        assert page.js("told") == []
        # And where code is careless, the policy holds: what is meant as a script is refused by the browser.
        assert page.js("""(() => { try { document.body.innerHTML = '<p>x</p>'; return false; } catch { return true; } })()""")
        page.js("(() => { const i = document.createElement('img'); i.src = 'https://elsewhere.example/x.png'; document.body.append(i); })()")
        page.wait("told.some((t) => t.startsWith('require-trusted-types-for')) && told.some((t) => t.startsWith('img-src'))")
        assert "it ran" not in page.js("told")
