// What a person does from here: back up now, plan, restore, drain. Each asks first what it needs to know, and says what
// will happen.
import {append, button, dialog, h, replace} from "/ui/dom.js";
import {ask, get, part, post, query} from "/ui/api.js";
import * as f from "/ui/format.js";

function field(label, input, help) {
  const id = `f-${label.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  input.id = id;
  if (help)
    input.setAttribute("aria-describedby", `${id}-help`);
  return h("div", {class: "field"}, h("label", {for: id}, label), input, help && h("p", {class: "dim", id: `${id}-help`}, help));
}

// A form in a dialog: on("submit") does it, says what was refused and why, and is not done twice by two clicks.
function form(close, action, label, look, ...content) {
  const problem = h("div", {role: "alert"}), go = h("button", {type: "submit", class: look}, label);
  const element = h("form", {method: "dialog"}, content, problem,
    h("div", {class: "buttons"}, button("Cancel", close), go));
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    go.disabled = true;
    replace(problem);
    try {
      await action();
      close();
    } catch (error) {
      replace(problem, h("div", {class: "notice bad"}, h("p", {}, h("strong", {}, error.message)), error.remedy && h("p", {}, error.remedy)));
      go.disabled = false;
    }
  });
  element.allow = (yes) => { go.disabled = !yes; };
  return element;
}

const go = (hash) => { location.hash = hash; };

export function backUp(database, environment) {
  const now = new Date().toISOString().slice(0, 16).replace(/[-:]/g, "").replace("T", "-");
  const tag = h("input", {type: "text", value: `manual-${now}`, maxlength: 128, required: true, spellcheck: "false", autocomplete: "off"});
  dialog(`Back up ${database}`, (close) => form(close, async () => {
    const made = await ask("/api/v1/checkpoints", {database, tag: tag.value});
    go(`#/checkpoint/${part(made.id)}`);
  }, "Back up now", "main", h("p", {}, "Takes a checkpoint of ", h("b", {}, database), " ", f.environment(environment),
    " and proves it by restoring it. The database is read, not changed."), field("Tag", tag, "A name for it, such as pre-deploy-4f3a9c1.")));
  tag.select();
}

export async function drillAgain(checkpoint) {
  await post(`/api/v1/checkpoints/${part(checkpoint.id)}/drills`, {});
}

const pickTables = async (...args) => (await import("/ui/pick.js")).tablePicker(...args);

export function plan(database, checkpoint) {
  let of = checkpoint?.id, picker = null;
  const some = h("details", {}, h("summary", {}, "Only some tables")), place = h("div", {});
  append(some, [place]);
  async function list() {
    of = of || (await get(`/api/v1/checkpoints${query({database, state: "sealed", limit: 1})}`)).checkpoints[0]?.id;
    const made = await pickTables("Which tables", () => {});
    await made.load(of);
    if (!picker)
      replace(place, (picker = made).element);
  }
  some.addEventListener("toggle", () => some.open && !picker && list().catch((error) => replace(place, h("p", {class: "dim"}, error.message))));
  dialog(`Plan for ${database}`, (close) => form(close, async () => {
    const tables = some.open && picker ? picker.values() : [];
    const job = await ask("/api/v1/plans", {database, ...(checkpoint || tables.length ? {checkpoint: of} : {}), ...(tables.length ? {tables} : {})});
    go(`#/job/${part(job.id)}`);
  }, "Compare now", "main", h("p", {}, "Compares ", checkpoint ? h("b", {}, checkpoint.tag) : "the newest sealed checkpoint",
    " with the live database: what is gone, and the ways back. It only reads."), some));
}

const MODES = {
  beside: "Beside: copies the rows into a schema of their own, compares them with the live rows and writes a script. Live tables are read, not changed.",
  in_place: "In place: puts tables that are gone back where they were, all or nothing, in one transaction.",
  new_database: "New database: restores all of it into a new database on the same server. The live one is not touched.",
};

