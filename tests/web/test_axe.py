"""Every page and dialog, light and dark, wide and narrow, for each role: axe finds nothing, nothing is wider than the screen."""
import json

import pytest

from axe import Axe
from conftest import shoot
from support.shell import wait_for

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def axe():
    return Axe()


class Looks:
    """What was found, by place; one failure at the end tells all."""

    def __init__(self, page, axe, name):
        self.page, self.axe, self.name, self.found = page, axe, name, {}

    def at(self, what):
        # What fades or turns is let be: colours half-way are nobody's.
        self.page.wait("!document.getAnimations().some((a) => a instanceof CSSTransition && a.playState === 'running')")
        self.found[what] = self.axe.look(self.page)
        if not self.page.js("document.documentElement.scrollWidth <= innerWidth"):
            self.found[what].append("wider than the screen")
        shoot(self.page, f"{what.replace(' ', '-')}-{self.name}", whole=not self.page.js("!!document.querySelector('dialog')"))

    def go(self, hash, ready):
        """There, and no more where it was."""
        self.page.js(f"""(() => {{ const to = {json.dumps('#/' + hash)}, was = document.querySelector('.page');
            if (location.hash !== to && was) was.classList.add('was'); location.hash = to; }})()""")
        self.page.wait(f"document.querySelector('.page:not(.was) h1') && ({ready})")

    def place(self, hash, what, ready="true"):
        self.go(hash, ready)
        self.at(what)

    def dialog(self, hash, ready, what, *buttons, label=None, full=None):
        """Opened by its button, closed by Escape: where the focus was, it is again. full: script that fills it."""
        page = self.page
        self.go(hash, ready)
        page.click(f"button[aria-label={json.dumps(label)}]" if label else ".page button", None if label else buttons[0])
        page.wait("document.querySelector('dialog[open]')")
        self.at(what)
        if full:
            page.wait(full)
            self.at(f"{what} full")
        for radio in page.js("[...document.querySelectorAll('dialog input[type=radio]')].map((r) => r.id)")[1:]:
            page.click(f"#{radio}")
            self.at(f"{what} {radio}")
        page.key("Escape", number=27)
        page.wait("!document.querySelector('dialog')")

    def clean(self):
        bad = {k: v for k, v in self.found.items() if v}
        assert not bad, json.dumps(bad, indent=1)


HEADS = "document.querySelector('h1').textContent.startsWith(%s)"


def pages(looks, shown, role):
    looks.place("", "fleet", "document.querySelector('.fleet tbody th a')")
    looks.place("database/prod-shop", "database", HEADS % "'prod-shop'")
    looks.place("database/odd", "database failing", "document.querySelector('.reason-box')")
    looks.place("database/none-such", "no database", HEADS % "'There is no such database'")
    looks.place(f"checkpoint/{shown['sealed']}", "checkpoint", "document.querySelector('.timeline') && document.querySelector('.tables tbody tr')")
    looks.place(f"checkpoint/{shown['errored']}", "checkpoint errored", "document.querySelector('.reason-box')")
    looks.place("ledger", "ledger", "document.querySelector('.record li')")
    looks.place("nothing/such", "no page", HEADS % "'There is no such page'")
    if role != "ci":
        looks.place("ledger?view=events", "events", "document.querySelector('.record li .sequence')")
        looks.place("drills", "drills", "document.querySelector('.days')")
        looks.place("agents", "agents", "document.querySelector('tbody th')")
        for job in ("plan", "done", "refused", "waiting"):
            looks.place(f"job/{shown[job]}", f"job {job}", "document.querySelector('h1 .state')")


TICKED = """(() => { const summary = document.querySelector('dialog summary'), boxes = document.querySelectorAll('.pick-list input');
    if (summary && !summary.parentElement.open) summary.click();
    if (boxes.length > 1 && !boxes[1].checked) { boxes[0].click(); boxes[1].click(); }
    return document.querySelectorAll('.picked button.chip').length > 1; })()"""


