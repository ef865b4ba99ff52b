// The ledger: what was asked for and how it ended, as a running record; each event under it; and whether its chain holds.
import {append, button, h, replace, shout} from "/ui/dom.js";
import {get, may, part, query} from "/ui/api.js";
import * as f from "/ui/format.js";

const OUTCOMES = ["sealed", "failed", "errored", "canceled", "requested", "dumping", "stored", "drilling"];
const PAGE = 100, EVENTS = 500, LEAP = 1000, LEAPS = 50;

// 04:00:11 prod-api · PROVEN · 184 tables · 9.2M rows · 94 s
function line(c) {
  const parts = [h("b", {class: "state-word " + (c.state === "sealed" ? "good" : c.state === "failed" ? "bad" : c.state === "errored" ? "warn" : "idle")}, c.state === "sealed" ? "PROVEN" : c.state.toUpperCase())];
  if (c.state === "sealed")
    parts.push(f.plural(c.tables, "table"), `${f.short(c.rows)} rows`, f.seconds(c.seconds));
  else if (c.error)
    parts.push(c.error.code, h("span", {class: "dim message"}, c.error.message));
  return h("li", {}, h("time", {datetime: c.created_at, title: c.created_at}, f.clock(c.created_at)), " ",
    h("a", {class: "of", href: `#/database/${part(c.database)}`}, c.database), " ", h("a", {class: "tag", href: `#/checkpoint/${part(c.id)}`}, c.tag),
    parts.map((p) => [h("span", {class: "dot", "aria-hidden": "true"}, " · "), p]));
}

function eventLine(e) {
  const detail = e.detail ? Object.entries(e.detail).filter(([k]) => !/sha256|address|fencing|drill_id/.test(k)).map(([k, v]) => `${k} ${typeof v === "object" ? JSON.stringify(v) : v}`).join(", ") : "";
  return h("li", {}, h("span", {class: "sequence"}, f.count(e.sequence)), " ", h("time", {datetime: e.time, title: e.time}, f.clock(e.time)), " ",
    h("b", {}, e.kind), e.database && [" ", h("a", {class: "of", href: e.checkpoint_id ? `#/checkpoint/${part(e.checkpoint_id)}` : `#/database/${part(e.database)}`}, e.database)],
    (e.actor || e.agent) && h("span", {}, ` by ${e.actor || e.agent}`), detail && h("span", {class: "dim message"}, ` ${detail}`));
}

// Under the day that it was.
function byDay(items, time, draw) {
  const days = [];
  for (const item of items) {
    const day = f.day(time(item));
    if (days.at(-1)?.day !== day)
      days.push({day, items: []});
    days.at(-1).items.push(item);
  }
  return days.map((d) => h("section", {class: "day"}, h("h2", {}, d.day), h("ol", {class: "record"}, d.items.map(draw))));
}

