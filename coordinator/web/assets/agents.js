// The agents: who they are, what they may do, what they are doing.
import {append, button, h, replace} from "/ui/dom.js";
import {get, may, part} from "/ui/api.js";
import * as f from "/ui/format.js";
import {drain} from "/ui/act.js";

function tools(agent) {
  return Object.entries(agent.tools || {}).map(([k, v]) => `${k} ${v}`).join(", ");
}

export async function agents(place) {
  let timer = 0;

  async function load() {
    const list = (await get("/api/v1/agents")).agents;
    const live = list.filter((a) => a.live).length;
    list.sort((a, b) => a.live - b.live || (a.name < b.name ? -1 : 1));
    replace(place, h("div", {class: "head"}, h("h1", {}, "Agents"), h("p", {class: "dim count"}, `${f.count(live)} of ${f.count(list.length)} connected`)),
      h("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Agents"}, h("table", {}, h("caption", {class: "unseen"}, "Agents, those that are away first"),
        h("thead", {}, h("tr", {}, ["Agent", "State", "Capabilities", "Jobs now", "Version", "Host", "Tools", "Last seen", ""].map((t) => h("th", {scope: "col"}, t || h("span", {class: "unseen"}, "Actions"))))),
        h("tbody", {}, list.map((a) => h("tr", {}, h("th", {scope: "row"}, a.name),
          h("td", {}, h("span", {class: `state ${a.live ? "good" : ["revoked", "invited"].includes(a.state) ? "idle" : "bad"}`}, a.live ? "connected" : a.state === "listed" || a.state === "enrolled" ? "away" : a.state),
            a.drained && h("span", {class: "reason calm"}, `drained${a.drained.reason ? `: ${a.drained.reason}` : ""}`)),
          h("td", {}, (a.capabilities || a.allowed_capabilities || []).join(", ")),
          h("td", {}, a.jobs.length ? h("ul", {class: "lines"}, a.jobs.map((j) => h("li", {}, h("a", {href: ["dump", "drill"].includes(j.kind) ? `#/checkpoint/${part(j.checkpoint)}` : `#/job/${part(j.id)}`}, `${j.kind} ${j.database}`), j.progress?.phase && h("span", {class: "dim"}, ` ${j.progress.phase}`)))) : h("span", {class: "dim"}, "idle")),
          h("td", {}, a.version || "-"), h("td", {}, a.host || "-"), h("td", {class: "dim"}, tools(a)),
          h("td", {}, f.ago(a.last_seen_at), a.expires_at && h("span", {class: "dim"}, " certificate until ", f.day(a.expires_at))),
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
