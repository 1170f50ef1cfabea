// The page: the table of results, a tab for each category, and the run's provenance.

const run = JSON.parse(document.getElementById("run-data").textContent);

function facts() {
  const { device, version, git_commit: commit } = run.provenance;
  const origin = [device, version ? `LFQUIAD ${version}` : null];
  if (commit) origin.push(`commit ${commit.slice(0, 10)}`);
  const entries = [...run.settings, ...origin.filter(Boolean)];
  return element(
    "ul",
    { class: "facts" },
    entries.map((entry) => element("li", {}, entry)),
  );
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
    const cells = run.columns.map(({ key }) => threeDecimals(result.metrics?.[key]));
    return row(link, [...cells, minutes(result.seconds?.total)]);
  });
  const times = run.categories.map(({ result }) => result.seconds?.total);
  const total = times.every((seconds) => typeof seconds === "number")
    ? times.reduce((a, b) => a + b, 0)
    : null;
  const means = run.columns.map(({ key }) => threeDecimals(run.mean[key]));
  const mean = row("mean", [...means, minutes(total)]);
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
  const cells = (values) =>
    keys.map((key) => (values[key] === null ? "–" : values[key].toFixed(1)));
  const runRow = row("this run", cells(paper.run));
  runRow.className = "mean";
  const { categories, categories_of_paper: paperCategories } = paper;
  const partial =
    categories < paperCategories
      ? ` This run covers ${categories} of the ${paperCategories} categories. Its mean ` +
        "is not comparable until it covers all of them."
      : "";
  return [
    element("h2", {}, `Compared with the paper: ${paper.title}, in per cent`),
    table(
      ["method", "I-AUROC", "P-AUROC", "PRO"],
      [...paper.methods.map((method) => row(method.name, cells(method))), runRow],
      { id: "paper" },
    ),
    element(
      "p",
      { class: "quiet" },
      `The methods' results are those of the paper's Table 1.${partial}`,
    ),
  ];
}

function hashOf(index) {
  return `#category-${index + 1}`;
}

function startingThreshold(category, score) {
  const { threshold, image_score: runScore } = category.result;
  if (score === runScore && typeof threshold === "number") return threshold;
  return bestF1Threshold(category.images, score);
}

function categoryPanel(category) {
  const names = Object.keys(category.images[0]?.scores ?? {});
  const runScore = category.result.image_score;
  const view = {
    score: names.includes(runScore) ? runScore : names[0],
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
  node.append(...trainingParts(category), inputsAndTimes(category));
  return node;
}

function decisionParts(category, view, names) {
  const pictures = gallery(category, view);
  const counts = confusionTable();
  const defects = defectTable(category);
  const plot = element("div", { class: "plot" });
  const curves = element("div", { class: "charts" });
  const entry = element("input", { type: "number", step: "any" });
  let scorePlot = null;
  let moveOperatingPoint = null;

  function move(threshold, isSettled) {
    view.threshold = threshold;
    scorePlot.show(threshold);
    entry.value = rounded(threshold, 6);
    counts.show(confusion(category.images, view.score, threshold));
    defects.show(view);
    moveOperatingPoint?.(threshold);
    if (isSettled) pictures.arrange();
    else pictures.decide();
  }

  function choose(score) {
    view.score = score;
    scorePlot = histogram(category.images, score, move);
    plot.replaceChildren(scorePlot.node);
    moveOperatingPoint = showCurves(curves, category, view);
    move(startingThreshold(category, score), true);
  }

  entry.addEventListener("change", () => {
    if (Number.isFinite(entry.valueAsNumber)) move(entry.valueAsNumber, true);
  });
  const decision = element(
    "section",
    { class: "decision" },
    element("h3", {}, "Scores and threshold"),
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
    const area = areas[name];
    const auroc = typeof area === "number" ? ` (I-AUROC ${threeDecimals(area)})` : "";
    return [name, `${words(name)}${auroc}`];
  });
  const preset = (title, threshold) =>
    element(
      "button",
      { type: "button", onclick: () => move(threshold(), true) },
      title,
    );
  const { threshold, image_score: runScore } = category.result;
  const runButton =
    typeof threshold === "number"
      ? preset(`the run's threshold: ${rounded(threshold, 4)}`, () => {
          if (view.score !== runScore) {
            entry.form?.reset();
            choose(runScore);
          }
          return threshold;
        })
      : element("span", { class: "quiet" }, "the run has no threshold");
  const rules = Object.entries(category.result.thresholds ?? {});
  const activeRule = category.result.threshold_rule;
  const ruleButtons = rules
    .filter(([rule]) => rule !== activeRule)
    .map(([rule, { value, statement }]) => {
      const button = preset(`${words(rule)}: ${rounded(value, 4)}`, () => {
        if (view.score !== runScore) choose(runScore);
        return value;
      });
      button.title = statement;
      return button;
    });
  const guarantee = rules
    .filter(([rule]) => rule === activeRule)
    .map(([rule, { statement }]) =>
      element("p", { class: "quiet guarantee" }, `Rule ${words(rule)}: ${statement}.`),
    );
  return element(
    "div",
    { class: "controls" },
    labelled("image score", select(options, view.score, choose)),
    labelled("threshold", entry),
    runButton,
    ruleButtons,
    preset("largest F1 on these images (uses their labels)", () =>
      bestF1Threshold(category.images, view.score),
    ),
    guarantee,
  );
}

