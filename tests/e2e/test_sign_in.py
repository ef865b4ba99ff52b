"""Signing in by OpenID Connect, as HTTP sees it: the whole way, and what is refused. With a real identity provider, in a
browser: tests/web/test_sign_in.py."""
import json
import re
import select
import threading
import time
import urllib.parse

import pytest

from support.issuer import Issuer, Key
from support.shell import BIN, free_port, run, wait_for
from test_dashboard import Visitor
from test_ledger import second_coordinator

CALLBACK = "/api/v1/sign-in/callback"


class Guest(Visitor):
    """Has the cookies of a sign-in, too."""

    def begin(self):
        status, body, headers = self.ask("POST", "/api/v1/sign-in", {}, Origin=self.stack.url)
        assert status == 200, body
        line = headers["Set-Cookie"]
        assert "; HttpOnly" in line and "; SameSite=Lax" in line and "; Max-Age=600" in line
        self.pending = line.split(";")[0]
        return json.loads(body)["location"]

    def come_back(self, target, cookie=None):
        """Status, the page's text, and whether there is a session now."""
        status, body, headers = self.ask("GET", target, Cookie=cookie or self.pending, Sec_Fetch_Site="cross-site")
        lines = headers.get_all("Set-Cookie") or []
        sessions = [line for line in lines if "pgseal_session=" in line]
        if sessions:
            self.cookie = sessions[0].split(";")[0]
            assert "; SameSite=Strict" in sessions[0] and "; HttpOnly" in sessions[0]
        return status, body.decode(), bool(sessions)

    def sign_in_by(self, issuer):
        return self.come_back(issuer.authorize(self.begin()))

    def who(self):
        status, body, _ = self.ask("GET", "/api/v1/session")
        assert status == 200, body
        return json.loads(body)


@pytest.fixture(scope="module")
def issuer():
    it = Issuer()
    yield it
    it.server.shutdown()


@pytest.fixture
def stack(make_stack, issuer, server):
    issuer.reset()
    issuer.asked.clear()
    issuer.person = {"sub": "u-1", "email": "ann@example.com", "email_verified": True, "groups": ["dba"]}
    s = make_stack({"pay-api": server.conninfo("postgres"), "shop": server.conninfo("postgres")}, agents=(), start=False)
    s.options["oidc"] = issuer.config(s.dir, s.url, session_hours=2)
    s.write_coordinator()
    s.start()
    return s


