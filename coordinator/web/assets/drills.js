// Drills and their rotation: how fresh each proof is, what was drilled, whether the budget is enough.
import {append, facts, h, replace, section} from "/ui/dom.js";
import {get, may, part} from "/ui/api.js";
import * as f from "/ui/format.js";
import {byDay} from "/ui/chart.js";

const STEPS = [["f0", "under half of the objective"], ["f1", "under 80 percent"], ["f2", "under the objective"], ["f3", "older than the objective"], ["f4", "no proof"], ["f5", "no objective"]];

function freshness(row) {
  if (row.proof_age_seconds === null)
    return 4;
  if (!row.proof_age_objective_seconds)
    return 5;
  const share = row.proof_age_seconds / row.proof_age_objective_seconds;
  return share < 0.5 ? 0 : share < 0.8 ? 1 : share <= 1 ? 2 : 3;
}

// One square for each database, the oldest proof first.
function heat(rows) {
  const order = [4, 3, 2, 1, 0, 5];
  const cells = rows.map((row) => ({row, step: freshness(row)}));
  cells.sort((a, b) => order.indexOf(a.step) - order.indexOf(b.step) || (b.row.proof_age_seconds ?? 0) - (a.row.proof_age_seconds ?? 0));
  const counts = STEPS.map((_, i) => cells.filter((c) => c.step === i).length);
  return [
    h("ul", {class: "legend"}, order.filter((i) => counts[i]).map((i) => h("li", {}, h("span", {class: `cell ${STEPS[i][0]}`, "aria-hidden": "true"}), ` ${STEPS[i][1]} `, h("b", {}, f.count(counts[i]))))),
    h("div", {class: `heat${cells.length > 400 ? " many" : ""}`, role: "list", "aria-label": "Databases by the age of their proof"}, cells.map(({row, step}) => {
      const words = `${row.database}: ${row.proof_age_seconds === null ? "no proof" : `proof ${f.span(row.proof_age_seconds)} old`}${row.proof_age_objective_seconds ? ` of ${f.span(row.proof_age_objective_seconds)}` : ""}`;
      return h("span", {role: "listitem"}, h("a", {class: `cell ${STEPS[step][0]}`, href: `#/database/${part(row.database)}`, title: words, "aria-label": words}));
    })),
  ];
}

function budget(r) {
  const b = r.budget, words = [f.plural(b.slots || 1, "slot")];
  if (b.hours_per_day)
    words.push(`${b.hours_per_day} h a day`);
  if (b.bytes_per_day)
    words.push(`${f.size(b.bytes_per_day)} a day`);
  return words.join(", ");
}

function forecast(r) {
  const c = r.forecast;
  if (!c)
    return h("p", {class: "dim"}, "Not made yet.");
  if (!r.items && !c.unproven)
    return h("p", {class: "dim"}, "No database has an objective for the age of its proof: the rotation looks after none. fleet.yaml sets them.");
  if (c.enough)
    return h("p", {class: "notice good"}, "The budget is enough: no proof will grow older than its objective until ", f.at(c.until), ".",
      r.late ? ` ${f.plural(r.late, "proof")} that ${r.late === 1 ? "is" : "are"} too old already will be made anew.` : "");
  const short = c.needed && JSON.stringify(c.needed) !== JSON.stringify(r.budget);
  return [
    c.missed > 0 && h("div", {class: "notice bad"}, h("h3", {}, `${f.plural(c.missed, "objective")} will be missed, of ${f.plural(c.missing_databases, "database")}`),
      c.first_miss && h("p", {}, "The first: ", h("a", {href: `#/database/${part(c.first_miss.database)}`}, c.first_miss.database), ", ", f.ago(c.first_miss.at), "."),
      short && h("p", {}, `Enough would be: ${budget({budget: c.needed})}.`)),
    c.barred > 0 && h("div", {class: "notice bad"}, h("h3", {}, `${f.plural(c.barred, "database")} cannot be drilled`),
      h("p", {}, "No agent that is there may drill them, or offers the image that their policy asks for. No budget helps: see Agents.")),
    c.unproven > 0 && h("div", {class: "notice warn"}, h("h3", {}, `Of ${f.plural(c.unproven, "database")} nothing was ever proven`),
      h("p", {}, `${c.unproven === 1 ? "It has" : "They have"} an objective, and no sealed checkpoint: there is nothing to drill yet.`)),
  ];
}

