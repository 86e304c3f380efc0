export default { render({ model, el }) {
  const image = document.createElement("img");
  image.className = "widget-image";
  image.draggable = false;
  el.append(image);
  const show = () => {
    const old = image.src;
    image.src = URL.createObjectURL(new Blob([model.get("value")], { type: "image/jpeg" }));
    if (old) URL.revokeObjectURL(old);
  };
  const say = () => {
    image.alt = model.get("alt");
    if (model.get("asks")) image.setAttribute("aria-label", model.get("alt") + " Arrow keys move the planes: " +
      "left and right for x, up and down for z, Shift with up and down for y.");
  };
  model.on("change:value", show);
  model.on("change:alt", say);
  show();
  say();

  // ipywidgets gives its sliders' handles and its play buttons no name that a screen reader could say.
  const name = view => {
    for (const handle of view.querySelectorAll(".noUi-handle:not([aria-label])")) {
      const label = handle.closest(".widget-inline-hbox")?.querySelector("label, .widget-label");
      if (label?.textContent.trim()) handle.setAttribute("aria-label", label.textContent.trim());
    }
    for (const button of view.querySelectorAll("button:not([aria-label])")) {
      const icon = [...(button.querySelector("i")?.classList ?? [])].find(it => /^fa-./.test(it));
      const says = icon === "fa-retweet" ? "repeat" : icon?.slice(3).replaceAll("-", " ");
      if (icon && !button.textContent.trim()) button.setAttribute("aria-label", says);
    }
  };
  // Keys that move a slider or the planes are not the notebook's: its own meaning of an arrow comes first otherwise, in
  // Notebook 7 always.  All others (to run, to save) stay the notebook's, which reads the mark after this.
  let view = null;
  const keep = event => {
    if (!view?.contains(event.target)) return;
    const moves = /^(Arrow.+|Page.+|Home|End| )$/.test(event.key) && !event.ctrlKey && !event.altKey && !event.metaKey;
    event.target.toggleAttribute("data-lm-suppress-shortcuts", moves);
  };
  window.addEventListener("keydown", keep, true);
  const watcher = new MutationObserver(() => {
    view ??= el.closest(".laseg-view");  // once it is on the page, its neighbours can be found
    if (view) name(view);
    // Nor has plotly's still of a scene any words; ours stand below it.
    for (const still of document.querySelectorAll(".jp-RenderedPlotly img:not([alt])"))
      still.alt = still.closest(".jp-OutputArea-child")?.nextElementSibling?.querySelector("em")?.textContent ?? "";
  });
  watcher.observe(document.body, { childList: true, subtree: true });

  // The wheel scrolls the page, until a click says that it is meant for a picture; Ctrl says so too.
  let clicked = null;
  const choose = event => { clicked = event.target.closest?.(".widget-image, .jp-RenderedPlotly") ?? null; };
  const meant = (event, place) => event.ctrlKey || clicked === place;
  const pass = event => {  // a scene of plotly's would zoom
    const scene = event.target.closest?.(".jp-RenderedPlotly");
    if (scene && !meant(event, scene)) event.stopPropagation();
  };
  window.addEventListener("pointerdown", choose, true);
  window.addEventListener("wheel", pass, { capture: true, passive: true });
  const end = () => {
    URL.revokeObjectURL(image.src);
    watcher.disconnect();
    window.removeEventListener("keydown", keep, true);
    window.removeEventListener("pointerdown", choose, true);
    window.removeEventListener("wheel", pass, true);
  };
  if (!model.get("asks")) return end;

  // The newest place only: a message a frame, and the widget manager waits until the last was drawn.
  let waiting = null, turned = 0, number = 0;
  const tell = (event, steps = 0) => {
    const box = image.getBoundingClientRect();
    turned += steps;
    const next = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    if (!waiting) requestAnimationFrame(() => {
      model.set("pointed", [...waiting, turned, ++number]);
      model.save_changes();
      waiting = null; turned = 0;
    });
    waiting = next;
  };

  // Arrow keys move the planes; the steps of a frame go together.
  image.tabIndex = 0;
  image.setAttribute("role", "application");
  let steps = null;
  image.addEventListener("keydown", event => {
    const vertical = event.shiftKey ? [1, -1] : [2, 1];  // up: to the front, or to the head
    const [axis, step] = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: vertical,
                           ArrowDown: [vertical[0], -vertical[1]] }[event.key] ?? [];
    if (axis === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    if (!steps) requestAnimationFrame(() => {
      model.set("stepped", [...steps, ++number]);
      model.save_changes();
      steps = null;
    });
    steps ??= [0, 0, 0];
    steps[axis] += step;
  });
  image.style.cursor = "crosshair";
  image.style.touchAction = "none";
  image.addEventListener("pointerdown", event => { image.setPointerCapture(event.pointerId); tell(event); });
  image.addEventListener("pointermove", event => { if (event.buttons) tell(event); });
  image.addEventListener("wheel", event => {
    if (!meant(event, image)) return;
    event.preventDefault();
    tell(event, -Math.sign(event.deltaY));
  }, { passive: false });
  const hint = document.createElement("div");
  hint.className = "laseg-hint";
  hint.textContent = "Click or drag, then the wheel moves slices (Ctrl with the wheel: always), and arrow keys planes.";
  el.append(hint);
  return end;
} };
