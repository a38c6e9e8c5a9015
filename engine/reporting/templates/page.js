"use strict";

const VOID = 255;
const VOID_GREY = [128, 128, 128];
const KINDS = [[86, 180, 233], [213, 94, 0], [240, 228, 66]]; // as in gallery.py: missed, false alarm, wrong class
const PANELS = ["image", "truth", "prediction", "other", "error"];
const OUTLINE = 200; // pixels of a picture's longer side for each pixel of an outline's width on either side
const AHEAD = "800px"; // pictures are drawn this far before they come into view, and dropped beyond
const LARGEST_ZOOM = 32;
const STEP = 1.5; // of a zoom by key or button
const PAN = 60; // pixels by arrow key

const find = (root, selector) => root.querySelector(selector);
const within = (value, low, high) => Math.min(Math.max(value, low), high);
const told = (score) => (score === null || score === undefined ? "–" : score.toFixed(2));

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function swatch(color) {
  const made = element("span", { className: "swatch" });
  made.style.background = `rgb(${color.join(", ")})`;
  return made;
}

// Theme: the reader's system decides until the button does.

function offerTheme() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let dark = system.matches;
  const show = () => {
    button.textContent = dark ? "◐ Light" : "◐ Dark";
    button.setAttribute("aria-label", dark ? "Light colours" : "Dark colours");
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    dark = !dark;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    show();
  });
  system.addEventListener("change", () => {
    if (document.documentElement.dataset.theme) return;
    dark = system.matches;
    show();
  });
  show();
}

// A box that scrolls is reached by Tab; one that does not is passed over.

function offerScrolling() {
  const watch = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const box of document.querySelectorAll(".scroll")) watch.observe(box);
}

// What is folded away is printed.

function unfoldForPrint() {
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const box of closed) box.open = true;
  });
  addEventListener("afterprint", () => {
    for (const box of closed) box.open = false;
  });
}

// Masks: the indices of a palette PNG whose rows are unfiltered, one byte a pixel; the last index is void.

async function unpack(url, picture) {
  const text = atob(url.slice(url.indexOf(",") + 1));
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  let [at, last, packed] = [8, 0, null];
  while (at < bytes.length) {
    const [length, kind] = [view.getUint32(at), text.slice(at + 4, at + 8)];
    if (kind === "PLTE") last = length / 3 - 1;
    if (kind === "IDAT") packed = bytes.subarray(at + 8, at + 8 + length);
    at += length + 12;
  }
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = new Uint8Array(await new Response(stream).arrayBuffer());
  const { width, height } = picture;
  const indices = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) indices.set(rows.subarray(y * (width + 1) + 1, (y + 1) * (width + 1)), y * width);
  for (let i = 0; i < indices.length; i++) if (indices[i] === last) indices[i] = VOID;
  return indices;
}

const packedColor = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0; // little-endian

// The colour of each class in the overlay. Black classes stay clear over an image, as on the project's other pictures.
function classColors(classes, shown, hasImage) {
  const table = new Uint32Array(256);
  classes.colors.forEach((color, index) => {
    const clear = hasImage && !color.some((part) => part > 0);
    if (shown.has(index) && !clear) table[index] = packedColor(color);
  });
  table[VOID] = packedColor(VOID_GREY);
  return table;
}

function kindColors() {
  const table = new Uint32Array(256);
  KINDS.forEach((color, index) => (table[index + 1] = packedColor(color)));
  table[VOID] = packedColor(VOID_GREY);
  return table;
}

// As mistakes() and who_is_right() of gallery.py, of the shown classes: all others count as background.
function kindsOf({ truth, prediction, other }, classes, shown) {
  const is = Uint8Array.from({ length: 256 }, (_, index) => shown.has(index));
  const some = [...shown].some((index) => !classes.background.includes(index));
  const stands = Uint8Array.from(is, (one, index) => one && !(some && classes.background.includes(index)));
  const kinds = new Uint8Array(truth.length);
  for (let i = 0; i < kinds.length; i++) {
    const [true_, first] = [truth[i], prediction[i]];
    if (true_ === VOID) kinds[i] = VOID;
    else if (other) {
      if (is[true_] || is[first] || is[other[i]]) kinds[i] = 2 * (true_ !== first) + (true_ !== other[i]);
    } else if (true_ !== first && (is[true_] || is[first])) {
      if (stands[true_] && !stands[first]) kinds[i] = 1;
      else if (!stands[true_] && stands[first]) kinds[i] = 2;
      else kinds[i] = 3;
    }
  }
  return kinds;
}

