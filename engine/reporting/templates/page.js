"use strict";

const VOID = 255;
const VOID_GREY = [128, 128, 128];
const WRONG = [213, 94, 0]; // Okabe and Ito's vermilion
const VIEWS = ["image", "truth", "prediction", "error"];
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

// Masks: exact class indices, one byte a pixel.

async function unpack(base64, picture) {
  const text = atob(base64);
  const packed = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i);
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const indices = new Uint8Array(await new Response(stream).arrayBuffer());
  const size = picture.width * picture.height;
  return {
    truth: picture.truth ? indices.subarray(0, size) : null,
    prediction: picture.prediction ? indices.subarray(indices.length - size) : null,
  };
}

const packedColor = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0; // little-endian

// The colour of each class in the overlay. Black classes stay clear over an image, as on the project's other pictures.
function colorTable(classes, shown, hasImage) {
  const table = new Uint32Array(256);
  classes.colors.forEach((color, index) => {
    const clear = hasImage && !color.some((part) => part > 0);
    if (shown.has(index) && !clear) table[index] = packedColor(color);
  });
  table[VOID] = packedColor(VOID_GREY);
  return table;
}

function paint(canvas, picture, masks, classes, state) {
  canvas.width = picture.width;
  canvas.height = picture.height;
  const { truth, prediction } = masks;
  const data = new ImageData(picture.width, picture.height);
  const out = new Uint32Array(data.data.buffer);
  if (state.view === "error" && truth && prediction) {
    const [wrong, grey] = [packedColor(WRONG), packedColor(VOID_GREY)];
    const shown = Uint8Array.from({ length: 256 }, (_, index) => state.shown.has(index));
    for (let i = 0; i < out.length; i++) {
      if (truth[i] === VOID) out[i] = grey;
      else if (truth[i] !== prediction[i] && (shown[truth[i]] || shown[prediction[i]])) out[i] = wrong;
    }
  } else if (masks[state.view]) {
    const table = colorTable(classes, state.shown, picture.image);
    const indices = masks[state.view];
    for (let i = 0; i < out.length; i++) out[i] = table[indices[i]];
  }
  canvas.getContext("2d").putImageData(data, 0, 0);
}

function has(picture, view) {
  return view === "error" ? picture.truth && picture.prediction : picture[view];
}

function inWords(picture, view) {
  const [first] = picture.scores;
  const score = first ? `: ${first[0]} ${told(first[1])}` : "";
  return `${picture.stem}${score}, ${has(picture, view) ? view : `no ${view}`}`;
}

// The gallery

class Gallery {
  constructor(box) {
    this.box = box;
    this.classes = JSON.parse(find(box, "script.classes").textContent);
    this.pictures = [...box.querySelectorAll("script.about")].map((script, order) => ({
      ...JSON.parse(script.textContent),
      order,
      source: script.nextElementSibling,
    }));
    this.views = VIEWS.filter((view) => this.pictures.some((picture) => has(picture, view)));
    this.state = {
      view: [box.dataset.view, "prediction", "truth", "image"].find((view) => this.views.includes(view)),
      opacity: { mask: 50, error: 100 }, // percent; errors are not meant to be looked through,
      shown: new Set(this.classes.names.keys()),
      sort: box.dataset.sort,
      best: false,
      holding: "",
      name: "",
    };
    this.cards = this.pictures.map((picture) => this.makeCard(picture));
    this.visible = [];
    this.waiting = new Set();
    this.drawing = false;
    this.large = new Large(this, find(box, "dialog"));
    this.offerViews();
    this.offerClasses();
    this.offerMasks();
    this.offerOrder();
    this.arrange();
    this.show();
    this.watch();
    find(box, ".bar").hidden = false;
    find(box, ".waiting").hidden = true;
  }

  makeCard(picture) {
    const card = find(this.box, "template").content.firstElementChild.cloneNode(true);
    const sheet = find(card, ".sheet");
    sheet.style.aspectRatio = `${picture.width} / ${picture.height}`;
    find(card, ".stem").textContent = picture.stem;
    find(card, ".note").textContent = picture.note;
    find(card, ".open").addEventListener("click", () => this.large.open(picture));
    return Object.assign(card, { picture, masks: null });
  }

  offerViews() {
    for (const box of this.box.querySelectorAll(".views")) {
      const name = `view-${[...document.querySelectorAll(".views")].indexOf(box)}`;
      for (const view of this.views) {
        const input = element("input", { type: "radio", name, value: view });
        input.addEventListener("change", () => this.look(view));
        box.append(element("label", {}, input, element("span", { textContent: view[0].toUpperCase() + view.slice(1) })));
      }
    }
    for (const slider of this.box.querySelectorAll(".opacity input"))
      slider.addEventListener("input", () => {
        this.state.opacity[this.state.view === "error" ? "error" : "mask"] = slider.valueAsNumber;
        this.showOpacity();
      });
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
    box.append(all, element("span", {}, swatch(VOID_GREY), " void"));
  }

  // What there is to choose of masks, only where there are any.
  offerMasks() {
    const none = !this.views.some((view) => view !== "image");
    for (const part of this.box.querySelectorAll(".look, .shown, .side .views, .side .opacity, .side .under"))
      part.hidden = none;
  }

  offerOrder() {
    const [sort, order, holding, name] = [".sort", ".order", ".holding", ".name"].map((part) => find(this.box, part));
    const scores = new Set(this.pictures.flatMap((picture) => picture.scores.map(([score]) => score)));
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
    find(box, "span").textContent = name;
    find(box, "b").textContent = told(value);
    find(box, "i").style.width = `${100 * within(value ?? 0, 0, 1)}%`;
    const lowest = scores.slice(1).filter(([key, score]) => score !== null && key !== name);
    lowest.sort(([, one], [, other]) => one - other);
    find(card, ".lowest").textContent =
      lowest.length > 1 ? `lowest: ${lowest.slice(0, 2).map(([key, score]) => `${key} ${told(score)}`).join(", ")}` : "";
  }