function confusionTable() {
  const cell = (name) => element("td", { "data-count": name });
  const head = (...titles) =>
    element("tr", {}, titles.map((title) => element("th", { scope: "col" }, title)));
  const line = (title, ...cells) =>
    element("tr", {}, element("th", { scope: "row" }, title), cells);
  const node = element("div", { class: "confusion", "aria-live": "polite" });
  const rateList = element("dl");
  node.append(
    element(
      "table",
      {},
      element("thead", {}, head("", "decided good", "decided defective")),
      element(
        "tbody",
        {},
        line("good", cell("passed"), cell("false alarm")),
        line("defective", cell("missed"), cell("found")),
      ),
    ),
    rateList,
  );

  function show(counts) {
    for (const countCell of node.querySelectorAll("[data-count]")) {
      countCell.textContent = counts[countCell.dataset.count];
    }
    const { recall, precision, falseAlarms, f1 } = rates(counts);
    const entries = { recall, "false-alarm rate": falseAlarms, precision, F1: f1 };
    rateList.replaceChildren(
      ...Object.entries(entries).flatMap(([name, value]) => [
        element("dt", {}, name),
        element("dd", {}, name === "F1" ? threeDecimals(value) : percent(value)),
      ]),
    );
  }
  return { node, show };
}

function percent(share) {
  return share === null ? "–" : `${(100 * share).toFixed(1)} %`;
}

// Draws the curves. Returns a function that moves the operating point to a threshold,
// or null if there is no operating point.
function showCurves(place, category, view) {
  const imageCurve = rocCurve(category.images, view.score);
  const { pixel_roc: pixelCurve, pro } = category.curves;
  const series = [];
  if (imageCurve) series.push(withAreaLabel("image", imageCurve));
  if (pixelCurve) {
    const [x, y] = pixelCurve;
    series.push(withAreaLabel("pixel", { x, y }));
  }
  const unit = { x: [0, 1], y: [0, 1], xLabel: "false-positive rate" };
  place.replaceChildren();
  let moveOperatingPoint = null;
  if (series.length) {
    const chart = lineChart("ROC", series, { ...unit, yLabel: "recall", diagonal: true });
    place.append(chart);
    if (imageCurve) moveOperatingPoint = operatingPoint(chart, category, view);
  }
  if (pro) {
    const overlap = [{ name: "mean overlap", x: pro[0], y: pro[1] }];
    const title = "PRO: integrated over the shaded part";
    const shade = { from: 0, to: 0.3 };
    place.append(lineChart(title, overlap, { ...unit, yLabel: "overlap", shade }));
  }
  return moveOperatingPoint;
}

function withAreaLabel(name, curve) {
  return { name, ...curve, label: `${name}, area ${threeDecimals(areaUnder(curve))}` };
}

