"""The dashboard as HTTP sees it: its files and their headers, signing in, and what another site's page could try. In a
browser: tests/web."""
import gzip
import json
import urllib.error
import urllib.request

import pytest


class Visitor:
    """A browser's part in it: keeps the cookie, and sends what a browser would."""

    def __init__(self, stack):
        self.stack, self.cookie, self.csrf = stack, None, None

    def ask(self, method, path, body=None, **headers):
        request = urllib.request.Request(self.stack.url + path, method=method, data=json.dumps(body).encode() if body is not None else None)
        for name, value in {**({"Cookie": self.cookie} if self.cookie else {}), **headers}.items():
            request.add_header(name.replace("_", "-"), value)
        try:
            answer = urllib.request.urlopen(request, timeout=30, context=self.stack.tls and self.stack.tls.context())
        except urllib.error.HTTPError as e:
            answer = e
        return answer.status, answer.read(), answer.headers

    def sign_in(self, token, **headers):
        status, body, got = self.ask("POST", "/api/v1/session", {"token": token}, **headers)
        if status == 200:
            self.cookie = got["Set-Cookie"].split(";")[0]
            self.csrf = json.loads(body)["csrf"]
        return status, got.get("Set-Cookie", "")


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_dashboard(make_stack, server, tls):
    stack = make_stack({"shop": server.conninfo("postgres")}, agents=(), tls=tls)
    visitor = Visitor(stack)

    # Its files.
    status, page, headers = visitor.ask("GET", "/", Accept="text/html", Accept_Encoding="gzip")
    page = gzip.decompress(page).decode()
    policy = headers["Content-Security-Policy"]
    assert status == 200 and headers["Content-Type"].startswith("text/html") and "<script type=\"module\" src=\"/ui/app.js\"" in page
    for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"):
        assert part in policy
    assert "unsafe" not in policy and headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    assert visitor.ask("GET", "/", Accept="text/html", If_None_Match=headers["ETag"])[0] == 304
    assert b"pgseal --help" in visitor.ask("GET", "/", Accept="*/*")[1]
    assert "style=" not in page and "onclick" not in page  # nothing that the policy would stop
    assert visitor.ask("GET", "/ui/nonesuch.js")[0] == 404

    # Signing in.
    assert visitor.sign_in("wrong")[0] == 401
    assert visitor.sign_in(stack.token, Origin="https://evil.example")[0] == 403
    status, cookie = visitor.sign_in(stack.token, Origin=stack.url)
    assert status == 200 and "; HttpOnly" in cookie and "; SameSite=Strict" in cookie and "; Path=/" in cookie
    assert ("; Secure" in cookie) == tls and cookie.startswith("__Host-pgseal_session=" if tls else "pgseal_session=")
    status, body, _ = visitor.ask("GET", "/api/v1/session")
    assert status == 200 and json.loads(body)["role"] == "admin" and json.loads(body)["csrf"] == visitor.csrf

    # A change wants to be seen to come from the page.
    asked = {"database": "shop", "tag": "t"}
    assert visitor.ask("POST", "/api/v1/checkpoints", asked)[0] == 403
    assert visitor.ask("POST", "/api/v1/checkpoints", asked, X_Pgseal_CSRF="0" * 64)[0] == 403
    assert visitor.ask("POST", "/api/v1/checkpoints", asked, X_Pgseal_CSRF=visitor.csrf, Origin="https://evil.example")[0] == 403
    assert visitor.ask("POST", "/api/v1/checkpoints", asked, X_Pgseal_CSRF=visitor.csrf, Sec_Fetch_Site="cross-site")[0] == 403
    assert visitor.ask("POST", "/api/v1/checkpoints", asked, X_Pgseal_CSRF=visitor.csrf, Origin=stack.url)[0] == 202

    # The token's role, and its end; a restart in between ends nothing.
    wall = Visitor(stack)
    token = stack.api("POST", "/api/v1/tokens", {"name": "wall", "role": "viewer"})[1]["token"]
    assert wall.sign_in(token)[0] == 200
    assert wall.ask("GET", "/api/v1/overview")[0] == 200
    assert wall.ask("POST", "/api/v1/fleet/pause", {}, X_Pgseal_CSRF=wall.csrf)[0] == 403
    stack.kill("coordinator")
    stack.start_coordinator()
    assert wall.ask("GET", "/api/v1/overview")[0] == 200
    stack.api("DELETE", "/api/v1/tokens/wall")
    assert wall.ask("GET", "/api/v1/overview")[0] == 401

    # Signing out.
    assert visitor.ask("DELETE", "/api/v1/session", X_Pgseal_CSRF=visitor.csrf)[0] == 200
    assert visitor.ask("GET", "/api/v1/session")[0] == 401
    kinds = [e["kind"] for e in stack.api("GET", "/api/v1/ledger?limit=1000")[1]["events"]]
    assert kinds.count("session.opened") == 2 and kinds.count("session.closed") == 1
