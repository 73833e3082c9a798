// Elements made from data: text is only ever set as text, so that no name can become markup.

export const byId = (id) => document.getElementById(id);

/** An element. Properties: class, text, data (dataset), style, on (listeners); anything else is an attribute. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.textContent = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "style") Object.assign(element.style, value);
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Put new children in only if they differ from those there: focus, selection and scroll stay where they are. */
export function fill(element, ...children) {
  const holder = h(element.tagName, {}, ...children);
  const [fresh, old] = [[...holder.childNodes], element.childNodes];
  if (fresh.length === old.length && fresh.every((node, index) => node.isEqualNode(old[index]))) return false;
  const focused = element.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const scroll = [element.scrollLeft, element.scrollTop];
  element.replaceChildren(...fresh);
  [element.scrollLeft, element.scrollTop] = scroll;
  if (focused) element.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  return true;
}

/** Make the children of `parent` those of `items`, in order, rebuilding only the ones whose item has changed. */
export function reconcile(parent, items, key, build) {
  const old = new Map([...parent.children].map((child) => [child.dataset.row, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    const content = JSON.stringify([item, document.documentElement.dataset.theme]); // links hand the theme on
    let element = old.get(name);
    old.delete(name);
    if (!element) {
      element = build(item);
      element.dataset.row = name;
    } else if (element.content !== content) {
      const fresh = build(item);
      element.className = fresh.className;
      fill(element, ...fresh.childNodes);
    }
    element.content = content;
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  old.forEach((element) => element.remove());
}

/** A table with headers. Columns: {name (text or node), number}; rows: {cells: [text or node], class}. */
export function table(caption, columns, rows, properties = {}) {
  const cell = (content, index) => {
    const kind = index === 0 ? "th" : "td";
    const node = content instanceof Node ? content : document.createTextNode(content ?? "–");
    return h(kind, { scope: index === 0 && "row", class: columns[index].number && "number" }, node);
  };
  return h("table", properties,
    h("caption", { class: "sr", text: caption }),
    h("thead", {}, h("tr", {}, columns.map(({ name, number }) => h("th", { scope: "col", class: number && "number" }, name)))),
    h("tbody", {}, rows.map(({ cells, class: kind }) => h("tr", { class: kind }, cells.map(cell)))));
}

/** Offer a file made on this page. */
export function download(name, content, type) {
  const address = typeof content === "string" && content.startsWith("data:") ? content : URL.createObjectURL(new Blob([content], { type }));
  h("a", { href: address, download: name.replace(/[^\w.-]+/g, "_") }).click();
  if (address.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(address), 10000);
}
