"""Signing in by OpenID Connect in a real browser, with a real identity provider: oidc-provider, which is certified by the
OpenID Foundation, pinned by version and digest. The dashboard is at localhost and the issuer at 127.0.0.1: two sites, so
cookies are held back as between any two."""
import json
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from support import npm
from axe import Axe
from conftest import shoot
from support.shell import free_port, wait_for

pytestmark = pytest.mark.long

ISSUER = pathlib.Path(__file__).parent / "issuer/issuer.mjs"
SECRET = "the-secret-of-the-test"


class Issuer:
    def __init__(self, public_url, *more):
        node, place = shutil.which("node"), npm.place("issuer", "oidc-provider/package.json")
        assert node, "node is not installed (it comes with npm)"
        self.port, self.dir = free_port(), pathlib.Path(tempfile.mkdtemp(prefix="issuer."))
        self.url = f"http://127.0.0.1:{self.port}"
        self.groups(ann=["dba", "all"], bob=["sales"])
        self.log = open(self.dir / "log", "wb")
        self.process = subprocess.Popen([node, ISSUER, str(self.port), public_url, place, *more], cwd=self.dir, stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log)
        wait_for("the issuer", self.ready)

    def ready(self):
        text = (self.dir / "log").read_text()
        assert self.process.poll() is None, text
        return "ready" in text

    def groups(self, **of):
        (self.dir / "groups.json").write_text(json.dumps(of))

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.dir)


@pytest.fixture
def stack(make_stack, server, request):
    s = make_stack({"pay-api": server.conninfo("postgres"), "shop": server.conninfo("postgres")}, agents=(), start=False)
    s.public_url = f"http://localhost:{s.http}"
    s.issuer = Issuer(s.public_url, *getattr(request, "param", ()))
    (s.dir / "secret").write_text(SECRET + "\n")
    (s.dir / "secret").chmod(0o600)
    s.options["oidc"] = {"issuer": s.issuer.url, "client_id": "pgseal", "client_secret_file": "secret", "public_url": s.public_url,
                         "name": "Example ID", "scopes": ["openid", "email", "groups"],
                         "grants": [{"value": "dba", "role": "admin"}, {"value": "pay", "role": "viewer", "databases": ["pay-*"]}]}
    s.write_coordinator()
    s.start()
    yield s
    s.issuer.stop()


def to_issuer(page, stack):
    page.open(stack.public_url + "/")
    page.wait("!!document.querySelector('.other-way button')")
    page.click(".other-way button", "Sign in with Example ID")
    page.wait(f"location.origin === {json.dumps(stack.issuer.url)} && !!document.querySelector('input[name=login]')")


def as_person(page, stack, name):
    """On the issuer's pages: who one is, and that one agrees."""
    page.js("document.querySelector('input[name=login]').focus()")
    page.type(name)
    page.js("document.querySelector('input[name=password]').focus()")
    page.type("whatever")
    page.key("Enter", number=13, text="\r")
    page.wait("!!document.querySelector('button[type=submit]') && !document.querySelector('input[name=login]')")
    page.click("button[type=submit]")
    page.wait(f"location.origin === {json.dumps(stack.public_url)}")


def test_the_whole_way(page, stack):
    for scheme in ("light", "dark"):
        page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        for width, name in ((1440, "wide"), (390, "phone")):
            page.size(width, 844 if name == "phone" else 900, mobile=name == "phone")
            page.open(stack.public_url + "/")
            page.wait("!!document.querySelector('.other-way button')")
            assert page.js("document.activeElement.textContent") == "Sign in with Example ID"
            shoot(page, f"sign-in-{scheme}-{name}")
            assert Axe().look(page) == []
    page.size(1440, 900)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    to_issuer(page, stack)
    as_person(page, stack, "ann")
    # The page that the callback answered with has gone on by itself, and there the Strict cookie came along.
    page.wait("!document.getElementById('top').hidden")
    page.wait_text("2 databases")
    assert "ann@example.com" in page.text() and "admin" in page.text()
    assert page.js("location.pathname + location.search") == "/" and page.js("document.referrer") == ""
    cookies = {c["name"]: c for c in page.call("Network.getCookies", urls=[stack.public_url])["cookies"]}
    assert list(cookies) == ["pgseal_session"] and cookies["pgseal_session"]["sameSite"] == "Strict" and cookies["pgseal_session"]["httpOnly"]
    page.open(stack.public_url + "/")
    page.wait_text("2 databases")
    opened = next(e for e in stack.api("GET", "/api/v1/ledger?limit=100")[1]["events"] if e["kind"] == "session.opened")
    assert opened["actor"] == "ann@example.com" and opened["detail"]["subject"] == "ann" and opened["detail"]["issuer"] == stack.issuer.url
    # Out here, and then there, and back.
    page.click("#sign-out")
    page.wait(f"location.origin === {json.dumps(stack.issuer.url)}")
    page.click("button[name=logout]")
    page.wait(f"location.href === {json.dumps(stack.public_url + '/')} && !!document.querySelector('.other-way button')")
    to_issuer(page, stack)  # it asks who one is again
    assert SECRET not in stack.log("coordinator")


@pytest.mark.parametrize("stack", [("apart",)], indirect=True, scope="function")
def test_claims_at_the_userinfo_endpoint(page, stack):
    to_issuer(page, stack)
    as_person(page, stack, "ann")
    page.wait("!document.getElementById('top')?.hidden")
    page.wait_text("2 databases")
    assert "ann@example.com" in page.text() and "admin" in page.text()


def test_who_has_no_role(page, stack):
    to_issuer(page, stack)
    as_person(page, stack, "bob")
    page.wait_text("the claim groups of your sign-in has no value that gives one")
    assert "sales" not in page.text()
    shoot(page, "sign-in-refused")
    assert Axe().look(page) == []
    assert page.call("Network.getCookies", urls=[stack.public_url])["cookies"] == []
    page.click("a")
    page.wait("!!document.querySelector('.other-way button')")
    # He gets one, and with it sees what it is for.
    stack.issuer.groups(bob=["pay"])
    page.click(".other-way button")  # the issuer knows him still
    page.wait("!document.getElementById('top')?.hidden")
    page.wait_text("1 database")
    assert "viewer" in page.text() and "pay-api" in page.text() and "shop" not in page.text()


def test_the_issuer_is_away(page, stack):
    stack.issuer.process.kill()
    stack.issuer.process.wait()
    page.open(stack.public_url + "/")
    page.wait("!!document.querySelector('.other-way button')")
    page.click(".other-way button")
    page.wait_text("the issuer cannot be asked for its description")
    page.js("document.getElementById('token').focus()")
    page.type(stack.token)
    page.key("Enter", number=13, text="\r")
    page.wait_text("2 databases")
