// Which tables of a checkpoint: found in its list and ticked, or named. There may be 10,000 in it: as many as can be
// looked through are drawn, and what is ticked is shown apart, wherever it stands in the list.
import {button, h, replace} from "/ui/dom.js";
import {get, part} from "/ui/api.js";
import * as f from "/ui/format.js";

const SHOWN = 100, CHIPS = 12, MOST = 1000; // the API takes so many at once

// As the list tells it; selector null: nobody can write its name here.
function entry(t) {
  const schema = f.told(t.schema), name = f.told(t.name), known = schema !== null && name !== null;
  const text = f.name(schema ?? t.schema, name ?? t.name);
  return {text, low: text.toLowerCase(), name: (name ?? t.name).toLowerCase(), selector: known ? f.selector(schema, name) : null,
    facts: `${f.plural(t.rows, "row")}, ${f.size(t.bytes)}`};
}

// Those with the words in their names; whose own name it is, or begins so, before the others.
function fitting(all, words) {
  if (!words)
    return all;
  const rank = (e) => e.name === words || e.low === words ? 0 : e.name.startsWith(words) || e.low.startsWith(words) ? 1 : 2;
  return all.filter((e) => e.low.includes(words)).map((e) => [rank(e), e]).sort(([a], [b]) => a - b).map(([, e]) => e);
}

// {element, load(checkpoint's id), values(): selectors, problem(): why they will not do, or ""}. changed() is told of ticks.
export function tablePicker(legend, changed) {
  let all = [], fits = [], turn = 0, lost = 0;
  const ticked = new Map();
  const find = h("input", {type: "search", "aria-label": "Find a table", placeholder: "Find a table", spellcheck: "false", autocomplete: "off"});
  const list = h("ul", {class: "pick-list", "aria-label": "Tables"}), rest = h("div", {class: "pick-rest dim"});
  const chosen = h("ul", {class: "picked", "aria-label": "Ticked"}), status = h("p", {class: "dim", role: "status"}), note = h("p", {class: "dim", hidden: true});
  const box = h("div", {hidden: true}, find, list, rest, chosen, status);
  const names = h("input", {type: "text", id: "f-names", autocomplete: "off", spellcheck: "false", placeholder: "orders, audit.*", "aria-describedby": "f-names-help"});
  const element = h("fieldset", {class: "pick"}, h("legend", {}, legend), note, box,
    h("div", {class: "field"}, h("label", {for: "f-names"}, "By name"), names, h("p", {class: "dim", id: "f-names-help"}, "Names or globs as in psql, separated by commas.")));

  function tell() {
    const words = [ticked.size ? `${f.count(ticked.size)} of ${f.plural(all.length, "table")} ticked.` : `None of ${f.plural(all.length, "table")} is ticked.`];
    if (find.value.trim())
      words.unshift(`${f.count(fits.length)} ${fits.length === 1 ? "fits" : "fit"}.`);
    if (lost)
      words.push(`${f.count(lost)} that ${lost === 1 ? "was" : "were"} ticked ${lost === 1 ? "is" : "are"} not in this checkpoint.`);
    status.textContent = words.join(" ");
  }

  function tick(e, yes) {
    if (yes)
      ticked.set(e.selector, e);
    else
      ticked.delete(e.selector);
  }

  // What the ticks are now, without making the list anew: where the focus is, it stays.
  function show() {
    lost = 0;
    list.querySelectorAll("input").forEach((box, i) => { box.checked = ticked.has(fits[i].selector); });
    const drop = (e, at) => {
      tick(e, false);
      show();
      (chosen.querySelectorAll("button")[at] || chosen.querySelector("li:last-child button") || find).focus();
    };
    const some = [...ticked.values()].slice(0, CHIPS);
    replace(chosen, some.map((e, i) => h("li", {}, button([h("code", {}, e.text), h("span", {"aria-hidden": "true"}, " ×")], () => drop(e, i), {class: "chip", "aria-label": `Untick ${e.text}`}))),
      ticked.size > some.length && h("li", {class: "dim"}, `and ${f.count(ticked.size - some.length)} more`),
      ticked.size > 1 && h("li", {}, button("Untick all", () => { ticked.clear(); show(); find.focus(); }, {class: "quiet"})));
    tell();
    changed();
  }

  function draw() {
    const words = find.value.trim().toLowerCase();
    fits = fitting(all, words);
    replace(list, fits.slice(0, SHOWN).map((e) => h("li", {}, h("label", {title: e.selector ? null : "Its name is not UTF-8, and cannot be written here: a glob may reach it."},
      h("input", {type: "checkbox", checked: ticked.has(e.selector), disabled: !e.selector, onchange: (event) => { tick(e, event.target.checked); show(); }}),
      h("code", {}, e.text), h("span", {class: "dim"}, e.facts)))));
    list.scrollTop = 0;
    list.hidden = !fits.length;
    const more = words && fits.length > 1 && fits.length <= MOST;
    replace(rest, !fits.length && h("p", {}, "No table has that in its name."),
      fits.length > SHOWN && h("p", {}, `The first ${SHOWN} of ${f.count(fits.length)}${words ? " that fit" : ""}: type more of the name.`),
      more && button(`Tick all ${f.count(fits.length)} that fit`, () => { fits.filter((e) => e.selector).forEach((e) => tick(e, true)); show(); find.focus(); }, {class: "quiet"}));
    tell();
  }

  // Up and down go through the list; Enter ticks, and does not send the form.
  function key(event) {
    const boxes = [...list.querySelectorAll("input:not(:disabled)")], at = boxes.indexOf(event.target);
    if (event.key === "Enter" && (event.target === find || at >= 0)) {
      event.preventDefault();
      if (at >= 0)
        event.target.click();
      else if (boxes.length === 1)
        boxes[0].click();
    } else if (event.key === "ArrowDown" && (event.target === find || at >= 0)) {
      event.preventDefault();
      boxes[at + 1]?.focus();
    } else if (event.key === "ArrowUp" && at >= 0) {
      event.preventDefault();
      (boxes[at - 1] || find).focus();
    }
  }

  async function load(id) {
    const mine = ++turn;
    let held, words = "";
    try {
      held = await get(`/api/v1/checkpoints/${part(id)}/tables`);
      words = !held.known ? "Its dump did not tell its tables: name them." : held.more ? `${f.plural(held.more, "table")} more, the smallest, are not in this list: name them.` : "";
    } catch (error) {
      words = `Its tables cannot be listed (${error.message}): name them.`;
    }
    if (mine !== turn)
      return;
    all = held?.known ? held.list.map(entry) : [];
    const now = new Map(all.map((e) => [e.selector, e])), gone = [...ticked.keys()].filter((s) => !now.has(s));
    gone.forEach((s) => ticked.delete(s));
    box.hidden = !all.length;
    note.hidden = !words;
    note.textContent = words;
    draw();
    show();
    lost = gone.length;
    tell();
  }

  find.addEventListener("input", draw);
  box.addEventListener("keydown", key);
  const values = () => [...ticked.keys(), ...f.list(names.value)];
  return {element, load, values, problem: () => {
    const count = values().length;
    return !count ? "No table is chosen yet." : count > MOST ? `At most ${f.count(MOST)} tables can be chosen at once: a glob names many.` : "";
  }};
}
