// The page: the table, a tab a category, and what made the run.

const run = JSON.parse(document.getElementById("run-data").textContent);

function facts() {
  const { device, version, git_commit: commit } = run.provenance;
  const made = [device, version ? `LFQUIAD ${version}` : null];
  if (commit) made.push(`commit ${commit.slice(0, 10)}`);
  const all = [...run.settings, ...made.filter(Boolean)];
  return element("ul", { class: "facts" }, all.map((fact) => element("li", {}, fact)));
}

function row(name, cells, kind = "td") {
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, name),
    cells.map((cell) => element(kind, {}, cell)),
  );
}

function table(head, rows, attributes = {}) {
  const titles = head.map((title) =>
    title instanceof Node ? title : element("th", { scope: "col" }, title),
  );
  return element(
    "div",
    { class: "scroll" },
    element(
      "table",
      attributes,
      element("thead", {}, element("tr", {}, titles)),
      element("tbody", {}, rows),
    ),
  );
}

function minutes(seconds) {
  if (typeof seconds !== "number") return "–";
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

function resultsTable() {
  const heads = run.columns.map(({ short, full }) =>
    element("th", { scope: "col" }, element("abbr", { title: full }, short)),
  );
  const rows = run.categories.map(({ name, result }, i) => {
    const link = element("a", { href: hashOf(i) }, name);
    const cells = run.columns.map(({ key }) => figure(result.metrics?.[key]));
    return row(link, [...cells, minutes(result.seconds?.total)]);
  });
  const total = run.categories.map(({ result }) => result.seconds?.total);
  const whole = total.every((each) => typeof each === "number")
    ? total.reduce((a, b) => a + b, 0)
    : null;
  const means = run.columns.map(({ key }) => figure(run.mean[key]));
  const mean = row("mean", [...means, minutes(whole)]);
  mean.className = "mean";
  const legend = run.columns.map(({ short, full }) => `${short}: ${full}`).join(" · ");
  return [
    table(["category", ...heads, "time"], [...rows, mean], { id: "results" }),
    element("p", { class: "quiet" }, legend),
    ...run.notes.map((note) => element("p", { class: "note" }, note)),
  ];
}

function paperTable() {
  const { paper } = run;
  if (!paper) return [];
  const keys = ["image_auroc", "pixel_auroc", "pro"];
  const cells = (figures) =>
    keys.map((key) => (figures[key] === null ? "–" : figures[key].toFixed(1)));
  const ours = row("this run", cells(paper.run));
  ours.className = "mean";
  const { categories, categories_of_paper: all } = paper;
  const partial =
    categories < all
      ? ` This run covers ${categories} of the ${all} categories: its mean is not ` +
        "comparable until it covers all."
      : "";
  return [
    element("h2", {}, `Beside the paper: ${paper.title}, per cent`),
    table(
      ["method", "I-AUROC", "P-AUROC", "PRO"],
      [...paper.methods.map((each) => row(each.name, cells(each))), ours],
      { id: "paper" },
    ),
    element("p", { class: "quiet" }, `As published in the paper's Table 1.${partial}`),
  ];
}

function hashOf(index) {
  return `#category-${index + 1}`;
}

function startingThreshold(category, score) {
  const { threshold, image_score: own } = category.result;
  if (score === own && typeof threshold === "number") return threshold;
  return bestF1Threshold(category.images, score);
}

function categoryPanel(category) {
  const names = Object.keys(category.images[0]?.scores ?? {});
  const own = category.result.image_score;
  const view = {
    score: names.includes(own) ? own : names[0],
    threshold: null,
    order: "mistakes",
    kind: "all",
    mistakesOnly: false,
  };
  const node = element("div", { class: "category" });
  if (names.length) {
    view.threshold = startingThreshold(category, view.score);
    node.append(...decisionParts(category, view, names));
  } else {
    node.append(element("p", { class: "note" }, "No predictions were recorded."));
  }
  node.append(...trainingParts(category), inputs(category));
  return node;
}

function decisionParts(category, view, names) {
  const pictures = gallery(category, view);
  const counts = confusionTable();
  const defects = defectTable(category);
  const plot = element("div", { class: "plot" });
  const curves = element("div", { class: "charts" });
  const entry = element("input", { type: "number", step: "any" });
  let shown = null;
  let operating = null;

  function move(threshold, isSettled) {
    view.threshold = threshold;
    shown.show(threshold);
    entry.value = rounded(threshold, 6);
    counts.show(confusion(category.images, view.score, threshold));
    defects.show(view);
    operating?.(threshold);
    if (isSettled) pictures.arrange();
    else pictures.decide();
  }

  function choose(score) {
    view.score = score;
    shown = histogram(category.images, score, move);
    plot.replaceChildren(shown.node);
    operating = showCurves(curves, category, view);
    move(startingThreshold(category, score), true);
  }

  entry.addEventListener("change", () => {
    if (Number.isFinite(entry.valueAsNumber)) move(entry.valueAsNumber, true);
  });
  const decision = element(
    "section",
    { class: "decision" },
    element("h3", {}, "Scores and the threshold"),
    thresholdControls(category, view, { names, entry, choose, move }),
    element("div", { class: "split" }, plot, counts.node),
    curves,
  );
  choose(view.score);
  return [decision, defects.node, gallerySection(category, view, pictures)];
}

function labelled(name, control) {
  return element("label", {}, element("span", {}, name), control);
}

function select(options, chosen, onChange) {
  const entries = options.map(([value, name]) =>
    element("option", { value, selected: value === chosen ? "" : null }, name),
  );
  return element("select", { onchange: (e) => onChange(e.target.value) }, entries);
}

function thresholdControls(category, view, { names, entry, choose, move }) {
  const areas = category.result.image_auroc_by_score ?? {};
  const options = names.map((name) => {
    const area = typeof areas[name] === "number" ? ` (I-AUROC ${figure(areas[name])})` : "";
    return [name, `${words(name)}${area}`];
  });
  const preset = (title, threshold) =>
    element(
      "button",
      { type: "button", onclick: () => move(threshold(), true) },
      title,
    );
  const { threshold, image_score: own } = category.result;
  const ofRun =
    typeof threshold === "number"
      ? preset(`the run's: ${rounded(threshold, 4)}`, () => {
          if (view.score !== own) {
            entry.form?.reset();
            choose(own);
          }
          return threshold;
        })
      : element("span", { class: "quiet" }, "the run has no threshold");
  const rules = Object.entries(category.result.thresholds ?? {});
  const inForce = category.result.threshold_rule;
  const ofRules = rules
    .filter(([rule]) => rule !== inForce)
    .map(([rule, { value, statement }]) => {
      const button = preset(`${words(rule)}: ${rounded(value, 4)}`, () => {
        if (view.score !== own) choose(own);
        return value;
      });
      button.title = statement;
      return button;
    });
  const promise = rules
    .filter(([rule]) => rule === inForce)
    .map(([rule, { statement }]) =>
      element("p", { class: "quiet promise" }, `By ${words(rule)}: ${statement}.`),
    );
  return element(
    "div",
    { class: "controls" },
    labelled("image score", select(options, view.score, choose)),
    labelled("threshold", entry),
    ofRun,
    ofRules,
    preset("largest F1 here (in hindsight)", () =>
      bestF1Threshold(category.images, view.score),
    ),
    promise,
  );
}

function confusionTable() {
  const cell = (name) => element("td", { "data-count": name });
  const head = (...titles) =>
    element("tr", {}, titles.map((title) => element("th", { scope: "col" }, title)));
  const line = (title, ...cells) =>
    element("tr", {}, element("th", { scope: "row" }, title), cells);
  const node = element("div", { class: "confusion", "aria-live": "polite" });
  const figures = element("dl");
  node.append(
    element(
      "table",
      {},
      element("thead", {}, head("", "called good", "called defective")),
      element(
        "tbody",
        {},
        line("good", cell("passed"), cell("false alarm")),
        line("defective", cell("missed"), cell("found")),
      ),
    ),
    figures,
  );

  function show(counts) {
    for (const each of node.querySelectorAll("[data-count]")) {
      each.textContent = counts[each.dataset.count];
    }
    const { recall, precision, falseAlarms, f1 } = rates(counts);
    const entries = { found: recall, "false alarms": falseAlarms, precision, F1: f1 };
    figures.replaceChildren(
      ...Object.entries(entries).flatMap(([name, value]) => [
        element("dt", {}, name),
        element("dd", {}, name === "F1" ? figure(value) : percent(value)),
      ]),
    );
  }
  return { node, show };
}

function percent(share) {
  return share === null ? "–" : `${(100 * share).toFixed(1)} %`;
}

// Draws the curves; returns what moves the operating point, where there is one.
function showCurves(place, category, view) {
  const ofImages = rocCurve(category.images, view.score);
  const { pixel_roc: ofPixels, pro } = category.curves;
  const series = [];
  if (ofImages) series.push(withArea("image", ofImages));
  if (ofPixels) series.push(withArea("pixel", { x: ofPixels[0], y: ofPixels[1] }));
  const unit = { x: [0, 1], y: [0, 1], xLabel: "false-positive rate" };
  place.replaceChildren();
  let operating = null;
  if (series.length) {
    const chart = lineChart("ROC", series, { ...unit, yLabel: "recall", diagonal: true });
    place.append(chart);
    if (ofImages) operating = operatingPoint(chart, category, view);
  }
  if (pro) {
    const overlap = [{ name: "mean overlap", x: pro[0], y: pro[1] }];
    const title = "PRO: integrated over the shaded part";
    const shade = { from: 0, to: 0.3 };
    place.append(lineChart(title, overlap, { ...unit, yLabel: "overlap", shade }));
  }
  return operating;
}

function withArea(name, curve) {
  return { name, ...curve, label: `${name}, area ${figure(areaUnder(curve))}` };
}

function operatingPoint(chart, category, view) {
  const dot = drawing("circle", { class: "operating", r: 5 });
  chart.querySelector("svg").append(dot);
  return (threshold) => {
    const { falseAlarms, recall } = rates(
      confusion(category.images, view.score, threshold),
    );
    const [cx, cy] = chart.position(falseAlarms, recall);
    dot.setAttribute("cx", cx);
    dot.setAttribute("cy", cy);
  };
}

function gallerySection(category, view, pictures) {
  const kinds = [...new Set(category.images.map((image) => image.defect))].sort();
  const opacity = element("input", { type: "range", min: 0, max: 100, value: 100 });
  opacity.addEventListener("input", () =>
    pictures.list.style.setProperty("--overlay", opacity.value / 100),
  );
  const outlines = element("input", { type: "checkbox", checked: "" });
  outlines.addEventListener("change", () =>
    pictures.list.classList.toggle("no-outlines", !outlines.checked),
  );
  const only = element("input", { type: "checkbox" });
  only.addEventListener("change", () => {
    view.mistakesOnly = only.checked;
    pictures.arrange();
  });
  const sort = select(Object.entries(ORDERS), view.order, (order) => {
    view.order = order;
    pictures.arrange();
  });
  const all = [["all", "all"], ...kinds.map((kind) => [kind, words(kind)])];
  const show = select(all, view.kind, (kind) => {
    view.kind = kind;
    pictures.arrange();
  });
  return element(
    "section",
    {},
    element("h3", {}, "Test images"),
    element(
      "div",
      { class: "controls" },
      labelled("sort", sort),
      labelled("show", show),
      labelled("mistakes only", only),
      labelled("heat map", opacity),
      labelled("ground truth", outlines),
      pictures.count,
    ),
    pictures.list,
    pictures.more,
  );
}

function defectTable(category) {
  const images = Map.groupBy
    ? Map.groupBy(category.images, (image) => image.defect)
    : grouped(category.images);
  const defects = Object.entries(category.result.per_defect ?? {});
  const keys = ["image_auroc", "pixel_auroc", "pro"];
  const titles = ["I-AUROC", "P-AUROC", "PRO"];
  const has = keys.map((key) => defects.some(([, figures]) => key in figures));
  const cells = (figures) =>
    keys.filter((_, i) => has[i]).map((key) => figure(figures[key]));
  const live = new Map();
  const rows = defects.map(([defect, figures]) => {
    const line = row(words(defect), ["", figures.count, ...cells(figures)]);
    live.set(defect, line.querySelector("td"));
    return line;
  });
  const node = element(
    "section",
    {},
    element("h3", {}, "By defect"),
    defects.length
      ? table(
          ["defect", "found", "images", ...titles.filter((_, i) => has[i])],
          rows,
          { class: "defects" },
        )
      : element("p", { class: "note" }, "The test images show no defect."),
  );

  function show(view) {
    for (const [defect, cell] of live) {
      const counts = confusion(images.get(defect) ?? [], view.score, view.threshold);
      const all = counts.found + counts.missed;
      cell.textContent = all ? `${counts.found} of ${all}` : "–";
    }
  }
  return { node, show };
}

function grouped(images) {
  const found = new Map();
  for (const image of images) {
    found.set(image.defect, [...(found.get(image.defect) ?? []), image]);
  }
  return found;
}

function trainingParts(category) {
  const { losses, validation, quantizer } = category.log;
  const best = category.result.best_step;
  const mark = best ? { x: best, text: `best validation: step ${best}` } : null;
  const asSeries = (group) =>
    Object.entries(group).map(([name, [x, y]]) => ({ name, x, y }));
  const charts = [];
  const ofLosses = asSeries(losses);
  if (ofLosses.length) {
    const isLog = ofLosses.every(({ y }) => Math.min(...y) > 0);
    const title = isLog ? "losses, logarithmic" : "losses";
    charts.push(lineChart(title, ofLosses, { xLabel: "step", isLog, mark }));
  }
  const ofValidation = asSeries(validation);
  if (ofValidation.length) {
    const title = "validation on synthetic anomalies";
    charts.push(lineChart(title, ofValidation, { xLabel: "step", mark }));
  }
  const ofCodes = asSeries(quantizer).map((series) =>
    lineChart(words(series.name), [series], { xLabel: "step", width: 280, height: 170 }),
  );
  const pictures = Object.entries(category.codes ?? {}).map(([what, src]) =>
    element("img", { src, alt: `codes of test images: ${what}` }),
  );
  const section = (title, content, kind) =>
    content.length
      ? [
          element(
            "section",
            {},
            element("h3", {}, title),
            element("div", { class: kind }, content),
          ),
        ]
      : [];
  return [
    ...section("Training", charts, "charts"),
    ...section("How the codes are used", ofCodes, "charts small"),
    ...section("Codes of test images", pictures, "codes"),
  ];
}

function inputs({ result }) {
  const { inputs: read, seconds, validation, kind, best_step: step } = result;
  const shown = { kind, best_step: step, validation, inputs: read, seconds };
  return details("Inputs and times", shown);
}

function details(title, content) {
  return element(
    "details",
    {},
    element("summary", {}, title),
    element("pre", { tabindex: 0 }, JSON.stringify(content, null, 2)),
  );
}

// One tab a category; its panel is built when it is first shown.
function tabs(categories) {
  const buttons = categories.map(({ name }, i) =>
    element(
      "button",
      { type: "button", role: "tab", id: `tab-${i}`, "aria-controls": `panel-${i}` },
      name,
    ),
  );
  const panels = categories.map((_, i) =>
    element("div", { role: "tabpanel", id: `panel-${i}`, "aria-labelledby": `tab-${i}` }),
  );

  function show(index) {
    buttons.forEach((button, i) => {
      button.setAttribute("aria-selected", i === index);
      button.tabIndex = i === index ? 0 : -1;
      panels[i].hidden = i !== index;
    });
    if (!panels[index].firstChild) panels[index].append(categoryPanel(categories[index]));
  }

  function go(index) {
    history.replaceState(null, "", hashOf(index));
    show(index);
  }

  buttons.forEach((button, i) => {
    button.addEventListener("click", () => go(i));
    button.addEventListener("keydown", (event) => {
      const last = buttons.length - 1;
      const target = {
        ArrowRight: i === last ? 0 : i + 1,
        ArrowLeft: i === 0 ? last : i - 1,
        Home: 0,
        End: last,
      }[event.key];
      if (target === undefined) return;
      event.preventDefault();
      go(target);
      buttons[target].focus();
    });
  });
  const follow = () => show(indexOf(location.hash, categories.length));
  window.addEventListener("hashchange", () => {
    follow();
    document.querySelector("[role=tablist]").scrollIntoView();
  });
  follow();
  return [
    element("div", { role: "tablist", "aria-label": "Categories" }, buttons),
    ...panels,
  ];
}

function indexOf(hash, count) {
  const index = Number(/^#category-(\d+)$/.exec(hash)?.[1] ?? 1) - 1;
  return index >= 0 && index < count ? index : 0;
}

function help() {
  const keys = [
    ["Tab", "goes from one control to the next"],
    ["← →", "on the tabs: another category"],
    ["← →", "on the threshold: the next score at which a decision changes"],
    ["Page up, page down, home, end", "on the threshold: ten such steps, or the ends"],
    ["← → ↑ ↓", "in the gallery: another image; Enter shows it large"],
    ["← →, Esc", "on a large image: another one, or back"],
  ];
  return element(
    "details",
    {},
    element("summary", {}, "Keys"),
    element(
      "dl",
      { class: "keys" },
      keys.flatMap(([key, text]) => [
        element("dt", {}, element("kbd", {}, key)),
        element("dd", {}, text),
      ]),
    ),
  );
}

document.getElementById("report").append(
  element(
    "header",
    { class: "title" },
    element("h1", {}, run.id),
    facts(),
  ),
  element("section", {}, element("h2", {}, "Results"), ...resultsTable(), ...paperTable()),
  element("h2", {}, "Categories"),
  ...tabs(run.categories),
  element(
    "footer",
    {},
    element("h2", {}, "Provenance"),
    details("Versions, command and machine", run.provenance),
    details("Settings", run.config),
    help(),
  ),
);
