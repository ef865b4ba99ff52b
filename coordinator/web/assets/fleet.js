// The fleet: every database, what needs attention first.
import {append, h, replace} from "/ui/dom.js";
import {get, may, part, query} from "/ui/api.js";
import * as f from "/ui/format.js";
import {bar, trend} from "/ui/chart.js";
import {backUp} from "/ui/act.js";

// Rows of one height: of thousands only those that are seen are drawn.
const SPARE = 12, FIRST = 60;
const WHY = {never_sealed: "Never sealed", failing: "Failing", proof_old: "Proof too old", data_old: "Data too old",
  restore_slow: "Restore too slow"};

// Why a database is listed before others, in a few words.
export function reason(row) {
  const words = [], first = (why) => why === "failing" ? -1 : 0; // what is wrong now, before what follows from it
  for (const why of [...row.attention].sort((a, b) => first(a) - first(b))) {
    if (why === "never_sealed")
      words.push(row.newest ? "never sealed" : "no checkpoint yet");
    else if (why === "failing")
      words.push(`${row.failures > 1 ? `${f.count(row.failures)} times ` : ""}${row.newest?.state || "failing"}` +
        (row.newest?.error_code ? `: ${row.newest.error_code}` : ""));
    else if (why === "proof_old")
      words.push("proof older than its objective");
    else if (why === "data_old")
      words.push("newest copy older than its objective");
    else if (why === "restore_slow")
      words.push("restore slower than its objective");
    else
      words.push(why.replaceAll("_", " "));
  }
  return words.join(" · ");
}

function proofCell(row) {
  if (row.proof_age_seconds === null)
    return h("span", {class: "dim"}, "none");
  const share = row.proof_age_objective_seconds ? row.proof_age_seconds / row.proof_age_objective_seconds : null;
  return [h("span", {class: share > 1 ? "over" : ""}, f.span(row.proof_age_seconds)),
    share !== null && h("span", {class: "dim"}, ` of ${f.span(row.proof_age_objective_seconds)}`),
    share !== null && bar(share)];
}

const COLUMNS = [
  {key: "name", name: "Database"}, {key: "newest", name: "Newest checkpoint"}, {key: "proof", name: "Proof age"},
  {key: "restore", name: "Restore", number: true, about: "How long the newest drill took to restore it"}, {key: "took", name: "Proven in", number: true, about: "From the request to the proof"}, {key: "size", name: "Size", number: true},
  {key: "rows", name: "Rows", number: true}, {key: "next", name: "Next run"}, {key: "act", name: "Actions", unseen: true},
];
const VALUES = {
  name: (r) => r.database, newest: (r) => r.newest?.created_at || "", proof: (r) => -(r.proof_age_seconds ?? Infinity),
  restore: (r) => -(r.sealed?.drill_seconds ?? -1), took: (r) => -(r.sealed?.seconds ?? -1), size: (r) => -(r.sealed?.size_bytes ?? -1),
  rows: (r) => -(r.sealed?.rows ?? -1), next: (r) => r.next_run_at || "9",
};

const trends = new Map(); // by database: sizes and times of its last checkpoints; asked for when a row is seen

// How it went, then how it is: numbers under numbers, lines under lines.
const withTrend = (values, of, now) => [values && trend(values, of), h("span", {class: "now"}, now)];

function drawRow(row, number) {
  const sealed = row.sealed;
  const known = trends.get(row.database);
  return h("tr", {"aria-rowindex": number + 2, class: row.attention.length ? "attention" : ""},
    h("th", {scope: "row", class: "c-name"}, h("a", {href: `#/database/${part(row.database)}`}, row.database), " ",
      f.environment(row.environment), row.owner && h("span", {class: "owner dim"}, row.owner)),
    h("td", {class: "c-newest"}, row.newest ? [f.state(row.newest.state), " ", h("span", {class: "dim"}, f.ago(row.newest.created_at))]
      : h("span", {class: "dim"}, "none"),
      row.attention.length ? h("span", {class: "reason"}, reason(row)) : row.cordoned ? h("span", {class: "reason calm"}, "cordoned") : "",
      row.silenced && h("span", {class: "reason calm"}, `alerts silenced until ${f.stamp(row.silenced.until)}`)),
    h("td", {class: "c-proof"}, proofCell(row)),
    h("td", {class: "number c-restore"}, sealed ? withTrend(known?.restore, "restore time", f.seconds(sealed.drill_seconds)) : "-"),
    h("td", {class: "number c-took"}, sealed ? withTrend(known?.took, "time to proven", f.seconds(sealed.seconds)) : "-"),
    h("td", {class: "number c-size"}, sealed ? withTrend(known?.size, "size", f.size(sealed.size_bytes)) : "-"),
    h("td", {class: "number c-rows"}, sealed ? f.short(sealed.rows) : "-"),
    h("td", {class: "c-next"}, row.next_run_at ? f.ago(row.next_run_at) : h("span", {class: "dim"}, "none")),
    h("td", {class: "c-act"}, may.ask() && h("button", {type: "button", class: "quiet", "aria-label": `Back up ${row.database} now`,
      onclick: () => backUp(row.database, row.environment)}, "Back up")));
}

