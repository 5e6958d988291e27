// Elements, scales and ticks for the page's own SVG drawings. Text from the data becomes text nodes, never markup.
const depthweave = (() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";

  function withContent(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }
  const element = (tag, attributes, ...children) => withContent(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => withContent(document.createElementNS(SVG, tag), attributes, children);

  // Returns a function from values to pixels. A logarithmic scale needs positive values.
  function scale({ low, high, from, to, log }) {
    const transform = log ? Math.log : (value) => value;
    const start = transform(low), span = transform(high) - start || 1;
    return (value) => from + ((transform(value) - start) / span) * (to - from);
  }

  // The range with a margin on both sides, so that no point is on an axis.
  function padded({ low, high, log, share = 0.06 }) {
    if (log) {
      const factor = Math.exp((Math.log(high / low) || 0.1) * share);
      return [low / factor, high * factor];
    }
    const pad = (high - low) * share || Math.abs(high) * 0.05 || 0.5;
    return [low - pad, high + pad];
  }

  // About `count` round values inside a range.
  function ticks({ low, high, log, count = 6 }) {
    if (log && high / low > 8) {
      const values = [];
      for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
        for (const digit of high / low > 300 ? [1] : [1, 2, 5]) values.push(digit * 10 ** power);
      }
      return values.filter((value) => value >= low && value <= high);
    }
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    const values = [];
    for (let multiple = Math.ceil(low / step); multiple * step <= high; multiple++) values.push(multiple * step);
    return values;
  }

  // At most five significant digits, without trailing zeros.
  function number(value) {
    if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)) return value.toExponential(1).replace("e+", "e");
    return String(Number(value.toPrecision(5)));
  }

  // sign(a) log(1 + |a| / 0.01), the same as in figures/weights.py.
  const symmetricLog = (value) => Math.sign(value) * Math.log1p(Math.abs(value) / 0.01);

  return { element, svg, scale, padded, ticks, number, symmetricLog };
})();
