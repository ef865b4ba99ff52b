// Small charts, as inline SVG: a share of an objective, a trend, the phases of a checkpoint, drills by day.
import {h, svg} from "/ui/dom.js";
import * as f from "/ui/format.js";

// How much of what is allowed has been used: full is at the objective, beyond it another colour.
export function bar(share, of = "of the objective") {
  const used = Math.max(0.02, Math.min(1, share));
  return svg("svg", {class: `bar${share > 1 ? " over" : share > 0.8 ? " near" : ""}`, viewBox: "0 0 100 4", preserveAspectRatio: "none", role: "img",
    "aria-label": `${Math.round(share * 100)} percent ${of}`},
    svg("rect", {width: 100, height: 4, class: "whole"}), svg("rect", {width: used * 100, height: 4, class: "part"}));
}

// A line without axes: which way it goes. Nothing if there is no line to draw.
export function trend(values, of) {
  if (!values || values.length < 3)
    return "";
  const low = Math.min(...values), high = Math.max(...values), wide = 56, tall = 18;
  const y = (v) => high === low ? tall / 2 : 2 + (tall - 4) * (1 - (v - low) / (high - low));
  const points = values.map((v, i) => `${(i * wide / (values.length - 1)).toFixed(1)},${y(v).toFixed(1)}`).join(" ");
  const change = values[0] ? Math.round((values.at(-1) / values[0] - 1) * 100) : 0;
  return svg("svg", {class: "trend", viewBox: `-1 0 ${wide + 4} ${tall}`, role: "img",
    "aria-label": `${of}: ${change >= 0 ? "up" : "down"} ${Math.abs(change)} percent over ${values.length} checkpoints`},
    svg("polyline", {points}), svg("circle", {cx: wide, cy: y(values.at(-1)).toFixed(1), r: 1.8}));
}

// A series over time with its scale. points: {at, value, label, bad}
export function series(title, points, format) {
  if (points.length < 2)
    return h("p", {class: "dim"}, "Not enough checkpoints for a trend yet.");
  const wide = 640, tall = 130, left = 58, low = 0, high = Math.max(...points.map((p) => p.value)) * 1.1 || 1;
  const start = points[0].at, end = points.at(-1).at || start + 1;
  const x = (t) => left + (wide - left - 8) * (end === start ? 1 : (t - start) / (end - start));
  const y = (v) => 8 + (tall - 28) * (1 - (v - low) / (high - low));
  const grid = [0, 0.5, 1].map((k) => k * high / 1.1).map((v) => svg("g", {class: "grid"},
    svg("line", {x1: left, x2: wide - 8, y1: y(v), y2: y(v)}), svg("text", {x: left - 6, y: y(v) + 4, "text-anchor": "end"}, format(v))));
  return svg("svg", {class: "series", viewBox: `0 0 ${wide} ${tall}`, role: "img",
    "aria-label": `${title}: from ${format(points[0].value)} to ${format(points.at(-1).value)} over ${points.length} checkpoints`},
    grid, svg("text", {class: "axis", x: left, y: tall - 4}, f.day(start)), svg("text", {class: "axis", x: wide - 8, y: tall - 4, "text-anchor": "end"}, f.day(end)),
    svg("polyline", {points: points.map((p) => `${x(p.at).toFixed(1)},${y(p.value).toFixed(1)}`).join(" ")}),
    points.length < 60 && points.map((p) => svg("circle", {cx: x(p.at).toFixed(1), cy: y(p.value).toFixed(1), r: 2.6}, svg("title", {}, p.label))));
}

const ORDER = {dump: ["preflight", "snapshot", "roles", "dumping", "storing", "counting"],
  drill: ["prepare", "roles", "restore", "index", "assert", "redump", "compare"]};

