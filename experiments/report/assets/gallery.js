// The test images: a gallery that can be sorted, and one image at a time, enlarged.

const FIRST = 48; // cards shown before "show all" is pressed

function gallery(category, view) {
  const cards = new Map(category.images.map((image) => [image, card(image, category)]));
  const list = element("ul", { class: "gallery" });
  const count = element("p", { class: "quiet", role: "status" });
  const more = element("button", { type: "button", class: "more" });
  let limit = FIRST;
  more.addEventListener("click", () => {
    limit = Infinity;
    arrange();
    list.children[FIRST].querySelector("button").focus();
  });
  for (const [image, node] of cards) {
    const button = node.querySelector("button");
    button.addEventListener("click", () => openPicture(image, shown(), view));
    button.addEventListener("keydown", (event) => moveFocus(event, list));
  }

  function shown() {
    const matching = category.images.filter(
      (image) =>
        (view.kind === "all" || image.defect === view.kind) &&
        (!view.mistakesOnly || isMistake(image, view)),
    );
    return sortedImages(matching, view.order, view.score, view.threshold);
  }

  function arrange() {
    const images = shown();
    list.replaceChildren(...images.slice(0, limit).map((image) => cards.get(image)));
    more.hidden = images.length <= limit;
    more.textContent = `show all ${images.length}`;
    count.textContent = `${images.length} of ${category.images.length} test images`;
    decide();
  }

  function decide() {
    for (const [image, node] of cards) label(node, image, view);
  }

  return { list, more, count, arrange, decide };
}

function isMistake(image, view) {
  const found = verdict(image, view.score, view.threshold);
  return found === "missed" || found === "false alarm";
}

function card(image, category) {
  const { panels } = image;
  const picture = panels
    ? stack(panels, image)
    : element("span", { class: "no-picture" }, "no picture");
  return element(
    "li",
    { "data-key": image.key },
    element(
      "button",
      { type: "button", "aria-label": `${category.name} ${image.key}: enlarge` },
      picture,
      element("span", { class: "key" }, image.key),
      element("span", { class: "score" }),
      element("span", { class: "verdict" }),
    ),
  );
}

// The image under its heat map and the outline of the ground truth.
function stack(panels, image) {
  const layer = (name) =>
    panels[name]
      ? element("img", { src: panels[name], alt: "", class: name.replace(" ", "-") })
      : null;
  const node = element(
    "span",
    { class: "stack", role: "img", "aria-label": `${image.key} with its heat map` },
    layer("image"),
    layer("heat map"),
    layer("outline"),
  );
  return node;
}

function label(node, image, view) {
  const found = verdict(image, view.score, view.threshold);
  node.dataset.verdict = found;
  node.querySelector(".verdict").textContent = found;
  node.querySelector(".score").textContent = threeDigits(scoreOf(image, view.score));
}

// Arrow keys move the focus from card to card; up and down stay in the column.
function moveFocus(event, list) {
  const cards = [...list.children];
  const top = cards[0].offsetTop;
  const next = cards.findIndex((other) => other.offsetTop > top);
  const columns = next === -1 ? cards.length : next;
  const moves = {
    ArrowRight: 1,
    ArrowLeft: -1,
    ArrowDown: columns,
    ArrowUp: -columns,
  };
  if (!(event.key in moves)) return;
  event.preventDefault();
  const at = cards.indexOf(event.currentTarget.parentElement);
  cards[at + moves[event.key]]?.querySelector("button").focus();
}

function openPicture(image, images, view) {
  const dialog = document.getElementById("picture");
  let at = images.indexOf(image);

  function show() {
    dialog.replaceChildren(...large(images[at], view, at, images.length));
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.querySelector(".previous").addEventListener("click", () => go(-1));
    dialog.querySelector(".next").addEventListener("click", () => go(1));
  }

  function go(move) {
    at = (at + move + images.length) % images.length;
    show();
    dialog.focus();
  }

  dialog.onkeydown = (event) => {
    if (event.key === "ArrowRight") go(1);
    if (event.key === "ArrowLeft") go(-1);
  };
  show();
  dialog.showModal();
}

function large(image, view, at, count) {
  const { panels } = image;
  const names = ["image", "reconstruction", "heat map", "ground truth"].filter(
    (name) => name !== "reconstruction" || panels?.reconstruction,
  );
  const scores = Object.entries(image.scores).map(([name, value]) =>
    element("li", {}, `${words(name)} ${threeDigits(value)}`),
  );
  const found = verdict(image, view.score, view.threshold);
  return [
    element(
      "header",
      {},
      element("h2", {}, image.key),
      element("span", { class: "verdict", "data-verdict": found }, found),
      element("span", { class: "quiet" }, `${at + 1} of ${count}`),
      element("button", { type: "button", class: "previous" }, "← previous"),
      element("button", { type: "button", class: "next" }, "next →"),
      element("button", { type: "button", class: "close" }, "close"),
    ),
    element(
      "div",
      { class: "panels" },
      panels
        ? names.map((name) => panel(name, panels[name]))
        : element("p", {}, "No picture was drawn of this image."),
    ),
    element("ul", { class: "scores" }, scores),
  ];
}

function panel(name, source) {
  return element(
    "figure",
    {},
    source
      ? element("img", { src: source, alt: name })
      : element("span", { class: "no-picture" }, `no ${name}`),
    element("figcaption", {}, name),
  );
}
