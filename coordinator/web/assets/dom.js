// Elements out of what is known. Text becomes text nodes and nothing else: no name, tag or error can be markup here, and
// the page's policy (Trusted Types) has the browser refuse it should somebody try.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === undefined || value === null || value === false)
      continue;
    if (name.startsWith("on"))
      element.addEventListener(name.slice(2), value);
    else
      element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false)
      continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export function replace(element, ...children) {
  element.replaceChildren();
  return append(element, children);
}

export const byId = (id) => document.getElementById(id);

// For screen readers: what changed without being asked for.
export function say(text) {
  byId("say").textContent = text;
}
export function shout(text) {
  byId("shout").textContent = text;
}

export function button(label, action, attributes) {
  return h("button", {type: "button", onclick: action, ...attributes}, label);
}

// A dialog that gives the focus back to where it was. build(close) returns its content.
export function dialog(title, build) {
  const before = document.activeElement;
  const box = h("dialog", {"aria-label": title});
  const close = () => box.close();
  append(box, [h("h2", {}, title), build(close)]);
  box.addEventListener("close", () => {
    box.remove();
    if (before && before.isConnected)
      before.focus();
  });
  document.body.append(box);
  box.showModal();
  return box;
}

// A command or digest, with a button that copies it.
export function copyable(text, label) {
  const done = h("button", {type: "button", class: "quiet copy", "aria-label": `Copy ${label || "this"}`}, "Copy");
  done.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      done.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(done.previousElementSibling);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      done.textContent = "Selected";
    }
    setTimeout(() => { done.textContent = "Copy"; }, 1500);
  });
  return h("div", {class: "copyable"}, h("code", {}, text), done);
}

// A table whose columns sort. columns: {name, value(row) to sort by, cell(row), number, first: "descending"}. atOnce: so
// many rows are drawn, and more when they are asked for. {element, show(rows)}
export function sortable(caption, columns, rows, initial, atOnce = Infinity) {
  let by = initial ?? 0, down = columns[by].first === "descending", most = atOnce;
  const body = h("tbody", {}), rest = h("div", {});
  const heads = columns.map((column, i) => {
    const head = h("th", {scope: "col", class: column.number ? "number" : undefined},
      button(column.name, () => {
        down = by === i ? !down : column.first === "descending";
        by = i;
        draw();
      }, {class: "sort"}));
    return head;
  });
  function draw() {
    const value = columns[by].value;
    const sorted = [...rows].sort((a, b) => {
      const x = value(a), y = value(b);
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
    });
    heads.forEach((head, i) => head.setAttribute("aria-sort", i !== by ? "none" : down ? "descending" : "ascending"));
    replace(body, sorted.slice(0, most).map((row) => h("tr", {},
      columns.map((c) => h("td", {class: c.number ? "number" : undefined}, c.cell(row))))),
    sorted.length === 0 && h("tr", {}, h("td", {colspan: columns.length, class: "dim"}, "None.")));
    replace(rest, sorted.length > most && h("p", {class: "rest"}, h("span", {class: "dim"}, `${most} of ${sorted.length.toLocaleString("en")} `),
      button("Show more", () => { most += 5 * atOnce; draw(); }, {class: "quiet"})));
  }
  draw();
  return {
    element: h("div", {}, h("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": caption},
      h("table", {}, h("caption", {class: "unseen"}, caption), h("thead", {}, h("tr", {}, heads)), body)), rest),
    show: (list) => { rows = list; most = atOnce; draw(); },
  };
}

// Words for a term, as a description list.
export function facts(...pairs) {
  return h("dl", {class: "facts"}, pairs.filter((p) => p && p[1] !== null && p[1] !== undefined && p[1] !== "")
    .map(([term, ...what]) => h("div", {}, h("dt", {}, term), h("dd", {}, what))));
}

export function section(title, ...content) {
  return h("section", {}, h("h2", {}, title), content);
}
