// The tables of a checkpoint, as its dump told them, beside those of the sealed one before it. There may be 10,000: they
// are drawn in parts.
import {h, say, sortable} from "/ui/dom.js";
import {part} from "/ui/api.js";
import * as f from "/ui/format.js";

const AT_ONCE = 200;
const WHICH = {
  all: ["All", () => true],
  changed: ["What changed", (t) => t.change && t.change !== "same"],
  fewer: ["Fewer rows, or gone", (t) => t.change === "removed" || t.rows_change < 0],
  fresh: ["New", (t) => t.change === "added"],
};

const moved = (t) => t.change === "removed" ? -t.rows : t.change === "added" ? t.rows : t.rows_change || 0;

function change(t) {
  if (t.change === "removed")
    return h("span", {class: "over"}, "gone");
  if (t.change === "added")
    return "new";
  if (t.change === "unlisted")
    return h("span", {class: "dim"}, "not known");
  if (t.rows_change)
    return h("span", {class: t.rows_change < 0 ? "over" : ""}, `${t.rows_change < 0 ? "−" : "+"}${f.count(Math.abs(t.rows_change))}`);
  return t.bytes_change ? h("span", {class: "dim"}, "same number, other rows") : t.change ? "0" : "-";
}

const COLUMNS = [
  {name: "Table", value: (t) => t.text, cell: (t) => h("code", {}, t.text)},
  {name: "Rows", number: true, first: "descending", value: (t) => t.missing ? -1 : t.rows, cell: (t) => t.missing ? h("span", {class: "dim"}, `had ${f.count(t.rows)}`) : f.count(t.rows)},
  {name: "Bytes", number: true, first: "descending", value: (t) => t.missing ? -1 : t.bytes, cell: (t) => f.size(t.bytes)},
  {name: "Rows since", number: true, value: moved, cell: change},
];

function summary(held) {
  const {previous, changes} = held;
  const proven = held.state === "sealed" ? "As its dump told them; the drill compared each of them with the manifest. " : "As its dump told them; no drill has proven them. ";
  if (!previous)
    return [proven, "There is no sealed checkpoint before it to compare with."];
  const link = h("a", {href: `#/checkpoint/${part(previous.id)}`}, previous.tag);
  if (!changes)
    return [proven, "Of the sealed one before it, ", link, ", the tables are not known."];
  return [proven, "Since ", link, `: ${f.count(changes.added)} new, ${f.count(changes.removed)} gone, ${f.count(changes.changed)} changed`,
    changes.unlisted ? `, of ${f.count(changes.unlisted)} it is not known` : "", "."];
}

// held: what the API says of them.
export function tableList(held) {
  const all = [...held.missing.map((t) => ({...t, missing: true})), ...held.list].map((t) => ({...t, text: f.name(f.told(t.schema) ?? t.schema, f.told(t.name) ?? t.name)}));
  const find = h("input", {type: "search", "aria-label": "Find a table", placeholder: "Find a table", spellcheck: "false", autocomplete: "off"});
  const which = h("select", {"aria-label": "Which tables"}, Object.entries(WHICH).map(([key, [label]]) => h("option", {value: key}, label)));
  const table = sortable("Tables", held.changes ? COLUMNS : COLUMNS.slice(0, 3), all, 2, AT_ONCE);
  const choose = () => {
    const wanted = find.value.trim().toLowerCase(), fits = WHICH[which.value][1];
    const rows = all.filter((t) => fits(t) && (!wanted || t.text.toLowerCase().includes(wanted)));
    table.show(rows);
    say(f.plural(rows.length, "table"));
  };
  find.addEventListener("input", choose);
  which.addEventListener("change", choose);
  return h("div", {class: "tables"}, h("p", {class: "dim"}, summary(held)),
    held.more ? h("p", {class: "notice"}, `${f.count(held.more)} more tables, the smallest, are not listed: the manifest in the repository has them.`) : "",
    h("div", {class: "tools"}, find, held.changes && which), table.element);
}
