// One database: what is wrong with it and what helps, then all there is to know.
import {append, button, facts, h, replace, section} from "/ui/dom.js";
import {get, may, part, query} from "/ui/api.js";
import * as f from "/ui/format.js";
import {reason} from "/ui/fleet.js";
import {series} from "/ui/chart.js";
import {actions, backUp, plan, restore} from "/ui/act.js";

export function problem(title, error, more) {
  return h("div", {class: "notice bad reason-box"}, h("h2", {}, title), h("p", {class: "message"}, error.message),
    error.remedy && h("p", {class: "remedy"}, h("b", {}, "What helps: "), error.remedy),
    h("p", {class: "dim"}, error.code, error.object ? ` · ${error.object}` : ""), more);
}

export function checkpointTable(checkpoints, withDatabase) {
  return h("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Checkpoints"}, h("table", {class: "checkpoints"},
    h("caption", {class: "unseen"}, "Checkpoints, newest first"),
    h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "Taken"), withDatabase && h("th", {scope: "col"}, "Database"), h("th", {scope: "col"}, "Tag"), h("th", {scope: "col"}, "State"),
      h("th", {scope: "col", class: "number"}, "Tables"), h("th", {scope: "col", class: "number"}, "Rows"), h("th", {scope: "col", class: "number"}, "Size"), h("th", {scope: "col", class: "number"}, "Took"))),
    h("tbody", {}, checkpoints.map((c) => h("tr", {}, h("td", {class: "when"}, f.at(c.created_at)), withDatabase && h("td", {}, c.database),
      h("td", {class: "tag"}, h("a", {href: `#/checkpoint/${part(c.id)}`}, c.tag)),
      h("td", {class: "c-state"}, f.state(c.state), c.error && c.state !== "canceled" && h("span", {class: "reason"}, c.error.code), c.pinned_at && h("span", {class: "dim"}, " pinned"), c.pruned_at && h("span", {class: "dim"}, " pruned")),
      h("td", {class: "number"}, c.tables ? f.count(c.tables) : "-"), h("td", {class: "number"}, c.tables ? f.count(c.rows) : "-"),
      h("td", {class: "number c-size"}, c.size_bytes ? f.size(c.size_bytes) : "-"), h("td", {class: "number"}, c.seconds ? f.seconds(c.seconds) : "-"))))));
}