export async function drills(place) {
  let timer = 0;

  async function load() {
    const [overview, list, rotation] = await Promise.all([get("/api/v1/overview"), get("/api/v1/drills?limit=1000"), may.all() ? get("/api/v1/rotation") : null]);
    const oldest = list.drills.length >= 1000 ? list.drills.at(-1).created_at : null;
    replace(place, h("div", {class: "head"}, h("h1", {}, "Drills and rotation")),
      section("Proofs", heat(overview.databases)),
      section("Drills of the last 30 days", h("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Drills by day"}, byDay(list.drills, 30, oldest && f.day(oldest))),
        oldest && h("p", {class: "dim"}, "Of the newest 1,000 drills: what was before ", f.at(oldest), " is not shown.")),
      rotation && section("Forecast", forecast(rotation)),
      rotation && section("Rotation", facts(["Budget", budget(rotation)], ["In use", `${f.count(rotation.running || 0)} of ${f.plural(rotation.budget?.slots || 1, "slot")}`],
        ["Load", rotation.load === undefined ? null : `${Math.round(rotation.load * 100)} % of what the budget holds in the long run`], ["Proofs looked after", f.count(rotation.items || 0)],
        ["Older than their objective", h("span", {class: rotation.late ? "over" : ""}, f.count(rotation.late || 0))], ["Could be drilled now", f.count(rotation.queued || 0)]),
      rotation.queue?.length > 0 && h("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Next drills"}, h("table", {}, h("caption", {}, "Next"),
        h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "Database"), h("th", {scope: "col"}, "Kind"), h("th", {scope: "col"}, "Proven"), h("th", {scope: "col"}, "Due"), h("th", {scope: "col", class: "number"}, "Score"))),
        h("tbody", {}, rotation.queue.slice(0, 20).map((q) => h("tr", {}, h("td", {}, h("a", {href: `#/checkpoint/${part(q.checkpoint)}`}, q.database)), h("td", {}, q.kind), h("td", {}, f.ago(q.proven_at)), h("td", {}, f.ago(q.due_at)), h("td", {class: "number"}, q.score.toFixed(2)))))))),
      section("Newest drills", h("ul", {class: "lines"}, list.drills.slice(0, 30).map((j) => h("li", {}, f.at(j.finished_at || j.created_at), " ", h("a", {href: `#/checkpoint/${part(j.checkpoint)}`}, j.database), " ",
        f.state(j.state === "done" ? "proven" : j.state), " ", j.seconds ? f.seconds(j.seconds) : "", j.agent && h("span", {class: "dim"}, ` on ${j.agent}`), j.error && j.state !== "canceled" && h("span", {class: "reason"}, j.error.code))))));
  }

  append(place, [h("h1", {}, "Drills and rotation")]);
  await load();
  for (const chart of place.querySelectorAll("[aria-label='Drills by day']"))
    chart.scrollLeft = chart.scrollWidth; // today, where the screen is too narrow for all days
  const round = setInterval(() => load().catch(() => {}), 60000);
  return {
    title: "Drills and rotation",
    event: (kind) => {
      if (kind.startsWith("drill.") && !place.contains(document.activeElement)) {
        clearTimeout(timer);
        timer = setTimeout(() => load().catch(() => {}), 1500);
      }
    },
    leave: () => { clearTimeout(timer); clearInterval(round); },
  };
}