export async function ledger(place, rest, asked) {
  let items = [], all = false, events = asked.get("view") === "events" && may.read(), first = 0, timer = 0;
  const filter = {database: asked.get("database") || "", tag: "", state: "", text: ""};
  const record = h("div", {}), more = button("Older", () => load(true), {class: "quiet"}), status = h("p", {class: "dim count", role: "status"});
  const chain = h("span", {class: "chain", role: "status"}, "");
  const input = (label, key) => h("input", {type: "search", "aria-label": label, placeholder: label, value: filter[key], onchange: (e) => { filter[key] = e.target.value.trim(); load(); }});
  const outcome = h("select", {"aria-label": "Outcome", onchange: () => { filter.state = outcome.value; load(); }}, h("option", {value: ""}, "Any outcome"), OUTCOMES.map((s) => h("option", {value: s}, s)));
  const day = h("input", {type: "date", onchange: () => load().catch((error) => shout(error.message))});
  const text = h("input", {type: "search", "aria-label": "Filter these events", placeholder: "Filter: kind, database, actor", oninput: () => draw()});
  const tools = h("div", {class: "tools"});

  function drawTools() {
    replace(tools, may.read() && h("div", {class: "chips", role: "group", "aria-label": "What is shown"},
      h("button", {type: "button", class: "chip", "aria-pressed": String(!events), onclick: () => turn(false)}, "Checkpoints"),
      h("button", {type: "button", class: "chip", "aria-pressed": String(events), onclick: () => turn(true)}, "Every event")),
    events ? text : [input("Database", "database"), input("Tag", "tag"), outcome], h("label", {class: "labelled"}, "Until ", day));
  }

  function turn(to) {
    events = to;
    items = [];
    drawTools();
    load().catch((error) => shout(error.message));
  }

  // Sequences and times rise together: the first event after that day is found by halving.
  async function firstAfter(end) {
    const newest = (await get("/api/v1/ledger?limit=1")).events[0];
    let low = 1, high = newest ? newest.sequence + 1 : 1;
    while (low < high) {
      const middle = Math.floor((low + high) / 2), found = (await get(`/api/v1/ledger?after=${middle - 1}&limit=1`)).events[0];
      if (found && f.day(found.time) <= end)
        low = Math.max(middle + 1, found.sequence + 1);
      else
        high = middle;
    }
    return low;
  }

  // The newest checkpoint of that day or before it: by way of those after it.
  async function leap(end) {
    for (let i = 0, before; i < LEAPS; i++) {
      const {checkpoints} = await get(`/api/v1/checkpoints${query({database: filter.database, tag: filter.tag, state: filter.state, limit: LEAP, before})}`);
      const at = checkpoints.findIndex((c) => f.day(c.created_at) <= end);
      if (at >= 0 || checkpoints.length < LEAP)
        return at < 0 ? [] : checkpoints.slice(at, at + PAGE);
      before = checkpoints.at(-1).id;
    }
    throw new Error("That day is too long ago to be found here: name a database too.");
  }

  async function load(older) {
    if (!older) {
      [items, all, first] = [[], false, 0];
      if (day.value && events)
        first = await firstAfter(day.value);
      else if (day.value)
        items = await leap(day.value);
      if (day.value && (events ? first <= 1 : true)) {
        all = events || items.length < PAGE;
        return draw();
      }
    }
    if (events) {
      const got = await get(`/api/v1/ledger${query(first ? {after: String(Math.max(0, first - EVENTS - 1)) || "0", limit: Math.min(EVENTS, first - 1)} : {limit: EVENTS})}`);
      const fresh = got.events.filter((e) => !first || e.sequence < first).reverse();
      items = items.concat(fresh);
      first = fresh.length ? fresh.at(-1).sequence : 1;
      all = first <= 1;
    } else {
      const got = await get(`/api/v1/checkpoints${query({database: filter.database, tag: filter.tag, state: filter.state, limit: PAGE, before: items.at(-1)?.id})}`);
      items = items.concat(got.checkpoints);
      all = got.checkpoints.length < PAGE;
    }
    draw();
  }

  function draw() {
    const end = day.value ? `${day.value}~` : "~", words = text.value.trim().toLowerCase();
    const shown = items.filter((i) => f.day(i.created_at || i.time) <= end &&
      (!events || !words || `${i.kind} ${i.database || ""} ${i.actor || ""} ${i.agent || ""}`.toLowerCase().includes(words)));
    status.textContent = `${f.plural(shown.length, events ? "event" : "checkpoint")}${all ? "" : ", the newest"}`;
    replace(record, shown.length ? byDay(shown, (i) => i.created_at || i.time, events ? eventLine : line) : h("p", {class: "dim"}, "Nothing fits."));
    more.hidden = all;
  }

  async function verify() {
    if (!may.read() || !may.all())
      return;
    replace(chain, h("span", {class: "dim"}, "checking the chain"));
    try {
      const got = await get("/api/v1/ledger/verify");
      replace(chain, h("span", {class: "state good"}, "chain whole"), h("span", {class: "dim", title: got.tip}, ` ${f.plural(got.events, "event")}, tip ${got.tip.slice(0, 12)}`));
    } catch (error) {
      replace(chain, h("span", {class: error.status === 409 ? "state bad" : "state warn"}, error.status === 409 ? "chain broken" : "not checked"), h("span", {}, ` ${error.message}`));
    }
  }

  append(place, [h("div", {class: "head"}, h("h1", {}, "Ledger"), status, chain), tools, record, more]);
  drawTools();
  await load();
  verify();
  return {
    title: "Ledger",
    event: (kind, data) => {
      if (kind === "progress")
        return;
      if (events && data.sequence && (!items.length || data.sequence > items[0].sequence)) {
        items.unshift(data);
        clearTimeout(timer);
        timer = setTimeout(draw, 300);
      } else if (!events && kind.startsWith("checkpoint.") && items.length <= PAGE && !day.value) {
        clearTimeout(timer);
        timer = setTimeout(() => load().catch(() => {}), 700);
      }
    },
    leave: () => clearTimeout(timer),
  };
}