function operatingPoint(chart, category, view) {
  const dot = svgElement("circle", { class: "operating", r: 5 });
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
  const choices = [["all", "all"], ...kinds.map((kind) => [kind, words(kind)])];
  const show = select(choices, view.kind, (kind) => {
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
  const has = keys.map((key) => defects.some(([, metrics]) => key in metrics));
  const cells = (metrics) =>
    keys.filter((_, i) => has[i]).map((key) => threeDecimals(metrics[key]));
  const foundCells = new Map();
  const rows = defects.map(([defect, metrics]) => {
    const line = row(words(defect), ["", metrics.count, ...cells(metrics)]);
    foundCells.set(defect, line.querySelector("td"));
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
      : element("p", { class: "note" }, "No test image shows a defect."),
  );

  function show(view) {
    for (const [defect, cell] of foundCells) {
      const counts = confusion(images.get(defect) ?? [], view.score, view.threshold);
      const total = counts.found + counts.missed;
      cell.textContent = total ? `${counts.found} of ${total}` : "–";
    }
  }
  return { node, show };
}

function grouped(images) {
  const groups = new Map();
  for (const image of images) {
    groups.set(image.defect, [...(groups.get(image.defect) ?? []), image]);
  }
  return groups;
}

// What a detector does that has no training to show.
const TRAINING_FREE = {
  knn: "compares each patch with the nearest patch of the shots",
  subspace: "measures what lies outside the principal subspace of the shots' patches",
};

function trainingParts(category) {
  const work = TRAINING_FREE[category.result.method];
  if (work) {
    const text =
      `Method ${category.result.method} ${work}. Nothing was trained and nothing is ` +
      "reconstructed, so there are no training curves, no code usage and no reconstructions.";
    return [
      element(
        "section",
        {},
        element("h3", {}, "Training"),
        element("p", { class: "note" }, text),
      ),
    ];
  }
  const { losses, validation, quantizer } = category.log;
  const best = category.result.best_step;
  const mark = best ? { x: best, text: `best validation: step ${best}` } : null;
  const asSeries = (group) =>
    Object.entries(group).map(([name, [x, y]]) => ({ name, x, y }));
  const charts = [];
  const lossSeries = asSeries(losses);
  if (lossSeries.length) {
    const isLog = lossSeries.every(({ y }) => Math.min(...y) > 0);
    const title = isLog ? "losses, logarithmic" : "losses";
    charts.push(lineChart(title, lossSeries, { xLabel: "step", isLog, mark }));
  }
  const validationSeries = asSeries(validation);
  if (validationSeries.length) {
    const title = "validation on synthetic anomalies";
    charts.push(lineChart(title, validationSeries, { xLabel: "step", mark }));
  }
  const codeCharts = asSeries(quantizer).map((series) =>
    lineChart(words(series.name), [series], { xLabel: "step", width: 280, height: 170 }),
  );
  const pictures = Object.entries(category.codes ?? {}).map(([contents, src]) =>
    element("img", { src, alt: `codes of test images: ${contents}` }),
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
    ...section("Code usage", codeCharts, "charts small"),
    ...section("Codes of test images", pictures, "codes"),
  ];
}

function inputsAndTimes({ result }) {
  const { method, kind, best_step, validation, inputs, seconds } = result;
  const content = { method, kind, best_step, validation, inputs, seconds };
  return details("Inputs and times", content);
}

function details(title, content) {
  return element(
    "details",
    {},
    element("summary", {}, title),
    element("pre", { tabindex: 0 }, JSON.stringify(content, null, 2)),
  );
}

// One tab for each category. Its panel is built when it is first shown.
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
    ["Tab", "moves to the next control"],
    ["← →", "on the tabs: shows the previous or next category"],
    ["← →", "on the threshold: moves to the next score at which a decision changes"],
    ["Page up, page down", "on the threshold: moves ten such steps"],
    ["Home, end", "on the threshold: moves to the lowest or highest one"],
    ["← → ↑ ↓", "in the gallery: moves to another image; Enter enlarges it"],
    ["← →, Esc", "on an enlarged image: shows another one, or closes it"],
  ];
  return element(
    "details",
    {},
    element("summary", {}, "Keyboard"),
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
