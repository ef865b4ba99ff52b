"""Nothing that somebody else writes becomes part of the page: every field that a page shows, filled with markup and with
text that is too long for it. Each is found in the page as the text that it is, nothing runs, nothing is pushed aside."""
import json
import pathlib
import tempfile

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
    conninfo = server.conninfo("web_evil")
    label = {"environment": evil("env"), "owner": evil("owner"), "lock_timeout_seconds": 60}
    agent = f"a{LONG[1:]}"
    s = Stack(pathlib.Path(tempfile.mkdtemp(prefix="s.", dir=base)) / "p",
              {LONG: conninfo, "refused": server.conninfo(evil("db", 63)), "doubted": conninfo},
              agents=("dump+drill", "restore"),
              each={LONG: label, "refused": label, "doubted": {**label, "assertions": [{"name": evil("assertion"), "sql": "SELECT false"}]}}).start()
    sealed = s.seal(LONG, evil("tag"))["id"]
    refused = s.checkpoint("refused", evil("tag2"))[1]["id"]
    doubted = s.checkpoint("doubted", evil("tag3"))[1]["id"]
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
    s.operator, s.ids, s.table = operator, {"sealed": sealed, "refused": refused, "doubted": doubted, "jobs": jobs}, table
    yield s
    s.remove()


def placed(bad):
    """Each page, and what is shown on it that somebody else wrote."""
    i = bad.ids
    return {
        "": [LONG, evil("env"), evil("owner")],
        f"database/{LONG}": [LONG, evil("env"), evil("owner"), evil("tag")],
        "database/refused": [evil("db", 63), evil("tag2")],
        "database/doubted": [evil("assertion"), evil("tag3"), evil("cordon")],
        f"checkpoint/{i['sealed']}": [evil("tag"), evil("env"), SCHEMA, TABLE, evil("u", 63)],
        f"checkpoint/{i['refused']}": [evil("db", 63)],
        f"checkpoint/{i['doubted']}": [evil("assertion")],
        "ledger": [LONG, evil("tag"), evil("db", 63)],
        "ledger?view=events": [evil("tag"), evil("cordon"), evil("drain"), f"a{LONG[1:]}"],
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