// What lies at most so many pixels from where its index ends.
function outlined(indices, width, height, reach) {
  const kept = new Uint8Array(indices.length);
  const differs = (i, x, y) => {
    for (let r = 1; r <= reach; r++) {
      if (x >= r && indices[i - r] !== indices[i]) return true;
      if (x < width - r && indices[i + r] !== indices[i]) return true;
      if (y >= r && indices[i - r * width] !== indices[i]) return true;
      if (y < height - r && indices[i + r * width] !== indices[i]) return true;
    }
    return false;
  };
  for (let y = 0, i = 0; y < height; y++) for (let x = 0; x < width; x++, i++) kept[i] = differs(i, x, y);
  return kept;
}

function paint(canvas, picture, masks, panel, classes, state) {
  const { width, height } = picture;
  Object.assign(canvas, { width, height });
  const isError = panel === "error";
  const indices = isError ? kindsOf(masks, classes, state.shown) : masks[panel];
  if (!indices) return;
  const table = isError ? kindColors() : classColors(classes, state.shown, picture.panels.includes("image"));
  const kept = state.outline ? outlined(indices, width, height, Math.ceil(Math.max(width, height) / OUTLINE)) : null;
  const data = new ImageData(width, height);
  const out = new Uint32Array(data.data.buffer);
  for (let i = 0; i < out.length; i++) if (!kept || kept[i]) out[i] = table[indices[i]];
  canvas.getContext("2d").putImageData(data, 0, 0);
}

