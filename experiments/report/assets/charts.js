// Elements, number formats and line charts.

const SVG = "http://www.w3.org/2000/svg";
const PALETTE = 6; // colours --series-0 ... in the style sheet

function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svgElement(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null));
  return node;
}

function words(name) {
  return name.replaceAll("_", " ");
}

function rounded(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-4) return value.toExponential(digits - 1);
  if (Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(digits)));
}

// A score with three significant digits, including zeros at the end.
function threeDigits(value) {
  if (value === null) return "–";
  const size = Math.abs(value);
  return size && (size < 1e-4 || size >= 1e5)
    ? value.toExponential(2)
    : value.toPrecision(3);
}

function threeDecimals(value) {
  return value === null || value === undefined ? "–" : value.toFixed(3);
}

function ticks(low, high, count = 4) {
  const step = 10 ** Math.floor(Math.log10((high - low) / count));
  const sizes = [1, 2, 5, 10].map((factor) => factor * step);
  const size = sizes.find((s) => (high - low) / s <= count + 0.5) ?? sizes[3];
  const values = [];
  for (let i = Math.ceil(low / size - 1e-9); i * size <= high + size * 1e-9; i += 1) {
    values.push(Number((i * size).toPrecision(12)));
  }
  return values;
}

function decades(low, high) {
  const values = [];
  for (let i = Math.ceil(Math.log10(low)); i <= Math.log10(high); i += 1) {
    values.push(10 ** i);
  }
  return values.length > 1 ? values : [low, high];
}

// A function from a value to its pixel, on a linear or logarithmic axis.
function axis(low, high, from, to, isLog = false) {
  const scale = isLog ? Math.log : (value) => value;
  const [a, b] = [scale(low), scale(high)];
  const toPixel = (value) =>
    from + ((scale(value) - a) / (b - a || 1)) * (to - from);
  toPixel.ticks = isLog ? decades(low, high) : ticks(low, high);
  toPixel.low = low;
  toPixel.high = high;
  return toPixel;
}

function extent(values, isLog) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low === high) {
    const room = isLog ? low / 2 : Math.abs(low) / 10 || 1;
    return [low - room, high + room];
  }
  return isLog ? [low, high] : [low, high + (high - low) * 0.04];
}

// A line chart. Each series is {name, x, y, label?}. Options: x and y (ranges), isLog,
// xLabel, yLabel, mark ({x, text}: a vertical line), shade ({from, to}), diagonal, width
// and height.
function lineChart(title, series, options = {}) {
  const { width = 360, height = 230, isLog = false } = options;
  const top = options.yLabel ? 24 : 10;
  const frame = { left: 46, right: width - 10, top, bottom: height - 34 };
  const xRange = options.x ?? extent(series.flatMap((s) => s.x), false);
  const yRange = options.y ?? extent(series.flatMap((s) => s.y), isLog);
  const x = axis(...xRange, frame.left, frame.right);
  const y = axis(...yRange, frame.bottom, frame.top, isLog);
  const root = svgElement("svg", {
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": `${title}: ${series.map(summary).join("; ")}`,
  });
  if (options.shade) root.append(shaded(options.shade, x, frame));
  root.append(...grid(x, y, frame, options));
  if (options.diagonal) root.append(segment("diagonal", x(0), y(0), x(1), y(1)));
  if (options.mark) {
    const at = x(options.mark.x);
    root.append(
      segment("mark", at, frame.top, at, frame.bottom),
      svgElement("title", {}, options.mark.text),
    );
  }
  series.forEach((curve, i) => root.append(...line(curve, i, x, y)));
  const entries = series.map(({ name, label }, i) =>
    element("li", { class: `series-${i % PALETTE}` }, label ?? words(name)),
  );
  const chart = element(
    "figure",
    { class: "chart" },
    element("figcaption", {}, title),
    root,
    series.length > 1 || series[0].label ? element("ul", {}, entries) : "",
  );
  chart.position = (a, b) => [x(a), y(b)];
  return chart;
}

function summary({ name, x, y }) {
  return `${words(name)} from ${rounded(y[0])} at ${rounded(x[0])} to ${rounded(
    y.at(-1),
  )} at ${rounded(x.at(-1))}`;
}

function segment(kind, x1, y1, x2, y2) {
  return svgElement("line", { class: kind, x1, y1, x2, y2 });
}

function shaded({ from, to }, x, frame) {
  return svgElement("rect", {
    class: "shade",
    x: x(from),
    width: x(to) - x(from),
    y: frame.top,
    height: frame.bottom - frame.top,
  });
}

function grid(x, y, frame, { xLabel = "", yLabel = "" }) {
  const rows = y.ticks.flatMap((value) => [
    segment("grid", frame.left, y(value), frame.right, y(value)),
    text(rounded(value), frame.left - 6, y(value) + 4, "end"),
  ]);
  const columns = x.ticks.map((value) =>
    text(rounded(value), x(value), frame.bottom + 15, "middle"),
  );
  const middle = (frame.left + frame.right) / 2;
  return [
    ...rows,
    ...columns,
    segment("axis", frame.left, frame.bottom, frame.right, frame.bottom),
    text(xLabel, middle, frame.bottom + 30, "middle"),
    text(yLabel, frame.left - 6, frame.top - 12, "start"),
  ];
}

function text(content, x, y, anchor) {
  return svgElement("text", { x, y, "text-anchor": anchor }, content);
}

function line({ x: xs, y: ys }, i, x, y) {
  const colour = `series-${i % PALETTE}`;
  const points = xs.map((value, j) => `${x(value).toFixed(1)},${y(ys[j]).toFixed(1)}`);
  if (xs.length === 1) {
    return [svgElement("circle", { class: colour, cx: x(xs[0]), cy: y(ys[0]), r: 3 })];
  }
  return [svgElement("polyline", { class: colour, points: points.join(" ") })];
}
