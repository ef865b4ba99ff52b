// The agents: who they are, what they may do, what they are doing.
import {append, button, h, replace} from "/ui/dom.js";
import {get, may, part} from "/ui/api.js";
import * as f from "/ui/format.js";
import {drain} from "/ui/act.js";
import {bar} from "/ui/chart.js";

function line(label, text, used) {
  return h("li", {}, h("span", {class: "dim"}, `${label} `), text, bar(used, `of ${label} in use`));
}

// Load, memory and disks as the agent told them last: in words, and as bars that are full when nothing is left.
function machine(m) {
  if (!m)
    return h("span", {class: "dim"}, "not known");
  const rows = [line("load", `${m.load1.toFixed(2)} of ${f.plural(m.cpus, "CPU")}`, m.load1 / m.cpus)];
  if (m.memory_total_bytes)
    rows.push(line("memory", `${f.size(m.memory_available_bytes)} of ${f.size(m.memory_total_bytes)} free`, 1 - m.memory_available_bytes / m.memory_total_bytes));
  for (const d of m.disks)
    rows.push(line(d.places.join(", "), `${f.size(d.free_bytes)} of ${f.size(d.total_bytes)} free`, 1 - d.free_bytes / d.total_bytes));
  return h("ul", {class: "lines machine", title: `told ${f.span(f.since(m.told_at))} ago`}, rows);
}

const slots = (m) => (m?.slots || []).map((s) => `${s.capability} ${s.used}/${s.total}`).join(", ");

function tools(agent) {
  return Object.entries(agent.tools || {}).map(([k, v]) => `${k} ${v}`).join(", ");
}

// A cell that says on a phone, where no column stands above it, what it is.
const HEADS = ["Agent", "State", "Capabilities", "Jobs now", "Machine", "Version", "Host", "Tools", "Last seen"];
const cell = (head, look, ...content) => h("td", {class: look, "data-head": head}, content);

export async function agents(place) {
  let timer = 0;

  async function load() {
    const list = (await get("/api/v1/agents")).agents;
    const live = list.filter((a) => a.live).length;
    list.sort((a, b) => a.live - b.live || (a.name < b.name ? -1 : 1));
    replace(place, h("div", {class: "head"}, h("h1", {}, "Agents"), h("p", {class: "dim count"}, `${f.count(live)} of ${f.count(list.length)} connected`)),
      h("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Agents"}, h("table", {class: "stack"}, h("caption", {class: "unseen"}, "Agents, those that are away first"),
        h("thead", {}, h("tr", {}, [...HEADS, ""].map((t) => h("th", {scope: "col"}, t || h("span", {class: "unseen"}, "Actions"))))),
        h("tbody", {}, list.map((a) => h("tr", {}, h("th", {scope: "row"}, a.name),
          h("td", {}, h("span", {class: `state ${a.live ? "good" : ["revoked", "invited"].includes(a.state) ? "idle" : "bad"}`}, a.live ? "connected" : a.state === "listed" || a.state === "enrolled" ? "away" : a.state),
            a.drained && h("span", {class: "reason calm"}, `drained${a.drained.reason ? `: ${a.drained.reason}` : ""}`)),
          cell(HEADS[2], null, (a.capabilities || a.allowed_capabilities || []).join(", ")),
          cell(HEADS[3], null, a.jobs.length ? h("ul", {class: "lines"}, a.jobs.map((j) => h("li", {}, h("a", {href: ["dump", "drill"].includes(j.kind) ? `#/checkpoint/${part(j.checkpoint)}` : `#/job/${part(j.id)}`}, `${j.kind} ${j.database}`), j.progress?.phase && h("span", {class: "dim"}, ` ${j.progress.phase}`)))) : h("span", {class: "dim"}, "idle"),
            slots(a.machine) && h("div", {class: "dim"}, slots(a.machine))),
          cell(HEADS[4], "wide", machine(a.machine)),
          cell(HEADS[5], null, a.version || "-"), cell(HEADS[6], null, a.host || "-"), cell(HEADS[7], "wide dim", tools(a) || "-"),
          cell(HEADS[8], null, f.ago(a.last_seen_at), a.expires_at && h("span", {class: "dim"}, " certificate until ", f.day(a.expires_at))),
          h("td", {}, may.operate() && may.all() && button(a.drained ? "Undrain" : "Drain", () => drain(a, () => load()), {class: "quiet", "aria-label": `${a.drained ? "Undrain" : "Drain"} ${a.name}`}))))))),
      list.length === 0 && h("p", {class: "dim"}, "There is no agent yet: `pgseal agent invite` invites one."));
  }

  append(place, [h("h1", {}, "Agents")]);
  await load();
  const round = setInterval(() => !place.contains(document.activeElement) && load().catch(() => {}), 10000);
  return {
    title: "Agents",
    event: (kind) => {
      if ((kind.startsWith("agent.") || kind.startsWith("job.")) && !document.querySelector("dialog")) {
        clearTimeout(timer);
        timer = setTimeout(() => load().catch(() => {}), 800);
      }
    },
    back: () => load().catch(() => {}),
    leave: () => { clearTimeout(timer); clearInterval(round); },
  };
}
