// The card of one architecture: what it is, its measured values, its wiring, learning curves, weights, export command.
depthweave.card = (data) => {
  "use strict";
  const { element, svg, scale, ticks, number, symmetricLog } = depthweave;
  const points = data.points;
  const WIDTH = 360;

  function heading(point) {
    const tags = [];
    if (points.reference[point]) tags.push("reference");
    if (points.member[point]) tags.push("on the front");
    if (points.twin[point]) tags.push(`within tolerance of ${points.twin[point]}`);
    return element("div", {},
      element("h3", { tabindex: -1 },
        svg("svg", { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
          svg("path", { d: data.symbols[JSON.stringify(points.period[point])], fill: points.colour[point] })),
        element("span", {}, points.full_name[point])),
      element("p", { class: "quiet small" }, element("code", {}, points.id[point]),
        tags.length ? ` · ${tags.join(" · ")}` : "", ` · trial ${points.trial[point]}`));
  }

  const faintLine = (text) => (text ? element("div", { class: "quiet" }, text) : "");

  function metrics(point) {
    const rows = data.columns.filter((column) => points.texts[column.name][point]).map((column) =>
      metricRow(column.short, [points.texts[column.name][point], points.interval[column.name]?.[point]]));
    if (points.test[point].length) rows.push(metricRow("test perplexity", points.test[point]));
    if (points.difference[point].length) rows.push(metricRow("loss against plain", points.difference[point]));
    return element("table", { class: "metrics" },
      element("caption", { class: "quiet" }, `${seedsSentence(point)} Small type: 95 % intervals.`),
      element("tbody", {}, ...rows));
  }

  function metricRow(title, [value, interval]) {
    return element("tr", {}, element("th", { scope: "row" }, title), element("td", { class: "n" }, value, faintLine(interval)));
  }

  function seedsSentence(point) {
    if (points.seeds[point] < 2) return "Losses are of one seed.";
    const means = `Losses are means of ${points.seeds[point]} fresh seeds.`;
    const own = points.search_perplexity[point];
    return own ? `${means} The search's own seed gave perplexity ${own} and is not in the mean.` : means;
  }

  function figure(title, picture, caption) {
    return element("figure", { class: "small-figure" }, element("h4", {}, title), picture,
      element("figcaption", {}, caption));
  }

  const kindOf = (site, source) => (source === site ? "own" : source === 0 ? "embedding" : "earlier");
  const nameOf = (source) => source || "the embedding";

  // The blocks in a row. An arc leads from each state that a site reads to the site, which is a dot after its block.
  function wiring(point) {
    const sites = points.fusion[point] === "none" ? [] : data.wirings[points.wiring[point]];
    const depth = points.depth[point], weights = data.weights[points.trial[point]];
    const pitch = (WIDTH - 16) / (depth + 1), size = Math.min(15, pitch * 0.62);
    const x = (block) => 8 + pitch * (block + 0.38), siteX = (block) => x(block) + pitch * 0.5;
    const reach = Math.max(1, ...sites.map(([block, sources]) => block - sources[0]));
    const rise = Math.min(118, 26 + reach * pitch * 0.34), base = sites.length ? rise + 10 : 12;
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${base + 34}`, role: "img", class: "wiring",
      "aria-label": `wiring of ${points.full_name[point]}` });
    picture.append(svg("line", { x1: x(0), x2: WIDTH - 8, y1: base, y2: base, class: "residual" }));
    const arcHeight = (span) => Math.max(7, rise * (span / pitch) / (reach + 0.5));
    const numArcs = drawArcs(picture, sites, { weights, x, siteX, arcHeight, base, size });
    drawBlocks(picture, { depth, x, base, size });
    for (const [block] of sites) picture.append(svg("circle", { cx: siteX(block), cy: base, r: 3, class: "site" }));
    const caption = sites.length
      ? `${sites.length} sites (dots) with ${numArcs} connections (arcs) from the embedding E and blocks 1 to ${depth}.${weights ? " A thicker arc is a larger weight, a dashed one a negative weight." : ""}`
      : "Plain: every block reads the one before it.";
    return figure("Wiring", picture, caption);
  }

  // Returns the number of arcs. `weights` has one value for each, in the same order.
  function drawArcs(picture, sites, { weights, x, siteX, arcHeight, base, size }) {
    const largest = Math.max(0.01, ...(weights ?? []).map((value) => Math.abs(value ?? 0)));
    let arc = 0;
    for (const [block, sources] of sites) {
      for (const source of sources) {
        const weight = weights?.[arc++];
        const strength = weights ? symmetricLog(Math.abs(weight ?? 0)) / symmetricLog(largest) : 0.5;
        const span = siteX(block) - x(source), top = base - arcHeight(span) * 1.3;
        picture.append(svg("path", {
          d: `M${x(source)} ${base - size / 2}C${x(source) + span * 0.1} ${top} ${siteX(block) - span * 0.1} ${top} ${siteX(block)} ${base - 3}`,
          class: `arc ${kindOf(block, source)}`, "stroke-width": (0.5 + 1.7 * strength).toFixed(2),
          "stroke-dasharray": weight < 0 ? "3 2" : null, opacity: (0.3 + 0.6 * strength).toFixed(2),
        }, svg("title", {}, `after block ${block}, reads ${nameOf(source)}${weights ? `: ${number(weight ?? 0)}` : ""}`)));
      }
    }
    return sites.reduce((sum, [, sources]) => sum + sources.length, 0);
  }

  function drawBlocks(picture, { depth, x, base, size }) {
    const labelStep = Math.ceil((depth + 1) / 16);
    for (let block = 0; block <= depth; block++) {
      picture.append(svg("rect", { x: x(block) - size / 2, y: base - size / 2, width: size, height: size, rx: 2.5,
        class: block ? "block" : "block embedding" }));
      if (block % labelStep === 0) {
        picture.append(svg("text", { x: x(block), y: base + 22, "text-anchor": "middle" }, block ? String(block) : "E"));
      }
    }
  }

  // A training is [seed, state, index of its token counts, losses].
  const trainingsOf = (point) => data.curves.by_id[points.id[point]] ?? [];

  // The plain architecture of the same depth and budget, or -1.
  function plainOf(point) {
    if (points.fusion[point] === "none") return -1;
    return points.trial.findIndex((_, other) => points.fusion[other] === "none" && points.state[other] === "complete"
      && points.depth[other] === points.depth[point] && points.budget[other] === points.budget[point]);
  }

  function learningCurve(point) {
    const own = trainingsOf(point), plain = plainOf(point);
    if (!own.length) return null;
    const plainTrainings = plain < 0 ? [] : trainingsOf(plain);
    const lines = [...plainTrainings.map((line) => ["plain", line]), ...own.map((line) => ["own", line])];
    const tokensOf = (line) => data.curves.tokens[line[2]];
    // The steep fall at the beginning would flatten the rest.
    const later = lines.flatMap(([, line]) => (line[3].length > 2 ? line[3].slice(1) : line[3]));
    const pad = (Math.max(...later) - Math.min(...later)) * 0.08 || 0.05;
    const low = Math.min(...later) - pad, high = Math.max(...later) + pad;
    const last = Math.max(...lines.flatMap(([, line]) => tokensOf(line)));
    const height = 150, left = 40, bottom = height - 30;
    const x = scale({ low: 0, high: last, from: left, to: WIDTH - 10 }), y = scale({ low, high, from: bottom, to: 8 });
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": "learning curve" });
    drawCurveAxes(picture, { low, high, last, x, y, left, bottom, height });
    for (const [name, line] of lines) {
      const spots = line[3].map((loss, index) => [x(tokensOf(line)[index]), y(Math.min(loss, high))]);
      const style = name === "own" ? `stroke:${points.colour[point]}` : null;
      picture.append(svg("path", { d: `M${spots.map((spot) => spot.map((value) => value.toFixed(1)).join(" ")).join("L")}`,
        class: `curve ${name}`, style }));
      if (line[1] !== "complete") {
        const [cx, cy] = spots.at(-1);
        picture.append(svg("path", { d: `M${cx - 4} ${cy - 4}l8 8m0 -8l-8 8`, class: "curve own", style: `stroke:${points.colour[point]}` }));
      }
    }
    const seeds = `${own.length > 1 ? "seeds" : "seed"} ${own.map((line) => line[0]).join(", ")}`;
    const grey = plain < 0 ? "" : " Grey: the plain architecture of the same depth and budget.";
    const outcome = points.outcome[point];
    return figure("Learning curve", picture, `Validation loss in nat/token, ${seeds}.${grey} ${outcome[0].toUpperCase()}${outcome.slice(1)}.`);
  }

  function drawCurveAxes(picture, { low, high, last, x, y, left, bottom, height }) {
    for (const tick of ticks({ low, high, count: 4 })) {
      picture.append(svg("line", { x1: left, x2: WIDTH - 10, y1: y(tick), y2: y(tick), class: "grid" }),
        svg("text", { x: left - 5, y: y(tick) + 4, "text-anchor": "end" }, number(tick)));
    }
    for (const tick of ticks({ low: 0, high: last, count: 4 })) {
      picture.append(svg("text", { x: x(tick), y: bottom + 14, "text-anchor": "middle" }, countText(tick)));
    }
    picture.append(svg("text", { x: (left + WIDTH) / 2, y: height - 3, "text-anchor": "middle", class: "axis" }, "tokens"));
  }

  function countText(count) {
    for (const [factor, prefix] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (count >= factor) return `${count / factor} ${prefix}`;
    return String(count);
  }

  function weightMap(point) {
    const weights = data.weights[points.trial[point]];
    if (points.fusion[point] === "none") return null;
    if (!weights) {
      return element("p", { class: "quiet small" }, "The page has no room for this architecture's connection weights. If its training recorded any, they are in the run's weights/ folder.");
    }
    const depth = points.depth[point], cell = Math.min(22, (WIDTH - 46) / (depth + 1));
    const limit = symmetricLog(Math.max(0.01, ...weights.map((value) => Math.abs(value ?? 0))));
    const sites = data.wirings[points.wiring[point]], numRows = sites.length;
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${numRows * cell + 34}`, role: "img", "aria-label": "connection weights" });
    let index = 0;
    sites.forEach(([block, sources], row) => {
      if (numRows <= 16 || row % Math.ceil(numRows / 16) === 0) {
        picture.append(svg("text", { x: 34, y: (row + 0.5) * cell + 4, "text-anchor": "end" }, String(block)));
      }
      for (const source of sources) {
        const value = weights[index++];
        if (value === null || value === undefined) continue;
        const percent = Math.min(100, (100 * symmetricLog(Math.abs(value))) / limit);
        const box = svg("rect", { x: 40 + source * cell, y: row * cell, width: cell - 1, height: cell - 1 },
          svg("title", {}, `after block ${block}, reads ${nameOf(source)}: ${number(value)}`));
        box.style.fill = `color-mix(in oklab, var(${value < 0 ? "--negative" : "--positive"}) ${percent.toFixed(0)}%, var(--middle))`;
        picture.append(box);
      }
    });
    const labelStep = Math.ceil((depth + 1) / 14);
    for (let block = 0; block <= depth; block += labelStep) {
      picture.append(svg("text", { x: 40 + (block + 0.5) * cell, y: numRows * cell + 14, "text-anchor": "middle" }, block ? String(block) : "E"));
    }
    picture.append(svg("text", { x: 40 + ((depth + 1) * cell) / 2, y: numRows * cell + 29, "text-anchor": "middle", class: "axis" }, "reads"));
    return figure("Connection weights", picture, "Each row is a site. Blue weights are positive, orange ones negative, on a symmetric-logarithmic scale. Hover over a cell for its value. Dynamic weights are means over validation tokens.");
  }

  function exportCommand(point) {
    const command = points.command[point];
    if (!command) return element("p", { class: "quiet small" }, "A training that was stopped early has no weights to export.");
    return element("div", { class: "get" }, element("h4", {}, "Export this model"),
      element("div", { class: "command" }, element("code", {}, command),
        element("button", { type: "button", class: "copy", "aria-label": `Copy the command that exports ${points.id[point]}` }, "copy")));
  }

  return function showCard(point) {
    const card = document.getElementById("card");
    card.replaceChildren(heading(point), element("p", { class: "certainty" }, points.certainty[point]), exportCommand(point),
      metrics(point), element("p", { class: "quiet small" }, points.shape[point]));
    card.dataset.trial = points.trial[point];
    const figures = [wiring(point), learningCurve(point), weightMap(point)];
    document.getElementById("card-figures").replaceChildren(...figures.filter(Boolean));
    card.hidden = false;
  };
};