  look(view) {
    this.state.view = view;
    this.show();
  }

  // After any change to how pictures are drawn.
  show() {
    const { view } = this.state;
    this.box.classList.toggle("error", view === "error");
    for (const input of this.box.querySelectorAll(".views input")) input.checked = input.value === view;
    this.showOpacity();
    for (const card of this.cards) this.paint(card);
    this.large.paint();
  }

  showOpacity() {
    const { view, opacity } = this.state;
    const percent = opacity[view === "error" ? "error" : "mask"];
    this.box.style.setProperty("--overlay", percent / 100);
    for (const label of this.box.querySelectorAll(".opacity")) {
      Object.assign(find(label, "input"), { value: percent, disabled: view === "image" });
      find(label, ".percent").textContent = `${percent}%`;
    }
  }

  paint(card) {
    const canvas = find(card, "canvas");
    canvas.setAttribute("aria-label", inWords(card.picture, this.state.view));
    if (card.masks) paint(canvas, card.picture, card.masks, this.classes, this.state);
  }

  watch() {
    const observer = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) isIntersecting ? this.draw(target) : this.drop(target);
      },
      { rootMargin: `${AHEAD} 0px` },
    );
    for (const card of this.cards) observer.observe(card);
  }

  // One after the other, so that the page scrolls meanwhile: always the one nearest to the middle of the window.
  async draw(card) {
    this.waiting.add(card);
    if (this.drawing) return;
    this.drawing = true;
    while (this.waiting.size) await this.fill(nearestToMiddle(this.waiting));
    this.drawing = false;
  }

  async fill(card) {
    const { masks, url } = await this.load(card.picture);
    if (!this.waiting.delete(card)) return; // gone by meanwhile
    put(find(card, "img"), url);
    card.masks = masks;
    this.paint(card);
  }

  drop(card) {
    this.waiting.delete(card);
    card.masks = null;
    put(find(card, "img"), null);
    Object.assign(find(card, "canvas"), { width: 0, height: 0 });
  }

  async load(picture) {
    const pixels = JSON.parse(picture.source.textContent);
    const url = picture.image ? `data:image/jpeg;base64,${pixels.image}` : null;
    return { url, masks: await unpack(pixels.masks, picture) };
  }
}

function nearestToMiddle(cards) {
  const distance = (card) => {
    const box = card.getBoundingClientRect();
    return Math.abs(box.top + box.bottom - innerHeight);
  };
  return [...cards].reduce((one, other) => (distance(other) < distance(one) ? other : one));
}

function put(image, url) {
  image.hidden = !url;
  if (url) image.src = url;
  else image.removeAttribute("src");
}

// One picture as large as the window

class Large {
  constructor(gallery, dialog) {
    Object.assign(this, { gallery, dialog, picture: null, masks: null, scale: 1, x: 0, y: 0, fingers: new Map() });
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
  }

  open(picture) {
    document.documentElement.style.overflow = "hidden";
    this.dialog.showModal();
    find(this.dialog, ".close").focus();
    if (matchMedia("(min-width: 46.01rem)").matches) this.toggleKeys(true);
    this.turnTo(picture);
  }

  closed() {
    document.documentElement.style.overflow = "";
    const card = this.gallery.cards.find((card) => card.picture === this.picture);
    this.picture = this.masks = null;
    put(find(this.sheet, "img"), null);
    Object.assign(find(this.sheet, "canvas"), { width: 0, height: 0 });
    find(card, ".open").focus();
    card.scrollIntoView({ block: "nearest" });
  }

  step(by) {
    const cards = this.gallery.visible;
    const next = cards[cards.findIndex((card) => card.picture === this.picture) + by];
    if (next) this.turnTo(next.picture);
  }

  async turnTo(picture) {
    Object.assign(this, { picture, masks: null, scale: 1, x: 0, y: 0 });
    this.describe();
    this.place();
    const { masks, url } = await this.gallery.load(picture);
    if (this.picture !== picture) return;
    put(find(this.sheet, "img"), url);
    this.masks = masks;
    this.paint();
  }

  describe() {
    const { dialog, picture } = this;
    const [first] = picture.scores;
    const name = find(dialog, "h3");
    name.replaceChildren(picture.stem, element("span", { textContent: first ? `${first[0]} ${told(first[1])}` : "" }));
    const cards = this.gallery.visible;
    const index = cards.findIndex((card) => card.picture === picture);
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
    const canvas = find(this.sheet, "canvas");
    canvas.setAttribute("aria-label", inWords(this.picture, this.gallery.state.view));
    if (this.masks) paint(canvas, this.picture, this.masks, this.gallery.classes, this.gallery.state);
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
    VIEWS.forEach((view, index) => (keys[index + 1] = () => this.gallery.views.includes(view) && this.gallery.look(view)));
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
    const lines = ["truth", "prediction"].filter((kind) => masks[kind]).flatMap((kind) => {
      const index = masks[kind][row * picture.width + column];
      return [element("br"), `${kind}: `, swatch(index === VOID ? VOID_GREY : colors[index]), index === VOID ? "void" : names[index]];
    });
    find(this.dialog, ".under").replaceChildren(...lines.slice(1));
  }
}

offerTheme();
offerScrolling();
for (const box of document.querySelectorAll(".gallery")) new Gallery(box);
