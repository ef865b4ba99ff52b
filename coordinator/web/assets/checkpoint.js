// One checkpoint: live while it is made, then what it holds, how it was proven, and how it is used.
import {append, button, copyable, facts, h, replace, section, sortable, shout} from "/ui/dom.js";
import {get, may, part, post, query} from "/ui/api.js";
import * as f from "/ui/format.js";
import {timeline} from "/ui/chart.js";
import {live} from "/ui/live.js";
import {actions, confirm, drillAgain, plan, restore} from "/ui/act.js";
import {problem} from "/ui/database.js";
import {tableList} from "/ui/tables.js";

const difference = (now, then, show) => then && now !== then ? h("span", {class: "dim"}, ` ${now > then ? "+" : "−"}${show(Math.abs(now - then))} since the one before`) : "";

function list(title, items, none) {
  if (!items || !items.length)
    return none && section(title, h("p", {class: "dim"}, none));
  return section(title, h("ul", {class: "lines"}, items.map((i) => h("li", {}, h("b", {}, (i.kind || "").replaceAll("_", " ")), i.object ? [" ", h("code", {}, i.object)] : "", " ",
    i.detail || i.message || "", i.remedy && h("span", {class: "dim"}, ` ${i.remedy}`)))));
}

// Of a checkpoint whose dump did not tell: its tables are in the manifest, which the coordinator cannot read, but a plan's
// agent can.
function tables(report) {
  if (!report)
    return null;
  return sortable("Tables", [
    {name: "Table", value: (t) => `${t.schema}.${t.name}`, cell: (t) => h("code", {}, f.name(t.schema, t.name))},
    {name: "Rows", number: true, first: "descending", value: (t) => t.rows_then ?? -1, cell: (t) => t.rows_then === null ? "-" : f.count(t.rows_then)},
    {name: "Bytes", number: true, first: "descending", value: (t) => t.bytes ?? -1, cell: (t) => f.size(t.bytes || 0)},
    {name: "Rows live, then", number: true, first: "descending", value: (t) => t.rows_now ?? -1, cell: (t) => t.rows_now === null ? "gone" : f.count(t.rows_now)},
    {name: "Difference", number: true, value: (t) => (t.rows_now ?? 0) - (t.rows_then ?? 0),
      cell: (t) => { const d = (t.rows_now ?? 0) - (t.rows_then ?? 0); return d ? h("span", {class: d < 0 ? "over" : ""}, `${d > 0 ? "+" : "−"}${f.count(Math.abs(d))}`) : "0"; }},
  ], report.tables, 1, 1000).element;
}

// What has become of one that is not sealed, in the words that matter to who needs it now.
export function ended(c) {
  if (c.state === "failed")
    return c.restore_drill === "failed" ? "Condemned: it does not restore to what was dumped" : "The dump failed: there is nothing to restore";
  if (c.state === "errored")
    return c.manifest_sha256 ? "The drill came to no end: whether it restores is not known" : "The dump came to no end: there is nothing to restore";
  return c.state === "canceled" ? "Canceled: nothing is known of it" : `It is ${c.state}: nothing is known of it yet`;
}

function commands(c) {
  return [
    h("p", {}, "What is gone, and the ways back:"), copyable(`pgseal plan ${c.database} --checkpoint ${c.id}`, "the command"),
    h("p", {}, "Rows of one table, beside the live one:"), copyable(`pgseal restore ${c.database} --checkpoint ${c.id} --beside --table TABLE`, "the command"),
    h("p", {}, "All of it, into a new database:"), copyable(`pgseal restore ${c.database} --checkpoint ${c.id} --new-database ${c.database}_restored`, "the command"),
    h("p", {}, "The archive itself, where you have the key:"), copyable(`pgseal fetch ${c.id} --repository bucket.yaml --key escrow.key --certificate escrow.crt --output ${c.database}.dump`, "the command"),
    h("p", {class: "dim"}, "Without pgseal: docs/open-without-pgseal.md."),
  ];
}

