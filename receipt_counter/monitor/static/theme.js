// Runs before the page is painted: the theme of the link, else the one chosen last, else the system's.
{
  let theme = new URLSearchParams(location.search).get("theme");
  try { theme ??= localStorage.getItem("theme"); } catch { /* storage may be forbidden */ }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
}
