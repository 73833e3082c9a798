// The view is in the link: every choice lives in the query, and a link with it shows the same again.

const read = () => new URLSearchParams(location.search);

const decoded = (text) => {
  try { return decodeURIComponent(text); } catch { return text; } // somebody's own link
};

export const state = {
  get: (name, otherwise = "") => read().get(name) ?? otherwise,
  number: (name, otherwise) => {
    const text = read().get(name);
    return text !== null && text !== "" && Number.isFinite(Number(text)) ? Number(text) : otherwise;
  },
  list: (name) => (read().get(name) ?? "").split(",").filter(Boolean).map(decoded),
  set: (changes) => history.replaceState(null, "", link(location.pathname, changes, read())),
};

export const joined = (items) => [...items].map(encodeURIComponent).join(",");

/** A link to a page; empty choices are left out, the theme of this link is handed on. */
export function link(page, changes = {}, from = new URLSearchParams()) {
  const query = new URLSearchParams(from);
  const theme = read().get("theme");
  if (theme) query.set("theme", theme);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "" || value === false) query.delete(name);
    else query.set(name, value === true ? "1" : value);
  }
  const text = query.toString().replaceAll("%2C", ",");
  return text ? `${page}?${text}` : page;
}

const watchers = [];
export const onTheme = (watcher) => watchers.push(watcher);
const told = () => watchers.forEach((watcher) => watcher());

export function themeSwitch(select) {
  select.value = document.documentElement.dataset.theme ?? "auto";
  select.addEventListener("change", () => {
    const chosen = select.value === "auto" ? null : select.value;
    if (chosen) document.documentElement.dataset.theme = chosen;
    else delete document.documentElement.dataset.theme;
    try { chosen ? localStorage.setItem("theme", chosen) : localStorage.removeItem("theme"); } catch { /* forbidden: the link still has it */ }
    state.set({ theme: chosen });
    told();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", told);
}
