// Search, and the choice of a light or a dark page. No part of it asks for anything: it works from a folder too.
(() => {
  const button = document.getElementById("theme"), root = document.documentElement;
  const tell = () => { button.textContent = root.dataset.theme === "dark" ? "Light page" : "Dark page"; };
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("laseg-theme", root.dataset.theme); } catch { /* this page only, then */ }
    tell();
  });
  tell();

  // What scrolls can be scrolled by keys too.
  const reach = () => document.querySelectorAll("pre, table, math, .jp-RenderedImage, .scene").forEach(it => {
    if (it.scrollWidth > it.clientWidth) it.tabIndex = 0;
  });
  addEventListener("resize", reach);
  reach();

  const form = document.getElementById("search"), field = form.querySelector("input");
  const found = document.getElementById("found"), most = 20;
  form.hidden = false;
  // PAGES, of search.js: [[file, title, [[anchor, heading, text], …]], …]
  const sections = PAGES.flatMap(([file, title, parts]) => parts.map(([anchor, heading, text]) => (
    { link: file + (anchor ? "#" + encodeURIComponent(anchor) : ""), title, heading, text,
      low: `${title} ${heading} ${text}`.toLowerCase() })));

  function element(name, text) {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  }

  function search() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    found.replaceChildren();
    found.hidden = !words.length;
    if (!words.length) return;
    const inHeading = hit => words.filter(word => `${hit.title} ${hit.heading}`.toLowerCase().includes(word)).length;
    const hits = sections.filter(({ low }) => words.every(word => low.includes(word)));
    hits.sort((a, b) => inHeading(b) - inHeading(a));
    const list = document.createElement("ol");
    for (const { link, title, heading, text } of hits.slice(0, most)) {
      const item = document.createElement("li");
      const a = element("a", heading && heading !== title ? `${title}: ${heading}` : title);
      a.href = link;
      const at = Math.max(0, text.toLowerCase().indexOf(words[0]) - 60), part = text.slice(at, at + 160);
      item.append(a, element("p", (at ? "… " + part.replace(/^\S*\s/, "") : part) + (text.length > at + 160 ? " …" : "")));
      list.append(item);
    }
    const count = `${hits.length} ${hits.length === 1 ? "place" : "places"}`;
    const status = element("p", hits.length > most ? `${count}; the first ${most}:` : count);
    status.setAttribute("role", "status");
    found.append(status, list);
  }

  field.addEventListener("input", search);
  form.addEventListener("submit", event => event.preventDefault());
  document.addEventListener("keydown", event => {
    if (event.key === "Escape" && !found.hidden) { field.value = ""; search(); field.focus(); }
    if (event.key === "/" && !event.target.closest("input, textarea, select")) { event.preventDefault(); field.focus(); }
  });
  found.addEventListener("click", event => {  // a place on this very page loads nothing: close the list by hand
    if (event.target.closest("a")) { field.value = ""; search(); }
  });
})();
