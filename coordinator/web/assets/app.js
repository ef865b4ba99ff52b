// The page itself: who is signed in, which page is shown, and the one line of events that all pages share.
import {append, byId, button, h, replace, say} from "/ui/dom.js";
import {follow, get, may, onSignedOut, post, remove, session} from "/ui/api.js";
import {zone} from "/ui/format.js";
import {fleet} from "/ui/fleet.js";

// A page: (place, rest, query) => {title, leave?, event?}. Those that are not the first are fetched when they are wanted.
const later = (file, name) => async (...args) => (await import(file))[name](...args);
const PAGES = [
  {path: "", name: "Fleet", show: fleet, may: () => true},
  {path: "ledger", name: "Ledger", show: later("/ui/ledger.js", "ledger"), may: () => true},
  {path: "drills", name: "Drills", show: later("/ui/drills.js", "drills"), may: may.read},
  {path: "agents", name: "Agents", show: later("/ui/agents.js", "agents"), may: may.read},
  {path: "database", show: later("/ui/database.js", "database")},
  {path: "checkpoint", show: later("/ui/checkpoint.js", "checkpoint")},
  {path: "job", show: later("/ui/job.js", "job")},
];

let current = {}, stopEvents = null, turn = 0;

export function failure(error) {
  return h("div", {class: "notice bad", role: "alert"}, h("p", {}, h("strong", {}, error.message)),
    error.remedy && h("p", {}, error.remedy), error.code && h("p", {class: "dim"}, error.code));
}

function navigation(path) {
  replace(byId("nav"), h("ul", {}, PAGES.filter((p) => p.name && p.may()).map((p) =>
    h("li", {}, h("a", {href: `#/${p.path}`, "aria-current": p.path === path ? "page" : null}, p.name)))));
}

async function route() {
  const mine = ++turn;
  const [where, asked] = location.hash.replace(/^#\/?/, "").split("?");
  const [path, ...rest] = where.split("/").map(decodeURIComponent);
  const page = PAGES.find((p) => p.path === path);
  current.leave?.();
  current = {};
  document.querySelectorAll("dialog").forEach((d) => d.close());
  navigation(path);
  const place = h("div", {class: `page at-${path || "fleet"}`});
  replace(byId("content"), place);
  if (!page) {
    append(place, [h("h1", {}, "There is no such page"), h("p", {}, h("a", {href: "#/"}, "To the fleet"))]);
    return;
  }
  try {
    const shown = await page.show(place, rest, new URLSearchParams(asked || ""));
    if (mine !== turn)
      return shown.leave?.();
    current = shown;
    document.title = `${shown.title} - pgseal`;
    if (mine > 1) {
      window.scrollTo(0, 0);
      byId("content").focus({preventScroll: true});
      say(shown.title);
    }
  } catch (error) {
    if (error.status === undefined)
      console.error(error);
    if (mine !== turn || error.status === 401)
      return;
    replace(place, h("h1", {}, "This page cannot be shown"), failure(error));
    // Away for a moment: the line that all pages share says when it is there again.
    current = error.status === 0 || error.status >= 500 ? {back: route} : {};
  }
}

// ---- signed in, and not ----

// "Sign in with ...", if there is more than tokens. What it answers with is the issuer's page: the way back is a page of
// the coordinator's that goes on to here.
function otherWay(oidc, problem) {
  const go = button(`Sign in with ${oidc.name}`, async () => {
    if (location.origin !== oidc.at)
      return location.assign(`${oidc.at}/`);
    go.disabled = true;
    try {
      location.assign((await post("/api/v1/sign-in")).location);
    } catch (error) {
      replace(problem, failure(error));
    } finally {
      go.disabled = false;
    }
  }, {class: "main"});
  return h("div", {class: "other-way"}, go, h("p", {class: "or dim"}, "or with a token"));
}

async function signIn(message) {
  stopEvents?.();
  stopEvents = null;
  current.leave?.();
  current = {};
  turn++;
  byId("top").hidden = byId("foot").hidden = true;
  document.title = "Sign in - pgseal";
  const problem = h("div", {});
  if (message)
    append(problem, [h("p", {class: "notice"}, message)]);
  const token = h("input", {id: "token", name: "token", type: "password", required: true, autocomplete: "current-password",
    spellcheck: "false", "aria-describedby": "token-help"});
  const mine = turn, {oidc} = await get("/api/v1/sign-in").catch(() => ({}));
  if (mine !== turn)
    return;
  const form = h("form", {class: "sign-in"}, h("img", {src: "/ui/seal.svg", alt: "", width: 44, height: 44}),
    h("h1", {}, "pgseal"), problem, oidc && otherWay(oidc, problem), h("label", {for: "token"}, "Token"), token,
    h("p", {id: "token-help", class: "dim"}, "What you may see and do is what the token may. `pgseal token create` makes one."),
    h("button", {type: "submit", class: oidc ? null : "main"}, oidc ? "Sign in with the token" : "Sign in"));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      Object.assign(session, await post("/api/v1/session", {token: token.value.trim()}));
      token.value = "";
      start();
    } catch (error) {
      replace(problem, failure(error));
      token.select();
    }
  });
  replace(byId("content"), form);
  (form.querySelector(".other-way button") || token).focus();
}

function start() {
  byId("top").hidden = byId("foot").hidden = false;
  replace(byId("zone"), h("span", {title: "All times are shown in this browser's time zone"}, zone()));
  replace(byId("foot"), `Times are shown in this browser's time zone: ${zone()}.`);
  replace(byId("who"), h("span", {title: `${session.name} may see: ${session.databases.join(", ")}`}, h("span", {class: "name"}, session.name),
    h("span", {class: "role"}, session.role)));
  if (may.read())
    stopEvents = follow("/api/v1/events", (kind, data) => current.event?.(kind, data), (state) => {
      const live = byId("live");
      live.className = `live ${state}`;
      live.textContent = state === "open" ? "live" : "reconnecting";
      if (state === "open")
        current.back?.();
    });
  route();
}

byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("content").focus();
});
byId("sign-out").addEventListener("click", async () => {
  let leave = null;
  try {
    leave = (await remove("/api/v1/session")).sign_out_at;
  } catch {
    // it was over anyway, or will be
  }
  session.role = null;
  if (leave) // the issuer's own session ends there
    location.assign(leave);
  signIn("You are signed out.");
});
onSignedOut(() => {
  if (!session.role)
    return;
  session.role = null;
  signIn("You are not signed in any more: sign in again.");
});
window.addEventListener("hashchange", () => session.role && route());
window.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && !document.querySelector("dialog")) {
    const search = document.querySelector("input[type=search]");
    if (search) {
      event.preventDefault();
      search.focus();
    }
  }
});

async function open() {
  try {
    Object.assign(session, await get("/api/v1/session"));
  } catch (error) {
    if (error.status === 401)
      return signIn();
    replace(byId("content"), h("h1", {}, "pgseal"), failure(error), button("Try again", open));
    return;
  }
  start();
}
open();