export async function restore(database, chosen) {
  const {checkpoints} = await get(`/api/v1/checkpoints${query({database: database.name, state: "sealed", limit: 50})}`);
  const usable = checkpoints.filter((c) => !c.pruned_at && !c.pruning_at);
  const production = database.environment === "production";
  const which = h("select", {required: true}, usable.map((c) => h("option", {value: c.id, selected: chosen === c.id}, `${f.stamp(c.created_at)}  ${c.tag}`)));
  let check = () => {};
  const picker = await pickTables("Which tables", () => check());
  const target = h("input", {type: "text", autocomplete: "off", spellcheck: "false", maxlength: 63});
  const swap = h("input", {type: "checkbox"});
  const typed = h("input", {type: "text", autocomplete: "off", spellcheck: "false"});
  const modes = Object.keys(MODES).map((m, i) => h("input", {type: "radio", name: "mode", value: m, checked: i === 0, id: `mode-${m}`}));
  const mode = () => modes.find((m) => m.checked).value;
  const ofTables = picker.element, missing = h("p", {class: "dim", role: "status"});
  const ofTarget = field("Name of the new database", target);
  const ofSwap = h("div", {class: "check"}, h("label", {}, swap, h("span", {})));
  const warning = h("div", {class: "notice warn"});
  dialog(`Restore of ${database.name}`, (close) => {
    const element = form(close, async () => {
      const body = {database: database.name, checkpoint: which.value, mode: mode()};
      if (mode() === "new_database")
        body.target_name = target.value.trim();
      else
        body.tables = picker.values();
      if (swap.checked)
        body.replace = true;
      body.confirm = typed.value;
      const job = await ask("/api/v1/restores", body);
      go(`#/job/${part(job.id)}`);
    }, "Restore", "danger", h("p", {}, "A restore writes to the server of ", h("b", {}, database.name), " ", f.environment(database.environment), ". ",
      "Make a plan first: it says what is gone, and what each way back costs."),
    field("From checkpoint", which, usable.length ? null : "There is no sealed checkpoint to restore from."),
    h("fieldset", {}, h("legend", {}, "How"), modes.map((m) => h("div", {class: "check"}, h("label", {}, m, h("span", {}, MODES[m.value]))))),
    ofTables, ofTarget, ofSwap, warning,
    field(`Type the name of the database${production ? ", which is production," : ""} to confirm`, typed, `It is ${database.name}.`),
    database.restore_approval && h("p", {class: "notice"}, "Somebody else with the role operator has to approve it before it begins."), missing);
    check = () => {
      const m = mode();
      ofTables.hidden = m === "new_database";
      ofTarget.hidden = m !== "new_database";
      target.required = m === "new_database";
      ofSwap.querySelector("span").textContent = m === "in_place" ? "Move what stands in the way aside, whole, with all that was written to it since; nothing is dropped"
        : m === "beside" ? "Make the tables of an earlier restore of this checkpoint anew" : "It may exist already, if it is empty";
      warning.hidden = !(m === "in_place" && swap.checked);
      warning.textContent = "What was written to these tables since the checkpoint is not in what comes back: it stays in the displaced schema.";
      const problem = m === "new_database" ? "" : picker.problem();
      missing.textContent = typed.value === database.name ? problem : "";
      element.allow(typed.value === database.name && usable.length > 0 && !problem);
    };
    element.addEventListener("input", check);
    which.addEventListener("change", () => picker.load(which.value));
    if (usable.length)
      picker.load(which.value);
    check();
    return element;
  });
}

export function drain(agent, redraw) {
  const reason = h("input", {type: "text", maxlength: 128, autocomplete: "off"});
  const back = !!agent.drained;
  dialog(back ? `Jobs for ${agent.name} again` : `Drain ${agent.name}`, (close) => form(close, async () => {
    await post(`/api/v1/agents/${part(agent.name)}/${back ? "undrain" : "drain"}`, back || !reason.value ? {} : {reason: reason.value});
    redraw();
  }, back ? "Undrain" : "Drain", "main", h("p", {}, back ? "It gets jobs again." : "It ends what it has and gets no more jobs."),
  !back && field("Reason", reason, "Others see it.")));
}

export function confirm(title, words, label, action) {
  dialog(title, (close) => form(close, action, label, "main", h("p", {}, words)));
}

export const actions = (...buttons) => append(h("div", {class: "actions"}), buttons);