function inWords(picture, panel, title) {
  const [first] = picture.scores;
  const score = first ? `: ${first[0]} ${told(first[1])}` : "";
  return `${picture.stem}${score}, ${picture.panels.includes(panel) ? title : `no ${title}`}`;
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

// The gallery: its cards are in the page; the script sorts, filters and redraws them.

class Gallery {
  constructor(box) {
    this.box = box;
    this.classes = JSON.parse(find(box, "script.classes").textContent);
    this.cards = [...box.querySelectorAll(".card")];
    this.cards.forEach((card, order) => this.know(card, order));
    this.panels = PANELS.filter((panel) => this.cards.some(({ picture }) => picture.panels.includes(panel)));
    this.state = {
      view: "all",
      opacity: { mask: 50, error: 100 }, // percent; errors are not meant to be looked through
      shown: new Set(this.classes.names.keys()),
      outline: false,
      sort: box.dataset.sort,
      best: false,
      holding: "",
      name: "",
    };
    this.visible = [];
    this.near = new Set();
    this.large = new Large(this, find(box, "dialog"));
    this.offerViews();
    this.offerClasses();
    this.offerMasks();
    this.offerOrder();
    this.arrange();
    this.show();
    this.watch();
    find(box, ".bar").hidden = false;
    if (!box.classList.contains("narrow")) find(box, ".legend.names")?.classList.add("unneeded"); // but for print
  }

  know(card, order) {
    const panels = [...card.querySelectorAll(".panel")];
    card.picture = {
      ...JSON.parse(find(card, "script.about").textContent),
      order,
      panels: panels.map((panel) => panel.dataset.panel),
    };
    card.masks = null;
    for (const panel of panels) panel.addEventListener("click", () => this.large.open(card, panel.dataset.panel));
  }

  title(panel) {
    return this.classes.titles[panel] ?? panel;
  }

  offerViews() {
    const views = this.panels.length > 1 ? ["all", ...this.panels] : this.panels;
    offer(find(this.box, ".bar .views"), views, (view) => this.title(view), (view) => {
      this.state.view = view;
      this.show();
    });
    for (const input of this.box.querySelectorAll(".drawn input"))
      input.addEventListener("change", () => {
        this.state.outline = input.value === "outline";
        this.show();
      });
    for (const slider of this.box.querySelectorAll(".opacity input"))
      slider.addEventListener("input", () => {
        this.state.opacity[this.opacityOf(slider)] = slider.valueAsNumber;
        this.showOpacity();
      });
  }

  // Whether a slider is for masks or for errors: that of the large picture goes by what it shows.
  opacityOf(slider) {
    const view = slider.closest("dialog") ? this.large.panel : this.state.view;
    return view === "error" ? "error" : "mask";
  }

  offerClasses() {
    const box = find(this.box, ".shown");
    const inputs = this.classes.names.map((name, index) => {
      const input = element("input", { type: "checkbox", checked: true });
      input.addEventListener("change", () => {
        this.state.shown[input.checked ? "add" : "delete"](index);
        this.show();
      });
      box.append(element("label", {}, input, swatch(this.classes.colors[index]), name));
      return input;
    });
    const all = element("button", { type: "button", textContent: "all / none" });
    all.addEventListener("click", () => {
      const checked = this.state.shown.size < inputs.length;
      inputs.forEach((input) => (input.checked = checked));
      this.state.shown = new Set(checked ? inputs.keys() : []);
      this.show();
    });
    box.append(all);
    if (this.classes.hasVoid) box.append(element("span", {}, swatch(VOID_GREY), " void"));
  }

  // What there is to choose of masks, only where there are any.
  offerMasks() {
    const none = !this.panels.some((panel) => panel !== "image");
    for (const part of this.box.querySelectorAll(".look, .shown, .side .views, .side .opacity, .side .under"))
      part.hidden = none;
  }

  offerOrder() {
    const [sort, order, holding, name] = [".sort", ".order", ".holding", ".name"].map((part) => find(this.box, part));
    const scores = new Set(this.cards.flatMap(({ picture }) => picture.scores.map(([score]) => score)));
    sort.append(new Option("order as given", ""), ...[...scores].map((score) => new Option(score, score)));
    sort.value = scores.has(this.state.sort) ? this.state.sort : "";
    holding.append(...this.classes.names.map((text, index) => new Option(text, index)));
    const change = () => {
      Object.assign(this.state, {
        sort: sort.value,
        best: order.value === "best",
        holding: holding.value,
        name: name.value.toLowerCase(),
      });
      order.disabled = !sort.value;
      this.arrange();
    };
    for (const control of [sort, order, holding]) control.addEventListener("change", change);
    name.addEventListener("input", change);
    order.disabled = !sort.value;
  }

  // Which cards are there, and in which order; pictures without the score come last.
  arrange() {
    const { sort, best, holding, name } = this.state;
    const score = ({ picture }) => picture.scores.find(([key]) => key === sort)?.[1] ?? (best ? -Infinity : Infinity);
    const byScore = (one, other) => {
      const [first, second] = [score(one), score(other)];
      if (first === second) return one.picture.order - other.picture.order;
      return best ? second - first : first - second;
    };
    const wanted = ({ picture }) =>
      picture.stem.toLowerCase().includes(name) && (holding === "" || picture.classes.includes(Number(holding)));
    const cards = this.cards.filter(wanted);
    if (sort) cards.sort(byScore);
    this.visible = cards;
    for (const card of cards) this.label(card);
    find(this.box, ".cards").replaceChildren(...cards);
    find(this.box, ".none").hidden = cards.length > 0;
    find(this.box, ".count").textContent = `${cards.length} of ${this.cards.length} images`;
  }

  // The score sorted by with a bar, and the classes that went worst.
  label(card) {
    const { scores } = card.picture;
    const [name, value] = scores.find(([key]) => key === this.state.sort) ?? scores[0] ?? ["", null];
    const box = find(card, ".score");
    box.hidden = !name;
    if (!name) return;
    find(box, "span").textContent = name;
    find(box, "b").textContent = told(value);
    find(box, ".track").hidden = value === null || value < 0 || value > 1; // a difference has no bar
    find(box, "i").style.width = `${100 * within(value ?? 0, 0, 1)}%`;
    const { names } = this.classes;
    const lowest = scores.filter(([key, score]) => score !== null && key !== name && names.includes(key));
    lowest.sort(([, one], [, other]) => one - other);
    find(card, ".lowest").textContent =
      lowest.length > 1 ? `lowest: ${lowest.slice(0, 2).map(([key, score]) => `${key} ${told(score)}`).join(", ")}` : "";
  }

  // After any change to how pictures are drawn.
  show() {
    const { view, outline, shown } = this.state;
    this.box.dataset.view = view;
    this.custom = outline || shown.size < this.classes.names.length; // else the page's own pictures do
    this.box.classList.toggle("custom", this.custom);
    this.box.classList.toggle("outline", outline);
    for (const input of this.box.querySelectorAll(".bar .views input")) input.checked = input.value === view;
    this.showOpacity();
    for (const card of this.near) this.redraw(card);
    this.large.paint();
  }

  showOpacity() {
    const { opacity } = this.state;
    this.box.style.setProperty("--mask", opacity.mask / 100);
    this.box.style.setProperty("--error", opacity.error / 100);
    for (const label of this.box.querySelectorAll(".opacity")) {
      const slider = find(label, "input");
      const percent = opacity[this.opacityOf(slider)];
      Object.assign(slider, { value: percent, disabled: this.state.outline });
      find(label, ".percent").textContent = `${percent}%`;
    }
  }

  // Cards near the window have canvases over their masks where more than the page's own pictures is asked for.
  watch() {
    const observer = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          this.near[isIntersecting ? "add" : "delete"](target);
          this.redraw(target);
        }
      },
      { rootMargin: `${AHEAD} 0px` },
    );
    for (const card of this.cards) observer.observe(card);
  }

  async redraw(card) {
    if (!this.custom || !this.near.has(card)) {
      card.masks = null;
      for (const canvas of card.querySelectorAll("canvas")) canvas.remove();
      return;
    }
    const masks = card.masks ?? (await this.masksOf(card));
    if (!this.custom || !this.near.has(card)) return; // gone by meanwhile
    card.masks = masks;
    for (const panel of card.querySelectorAll(".panel:not(.image)")) {
      const canvas = find(panel, "canvas") ?? find(panel, "svg").insertAdjacentElement("afterend", element("canvas"));
      paint(canvas, card.picture, masks, panel.dataset.panel, this.classes, this.state);
    }
  }

  async masksOf(card) {
    const masks = {};
    for (const panel of card.querySelectorAll(".truth, .prediction, .other"))
      masks[panel.dataset.panel] = await unpack(find(panel, ".layer").getAttribute("href"), card.picture);
    return masks;
  }
}