def test_sign_in(stack, issuer):
    ann = Guest(stack)
    assert json.loads(ann.ask("GET", "/api/v1/sign-in")[1])["oidc"] == {"name": "Example ID", "at": stack.url}
    assert ann.ask("POST", "/api/v1/sign-in", {}, Origin="https://evil.example")[0] == 403
    location = ann.begin()
    # The callback comes to another coordinator, as far as that knows anything: nothing of a sign-in is kept in one.
    stack.kill("coordinator")
    stack.start_coordinator()
    target = issuer.authorize(location)
    stranger = Guest(stack)
    stranger.begin()
    assert stranger.come_back(target)[0] == 401  # another browser: who has been made to follow a link is not signed in
    assert stranger.come_back(target, cookie="a=b")[0] == 401
    status, page, session = ann.come_back(target)
    assert status == 200 and session and 'http-equiv="refresh" content="0;url=/"' in page and "<script" not in page
    who = ann.who()
    assert (who["name"], who["role"], who["databases"]) == ("ann@example.com", "admin", ["*"])
    assert abs(time.time() + 7200 - time.mktime(time.strptime(who["expires_at"][:19], "%Y-%m-%dT%H:%M:%S")) + time.timezone) < 120
    # Once.
    status, page, session = ann.come_back(target)
    assert status == 401 and not session and "used already" in page
    # Changes want the same as ever, and are hers.
    assert ann.ask("POST", "/api/v1/fleet/pause", {"reason": "x"})[0] == 403
    assert ann.ask("POST", "/api/v1/fleet/pause", {"reason": "x"}, X_Pgseal_CSRF=who["csrf"])[0] == 200
    assert ann.ask("POST", "/api/v1/fleet/resume", {}, X_Pgseal_CSRF=who["csrf"])[0] == 200
    events = stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"]
    opened = next(e for e in events if e["kind"] == "session.opened")
    assert opened["actor"] == "ann@example.com" and opened["detail"] == {"address": "127.0.0.1", "issuer": issuer.url, "subject": "u-1", "role": "admin"}
    assert next(e for e in events if e["kind"] == "fleet.paused")["actor"] == "ann@example.com"
    # A role and databases by another group; the same person by another address keeps the name that the ledger has.
    issuer.person.update(email="mallory@example.com", groups=["pay-dev"])
    again = Guest(stack)
    assert again.sign_in_by(issuer)[2]
    who = again.who()
    assert (who["name"], who["role"], who["databases"]) == ("ann@example.com", "viewer", ["pay-*"])
    assert [d["name"] for d in json.loads(again.ask("GET", "/api/v1/databases")[1])["databases"]] == ["pay-api"]
    status, body, _ = again.ask("GET", "/api/v1/tokens")
    assert status == 403 and b"ann@example.com is of role viewer" in body
    # Nobody else.
    issuer.person.update(sub="u-2", email_verified=False, groups=["sales"])
    status, page, session = Guest(stack).sign_in_by(issuer)
    assert status == 403 and not session and "the claim groups" in page and "sales" not in page
    issuer.person.update(groups=["dba"])
    other = Guest(stack)
    assert other.sign_in_by(issuer)[2] and other.who()["name"] == f"u-2@127.0.0.1:{issuer.server.server_port}"
    # An admin ends somebody's sessions at once, all of them and nobody else's.
    issuer.person.update(sub="u-3", email="eve@example.com", email_verified=True)
    eves = [Guest(stack), Guest(stack)]
    assert all(eve.sign_in_by(issuer)[2] for eve in eves)
    assert again.ask("DELETE", "/api/v1/sessions/eve@example.com", X_Pgseal_CSRF=again.who()["csrf"])[0] == 403
    assert ann.ask("DELETE", "/api/v1/sessions/eve@example.com")[0] == 403
    status, body, _ = ann.ask("DELETE", "/api/v1/sessions/eve%40example.com", X_Pgseal_CSRF=ann.who()["csrf"])
    assert status == 200 and json.loads(body)["ended"] == 2
    assert [g.ask("GET", "/api/v1/session")[0] for g in (*eves, ann, other)] == [401, 401, 200, 200]
    assert stack.api("DELETE", "/api/v1/sessions/eve@example.com")[0] == 404 and stack.api("DELETE", "/api/v1/sessions/")[0] == 404
    ended = next(e for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"] if e["kind"] == "session.ended")
    assert ended["actor"] == "ann@example.com" and ended["detail"] == {"name": "eve@example.com", "count": 2, "address": "127.0.0.1"}
    # Out, there too.
    status, body, _ = ann.ask("DELETE", "/api/v1/session", X_Pgseal_CSRF=ann.who()["csrf"])
    leave = urllib.parse.urlsplit(json.loads(body)["sign_out_at"])
    assert status == 200 and f"{leave.scheme}://{leave.netloc}{leave.path}" == f"{issuer.url}/end"
    assert urllib.parse.parse_qs(leave.query) == {"client_id": ["pgseal"], "post_logout_redirect_uri": [f"{stack.url}/"]}
    assert ann.ask("GET", "/api/v1/session")[0] == 401
    # A grant that is gone takes its sessions along; others stay.
    stack.options["oidc"]["grants"][1]["role"] = "operator"
    stack.write_coordinator()
    stack.kill("coordinator")
    stack.start_coordinator()
    assert again.ask("GET", "/api/v1/session")[0] == 401 and other.who()["role"] == "admin"
    check = run([BIN / "pgseal-coordinator", "check", "--config", stack.dir / "coordinator.yaml"], check=False)
    assert check.returncode == 0 and not check.stderr, check.stderr
    text = "".join(stack.log(n) for n in ("coordinator",)) + json.dumps(events)
    for secret in (issuer.client[1], ann.pending.split("=")[1], ann.cookie.split("=")[1], "code-0", "access-"):
        assert secret not in text


def refused(stack, issuer, word, status=401):
    guest = Guest(stack)
    got, page, session = guest.sign_in_by(issuer)
    assert got == status and not session and re.search(word, page), (word, got, page)
    assert "href=\"/\"" in page and "<script" not in page


def test_hostile_issuer(stack, issuer):
    """One that answers what it should not; each time nobody is signed in, and the reason is said."""
    now = int(time.time())
    for claims, word in (({"nonce": "x"}, "nonce"), ({"nonce": None}, "nonce"), ({"aud": "other"}, "aud"), ({"aud": ["pgseal", "other"]}, "aud"),
                         ({"azp": "other"}, "azp"), ({"iss": "https://evil.example"}, "iss"), ({"exp": now - 90}, "exp"), ({"iat": now + 900}, "iat"),
                         ({"iat": now - 90000}, "iat"), ({"sub": None}, "sub"), ({"at_hash": "AAAA"}, "at_hash")):
        issuer.claims = claims
        refused(stack, issuer, word)
    issuer.reset()
    for token, word in ((issuer.unsigned, "no signed token"), (lambda h, c: issuer.unsigned(h, c) + "AAAA", "signed by none of"), (issuer.by_hmac, "signed by none of"), (lambda h, c: "x", "no signed token"),
                        (lambda h, c: issuer.signed(h, c)[:-8] + "AAAAAAAA", "signature is wrong"), (lambda h, c: "A" * 20000, "without an ID token")):
        issuer.token = token
        refused(stack, issuer, word, 503 if "without" in word else 401)
    issuer.reset()
    for answer, status, word in (
            (lambda h: issuer.say(h, 302, b"", Location=f"{issuer.url}/keys"), 503, "302"),
            (lambda h: issuer.say(h, 200, b'{"a": "' + b"x" * 500_000 + b'"}'), 503, "issuer cannot be asked for tokens"),
            (lambda h: issuer.say(h, 200, b"<html>"), 503, "no JSON object"),
            (lambda h: issuer.say(h, 500, b"{}"), 503, "500"),
            (lambda h: issuer.say(h, 400, {"error": "<b>", "error_description": "<script>alert(1)</script>"}), 401, "an error"),
            (lambda h: h.connection.close(), 503, "issuer cannot be asked for tokens")):
        issuer.answers = {"/token": answer}
        refused(stack, issuer, word, status)
    assert issuer.asked.count("/keys") == 1  # not by the redirect
    issuer.reset()
    # What a browser could bring.
    guest = Guest(stack)
    good = issuer.authorize(guest.begin())
    state = urllib.parse.parse_qs(good.split("?")[1])["state"][0]
    for query in ("", "code=x", f"state={state}", f"code=x&state={state[:-1]}", f"code=x&state={state}&state={state}", f"code=x&state={state}&iss=https://evil.example",
                  f"error=access_denied&state={state}", f"error=%3Cscript%3E&state={state}", f"code={'x' * 3000}&state={state}"):
        status, page, session = guest.come_back(f"{CALLBACK}?{query}")
        assert status == 401 and not session and "<script" not in page, (query, status, page)
    assert guest.ask("HEAD", good, Cookie=guest.pending)[0] == 400
    assert guest.come_back(good)[2]


def test_userinfo(stack, issuer):
    """Claims that are not in the ID token are asked for, of the same subject, and only then."""
    assert Guest(stack).sign_in_by(issuer)[2] and "/userinfo" not in issuer.asked
    issuer.person = {"sub": "u-7", "email": "gil@example.com", "email_verified": True, "groups": ["pay-dev"]}
    issuer.apart = ("groups", "email", "email_verified")
    gil = Guest(stack)
    assert gil.sign_in_by(issuer)[2] and issuer.asked[-1] == "/userinfo"
    assert (gil.who()["name"], gil.who()["role"]) == ("gil@example.com", "viewer")
    # What the ID token says counts, whatever the other answer says.
    issuer.person.update(sub="u-8", groups=["dba"])
    issuer.claims = {"groups": ["pay-dev"]}
    hal = Guest(stack)
    assert hal.sign_in_by(issuer)[2] and hal.who()["role"] == "viewer"
    issuer.claims = {"groups": []}
    refused(stack, issuer, "no value that gives one", 403)
    issuer.claims = {}
    for answer, status, word in (
            (lambda h: issuer.say(h, 200, {**issuer.person, "sub": "u-1"}), 401, "not of who signed in"),
            (lambda h: issuer.say(h, 200, {"groups": ["dba"]}), 401, "not of who signed in"),
            (lambda h: issuer.say(h, 200, {**issuer.person, "sub": ["u-8"]}), 401, "not of who signed in"),
            (lambda h: issuer.say(h, 200, b"eyJhbGciOiJub25lIn0.e30."), 503, "no JSON object"),
            (lambda h: issuer.say(h, 200, b'{"sub": "u-8", "groups": ["dba"], "a": "' + b"x" * 500_000 + b'"}'), 503, "cannot be asked for userinfo"),
            (lambda h: issuer.say(h, 302, b"", Location=f"{issuer.url}/keys"), 503, "302"),
            (lambda h: issuer.say(h, 401, {}), 503, "userinfo endpoint answered 401")):
        issuer.answers = {"/userinfo": answer}
        refused(stack, issuer, word, status)
    issuer.answers, issuer.access = {}, "a\r\nX-Injected: b"
    before = issuer.asked.count("/userinfo")
    refused(stack, issuer, "access token", 503)
    assert issuer.asked.count("/userinfo") == before
    issuer.access = None
    # Not where it is not wanted.
    stack.options["oidc"]["id_token_only"] = True
    stack.write_coordinator()
    stack.kill("coordinator")
    stack.start_coordinator()
    refused(stack, issuer, "no value that gives one", 403)
    assert issuer.asked.count("/userinfo") == before


def test_answers_must_name_their_issuer(stack, issuer):
    """RFC 9207: where it says that they always do, one that does not is no answer of it, and the code goes to nobody."""
    issuer.answers = {"/.well-known/openid-configuration": lambda h: issuer.say(h, 200, {**issuer.description, "authorization_response_iss_parameter_supported": True})}
    guest = Guest(stack)
    target = issuer.authorize(guest.begin())
    status, page, session = guest.come_back(re.sub("&iss=[^&]*", "", target))
    assert status == 401 and not session and "does not say which issuer" in page and "/token" not in issuer.asked
    assert Guest(stack).sign_in_by(issuer)[2]


def test_who_leaves_holds_no_place(stack, issuer):
    """Sign-ins that are begun and left, at the moment when they could go on; and no more of one address at a time than there may be."""
    let_go = threading.Event()
    issuer.answers = {"/.well-known/openid-configuration": lambda h: (let_go.wait(30), issuer.say(h, 200, issuer.description))}
    lines = []
    for _ in range(20):
        line = stack.connect()
        line.sendall(b"POST /api/v1/sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        lines.append(line)
    # As many as may be wait, when the others are refused.
    wait_for("them to wait", lambda: len(select.select(lines, [], [], 0)[0]) == 4, every=0.2)
    assert all(line.recv(13) == b"HTTP/1.1 429 " for line in select.select(lines, [], [], 0)[0])
    for line in lines:
        line.close()
    let_go.set()
    issuer.answers = {}
    wait_for("a place", lambda: Guest(stack).ask("POST", "/api/v1/sign-in", {})[0] == 200, every=0.2, timeout=10)
    assert Guest(stack).sign_in_by(issuer)[2]


def test_two_coordinators(make_stack, server, issuer):
    """On one ledger, behind two addresses: what begins at one goes on at the other, and no session is a coordinator's own."""
    issuer.reset()
    issuer.person = {"sub": "u-1", "email": "ann@example.com", "email_verified": True, "groups": ["dba"]}
    server.create("oidc_ledger")
    first = make_stack({"shop": server.conninfo("postgres")}, agents=(), start=False, ledger=server.conninfo("oidc_ledger"))
    first.options["oidc"] = issuer.config(first.dir, first.url)
    first.write_coordinator()
    first.start()
    wait_for("it to lead", lambda: "this coordinator leads" in first.log("coordinator"), every=0.2)
    second = second_coordinator(first, free_port())
    status_at = lambda guest, stack: (setattr(guest, "stack", stack), guest.ask("GET", "/api/v1/session")[0])[1]
    ann = Guest(first)
    target = issuer.authorize(ann.begin())
    ann.stack = second
    assert ann.come_back(target)[2]
    assert status_at(ann, first) == 200 and ann.who()["name"] == "ann@example.com"
    status, page, session = ann.come_back(target)  # used up at the other
    assert status == 401 and not session and "used already" in page
    csrf = ann.who()["csrf"]
    assert ann.ask("POST", "/api/v1/fleet/pause", {}, X_Pgseal_CSRF=csrf)[0] == 200
    ann.stack = second
    assert ann.ask("POST", "/api/v1/fleet/resume", {}, X_Pgseal_CSRF=csrf)[0] == 200
    # The one that leads is killed, in the middle of a sign-in that began there.
    assert "this coordinator leads" not in first.log("second")
    ben = Guest(first)
    issuer.person = {"sub": "u-2", "email": "ben@example.com", "email_verified": True, "groups": ["pay-dev"]}
    target = issuer.authorize(ben.begin())
    first.kill("coordinator")
    ben.stack = second
    assert ben.come_back(target)[2] and ben.who()["role"] == "viewer" and status_at(ann, second) == 200
    # Out at one is out at both; and that one alone.
    first.start_coordinator()
    assert status_at(ann, first) == 200 and status_at(ben, first) == 200
    assert ann.ask("DELETE", "/api/v1/session")[0] == 403 and status_at(ann, second) == 200
    ann.stack = first
    assert ann.ask("DELETE", "/api/v1/session", X_Pgseal_CSRF=csrf)[0] == 200
    assert status_at(ann, first) == 401 and status_at(ann, second) == 401 and status_at(ben, second) == 200


def test_keys_change(stack, issuer):
    assert Guest(stack).sign_in_by(issuer)[2]
    before = issuer.asked.count("/keys")
    old, issuer.key = issuer.key, Key("k2")
    try:
        issuer.shown = issuer.key
        assert Guest(stack).sign_in_by(issuer)[2]  # looked for, at once
        assert issuer.asked.count("/keys") == before + 1
        issuer.header = {"kid": "k3"}
        for _ in range(3):
            refused(stack, issuer, "key that the issuer does not show")
        assert issuer.asked.count("/keys") == before + 1  # not as often as anybody likes
    finally:
        issuer.key = issuer.shown = old


def test_slow_issuer(stack, issuer):
    """Who waits for it holds up nobody; and it is waited for no longer than 10 seconds (which is not waited for here)."""
    let_go = threading.Event()
    issuer.answers = {"/token": lambda h: let_go.wait(30)}
    guest = Guest(stack)
    target = issuer.authorize(guest.begin())
    answer = []
    thread = threading.Thread(target=lambda: answer.append(guest.come_back(target)))
    thread.start()
    wait_for("the issuer being asked", lambda: issuer.asked[-1] == "/token", every=0.05)
    begun = time.monotonic()
    for _ in range(5):
        assert stack.api("GET", "/api/v1/databases")[0] == 200
    assert time.monotonic() - begun < 5 and not answer
    let_go.set()
    thread.join(30)
    assert answer[0][0] == 503 and not answer[0][2]


def test_no_issuer(stack, issuer):
    """It is away, or another: signing in by a token goes on, and what is wrong is said."""
    config = stack.dir / "coordinator.yaml"
    issuer.answers = {"/.well-known/openid-configuration": lambda h: issuer.say(h, 200, {**issuer.description, "issuer": "https://evil.example"})}
    status, body, headers = Guest(stack).ask("POST", "/api/v1/sign-in", {})
    assert status == 503 and b"another issuer" in body and not headers["Set-Cookie"]
    issuer.asked.clear()
    assert Guest(stack).ask("POST", "/api/v1/sign-in", {})[0] == 503 and not issuer.asked  # not as often as anybody likes
    checked = run([BIN / "pgseal-coordinator", "check", "--config", config], check=False)
    assert checked.returncode == 0 and "warning: oidc: " in checked.stderr and "another issuer" in checked.stderr  # no reason not to start
    assert Guest(stack).sign_in(stack.token)[0] == 200
    stack.options["oidc"]["issuer"] = "http://127.0.0.1:9"
    stack.write_coordinator()
    checked = run([BIN / "pgseal-coordinator", "check", "--config", config], check=False)
    assert checked.returncode == 0 and "cannot be asked for its description" in checked.stderr
    for change, word in (({"issuer": "http://id.example.com"}, "issuer: it must begin with https"), ({"grants": []}, "nobody could sign in"),
                         ({"public_url": f"{stack.url}/path"}, "root of its host"), ({"grants": [{"value": "x", "role": "root"}]}, "role must be"),
                         ({"scopes": ["email"]}, "must have openid"), ({"session_hours": 1000}, "between 1 and 168")):
        stack.options["oidc"] = issuer.config(stack.dir, stack.url, **change)
        stack.write_coordinator()
        checked = run([BIN / "pgseal-coordinator", "check", "--config", config], check=False)
        assert checked.returncode == 1 and word in checked.stderr, checked.stderr
    stack.options["oidc"] = issuer.config(stack.dir, stack.url)
    stack.write_coordinator()
    (stack.dir / "oidc-secret").chmod(0o644)
    checked = run([BIN / "pgseal-coordinator", "check", "--config", config], check=False)
    assert checked.returncode == 1 and "may be read by others" in checked.stderr
