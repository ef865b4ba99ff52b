// A plan, a restore or a rehearsal: how it goes, and its report.
import {append, button, copyable, facts, h, replace, section, sortable} from "/ui/dom.js";
import {get, may, part, pause, post, session} from "/ui/api.js";
import * as f from "/ui/format.js";
import {actions, confirm} from "/ui/act.js";
import {problem} from "/ui/database.js";

const WAY = {roll_forward: "Roll forward: a migration", compensate: "Compensate: a script puts rows back", restore_tables: "Restore tables", restore_database: "Restore everything into a new database"};

// What lost rows stands first, then what is otherwise than it was: one of 10,000 tables is not looked for.
const harm = (t) => t.lost || t.state === "missing" || t.state === "fewer" ? 0 : t.state === "same" || t.state === "content_same" ? 2 : 1;

function drawPlan(report) {
  return [
    h("p", {class: `notice ${report.damage === "none" ? "good" : "bad"}`}, report.advice),
    report.ways?.some((w) => w.possible) && section("Ways back", report.ways.filter((w) => w.possible).map((w) => h("div", {class: "way"}, h("h3", {}, WAY[w.way] || w.way),
      h("p", {}, w.note), facts(["Usable meanwhile", w.usable], ["Locks", w.locks], ["Reads", w.bytes_to_read ? `${f.size(w.bytes_to_read)} of ${f.size(w.of_bytes)}` : null], ["Takes about", w.seconds ? f.seconds(w.seconds) : null]),
      w.command && copyable(w.command, "the command"), w.sql?.length > 0 && h("pre", {tabindex: 0}, w.sql.map((s) => typeof s === "string" ? s : s.sql || JSON.stringify(s)).join("\n"))))),
    report.objects?.length > 0 && section("Definitions that are gone or changed", h("ul", {class: "lines"}, report.objects.map((o) => h("li", {}, h("b", {}, o.change || o.state || ""), " ", o.desc || "", " ", h("code", {}, f.name(o.schema, o.name)))))),
    report.tables?.length > 0 && section("Tables", sortable("Tables", [
      {name: "Table", value: (t) => `${t.schema}.${t.name}`, cell: (t) => h("code", {}, f.name(t.schema, t.name))},
      {name: "State", value: harm, cell: (t) => h("span", {class: harm(t) ? "dim" : "over"}, t.state)},
      {name: "Rows then", number: true, first: "descending", value: (t) => t.rows_then ?? -1, cell: (t) => t.rows_then === null ? "-" : f.count(t.rows_then)},
      {name: "Rows now", number: true, first: "descending", value: (t) => t.rows_now ?? -1, cell: (t) => t.rows_now === null ? "gone" : f.count(t.rows_now)},
      {name: "Bytes", number: true, first: "descending", value: (t) => t.bytes || 0, cell: (t) => f.size(t.bytes || 0)},
    ], report.tables, 1, 1000).element),
  ];
}

// Of what is told of a restore: what counts in words, all of it as it came.
function drawReport(report, job) {
  const simple = Object.entries(report).filter(([k, v]) => ["string", "number", "boolean"].includes(typeof v) && String(v).length < 60 &&
    !["kind", "mode", "version", "environment", "seconds"].includes(k) && !(k === "untold" && v === 0));
  return [facts(...simple.map(([k, v]) => [k.replaceAll("_", " "), typeof v === "number" ? f.count(v) : v === true ? "yes" : v === false ? "no" : v])),
    report.script && section("Script", h("p", {}, "Nothing runs before you have read it. Then:"), copyable(`pgseal restore ${job.database} --run-script ${job.id}`, "the command"),
      h("pre", {tabindex: 0, "aria-label": "Script"}, report.script)),
    h("details", {}, h("summary", {}, "The whole report"), h("pre", {tabindex: 0, "aria-label": "Report"}, JSON.stringify(report, null, 2)))];
}

export async function job(place, [id]) {
  let j = await get(`/api/v1/jobs/${part(id)}`), stopped = false;

  function draw() {
    const over = f.JOB_FINAL.has(j.state), p = j.progress || {}, problemPlace = h("div", {});
    const act = (what) => async () => {
      try {
        j = await post(`/api/v1/jobs/${part(j.id)}/${what}`, {});
        draw();
      } catch (error) {
        replace(problemPlace, problem(error.message, error));
      }
    };
    const waits = j.approval === "needed" && !over;
    replace(place, h("p", {class: "crumbs"}, h("a", {href: `#/database/${part(j.database)}`}, j.database), " ", f.environment(j.environment)),
      h("div", {class: "head"}, h("h1", {}, j.kind[0].toUpperCase() + j.kind.slice(1), " ", f.state(j.state)), actions(
        waits && may.operate() && j.requested_by !== session.name && button("Approve", () => confirm(`Approve the restore of ${j.database}`, `${j.requested_by} asked for it. It begins at once.`, "Approve", act("approve")), {class: "main"}),
        !over && (j.kind === "restore" ? may.operate() : may.ask()) && button("Cancel", act("cancel")))),
      problemPlace,
      waits && h("p", {class: "notice warn"}, j.requested_by === session.name ? "It waits for the approval of somebody else with the role operator." : `${j.requested_by} asked for it: it waits for approval.`),
      j.error && over && problem(`It is ${j.state}`, j.error),
      facts(j.checkpoint && ["Checkpoint", h("a", {href: `#/checkpoint/${part(j.checkpoint)}`}, j.tag || j.checkpoint)], ["Asked by", j.requested_by], ["Approved by", j.approved_by], ["Asked", f.at(j.created_at)], ["Agent", j.agent], ["Took", j.seconds ? f.seconds(j.seconds) : null],
        ...Object.entries(j.request || {}).filter(([k]) => !["database", "checkpoint", "sql", "mac", "nonce", "confirm"].includes(k)).map(([k, v]) => [k.replaceAll("_", " "), Array.isArray(v) ? v.join(", ") : String(v)])),
      !over && h("section", {}, h("h2", {}, "Progress"), h("progress", {max: 1, value: p.bytes_total > 0 ? Math.min(1, p.bytes / p.bytes_total) : undefined, "aria-label": "Progress"}),
        h("div", {class: "numbers"}, h("span", {}, p.phase || (j.state === "queued" ? `waiting for ${j.waits_for || "an agent"}` : "starting")), p.rows > 0 && h("span", {}, `${f.short(p.rows)} rows`), p.bytes > 0 && h("span", {}, f.size(p.bytes)), p.table && h("span", {class: "dim"}, p.table))),
      j.report && (j.kind === "plan" ? drawPlan(j.report) : drawReport(j.report, j)));
  }

  draw();
  (async () => {
    while (!stopped && !f.JOB_FINAL.has(j.state)) {
      await pause(1000);
      try {
        const next = await get(`/api/v1/jobs/${part(id)}`);
        if (!stopped && JSON.stringify(next) !== JSON.stringify(j)) {
          j = next;
          draw();
        }
      } catch {
        // it tries again
      }
    }
  })();
  return {title: `${j.kind} of ${j.database}`, leave: () => { stopped = true; }};
}