function offer(box, values, title, choose) {
  const name = `view-${[...document.querySelectorAll(".views")].indexOf(box)}`;
  for (const value of values) {
    const input = element("input", { type: "radio", name, value });
    input.addEventListener("change", () => choose(value));
    box.append(element("label", {}, input, element("span", { textContent: capital(title(value)) })));
  }
}

function put(image, url) {
  image.hidden = !url;
  if (url) image.src = url;
  else image.removeAttribute("src");
}

// One picture as large as the window

class Large {
  constructor(gallery, dialog) {
    Object.assign(this, { gallery, dialog, card: null, picture: null, masks: null, panel: "image" });
    Object.assign(this, { scale: 1, x: 0, y: 0, fingers: new Map() });
    this.stage = find(dialog, ".stage");
    this.sheet = find(dialog, ".sheet");
    const press = {
      ".previous": () => this.step(-1),
      ".next": () => this.step(1),
      ".in": () => this.zoom(STEP),
      ".out": () => this.zoom(1 / STEP),
      ".keys": () => this.toggleKeys(),
      ".close": () => dialog.close(),
    };
    for (const [selector, action] of Object.entries(press)) find(dialog, selector).addEventListener("click", action);
    dialog.addEventListener("keydown", (event) => this.key(event));
    dialog.addEventListener("close", () => this.closed());
    this.stage.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel"])
      this.stage.addEventListener(kind, (event) => this[kind](event));
    new ResizeObserver(() => this.place()).observe(this.stage);
    offer(find(dialog, ".views"), gallery.panels, (panel) => gallery.title(panel), (panel) => this.look(panel));
  }