export async function database(place, [name]) {
  let timer = 0, checkpoints = [], row = null;

  async function load() {
    const [overview, list, jobs] = await Promise.all([get(`/api/v1/overview${query({database: name})}`),
      get(`/api/v1/checkpoints${query({database: name, limit: 60})}`),
      may.read() ? get(`/api/v1/jobs${query({database: name, limit: 60})}`) : {jobs: []}]);
    row = overview.databases[0];
    checkpoints = list.checkpoints;
    draw(jobs.jobs.filter((j) => ["plan", "restore", "rehearse"].includes(j.kind)).slice(0, 10));
  }

  function draw(jobs) {
    if (!row && !checkpoints.length) {
      replace(place, h("h1", {}, "There is no such database"), h("p", {}, "It is not in the fleet, or not among those that you may see."));
      return;
    }
    const newest = checkpoints[0], sealed = checkpoints.filter((c) => c.state === "sealed").reverse();
    const known = {name, environment: row?.environment, restore_approval: row?.restore_approval};
    const why = row && row.attention.length ? reason(row) : "";
    replace(place, h("div", {class: "head"}, h("h1", {}, name, " ", f.environment(row?.environment)), actions(
      may.ask() && button("Back up now", () => backUp(name, row?.environment), {class: "main"}),
      may.ask() && row?.sealed && button("Plan", () => plan(name)),
      may.operate() && row?.sealed && button("Restore", () => restore(known)))),
    row && !row.attention.length && h("p", {class: "notice good"}, row.sealed ? ["Proven: the newest sealed checkpoint restores to exactly what it says. ", h("a", {href: `#/checkpoint/${part(row.sealed.id)}`}, row.sealed.tag)] : ""),
    why && newest?.error && newest.state !== "sealed" ? problem(why[0].toUpperCase() + why.slice(1), newest.error,
      h("p", {}, h("a", {href: `#/checkpoint/${part(newest.id)}`}, `The checkpoint ${newest.tag}`)))
      : why && h("div", {class: "notice bad"}, h("h2", {}, why[0].toUpperCase() + why.slice(1)), h("p", {}, advice(row))),
    row?.silenced && h("p", {class: "notice"}, `Alerts${row.silenced.condition || row.silenced.key ? ` (${row.silenced.condition || row.silenced.key})` : ""} silenced by ${row.silenced.by || "somebody"} until ${f.stamp(row.silenced.until)}: ${row.silenced.reason}`),
    row?.cordoned && h("p", {class: "notice"}, `Cordoned by ${row.cordoned.by || "somebody"}${row.cordoned.reason ? `: ${row.cordoned.reason}` : ""}. Nothing of it is dumped until it is uncordoned.`),
    row && facts(["Owner", row.owner], ["Last sealed", row.sealed ? [f.ago(row.sealed.sealed_at), " ", h("a", {href: `#/checkpoint/${part(row.sealed.id)}`}, row.sealed.tag)] : "never"],
      ["Proof age", row.proof_age_seconds === null ? "no proof" : `${f.span(row.proof_age_seconds)}${row.proof_age_objective_seconds ? ` of ${f.span(row.proof_age_objective_seconds)}` : ""}`],
      ["A restore would lose", row.data_age_seconds === null ? "everything" : `what was written in the last ${f.span(row.data_age_seconds)}`],
      row.sealed && ["Restore takes", `${f.seconds(row.sealed.drill_seconds)}${row.restore_objective_seconds ? ` of ${f.span(row.restore_objective_seconds)}` : ""}`],
      row.sealed && ["Holds", `${f.plural(row.sealed.tables, "table")}, ${f.count(row.sealed.rows)} rows, ${f.size(row.sealed.size_bytes)} stored`],
      ["Next run", row.next_run_at ? f.ago(row.next_run_at) : "not scheduled"]),
    sealed.length > 1 && h("div", {class: "pair"}, section("Size", series("Size", sealed.map((c) => ({at: Date.parse(c.created_at), value: c.size_bytes, label: `${c.tag}: ${f.size(c.size_bytes)}`})), f.size)),
      section("Time to proven", series("Time to proven", sealed.map((c) => ({at: Date.parse(c.created_at), value: c.seconds, label: `${c.tag}: ${f.seconds(c.seconds)}`})), f.seconds))),
    section("Checkpoints", checkpoints.length ? checkpointTable(checkpoints) : h("p", {class: "dim"}, "There is none yet.")),
    jobs.length > 0 && section("Plans and restores", h("ul", {class: "lines"}, jobs.map((j) => h("li", {}, h("a", {href: `#/job/${part(j.id)}`}, `${j.kind} of ${f.stamp(j.created_at)}`), " ", f.state(j.state),
      j.approval === "needed" && !f.JOB_FINAL.has(j.state) && h("span", {class: "reason"}, "waits for approval"), h("span", {class: "dim"}, ` ${j.requested_by || ""}`))))));
  }

  function advice(of) {
    if (!of.newest)
      return of.next_run_at ? ["No checkpoint of it was ever taken. By its schedule the first is taken ", f.ago(of.next_run_at), "; or back it up now."]
        : "No checkpoint of it was ever taken. Back it up now, or give it a schedule in fleet.yaml.";
    if (!f.FINAL.has(of.newest.state))
      return "A checkpoint of it is under way.";
    if (of.attention.includes("proof_old"))
      return "Drill the newest checkpoint again, or look at Drills whether the budget of the rotation is enough.";
    if (of.attention.includes("data_old"))
      return "Back it up now; then see whether its schedule is kept, and why not.";
    if (of.attention.includes("restore_slow"))
      return "See at the checkpoint's timeline which phase takes the time: a drill agent with more memory or more jobs may help, or the objective is too short.";
    return "Look at its newest checkpoint for the reason.";
  }

  await load();
  return {
    title: name,
    event: (kind, data) => {
      if (data.database === name && kind !== "progress") {
        clearTimeout(timer);
        timer = setTimeout(() => load().catch(() => {}), 500);
      }
    },
    back: () => load().catch(() => {}),
    leave: () => clearTimeout(timer),
  };
}