export async function checkpoint(place, [id]) {
  let c = await get(`/api/v1/checkpoints/${part(id)}`), stop = null, timer = 0, before = null, read = null, held = null, heldIn = "";
  const body = h("div", {}), progress = h("div", {});

  async function more() {
    const older = await get(`/api/v1/checkpoints${query({database: c.database, state: "sealed", before: c.id, limit: 1})}`);
    before = older.checkpoints[0] || null;
    if (c.manifest_sha256 && heldIn !== c.state) { // once for each state: what was found and sorted in it stays
      const told = await get(`/api/v1/checkpoints/${part(c.id)}/tables`);
      held = told.known ? tableList(told) : null;
      heldIn = c.state;
    }
    if (may.read() && c.tables) {
      const {jobs} = await get(`/api/v1/jobs${query({database: c.database, kind: "plan", limit: 100})}`);
      const job = jobs.find((j) => j.checkpoint === c.id && j.state === "done");
      read = job && (!read || read.id !== job.id) ? await get(`/api/v1/jobs/${part(job.id)}`) : job ? read : null;
    }
  }

  async function again() {
    c = await get(`/api/v1/checkpoints/${part(c.id)}`);
    await more().catch(() => {});
    draw();
  }

  function draw() {
    const d = c.detail || {}, over = f.FINAL.has(c.state), drills = c.jobs.filter((j) => j.kind === "drill");
    const drilling = drills.some((j) => !f.JOB_FINAL.has(j.state)), gone = c.pruned_at || c.pruning_at;
    const act = (work) => () => work().then(again).catch((error) => { shout(error.message); replace(problemPlace, problem(error.message, error)); });
    const problemPlace = h("div", {});
    replace(body, h("p", {class: "crumbs"}, h("a", {href: `#/database/${part(c.database)}`}, c.database), " ", f.environment(c.environment)),
      h("div", {class: "head"}, h("h1", {}, c.tag, " ", over && f.state(c.state)), actions(
        may.operate() && !over && button("Cancel", () => confirm("Cancel the checkpoint", `${c.tag} of ${c.database} ends, canceled. Nothing of the database changes.`, "Cancel it", async () => { await post(`/api/v1/checkpoints/${part(c.id)}/cancel`, {}); })),
        may.operate() && over && c.manifest_sha256 && !gone && button(drilling ? "A drill is under way" : "Drill again", act(() => drillAgain(c)), {class: "main", disabled: drilling}),
        may.ask() && over && c.manifest_sha256 && !gone && button("Plan", () => plan(c.database, c)),
        may.operate() && c.state === "sealed" && !gone && button("Restore", async () => { const {databases} = await get(`/api/v1/overview${query({database: c.database})}`); await restore({name: c.database, environment: c.environment, restore_approval: databases[0]?.restore_approval}, c.id); }),
        may.operate() && over && !gone && button(c.pinned_at ? "Unpin" : "Pin", act(() => post(`/api/v1/checkpoints/${part(c.id)}/${c.pinned_at ? "unpin" : "pin"}`, {}))))),
      problemPlace, progress,
      c.error && c.state !== "sealed" && problem(ended(c), c.error),
      c.pruned_at ? h("p", {class: "notice"}, "Pruned ", f.ago(c.pruned_at), ": it is not in the repository any more.") : "",
      facts(["Taken", f.at(c.created_at)], ["Asked by", c.requested_by], ["Took", over && c.seconds ? f.seconds(c.seconds) : null],
        c.tables && ["Tables", f.count(c.tables), difference(c.tables, before?.tables, f.count)], c.tables && ["Rows", f.count(c.rows), difference(c.rows, before?.rows, f.count)],
        c.size_bytes && ["Stored", f.size(c.size_bytes), difference(c.size_bytes, before?.size_bytes, f.size)], c.archive_bytes && ["Archive", f.size(c.archive_bytes)],
        c.segments && ["Segments", f.count(c.segments)], d.entries && ["Compared", `${f.plural(d.entries, "entry", "entries")}: definitions, rows and bytes`],
        ["Encoding", d.source?.encoding], d.source?.collation && ["Collation", `${d.source.collation}, ${d.source.collation_provider} ${d.source.collation_actual}`],
        ["Assertions", d.assertions ? `${f.count(d.assertions)} held` : null], c.pinned_at && ["Pinned", f.ago(c.pinned_at)]),
      over && c.jobs.some((j) => j.started_at) && section("Timeline", timeline(c)),
      list("Differences", d.differences), list("Omissions", d.omissions, c.manifest_sha256 && "A restore brings back everything."), list("Notes", d.notes),
      c.manifest_sha256 && over && held && section("Tables", held, read && h("p", {class: "dim"}, "Beside the live database of ", f.at(read.finished_at), ": ", h("a", {href: `#/job/${part(read.id)}`}, "the plan"), ".")),
      c.manifest_sha256 && over && !held && heldIn === c.state && section("Tables", read ? [h("p", {class: "dim"}, "As read from its manifest by ", h("a", {href: `#/job/${part(read.id)}`}, "the plan"), " of ", f.at(read.finished_at), ", beside the live database of that moment."), tables(read.report)]
        : h("p", {}, "Its dump did not tell what each table holds, and that is encrypted with the checkpoint: an agent reads it for a plan. ", may.ask() && !gone && button("Read it", () => plan(c.database, c), {class: "quiet"}))),
      over && section("Proofs", h("ul", {class: "lines"}, drills.length ? drills.map((j) => h("li", {}, f.at(j.finished_at || j.created_at), " ", f.state(j.state === "done" ? "proven" : j.state), " ", j.seconds ? f.seconds(j.seconds) : "",
        j.agent && h("span", {class: "dim"}, ` on ${j.agent}`), j.error && j.state !== "canceled" && h("span", {class: "reason"}, `${j.error.code}: ${j.error.message}`))) : h("li", {class: "dim"}, "None yet."))),
      c.manifest_sha256 && !gone && section("How to use it", commands(c)),
      (c.manifest_sha256 || d.versions) && section("Evidence", [h("p", {class: "label"}, "Id"), copyable(c.id, "the id"), c.prefix && [h("p", {class: "label"}, "Place in the repository"), copyable(c.prefix, "the place")]],
        c.manifest_sha256 && [h("p", {class: "label"}, "Manifest, SHA-256"), copyable(c.manifest_sha256, "the manifest's digest")],
        c.proof_sha256 && [h("p", {class: "label"}, "Proof, SHA-256"), copyable(c.proof_sha256, "the proof's digest")],
        c.dump_public_key && [h("p", {class: "label"}, `Signed by ${c.dump_agent || "the dump agent"}`), copyable(c.dump_public_key, "the key")],
        d.versions && facts(...Object.entries(d.versions).map(([k, v]) => [k.replaceAll("_", " "), String(v)]))));
    if (!over && !stop)
      stop = live(progress, c.id, () => { stop = null; replace(progress); again(); });
    else if (over && drilling && !stop)
      replace(progress, h("p", {class: "notice"}, "It is drilled again: the proof is added here when it is made."));
    else if (over && !stop)
      replace(progress);
  }

  append(place, [body]);
  draw();
  more().then(draw, () => {});
  return {
    title: `${c.tag} of ${c.database}`,
    event: (kind, data) => {
      if (data.checkpoint_id === c.id && kind !== "progress" && !stop) {
        clearTimeout(timer);
        timer = setTimeout(() => again().catch(() => {}), 400);
      }
    },
    back: () => !stop && again().catch(() => {}),
    leave: () => { clearTimeout(timer); stop?.(); },
  };
}