def dialogs(looks, shown, role):
    database, sealed = HEADS % "'prod-shop'", f"checkpoint/{shown['sealed']}"
    if "-390" not in looks.name:  # a phone's rows have no room for it: the database's page has it
        looks.dialog("", "document.querySelector('.fleet tbody th a')", "back up from fleet", label="Back up prod-shop now")
    looks.dialog("database/prod-shop", database, "back up", "Back up now")
    looks.dialog("database/prod-shop", database, "plan of database", "Plan")
    looks.dialog(sealed, "document.querySelector('.timeline')", "plan of checkpoint", "Plan", full=TICKED)
    if role in ("operator", "admin"):
        looks.dialog("database/prod-shop", database, "restore", "Restore", full=TICKED)
        looks.dialog("database/guarded", HEADS % "'guarded'", "restore that waits", "Restore")
        looks.dialog("agents", "document.querySelector('tbody th')", "drain", label="Drain dump-drill")
    if role == "operator":  # an admin asked for it
        looks.dialog(f"job/{shown['waiting']}", "document.querySelector('h1 .state')", "approve", "Approve")


@pytest.mark.parametrize("role,scheme,width", [
    ("admin", "light", 1400), ("admin", "dark", 390), ("operator", "dark", 1400), ("operator", "light", 390),
    ("viewer", "light", 1400), ("viewer", "dark", 390), ("ci", "dark", 1400), ("ci", "light", 390), ("viewer", "dark", 3840)])
def test_axe_finds_nothing(browser, shop, shown, server, axe, role, scheme, width):
    with browser.page(width=width, height=2160 if width > 3000 else 900, scheme=scheme) as page:
        looks = Looks(page, axe, f"{role}-{scheme}-{width}")
        page.open(shop.url + "/")
        page.wait("!!document.getElementById('token')")
        looks.at("sign in")
        page.type("pgseal_wrong")
        page.key("Enter", number=13, text="\r")
        page.wait("document.querySelector('.sign-in .notice')")
        looks.at("sign in refused")
        page.sign_in(shop.url, shown["tokens"][role])
        pages(looks, shown, role)
        if role != "viewer":
            dialogs(looks, shown, role)
        looks.clean()
        assert [c for c in page.complaints() if "401" not in c and "404" not in c] == []


@pytest.mark.parametrize("scheme,width", [("light", 1400), ("dark", 390)])
def test_axe_while_it_runs(browser, shop, shown, server, axe, scheme, width):
    """A checkpoint that is being made, with the line up and down, and the dialog that ends it."""
    with browser.page(width=width, height=900, scheme=scheme) as page:
        looks = Looks(page, axe, f"running-{scheme}-{width}")
        page.sign_in(shop.url, shown["tokens"]["operator"])
        with server.locked("web_shop", "orders") as waits:
            id = shop.request("prod-shop", f"to-be-canceled-{scheme}")
            waits()
            looks.place(f"checkpoint/{id}", "checkpoint running", "document.querySelector('#progress .job')")
            looks.dialog(f"checkpoint/{id}", "document.querySelector('#progress .job')", "cancel", "Cancel")
            looks.place("agents", "agents at work", "document.querySelector('tbody .lines li')")
            shop.kill("coordinator")
            looks.place(f"checkpoint/{id}", "coordinator away")
            page.wait("document.getElementById('live').textContent === 'reconnecting'")
            looks.at("reconnecting")
            shop.start_coordinator()
            looks.place(f"checkpoint/{id}", "checkpoint running again", "document.querySelector('#progress .job')")
            shop.api("POST", f"/api/v1/checkpoints/{id}/cancel", {})
        wait_for("its end", lambda: shop.show(id)["state"] == "canceled", every=0.3)
        page.wait("document.querySelector('h1 .state')?.textContent === 'canceled'", 30)
        looks.at("checkpoint canceled")
        looks.clean()
