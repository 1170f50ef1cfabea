// Decisions from scores and a threshold. Pure functions, which do not use the document.
// An image is {label, scores: {name: value}}. It is decided to be defective if its score
// is at least the threshold.

function scoreOf(image, name) {
  const value = image.scores[name];
  return typeof value === "number" ? value : null;
}

function scored(images, name) {
  return images.filter((image) => scoreOf(image, name) !== null);
}

function verdict(image, name, threshold) {
  const score = scoreOf(image, name);
  if (score === null) return "not scored";
  if (image.label) return score >= threshold ? "found" : "missed";
  return score >= threshold ? "false alarm" : "passed";
}

function confusion(images, name, threshold) {
  const counts = { found: 0, missed: 0, "false alarm": 0, passed: 0, "not scored": 0 };
  for (const image of images) counts[verdict(image, name, threshold)] += 1;
  return counts;
}

function rates(counts) {
  const share = (part, rest) => (part + rest ? part / (part + rest) : null);
  const alarms = counts.found + counts["false alarm"];
  const total = counts.found + counts.missed + alarms;
  return {
    recall: share(counts.found, counts.missed),
    precision: share(counts.found, counts["false alarm"]),
    falseAlarms: share(counts["false alarm"], counts.passed),
    f1: total ? (2 * counts.found) / total : null,
  };
}

// All thresholds that give different decisions: every score, and one above the highest.
function distinctThresholds(images, name) {
  const values = scored(images, name).map((image) => scoreOf(image, name));
  const sorted = [...new Set(values)].sort((a, b) => a - b);
  if (sorted.length) sorted.push(sorted.at(-1) + margin(sorted));
  return sorted;
}

function margin(sorted) {
  const range = sorted.at(-1) - sorted[0];
  return range > 0 ? range / 20 : Math.max(Math.abs(sorted[0]) / 20, 1e-6);
}

function bestF1Threshold(images, name) {
  let best = { f1: -1, threshold: null };
  for (const threshold of distinctThresholds(images, name)) {
    const f1 = rates(confusion(images, name, threshold)).f1 ?? -1;
    if (f1 > best.f1) best = { f1, threshold };
  }
  return best.threshold;
}

// False-alarm rate and recall at every threshold, from the highest to the lowest. null
// if good or defective images are missing.
function rocCurve(images, name) {
  const curve = { x: [], y: [], thresholds: [] };
  for (const threshold of distinctThresholds(images, name).reverse()) {
    const { falseAlarms, recall } = rates(confusion(images, name, threshold));
    if (falseAlarms === null || recall === null) return null;
    curve.x.push(falseAlarms);
    curve.y.push(recall);
    curve.thresholds.push(threshold);
  }
  return curve.x.length ? curve : null;
}

function areaUnder(curve) {
  let area = 0;
  for (let i = 1; i < curve.x.length; i += 1) {
    area += ((curve.x[i] - curve.x[i - 1]) * (curve.y[i] + curve.y[i - 1])) / 2;
  }
  return area;
}

// Distance from the score to the threshold: positive if the decision is a mistake.
function errorMargin(image, name, threshold) {
  const score = scoreOf(image, name);
  if (score === null) return -Infinity;
  return image.label ? threshold - score : score - threshold;
}

const ORDERS = {
  mistakes: "worst mistakes first",
  "score-down": "score, highest first",
  "score-up": "score, lowest first",
  defect: "defect, then score",
  key: "name",
};

function sortedImages(images, order, name, threshold) {
  const byText = (a, b) => a.localeCompare(b, "en", { numeric: true });
  const byKey = (a, b) => byText(a.key, b.key);
  const score = (image) => scoreOf(image, name) ?? -Infinity;
  const error = (image) => errorMargin(image, name, threshold);
  const falling = (a, b) => (a === b ? 0 : b - a); // -Infinity minus -Infinity is NaN
  const compare = {
    mistakes: (a, b) => falling(error(a), error(b)) || byKey(a, b),
    "score-down": (a, b) => falling(score(a), score(b)) || byKey(a, b),
    "score-up": (a, b) => falling(score(b), score(a)) || byKey(a, b),
    defect: (a, b) => byText(a.defect, b.defect) || falling(score(a), score(b)),
    key: byKey,
  }[order];
  return [...images].sort(compare);
}
