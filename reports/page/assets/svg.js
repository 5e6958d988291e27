// Elements, scales and ticks that every drawing of the page shares. Text from outside becomes text nodes, never markup.
const depthweave = (() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg";

  function filled(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }
  const element = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

  // Values to pixels; a logarithmic scale needs positive values.
  function scale({ low, high, from, to, log }) {
    const bend = log ? Math.log : (value) => value;
    const begin = bend(low), span = bend(high) - begin || 1;
    return (value) => from + ((bend(value) - begin) / span) * (to - from);
  }

  function padded({ low, high, log, share = 0.06 }) {
    if (log) {
      const factor = Math.exp((Math.log(high / low) || 0.1) * share);
      return [low / factor, high * factor];
    }
    const pad = (high - low) * share || Math.abs(high) * 0.05 || 0.5;
    return [low - pad, high + pad];
  }

  // Round values inside a range, about `count` of them.
  function ticks({ low, high, log, count = 6 }) {
    if (log && high / low > 8) {
      const found = [];
      for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++) {
        for (const digit of high / low > 300 ? [1] : [1, 2, 5]) found.push(digit * 10 ** power);
      }
      return found.filter((value) => value >= low && value <= high);
    }
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    const found = [];
    for (let place = Math.ceil(low / step); place * step <= high; place++) found.push(place * step);
    return found;
  }

  // At most five digits and no tail of noughts.
  function number(value) {
    if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)) return value.toExponential(1).replace("e+", "e");
    return String(Number(value.toPrecision(5)));
  }

  // sign(a) log(1 + |a| / 0.01), as in the weights' own figures.
  const symmetricLog = (value) => Math.sign(value) * Math.log1p(Math.abs(value) / 0.01);

  return { element, svg, scale, padded, ticks, number, symmetricLog };
})();