  open(card, panel) {
    document.documentElement.style.overflow = "hidden";
    this.dialog.showModal();
    find(this.dialog, ".close").focus();
    if (matchMedia("(min-width: 46.01rem)").matches) this.toggleKeys(true);
    this.panel = panel;
    this.turnTo(card);
  }

  closed() {
    document.documentElement.style.overflow = "";
    const { card } = this;
    this.card = this.picture = this.masks = null;
    put(find(this.sheet, "img"), null);
    Object.assign(find(this.sheet, "canvas"), { width: 0, height: 0 });
    const panels = [...card.querySelectorAll(".panel")];
    (panels.find((panel) => panel.dataset.panel === this.panel && panel.offsetWidth) ?? panels[0]).focus();
    card.scrollIntoView({ block: "nearest" });
  }

  step(by) {
    const cards = this.gallery.visible;
    const next = cards[cards.indexOf(this.card) + by];
    if (next) this.turnTo(next);
  }

  look(panel) {
    this.panel = panel;
    this.gallery.showOpacity();
    this.paint();
  }

  async turnTo(card) {
    Object.assign(this, { card, picture: card.picture, masks: null, scale: 1, x: 0, y: 0 });
    this.describe();
    this.place();
    put(find(this.sheet, "img"), find(card, ".image image")?.getAttribute("href") ?? null);
    this.look(this.panel);
    const masks = await this.gallery.masksOf(card);
    if (this.card !== card) return;
    this.masks = masks;
    this.paint();
  }

  describe() {
    const { dialog, picture } = this;
    const [first] = picture.scores;
    const name = find(dialog, "h3");
    name.replaceChildren(picture.stem, element("span", { textContent: first ? `${first[0]} ${told(first[1])}` : "" }));
    const cards = this.gallery.visible;
    const index = cards.indexOf(this.card);
    find(dialog, ".place").textContent = `${index + 1} of ${cards.length}`;
    find(dialog, ".previous").disabled = index === 0;
    find(dialog, ".next").disabled = index === cards.length - 1;
    find(dialog, ".note").textContent = picture.note;
    const { names, colors } = this.gallery.classes;
    const rows = picture.scores.map(([key, value]) => {
      const index = names.indexOf(key);
      const head = element("th", { scope: "row" }, ...(index < 0 ? [] : [swatch(colors[index])]), key);
      return element("tr", {}, head, element("td", { className: "number", textContent: told(value) }));
    });
    find(dialog, "tbody").replaceChildren(...rows);
    find(dialog, "table").hidden = !rows.length;
  }

  paint() {
    if (!this.picture) return;
    const { gallery, panel, picture, masks } = this;
    for (const input of this.dialog.querySelectorAll(".views input")) input.checked = input.value === panel;
    this.dialog.dataset.panel = panel;
    const canvas = find(this.sheet, "canvas");
    canvas.setAttribute("aria-label", inWords(picture, panel, gallery.title(panel)));
    if (masks && picture.panels.includes(panel)) paint(canvas, picture, masks, panel, gallery.classes, gallery.state);
    else Object.assign(canvas, { width: 0, height: 0 });
  }

  // The sheet fills the stage at scale 1, and never leaves it.
  place() {
    if (!this.picture) return;
    const { clientWidth: width, clientHeight: height } = this.stage;
    this.fit = Math.min(width / this.picture.width, height / this.picture.height);
    const [wide, high] = [this.picture.width * this.fit, this.picture.height * this.fit];
    const room = (size, space, moved) =>
      size * this.scale <= space ? (space - size * this.scale) / 2 : within(moved, space - size * this.scale, 0);
    this.x = room(wide, width, this.x);
    this.y = room(high, height, this.y);
    Object.assign(this.sheet.style, {
      width: `${wide}px`,
      height: `${high}px`,
      transform: `translate(${this.x}px, ${this.y}px) scale(${this.scale})`,
    });
    this.stage.classList.toggle("near", this.fit * this.scale > 2);
    find(this.dialog, ".factor").textContent = `${Math.round(100 * this.scale)}%`;
  }

