// The histogram of scores, with the threshold as a slider. Bars of good parts go up and
// bars of defective parts go down, so that neither hides the other.

const HISTOGRAM = { width: 760, height: 260, left: 14, right: 746, middle: 124 };
const HALF_PX = 92;
const BINS = 40;

// Calls `onMove(threshold, isSettled)`; isSettled is false during a drag.
function histogram(images, name, onMove) {
  const steps = distinctThresholds(images, name);
  const room = margin(steps);
  const { left, right, middle, width, height } = HISTOGRAM;
  const x = axis(steps[0] - room, steps.at(-1) + room, left, right);
  const root = svgElement("svg", {
    viewBox: `0 0 ${width} ${height}`,
    class: "histogram",
  });
  root.append(...bars(images, name, x, 0), ...bars(images, name, x, 1));
  root.append(segment("axis", left, middle, right, middle));
  root.append(...rug(images, name, x));
  for (const value of x.ticks) root.append(text(rounded(value), x(value), 250, "middle"));
  root.append(
    text("good parts", left, 14, "start"),
    text("defective parts", left, 228, "start"),
  );
  const handle = slider(x, steps, root, onMove);
  root.append(handle.node);
  return { node: root, show: handle.show };
}

function bars(images, name, x, label) {
  const counts = new Array(BINS).fill(0);
  const span = (x.high - x.low) / BINS;
  for (const image of scored(images, name)) {
    if (image.label !== label) continue;
    counts[Math.min(BINS - 1, Math.floor((scoreOf(image, name) - x.low) / span))] += 1;
  }
  const tallest = Math.max(...counts, 1);
  return counts.flatMap((count, i) => {
    if (!count) return [];
    const length = 10 + (count / tallest) * (HALF_PX - 10);
    const from = x.low + i * span;
    const top = label ? HISTOGRAM.middle : HISTOGRAM.middle - length;
    const bar = svgElement("rect", {
      class: label ? "defective" : "good",
      x: x(from) + 0.5,
      width: x(from + span) - x(from) - 1,
      y: top,
      height: length,
    });
    const kind = label ? "defective" : "good";
    const range = `${rounded(from)} to ${rounded(from + span)}`;
    bar.append(svgElement("title", {}, `${count} ${kind}, score ${range}`));
    return [bar];
  });
}

// One short line for each image, at its exact score.
function rug(images, name, x) {
  return scored(images, name).map((image) => {
    const at = x(scoreOf(image, name));
    const tip = HISTOGRAM.middle + (image.label ? 7 : -7);
    return segment("rug", at, HISTOGRAM.middle, at, tip);
  });
}

function slider(x, steps, root, onMove) {
  let current = steps[0];
  const node = svgElement(
    "g",
    {
      class: "threshold",
      tabindex: 0,
      role: "slider",
      "aria-label": "Threshold",
      "aria-valuemin": x.low,
      "aria-valuemax": x.high,
    },
    svgElement("rect", { class: "grip", x: -12, y: 4, width: 24, height: 230 }),
    segment("stroke", 0, 4, 0, 234),
    svgElement("path", { d: "M-7 0 H7 V9 L0 17 L-7 9 Z" }),
  );

  function show(threshold) {
    current = threshold;
    const inside = Math.min(Math.max(threshold, x.low), x.high);
    node.setAttribute("transform", `translate(${x(inside)} 0)`);
    node.setAttribute("aria-valuenow", threshold);
    node.setAttribute("aria-valuetext", `threshold ${rounded(threshold, 4)}`);
  }

  function valueAt(event) {
    const box = root.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * HISTOGRAM.width;
    const share = (at - HISTOGRAM.left) / (HISTOGRAM.right - HISTOGRAM.left);
    return x.low + Math.min(Math.max(share, 0), 1) * (x.high - x.low);
  }

  root.addEventListener("pointerdown", (event) => {
    root.setPointerCapture(event.pointerId);
    node.focus({ preventScroll: true });
    onMove(valueAt(event), false);
  });
  root.addEventListener("pointermove", (event) => {
    if (root.hasPointerCapture(event.pointerId)) onMove(valueAt(event), false);
  });
  root.addEventListener("pointerup", (event) => onMove(valueAt(event), true));
  node.addEventListener("keydown", (event) => {
    const target = stepped(steps, current, event.key);
    if (target === null) return;
    event.preventDefault();
    onMove(target, true);
  });
  return { node, show };
}

// The threshold after a key: arrow keys move to the next one that changes a decision.
function stepped(steps, current, key) {
  const moves = {
    ArrowRight: 1,
    ArrowUp: 1,
    ArrowLeft: -1,
    ArrowDown: -1,
    PageUp: 10,
    PageDown: -10,
  };
  if (key === "Home") return steps[0];
  if (key === "End") return steps.at(-1);
  if (!(key in moves)) return null;
  const above = steps.findIndex((step) => step > current);
  const next = above === -1 ? steps.length : above;
  const isStep = steps[next - 1] === current;
  const move = moves[key];
  const index = move > 0 ? next + move - 1 : next + move - (isStep ? 1 : 0);
  return steps[Math.min(Math.max(index, 0), steps.length - 1)];
}
