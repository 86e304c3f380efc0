// What moves on a page without a kernel: frames drawn beforehand, the ramp of notebook 06, and slice viewers.
// tools/moving.py writes what each is made of beside it.  No part of it asks for anything.
(() => {
  const phone = matchMedia("(max-width: 600px)");

  function element(name, text = "", attributes = {}) {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  // A slider, drop-down or box for each control; `moved` hears of every change. Returns the places, as numbers.
  function build(place, controls, moved) {
    const inputs = controls.map(({ name, texts, start, kind, play }) => {
      const label = element("label", name + " ");
      let input;
      if (kind === "choice") {
        input = element("select");
        texts.forEach((text, n) => input.append(element("option", text, { value: n })));
      } else if (kind === "toggle") {
        input = element("input", "", { type: "checkbox" });
      } else {
        input = element("input", "", { type: "range", min: 0, max: texts.length - 1 });
      }
      input.name = name;
      if (kind === "toggle") input.checked = Boolean(start); else input.value = start;
      label.append(input);
      if (kind === "slider") {
        const value = element("output", texts[start]);
        const tell = () => {
          value.textContent = texts[input.value];
          input.setAttribute("aria-valuetext", texts[input.value]);
        };
        input.addEventListener("input", tell);
        tell();
        label.append(value);
      }
      input.addEventListener("input", moved);
      place.append(label);
      if (play) place.append(playButton(input, name, 350));
      return input;
    });
    return () => inputs.map(input => input.type === "checkbox" ? +input.checked : +input.value);
  }

  // From where the slider stands to its end; from its beginning where it is there already.
  function playButton(input, name, pause) {
    const button = element("button", "▶ play", { type: "button", "aria-label": `play ${name}` });
    let timer = null;
    const stop = () => { clearInterval(timer); timer = null; button.textContent = "▶ play"; };
    const go = value => { input.value = value; input.dispatchEvent(new Event("input", { bubbles: true })); };
    button.addEventListener("click", () => {
      if (timer) return stop();
      if (+input.value >= +input.max) go(+input.min);
      button.textContent = "■ stop";
      timer = setInterval(() => {
        if (+input.value >= +input.max) stop(); else go(+input.value + 1);
      }, pause);
    });
    return button;
  }

  const content = figure => JSON.parse(figure.querySelector("script").textContent);

  // --- frames ------------------------------------------------------------------------------------

  function frames(figure) {
    const { controls, frames } = content(figure), image = figure.querySelector("img"), first = image.src;
    const places = build(figure.querySelector(".controls"), controls, () => {
      const at = places().reduce((sum, place, n) => sum * controls[n].texts.length + place, 0);
      image.src = frames[at] ?? first;
    });
  }

  // --- the ramp of notebook 06 ---------------------------------------------------------------------

  // The consistency weight at each iteration, as laseg_lib.course.nb06_ramp_up.consistency_weights has it.
  function consistencyWeights(iterations, weight, length, every, shape) {
    const share = step => {
      if (length === 0) return 1;
      const part = Math.min(Math.max(step, 0), length) / length;
      return shape === "linear" ? part : Math.exp(-5 * (1 - part) ** 2);
    };
    return Array.from({ length: iterations }, (_, t) => weight * share(Math.floor(t / every)));
  }

  // The first iteration at half and at full weight (null: never), and the mean over the training.
  function rampMarks(curve, weight) {
    const [half, full] = [0.5, 1].map(share => curve.findIndex(value => value >= share * weight * (1 - 1e-12)))
      .map(at => at < 0 ? null : at);
    return { half, full, mean: curve.reduce((sum, value) => sum + value, 0) / curve.length };
  }
  window.laseg = { consistencyWeights, rampMarks };  // for the test that compares them with Python's

  function ramp(figure) {
    const { controls, looks } = content(figure), canvas = figure.querySelector("canvas"), pen = canvas.getContext("2d");
    const places = build(figure.querySelector(".controls"), controls, () => draw());

    function draw() {
      const chosen = Object.fromEntries(places().map((place, n) => [controls[n].key, controls[n].texts[place]]));
      const { shape } = chosen, [iterations, weight, length, every] =
        ["iterations", "weight", "length", "every"].map(name => +chosen[name]);
      const other = shape === "sigmoid" ? "linear" : "sigmoid";
      const curve = consistencyWeights(iterations, weight, length, every, shape);
      const beside = consistencyWeights(iterations, weight, length, every, other);
      const { half, full, mean } = rampMarks(curve, weight), top = 1.12 * weight;
      const style = getComputedStyle(figure), ink = style.getPropertyValue("--ink") || "#222";
      const line = style.getPropertyValue("--line") || "#d0d0d0";
      const beyond = document.documentElement.dataset.theme === "dark" ? "#56b4e9" : looks.other;  // blue is too dark there
      const narrow = phone.matches, wide = narrow ? 480 : 960, tall = narrow ? 510 : 440;
      canvas.width = 2 * wide; canvas.height = 2 * tall;
      pen.setTransform(2, 0, 0, 2, 0, 0);
      pen.clearRect(0, 0, wide, tall);
      const [left, right, above, below] = [74, wide - 18, 46, narrow ? 338 : tall - 62];
      const x = t => left + t / iterations * (right - left), y = value => below - value / top * (below - above);
      const letters = (text, at, height, align = "left", colour = ink, size = 17) => {
        pen.font = `${size}px "DejaVu Sans", Verdana, Arial, sans-serif`;
        pen.textAlign = align; pen.textBaseline = "middle"; pen.fillStyle = colour; pen.fillText(text, at, height);
      };
      pen.lineWidth = 1; pen.strokeStyle = line;
      for (let n = 0; n <= 5; n++) {
        const [t, value] = [iterations * n / 5, weight * n / 5];
        pen.beginPath(); pen.moveTo(x(t), above); pen.lineTo(x(t), below);
        pen.moveTo(left, y(value)); pen.lineTo(right, y(value)); pen.stroke();
        letters(String(Math.round(t)), x(t), below + 18, n === 5 ? "right" : "center", ink, 15);
        letters(String(+value.toPrecision(3)), left - 8, y(value), "right", ink, 15);
      }
      letters("iteration t", (left + right) / 2, below + 46, "center");
      const stairs = (values, colour, width, dash) => {
        pen.beginPath(); pen.lineWidth = width; pen.strokeStyle = colour; pen.setLineDash(dash);
        values.forEach((value, t) => pen.lineTo(x(t), y(value)));
        pen.stroke(); pen.setLineDash([]);
      };
      stairs(beside, beyond, 2.5, [3, 4]);
      stairs(curve, looks.mine, 4, []);
      const lines = [[shape, looks.mine], [other, beyond]];
      for (const [name, at, size] of [["half", half, 7], ["full", full, 9]]) {
        lines.push([at === null ? `${name} weight: never` : `${name} weight at t = ${at}`, ink]);
        if (at === null) continue;
        pen.beginPath(); pen.arc(x(at), y(curve[at]), size, 0, 7);
        pen.fillStyle = looks.mine; pen.fill(); pen.lineWidth = 1.5; pen.strokeStyle = ink; pen.stroke();
      }
      letters(`λ = ${weight} × ramp(t // ${every}, ${length})${narrow ? "" : "     mean over the training: "
        + Math.round(100 * mean / weight) + " % of " + weight}`, left, 20, "left", ink, 18);
      const [box, first] = narrow ? [left, below + 76] : [right - 234, below - 94];  // on a phone below the curves
      pen.fillStyle = style.getPropertyValue("--page") || "#fff";
      pen.fillRect(box, first - 14, 230, 102);
      lines.forEach(([text, colour], n) => letters(text, box + 8, first + 25 * n, "left", colour));
      canvas.setAttribute("aria-label", `λ over ${iterations} iterations. ${lines.map(([text]) => text).join(". ")}.`);
    }
    phone.addEventListener("change", draw);
    new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    draw();
  }

  // --- slice viewers -----------------------------------------------------------------------------

  async function slices(figure) {
    const { cases, planes, ink, dim, paper } = content(figure), names = Object.keys(cases);
    const canvas = figure.querySelector("canvas"), pen = canvas.getContext("2d"), place = figure.querySelector(".controls");
    const small = document.createElement("canvas"), ready = {};
    let one = cases[names[0]], image, bits, name = names[0], plane = "axial", active = false;

    async function unpack(which) {
      if (!ready[which]) {
        const packed = Uint8Array.from(atob(cases[which].volume), char => char.charCodeAt(0));
        const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
        ready[which] = new Uint8Array(await new Response(stream).arrayBuffer());
      }
      const given = cases[which], voxels = given.shape[0] * given.shape[1] * given.shape[2];
      name = which; one = given; image = ready[which].subarray(0, voxels); bits = ready[which].subarray(voxels);
      const step = 10 ** Math.floor(Math.log10(one.start.window / 20));  // to be seen, whatever the scan's unit
      set.window.min = set.window.step = set.level.step = step;
      set.window.max = Math.ceil(2 * one.start.window);
      set.level.min = Math.floor(one.low); set.level.max = Math.ceil(one.high);
      "xyz".split("").forEach((axis, n) => { set[axis].max = one.shape[n] - 1; });
      for (const [control, value] of Object.entries(one.start)) set[control].value = value;
    }

    // Case, planes, sliders, toggles, in the order in which they are reached.
    const set = {}, add = (label, input, name) => {
      input.name = name; set[name] = input;
      const words = element("label", label + " "); words.append(input); place.append(words);
      return words;
    };
    if (names.length > 1) {
      const choice = element("select");
      names.forEach(which => choice.append(element("option", which)));
      choice.addEventListener("input", async () => { await unpack(choice.value); draw(); });
      add("case", choice, "case");
    }
    const which = element("select");
    Object.keys(planes).forEach(each => which.append(element("option", each)));
    which.addEventListener("input", () => { plane = which.value; });
    add("plane", which, "plane").className = "on-phone";
    for (const axis of "xyz") add(axis, element("input", "", { type: "range", min: 0 }), axis);
    place.append(playButton(set.z, "z", 120));
    add("window", element("input", "", { type: "range" }), "window");
    add("level", element("input", "", { type: "range" }), "level");
    one.masks.forEach((mask, n) => {
      const box = element("input", "", { type: "checkbox" });
      box.checked = true;
      add(`mask${n}`, box, `mask${n}`).firstChild.textContent = "";
      box.after(element("span", ` ${mask.label}`));
    });
    figure.append(element("figcaption", "Click or drag in a picture: the cross-hair goes there. Then the wheel moves "
      + "the slice under the mouse, as Ctrl with the wheel does always. Keys: ← → for x, ↑ ↓ for z, Shift with ↑ ↓ "
      + "for y.", { class: "note" }));

    const index = p => (p[0] * one.shape[1] + p[1]) * one.shape[2] + p[2];
    const grey = value => one.low + value / one.greys * (one.high - one.low);
    const point = () => [+set.x.value, +set.y.value, +set.z.value];

    function layout() {  // three planes, or on a phone one as wide as the screen with the words below
      if (!phone.matches) return { wide: 880, tall: 560, boxes: one.boxes, shown: Object.keys(planes) };
      const wide = 350, [across, down] = planes[plane], mm = n => one.shape[n] * one.spacing[n];
      const high = Math.round(Math.min(wide * mm(down) / mm(across), 420)), width = Math.round(high * mm(across) / mm(down));
      const words = 100 + 28 * one.masks.length;
      return { wide, tall: high + words, shown: [plane],
               boxes: { [plane]: [Math.round((wide - width) / 2), 0, width, high], panel: [0, high + 8, wide, words - 8] } };
    }

    function cut([across, down, flip]) {  // the plane through the point, rows from the top of the screen down
      const at = point(), width = one.shape[across], height = one.shape[down];
      const voxel = (column, row) => { at[across] = column; at[down] = flip ? height - 1 - row : row; return index(at); };
      return { width, height, voxel };
    }

    function slice(given, [left, top, wide, tall]) {
      const { width, height, voxel } = cut(given), brush = small.getContext("2d");
      small.width = width; small.height = height;
      const data = brush.createImageData(width, height), bottom = set.level.value - set.window.value / 2;
      for (let row = 0, n = 0; row < height; row++) for (let column = 0; column < width; column++, n += 4) {
        data.data.fill(255 * (grey(image[voxel(column, row)]) - bottom) / set.window.value, n, n + 3);
        data.data[n + 3] = 255;
      }
      brush.putImageData(data, 0, 0);
      pen.drawImage(small, left, top, wide, tall);
    }

    function outline(given, mask, number, [left, top, wide, tall]) {  // marching squares; nothing is outside the volume
      const { width, height, voxel } = cut(given), path = new Path2D();
      const inside = (c, r) =>
        c >= 0 && r >= 0 && c < width && r < height && Boolean(bits[voxel(c, r)] >> number & 1);
      const spot = ([c, r]) => [left + c * wide / width, top + r * tall / height];
      for (let r = -1; r < height; r++) for (let c = -1; c < width; c++) {
        const [a, b, d, e] = [inside(c, r), inside(c + 1, r), inside(c + 1, r + 1), inside(c, r + 1)];
        const ends = [a !== b && [c + 1, r + .5], b !== d && [c + 1.5, r + 1],
                      d !== e && [c + 1, r + 1.5], e !== a && [c + .5, r + 1]].filter(Boolean).map(spot);
        for (; ends.length; ends.splice(0, 2)) { path.moveTo(...ends[0]); path.lineTo(...ends[1]); }
      }
      for (const [size, colour] of [[4.6, "rgba(0, 0, 0, 0.55)"], [2.6, mask.colour]]) {
        pen.lineWidth = size; pen.strokeStyle = colour; pen.stroke(path);
      }
    }

    function write(text, x, y, { align = "left", base = "top", colour = ink, size = 16, bold = false } = {}) {
      pen.font = `${bold ? "bold " : ""}${size}px "DejaVu Sans", Verdana, Arial, sans-serif`;
      pen.textAlign = align; pen.textBaseline = base; pen.lineJoin = "round"; pen.lineWidth = 4;
      pen.strokeStyle = paper; pen.strokeText(text, x, y); pen.fillStyle = colour; pen.fillText(text, x, y);
    }

    function marks(title, [across, down, flip, sides, ends], [left, top, wide, tall]) {
      const at = point(), row = flip ? one.shape[down] - 1 - at[down] : at[down];
      const x = left + (at[across] + .5) * wide / one.shape[across], y = top + (row + .5) * tall / one.shape[down];
      pen.save();
      pen.beginPath(); pen.rect(left, top, wide, tall); pen.clip();
      pen.beginPath();  // hair lines, open in the middle so that they don't hide the voxel
      for (const [a, b, c, d] of [[x, top, x, y - 9], [x, y + 9, x, top + tall],
                                  [left, y, x - 9, y], [x + 9, y, left + wide, y]]) {
        pen.moveTo(a, b); pen.lineTo(c, d);
      }
      pen.strokeStyle = "rgba(255, 255, 255, 0.47)"; pen.lineWidth = 1; pen.stroke();
      pen.restore();
      write(title, left + 6, top + 5);
      write(sides[0], left + 5, top + tall / 2, { base: "middle", bold: true });
      write(sides[1], left + wide - 5, top + tall / 2, { base: "middle", bold: true, align: "right" });
      write(ends[0], left + wide / 2, top + 5, { align: "center", bold: true });
      write(ends[1], left + wide / 2, top + tall - 5, { align: "center", bold: true, base: "bottom" });
    }

    function readout([left, top, wide, tall]) {
      const at = point(), here = index(at), narrow = phone.matches;
      let y = top + 4;
      if (name && !narrow) { write(name, left + 4, y, { bold: true, size: 17 }); y += 32; }
      one.masks.forEach((mask, n) => {
        pen.fillStyle = mask.colour; pen.fillRect(left + 4, y + 7, 20, 5);
        const within = bits[here] >> n & 1;
        write(mask.label, left + 32, y);
        write(within ? "inside" : "outside", left + Math.min(wide, 350) - 8, y, { align: "right", colour: within ? ink : dim });
        y += 28;
      });
      for (const [label, text] of [["voxel", at.join(", ")],
                                   ["mm", at.map((n, axis) => ((n + .5) * one.spacing[axis]).toFixed(1)).join(", ")],
                                   ["value", grey(image[here]).toFixed(2).replace("-", "−")]]) {
        write(label, left + 4, y, { colour: dim });
        write(text, left + 72, y);
        y += 28;
      }
      if (!narrow) ["R L A P S I: patient's right, left,", "front, back, head, feet"].forEach((text, n) =>
        write(text, left + 4, top + tall - 42 + 19 * n, { size: 14, colour: dim }));
    }

    function draw() {
      const { wide, tall, boxes, shown } = layout();
      if (canvas.width !== 2 * wide || canvas.height !== 2 * tall) {
        canvas.width = 2 * wide; canvas.height = 2 * tall; canvas.style.width = `${wide}px`;
      }
      pen.setTransform(2, 0, 0, 2, 0, 0);  // two dots a pixel: sharp on a projector
      pen.imageSmoothingQuality = "high";
      pen.fillStyle = paper; pen.fillRect(0, 0, wide, tall);
      for (const each of shown) {
        slice(planes[each], boxes[each]);
        one.masks.forEach((mask, n) => { if (set[`mask${n}`].checked) outline(planes[each], mask, n, boxes[each]); });
        marks(each, planes[each], boxes[each]);
      }
      readout(boxes.panel);
    }

    function under(event) {  // the plane and the place in it where the pointer is
      const { wide, boxes, shown } = layout(), scale = wide / canvas.clientWidth;
      const x = event.offsetX * scale, y = event.offsetY * scale;
      for (const each of shown) {
        const [left, top, width, tall] = boxes[each];
        if (x >= left && y >= top && x < left + width && y < top + tall) return { each, x: (x - left) / width, y: (y - top) / tall };
      }
      return null;
    }

    function pick(event) {  // the cross-hair goes where the pointer is
      const found = under(event);
      if (!found) return;
      const [across, down, flip] = planes[found.each], row = Math.floor(found.y * one.shape[down]);
      set["xyz"[across]].value = Math.floor(found.x * one.shape[across]);
      set["xyz"[down]].value = flip ? one.shape[down] - 1 - row : row;
      draw();
    }
    canvas.addEventListener("pointerdown", event => {
      canvas.setPointerCapture(event.pointerId);
      figure.focus({ preventScroll: true });
      pick(event);
    });
    canvas.addEventListener("pointermove", event => { if (event.buttons) pick(event); });
    addEventListener("pointerdown", event => { active = figure.contains(event.target); }, true);
    canvas.addEventListener("wheel", event => {  // the page's, until a click says that it is meant for the slices
      const found = under(event);
      if (!found || !(active || event.ctrlKey)) return;
      event.preventDefault();
      const axis = "xyz"[3 - planes[found.each][0] - planes[found.each][1]];
      set[axis].value = +set[axis].value - Math.sign(event.deltaY);
      draw();
    }, { passive: false });
    figure.addEventListener("input", event => { if (event.target !== set.case) draw(); });
    figure.addEventListener("keydown", event => {
      const vertical = event.shiftKey ? ["y", -1] : ["z", 1];  // up: to the front, or to the head
      const [axis, step] = { ArrowLeft: ["x", -1], ArrowRight: ["x", 1], ArrowUp: vertical,
                             ArrowDown: [vertical[0], -vertical[1]] }[event.key] ?? [];
      if (!axis || event.target !== figure) return;  // a slider moves by itself
      set[axis].value = +set[axis].value + step;
      event.preventDefault();
      draw();
    });
    await unpack(name);
    draw();
    figure.dataset.ready = "";
    phone.addEventListener("change", draw);
  }

  // Each when it comes near: a page opens at once, however much moves on it.
  const kinds = { frames, ramp, slices };
  const near = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting).forEach(async entry => {
    near.unobserve(entry.target);
    await kinds[entry.target.classList[1]](entry.target);
    dispatchEvent(new Event("resize"));  // a slide is fitted to its screen once more
  }), { rootMargin: "600px" });
  document.querySelectorAll("figure.moving").forEach(figure => near.observe(figure));
})();