  // Zoom by a factor about a point of the stage, its middle if none is given.
  zoom(factor, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    const scale = within(this.scale * factor, 1, LARGEST_ZOOM);
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.place();
  }

  move(right, down) {
    this.x += right;
    this.y += down;
    this.place();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrows = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const keys = {
      j: () => this.step(1),
      k: () => this.step(-1),
      "+": () => this.zoom(STEP),
      "=": () => this.zoom(STEP),
      "-": () => this.zoom(1 / STEP),
      "−": () => this.zoom(1 / STEP),
      0: () => this.zoom(0),
      "?": () => this.toggleKeys(),
    };
    this.gallery.panels.forEach((panel, index) => (keys[index + 1] = () => this.look(panel)));
    let action = keys[event.key];
    if (event.key in arrows && event.target.tagName !== "INPUT") {
      const [right, down] = arrows[event.key];
      action = this.scale > 1 ? () => this.move(right * PAN, down * PAN) : right ? () => this.step(-right) : null;
    }
    if (!action) return;
    event.preventDefault();
    action();
  }

  toggleKeys(open = find(this.dialog, "dl").hidden) {
    find(this.dialog, "dl").hidden = !open;
    find(this.dialog, ".keys").setAttribute("aria-expanded", open);
  }

  point(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-within(event.deltaY, -100, 100) / 250), ...this.point(event));
  }

  pointerdown(event) {
    this.stage.setPointerCapture(event.pointerId);
    this.fingers.set(event.pointerId, this.point(event));
    this.read(this.point(event));
  }

  pointermove(event) {
    const before = this.fingers.get(event.pointerId);
    const now = this.point(event);
    this.read(now);
    if (!before) return;
    const other = [...this.fingers].find(([id]) => id !== event.pointerId)?.[1];
    this.fingers.set(event.pointerId, now);
    if (!other) return this.move(now[0] - before[0], now[1] - before[1]);
    const apart = ([x, y]) => Math.hypot(x - other[0], y - other[1]);
    this.zoom(apart(now) / Math.max(apart(before), 1), ...other);
  }

  pointerup(event) {
    this.fingers.delete(event.pointerId);
  }

  pointercancel(event) {
    this.fingers.delete(event.pointerId);
  }

  // The classes of the pixel under a point of the stage.
  read([x, y]) {
    const { picture, masks } = this;
    if (!masks) return;
    const column = Math.floor((x - this.x) / (this.fit * this.scale));
    const row = Math.floor((y - this.y) / (this.fit * this.scale));
    if (column < 0 || row < 0 || column >= picture.width || row >= picture.height) return;
    const { names, colors } = this.gallery.classes;
    const lines = ["truth", "prediction", "other"].filter((kind) => masks[kind]).flatMap((kind) => {
      const index = masks[kind][row * picture.width + column];
      return [element("br"), `${this.gallery.title(kind)}: `, swatch(index === VOID ? VOID_GREY : colors[index]), index === VOID ? "void" : names[index]];
    });
    find(this.dialog, ".under").replaceChildren(...lines.slice(1));
  }
}

// A picture of the first screen opens where it stands in a gallery.

function offerStrip(galleries) {
  for (const box of document.querySelectorAll(".strip > li")) {
    const same = ({ picture }) => picture.stem === box.dataset.stem;
    const gallery = galleries.findLast((one) => one.cards.some(same));
    for (const panel of gallery ? box.querySelectorAll(".panel") : [])
      panel.addEventListener("click", () => gallery.large.open(gallery.cards.find(same), panel.dataset.panel));
  }
}

offerTheme();
offerScrolling();
unfoldForPrint();
offerStrip([...document.querySelectorAll(".gallery")].map((box) => new Gallery(box)));