// The phases of dump and drill, side by side in time: the drill follows the dump's segments as they land.
export function timeline(checkpoint) {
  const stages = checkpoint.detail?.stages || {};
  const jobs = checkpoint.jobs.filter((j) => j.started_at && (j.kind === "dump" || j.kind === "drill"));
  const first = (kind) => jobs.filter((j) => j.kind === kind && j.finished_at).at(kind === "dump" ? -1 : 0);
  const start = Date.parse(checkpoint.created_at) / 1000;
  const lanes = [];
  for (const kind of ["dump", "drill"]) {
    const job = first(kind);
    if (!job)
      continue;
    const lane = {kind, job, from: Date.parse(job.started_at) / 1000 - start, to: Date.parse(job.finished_at) / 1000 - start, parts: []};
    let at = lane.from; // of an agent that does not tell when they began: one after the other
    for (const name of ORDER[kind]) {
      const took = stages[kind]?.[name] || 0, begun = checkpoint.detail.stages_begun?.[kind]?.[name];
      at = begun === undefined ? at : lane.from + begun;
      if (took > 0)
        lane.parts.push({name, from: at, took});
      at += took;
    }
    lanes.push(lane);
  }
  if (!lanes.length)
    return h("p", {class: "dim"}, "Nothing has run yet.");
  const end = Math.max(...lanes.map((l) => l.to), 0.1), wide = 1320, left = 54, tall = lanes.length * 40 + 26;
  const x = (t) => left + (wide - left - 6) * Math.min(1, Math.max(0, t / end));
  const scale = f.ticks(end, 12);
  const ticks = scale.at.map((s) => svg("g", {class: "grid"}, svg("line", {x1: x(s), x2: x(s), y1: 4, y2: tall - 20}),
    svg("text", {x: x(s), y: tall - 5, "text-anchor": s === 0 ? "start" : x(s) > wide - 30 ? "end" : "middle"}, f.tick(s, scale.step))));
  const drawn = lanes.map((lane, i) => svg("g", {},
    svg("text", {class: "lane", x: 0, y: i * 40 + 26}, lane.kind),
    svg("rect", {class: "span", x: x(lane.from), y: i * 40 + 8, width: Math.max(2, x(lane.to) - x(lane.from)), height: 28, rx: 3}),
    lane.parts.map((p, j) => svg("g", {},
      svg("rect", {class: `phase p${j % 4}`, x: x(p.from), y: i * 40 + 8, width: Math.max(1, x(p.from + p.took) - x(p.from) - 1), height: 28, rx: 2},
        svg("title", {}, `${lane.kind}, ${p.name}: ${f.seconds(p.took)}`)),
      x(p.from + p.took) - x(p.from) > p.name.length * 7.4 + 10 && svg("text", {class: "phase-name", x: x(p.from) + 6, y: i * 40 + 26}, p.name)))));
  const table = h("details", {}, h("summary", {}, "The phases in numbers"), h("table", {class: "small"}, h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "Job"), h("th", {scope: "col"}, "Phase"), h("th", {scope: "col", class: "number"}, "Time"))),
    h("tbody", {}, lanes.flatMap((l) => l.parts.map((p) => h("tr", {}, h("td", {}, l.kind), h("td", {}, p.name), h("td", {class: "number"}, f.seconds(p.took))))))));
  return [h("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "Timeline"},
    svg("svg", {class: "timeline", viewBox: `0 0 ${wide} ${tall}`, role: "img",
      "aria-label": lanes.map((l) => `${l.kind} ${f.seconds(l.to - l.from)}`).join(", ")}, ticks, drawn)), table];
}

// Drills of the last days, stacked by how they ended. since: the first day of which all are there; or null.
export function byDay(drills, days, since) {
  const kinds = [["done", "good"], ["failed", "bad"], ["errored", "warn"]], today = Date.now();
  const list = [...Array(days).keys()].map((i) => ({day: f.day(today - (days - 1 - i) * 86400000), done: 0, failed: 0, errored: 0}));
  const of = new Map(list.map((d) => [d.day, d]));
  for (const drill of drills) {
    const d = drill.finished_at && of.get(f.day(drill.finished_at));
    if (d && drill.state in d)
      d[drill.state]++;
  }
  const most = Math.max(1, ...list.map((d) => d.done + d.failed + d.errored)), wide = 1320, tall = 130, step = (wide - 40) / days;
  return svg("svg", {class: "days", viewBox: `0 0 ${wide} ${tall}`, role: "img",
    "aria-label": `Drills in ${days} days: ${kinds.map(([k]) => `${list.reduce((n, d) => n + d[k], 0)} ${k === "done" ? "proven" : k}`).join(", ")}`},
    svg("text", {class: "axis", x: 32, y: 14, "text-anchor": "end"}, f.short(most)), svg("text", {class: "axis", x: 32, y: tall - 18, "text-anchor": "end"}, "0"),
    svg("line", {class: "base", x1: 38, x2: wide, y1: tall - 20, y2: tall - 20}),
    list.map((d, i) => {
      let y = tall - 20;
      return svg("g", {}, svg("title", {}, `${d.day}: ${d.done} proven, ${d.failed} failed, ${d.errored} errored`),
        (!since || d.day >= since) && svg("rect", {class: "ground", x: 40 + i * step, y: 6, width: step - 2, height: tall - 26}),
        kinds.filter(([k]) => d[k]).map(([k, look]) => {
          const high = (tall - 28) * d[k] / most;
          y -= high;
          return svg("rect", {class: look, x: 40 + i * step, y, width: step - 2, height: high});
        }),
        (days - 1 - i) % 7 === 0 && svg("text", {class: "axis", x: 40 + i * step + step / 2, y: tall - 5, "text-anchor": i === days - 1 ? "end" : "middle"}, d.day.slice(5)));
    }));
}