export async function fleet(place) {
  let rows = [], shown = [], counts = {}, whole = false, filter = null, words = "", where = "", order = null, down = false;
  let dirty = new Set(), timer = 0, asked = 0;
  const body = h("tbody", {}), status = h("p", {class: "dim count", role: "status"});
  const chips = h("div", {class: "chips", role: "group", "aria-label": "What needs attention"});
  const search = h("input", {type: "search", "aria-label": "Search by name or owner (key: /)", placeholder: "Search name or owner",
    oninput: () => { words = search.value.trim().toLowerCase(); arrange(); }});
  const environments = h("select", {"aria-label": "Environment", onchange: () => { where = environments.value; arrange(); }});
  const heads = COLUMNS.map((c) => h("th", {scope: "col", title: c.about, class: `c-${c.key}${c.number ? " number" : ""}`},
    c.unseen ? h("span", {class: "unseen"}, c.name) : h("button", {type: "button", class: "sort", onclick: () => sortBy(c.key)}, c.name)));
  const table = h("table", {class: "fleet", "aria-colcount": COLUMNS.length}, h("caption", {class: "unseen"}, "Databases, those that need attention first"),
    h("thead", {}, h("tr", {"aria-rowindex": 1}, heads)), body);

  function sortBy(key) {
    if (order === key && down)
      [order, down] = [null, false];
    else
      [order, down] = [key, order === key];
    arrange();
  }

  function drawChips() {
    const chip = (key, name, n) => h("button", {type: "button", class: `chip${n && key !== "all" ? " bad" : ""}`, "aria-pressed": String(filter === key),
      onclick: () => { filter = filter === key ? null : key; drawChips(); arrange(); }}, name, " ", h("b", {}, f.count(n)));
    replace(chips, [chip("any", "Needs attention", counts.any || 0)],
      Object.entries(WHY).filter(([key]) => counts[key]).map(([key, name]) => chip(key, name, counts[key])));
  }

  function arrange() {
    shown = rows.filter((r) => (!filter || (filter === "any" ? r.attention.length : r.attention.includes(filter))) &&
      (!where || r.environment === where) && (!words || r.database.includes(words) || r.owner.toLowerCase().includes(words)));
    if (order)
      shown.sort((a, b) => {
        const x = VALUES[order](a), y = VALUES[order](b);
        return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
      });
    heads.forEach((head, i) => head.setAttribute("aria-sort", COLUMNS[i].key !== order ? "none" : down ? "descending" : "ascending"));
    const all = counts.databases || rows.length;
    status.textContent = shown.length === all ? f.plural(all, "database") : `${f.count(shown.length)} of ${f.plural(all, "database")}` +
      (whole ? "" : ", the rest is on its way");
    table.setAttribute("aria-rowcount", shown.length + 1);
    draw(true);
  }

  // Only what is seen: empty rows before and after stand for the others.
  let from = -1, to = -1, height = 0;
  function draw(anew) {
    if (!table.isConnected) // the page was left while the list was on its way: nothing has a height here
      return;
    const tall = height || 42, top = -body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / tall) - SPARE);
    const last = Math.min(shown.length, Math.ceil((top + innerHeight) / tall) + SPARE);
    if (!anew && first === from && last === to)
      return;
    const focused = body.contains(document.activeElement) ? document.activeElement.closest("tr")?.getAttribute("aria-rowindex") : null;
    [from, to] = [first, Math.max(first, last)];
    const blank = (n) => n > 0 && append(h("tr", {class: "blank", "aria-hidden": "true"}, h("td", {colspan: COLUMNS.length})), []);
    const before = blank(from), after = blank(shown.length - to);
    if (before)
      before.firstChild.style.height = `${from * tall}px`;
    if (after)
      after.firstChild.style.height = `${(shown.length - to) * tall}px`;
    replace(body, before, shown.slice(from, to).map((row, i) => drawRow(row, from + i)), after);
    if (shown.length === 0)
      append(body, [h("tr", {}, h("td", {colspan: COLUMNS.length, class: "dim none"}, rows.length ? "No database fits." : "There are no databases yet: fleet.yaml or coordinator.yaml declares them."))]);
    if (focused)
      body.querySelector(`tr[aria-rowindex="${focused}"] a`)?.focus({preventScroll: true});
    const real = body.querySelector("tr:not(.blank)");
    const measured = !height && real && shown.length > 1 ? real.getBoundingClientRect().height : 0;
    if (measured > 0) {
      height = measured;
      if (Math.abs(height - tall) > 0.5)
        draw(true);
    }
    askTrends();
  }

  // Trends of the rows that are seen, a few at a time and once each; a phone does not show them.
  function askTrends() {
    if (innerWidth < 1100 || !whole)
      return;
    const seen = Math.max(0, Math.floor(-body.getBoundingClientRect().top / (height || 42)));
    const wanted = shown.slice(seen, to).filter((r) => r.sealed && !trends.has(r.database)).slice(0, 40);
    clearTimeout(askTrends.timer);
    askTrends.timer = setTimeout(async () => {
      for (const row of wanted) {
        if (!table.isConnected || asked > 2)
          return;
        trends.set(row.database, null);
        asked++;
        get(`/api/v1/checkpoints${query({database: row.database, state: "sealed", limit: 12})}`).then(({checkpoints}) => {
          const kept = checkpoints.reverse();
          trends.set(row.database, {size: kept.map((c) => c.size_bytes), took: kept.map((c) => c.seconds), restore: kept.map((c) => c.drill_seconds).filter((s) => s > 0)});
          const at = shown.indexOf(row);
          const line = at >= 0 && body.querySelector(`tr[aria-rowindex="${at + 2}"]`);
          if (line && !line.contains(document.activeElement))
            line.replaceWith(drawRow(row, at));
        }, () => trends.delete(row.database)).finally(() => { asked--; });
        while (asked > 2 && table.isConnected)
          await new Promise((done) => setTimeout(done, 20));
      }
    }, 150);
  }

  const weight = (r) => {
    const i = Object.keys(WHY).findIndex((key) => r.attention.includes(key));
    return i < 0 ? 99 : i;
  };

  async function load(first) {
    const got = await get(`/api/v1/overview${query({order: "attention", limit: first ? FIRST : ""})}`);
    rows = got.databases;
    counts = got.attention;
    whole = rows.length >= counts.databases;
    const names = [...new Set(rows.map((r) => r.environment).filter(Boolean))].sort();
    if (environments.length !== names.length + 1) {
      replace(environments, h("option", {value: ""}, "All environments"), names.map((n) => h("option", {value: n}, n)));
      environments.value = where;
    }
    drawChips();
    arrange();
  }

  async function refresh() {
    const names = [...dirty];
    dirty = new Set();
    try {
      if (names.length > 8)
        return await load(false);
      for (const name of names) {
        const got = await get(`/api/v1/overview${query({database: name})}`);
        const at = rows.findIndex((r) => r.database === name);
        if (!got.databases.length)
          continue;
        for (const why of [...Object.keys(WHY), "any"])
          counts[why] += (got.attention[why] || 0) - (at >= 0 && (why === "any" ? rows[at].attention.length > 0 : rows[at].attention.includes(why)) ? 1 : 0);
        if (at >= 0)
          rows.splice(at, 1);
        rows.push(got.databases[0]);
        trends.delete(name);
      }
      rows.sort((a, b) => weight(a) - weight(b) || b.attention.length - a.attention.length || (a.database < b.database ? -1 : 1));
      drawChips();
      arrange();
    } catch {
      // the next event, or the next round, asks again
    }
  }

  const onScroll = () => draw(false);
  const onResize = () => { height = 0; draw(true); };
  append(place, [h("div", {class: "head"}, h("h1", {}, "Fleet"), status, h("div", {class: "tools"}, environments, search)), chips, table]);
  await load(true);
  window.addEventListener("scroll", onScroll, {passive: true});
  window.addEventListener("resize", onResize);
  // After the first screen is there, the rest; from then on what events name, and all of it now and then.
  const rest = setTimeout(() => !whole && load(false).catch(() => {}), 50);
  const round = setInterval(() => load(false).catch(() => {}), 120000);
  return {
    title: "Fleet",
    event: (kind, data) => {
      if (data.database && kind !== "progress") {
        dirty.add(data.database);
        clearTimeout(timer);
        timer = setTimeout(refresh, 400);
      }
    },
    back: () => load(false).catch(() => {}),
    leave: () => {
      clearTimeout(rest);
      clearTimeout(timer);
      clearInterval(round);
      window.removeEventListener("scroll", onScroll);
      window.removeEventListener("resize", onResize);
    },
  };
}
