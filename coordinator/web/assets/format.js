// Numbers, sizes and times as people read them. The same words as the command line.
import {h} from "/ui/dom.js";

const counts = new Intl.NumberFormat("en");

export const count = (n) => counts.format(n);

export function short(n) {
  for (const [limit, sign] of [[1e9, "B"], [1e6, "M"], [1e4, "k"]])
    if (n >= limit) {
      const parts = n / (sign === "k" ? 1e3 : limit);
      return `${parts.toFixed(parts >= 100 ? 0 : 1)}${sign}`;
    }
  return counts.format(n);
}

export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let i = 0;
  while (bytes >= 1000 && i < units.length - 1) {
    bytes /= 1000;
    i++;
  }
  return `${i ? bytes.toFixed(1) : bytes} ${units[i]}`;
}

export function seconds(s) {
  if (s < 10)
    return `${(Math.round(s * 10) / 10).toFixed(1)} s`;
  if (s < 120)
    return `${Math.round(s)} s`;
  if (s < 7200)
    return `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
  return `${Math.floor(s / 3600)} h ${Math.round(s % 3600 / 60)} min`;
}

// How long, roughly: an age, or until then.
export function span(s) {
  if (s < 60)
    return `${Math.max(0, Math.round(s))} s`;
  if (s < 3600)
    return `${Math.round(s / 60)} min`;
  if (s < 86400 * 2)
    return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

const two = (n) => String(n).padStart(2, "0");
export const clock = (iso) => {
  const d = new Date(iso);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
};
export const day = (iso) => {
  const d = new Date(iso);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
};
export const stamp = (iso) => `${day(iso)} ${clock(iso)}`;

// The browser's time zone, which all times are shown in: "Europe/Berlin, UTC+01:00".
let zoneName = null;
export function zone() {
  return zoneName ??= findZone();
}

function findZone() {
  const minutes = -new Date().getTimezoneOffset(), ahead = Math.abs(minutes);
  const offset = minutes ? `UTC${minutes < 0 ? "−" : "+"}${two(Math.floor(ahead / 60))}:${two(ahead % 60)}` : "UTC";
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone || "";
  return name && name !== offset ? `${name}, ${offset}` : offset;
}
export const since = (iso) => (Date.now() - Date.parse(iso)) / 1000;

// A point in time, said as an age; the title has all of it.
export function ago(iso) {
  if (!iso)
    return "never";
  const s = since(iso);
  return h("time", {datetime: iso, title: `${stamp(iso)} (${zone()})`}, s >= 0 ? `${span(s)} ago` : `in ${span(-s)}`);
}
export function at(iso) {
  return iso ? h("time", {datetime: iso, title: `${zone()}; ${iso}`}, stamp(iso)) : "-";
}

// Characters that break or reorder the line they are shown in, as the command line knows them.
const ODD = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

// A name in a database as it can be read and typed again: U&"a\000Ab" where it would not stay in its line.
export function name(...parts) {
  return parts.filter(Boolean).map((p) => !ODD.test(p) ? p : `U&"${[...p].map((c) => ODD.test(c)
    ? `\\${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}` : c === '"' || c === "\\" ? c + c : c).join("")}"`).join(".");
}

// A name as lists of tables tell it: "\\x" and hexadecimal digits are the bytes of one that begins so itself, or (null) of
// one that nobody could say in UTF-8.
export function told(name) {
  const hex = /^\\x((?:[0-9a-f]{2})+)$/.exec(name);
  if (!hex)
    return name;
  try {
    const text = new TextDecoder("utf-8", {fatal: true, ignoreBOM: true}).decode(Uint8Array.from(hex[1].match(/../g), (b) => parseInt(b, 16)));
    return text.startsWith("\\x") ? text : null;
  } catch {
    return null;
  }
}

// The pattern that means this table and no other.
const exact = (name) => /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
export const selector = (schema, name) => `${exact(schema)}.${exact(name)}`;

// What is written between commas; those in double quotes part nothing.
export const list = (text) => (text.match(/(?:"[^"]*"|[^",])+/g) || []).map((t) => t.trim()).filter(Boolean);

// The word for how it ended, told by shape and colour alike.
const WORDS = {sealed: "sealed", proven: "proven", failed: "failed", errored: "errored", canceled: "canceled", done: "done",
  requested: "requested", dumping: "dumping", stored: "stored", drilling: "drilling", queued: "queued", leased: "starting",
  running: "running"};
const KIND = {sealed: "good", proven: "good", done: "good", failed: "bad", errored: "warn", canceled: "idle"};

export function state(name) {
  return h("span", {class: `state ${KIND[name] || (WORDS[name] ? "busy" : "idle")}`}, WORDS[name] || name || "none");
}

// Where round numbers of seconds lie up to `most`, `n` or so of them.
export function ticks(most, n) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];
  const step = steps.find((s) => most / s <= n) || Math.ceil(most / n / 86400) * 86400;
  return {step, at: [...Array(Math.floor(most / step + 1e-9) + 1).keys()].map((i) => i * step)};
}

// A place on an axis with that step: "0", "0.5 s", "40 s", "1:30 min", "2:15 h".
export function tick(s, step) {
  if (s === 0)
    return "0";
  if (s < 60 || step < 1)
    return `${step < 1 ? s.toFixed(1) : s} s`;
  if (s < 3600)
    return s % 60 ? `${Math.floor(s / 60)}:${two(s % 60)} min` : `${s / 60} min`;
  return s % 3600 ? `${Math.floor(s / 3600)}:${two(Math.round(s % 3600 / 60))} h` : `${s / 3600} h`;
}

export const FINAL = new Set(["sealed", "failed", "errored", "canceled"]);
export const JOB_FINAL = new Set(["done", "failed", "errored", "canceled"]);

export function environment(name) {
  return name ? h("span", {class: `environment${name === "production" ? " production" : ""}`, title: name}, name) : "";
}

export function plural(n, one, many) {
  return `${count(n)} ${n === 1 ? one : many || one + "s"}`;
}
