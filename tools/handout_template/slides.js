// One slide at a time. Keys: → Page Down Space on, ← Page Up back, Home, End; the address keeps the place.
(() => {
  const slides = [...document.querySelectorAll(".slide")], status = document.querySelector("footer [role=status]");
  document.body.classList.add("moving");

  function fit(slide) {  // smaller letters and pictures where a slide is longer than the screen
    const main = document.querySelector("main");
    for (const size of [100, 92, 84, 76, 68]) {
      slide.style.setProperty("--fit", size / 100);
      if (innerWidth < 900 || slide.scrollHeight <= main.clientHeight) return;
    }
  }

  function show(number) {
    const at = Math.min(Math.max(number, 0), slides.length - 1);
    slides.forEach((slide, n) => slide.classList.toggle("at", n === at));
    fit(slides[at]);
    document.querySelector("main").scrollTop = 0;
    status.textContent = `${at + 1} / ${slides.length}`;
    history.replaceState(null, "", `#${at + 1}`);
    return at;
  }

  let at = show((parseInt(location.hash.slice(1)) || 1) - 1);
  const steps = { ArrowRight: 1, PageDown: 1, " ": 1, ArrowLeft: -1, PageUp: -1, Home: -slides.length, End: slides.length };
  document.addEventListener("keydown", event => {
    const step = steps[event.key];
    if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
    // A slider, a scene or a button keeps its own keys.
    if (event.target.closest("input, select, .slices, .scene") || (event.key === " " && event.target.closest("button, summary, a"))) return;
    event.preventDefault();
    at = show(at + step);
  });
  document.querySelector("[name=back]").addEventListener("click", () => { at = show(at - 1); });
  document.querySelector("[name=on]").addEventListener("click", () => { at = show(at + 1); });
  addEventListener("resize", () => fit(slides[at]));
  addEventListener("hashchange", () => { at = show((parseInt(location.hash.slice(1)) || 1) - 1); });
})();
