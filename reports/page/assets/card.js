// The card of one architecture: what it is, what was measured, how it is wired, how it learnt, how to get it.
depthweave.card = (data) => {
  "use strict";
  const { element, svg, scale, ticks, number, symmetricLog } = depthweave;
  const points = data.points;
  const WIDTH = 360;

  function heading(place) {
    const tags = [];
    if (points.reference[place]) tags.push("reference");
    if (points.member[place]) tags.push("on the front");
    if (points.twin[place]) tags.push(`within tolerance of ${points.twin[place]}`);
    return element("div", {},
      element("h3", { tabindex: -1 },
        svg("svg", { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
          svg("path", { d: data.symbols[JSON.stringify(points.period[place])], fill: points.colour[place] })),
        element("span", {}, points.full[place])),
      element("p", { class: "quiet small" }, element("code", {}, points.id[place]),
        tags.length ? ` · ${tags.join(" · ")}` : "", ` · trial ${points.trial[place]}`));
  }

  const interval = (told) => (told ? element("div", { class: "quiet" }, told) : "");

  function metrics(place) {
    const rows = data.columns.filter((column) => points.texts[column.name][place]).map((column) =>
      element("tr", {}, element("th", { scope: "row" }, column.short),
        element("td", { class: "n" }, points.texts[column.name][place], interval(points.interval[column.name]?.[place]))));
    for (const [title, lines] of [["test perplexity", points.test[place]], ["loss against plain", points.against[place]]]) {
      if (lines.length) {
        rows.push(element("tr", {}, element("th", { scope: "row" }, title),
          element("td", { class: "n" }, ...lines.map((told, at) => (at ? interval(told) : told)))));
      }
    }
    const told = points.seeds[place] > 1 ? `Losses are means of ${points.seeds[place]} fresh seeds${points.chosen[place] ? `; the search's own, not counted, had perplexity ${points.chosen[place]}` : ""}.` : "Losses are of one seed.";
    return element("table", { class: "metrics" },
      element("caption", { class: "quiet" }, `${told} Small: 95 % intervals.`), element("tbody", {}, ...rows));
  }

  function drawing(title, picture, caption) {
    return element("figure", { class: "small-figure" }, element("h4", {}, title), picture,
      element("figcaption", {}, caption));
  }

  const kind = (site, source) => (source === site ? "own" : source === 0 ? "embedding" : "earlier");

  // Blocks in a row; an arc leads from every state that a site reads to the site, a dot behind its block.
  function wiring(place) {
    const sites = points.fusion[place] === "none" ? [] : data.wirings[points.wiring[place]];
    const depth = points.depth[place], weights = data.weights[points.trial[place]];
    const pitch = (WIDTH - 16) / (depth + 1), size = Math.min(15, pitch * 0.62);
    const x = (block) => 8 + pitch * (block + 0.38), siteX = (block) => x(block) + pitch * 0.5;
    const reach = Math.max(1, ...sites.map(([block, sources]) => block - sources[0]));
    const rise = Math.min(118, 26 + reach * pitch * 0.34), base = sites.length ? rise + 10 : 12;
    const largest = Math.max(0.01, ...(weights ?? []).map((value) => Math.abs(value ?? 0)));
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${base + 34}`, role: "img", class: "wiring",
      "aria-label": `wiring of ${points.full[place]}` });
    picture.append(svg("line", { x1: x(0), x2: WIDTH - 8, y1: base, y2: base, class: "residual" }));
    let pair = 0, connections = 0;
    for (const [block, sources] of sites) {
      for (const source of sources) {
        const weight = weights?.[pair++];
        connections += 1;
        const strength = weights ? symmetricLog(Math.abs(weight ?? 0)) / symmetricLog(largest) : 0.5;
        const width = siteX(block) - x(source), height = Math.max(7, rise * (width / pitch) / (reach + 0.5));
        picture.append(svg("path", {
          d: `M${x(source)} ${base - size / 2}C${x(source) + width * 0.1} ${base - height * 1.3} ${siteX(block) - width * 0.1} ${base - height * 1.3} ${siteX(block)} ${base - 3}`,
          class: `arc ${kind(block, source)}`, "stroke-width": (0.5 + 1.7 * strength).toFixed(2),
          "stroke-dasharray": weight < 0 ? "3 2" : null, opacity: (0.3 + 0.6 * strength).toFixed(2),
        }, svg("title", {}, `after block ${block}, reads ${source || "the embedding"}${weights ? `: ${number(weight ?? 0)}` : ""}`)));
      }
    }
    const every = Math.ceil((depth + 1) / 16);
    for (let block = 0; block <= depth; block++) {
      picture.append(svg("rect", { x: x(block) - size / 2, y: base - size / 2, width: size, height: size, rx: 2.5,
        class: block ? "block" : "block embedding" }));
      if (block % every === 0) {
        picture.append(svg("text", { x: x(block), y: base + 22, "text-anchor": "middle" }, block ? String(block) : "E"));
      }
    }
    for (const [block] of sites) picture.append(svg("circle", { cx: siteX(block), cy: base, r: 3, class: "site" }));
    const told = sites.length
      ? `${sites.length} sites (dots), ${connections} connections (arcs), from the embedding E and blocks 1 to ${depth}.${weights ? " Thicker is a larger weight, broken a negative one." : ""}`
      : "Plain: every block reads the one before it.";
    return drawing("Wiring", picture, told);
  }

  const trainings = (place) => data.curves.of[points.id[place]] ?? [];

  function plainOf(place) {
    if (points.fusion[place] === "none") return -1;
    return points.trial.findIndex((_, other) => points.fusion[other] === "none" && points.state[other] === "complete"
      && points.depth[other] === points.depth[place] && points.budget[other] === points.budget[place]);
  }

  function curve(place) {
    const own = trainings(place), plain = plainOf(place);
    const lines = [...(plain < 0 ? [] : trainings(plain).map((line) => ["plain", line])), ...own.map((line) => ["own", line])];
    if (!own.length) return null;
    const tokensOf = (line) => data.curves.tokens[line[2]];
    const later = lines.flatMap(([, line]) => (line[3].length > 2 ? line[3].slice(1) : line[3]));
    const pad = (Math.max(...later) - Math.min(...later)) * 0.08 || 0.05;
    const low = Math.min(...later) - pad, high = Math.max(...later) + pad;
    const last = Math.max(...lines.flatMap(([, line]) => tokensOf(line)));
    const height = 150, left = 40, bottom = height - 30;
    const x = scale({ low: 0, high: last, from: left, to: WIDTH - 10 }), y = scale({ low, high, from: bottom, to: 8 });
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": "learning curve" });
    for (const tick of ticks({ low, high, count: 4 })) {
      picture.append(svg("line", { x1: left, x2: WIDTH - 10, y1: y(tick), y2: y(tick), class: "grid" }),
        svg("text", { x: left - 5, y: y(tick) + 4, "text-anchor": "end" }, number(tick)));
    }
    for (const tick of ticks({ low: 0, high: last, count: 4 })) {
      picture.append(svg("text", { x: x(tick), y: bottom + 14, "text-anchor": "middle" }, short(tick)));
    }
    picture.append(svg("text", { x: (left + WIDTH) / 2, y: height - 3, "text-anchor": "middle", class: "axis" }, "tokens"));
    for (const [whose, line] of lines) {
      const spots = line[3].map((loss, at) => [x(tokensOf(line)[at]), y(Math.min(loss, high))]);
      picture.append(svg("path", { d: `M${spots.map((spot) => spot.map((value) => value.toFixed(1)).join(" ")).join("L")}`,
        class: `curve ${whose}`, style: whose === "own" ? `stroke:${points.colour[place]}` : null }));
      if (line[1] !== "complete") {
        const [cx, cy] = spots.at(-1);
        picture.append(svg("path", { d: `M${cx - 4} ${cy - 4}l8 8m0 -8l-8 8`, class: "curve own", style: `stroke:${points.colour[place]}` }));
      }
    }
    const seeds = own.map((line) => line[0]).join(", ");
    return drawing("Learning curve", picture, `Validation loss, nat/token, ${own.length > 1 ? "seeds" : "seed"} ${seeds}.${plain < 0 ? "" : " Grey: plain, of the same depth and budget."} ${points.ended[place][0].toUpperCase()}${points.ended[place].slice(1)}.`);
  }

  const short = (tokens) => (tokens >= 1e9 ? `${tokens / 1e9} G` : tokens >= 1e6 ? `${tokens / 1e6} M` : tokens >= 1e3 ? `${tokens / 1e3} k` : String(tokens));

  function heat(place) {
    const weights = data.weights[points.trial[place]];
    if (points.fusion[place] === "none") return null;
    if (!weights) {
      return element("p", { class: "quiet small" }, "Its connection weights are not on this page but in the run's weights/ folder, where its training got so far.");
    }
    const depth = points.depth[place], cell = Math.min(22, (WIDTH - 46) / (depth + 1));
    const limit = symmetricLog(Math.max(0.01, ...weights.map((value) => Math.abs(value ?? 0))));
    const sites = data.wirings[points.wiring[place]], rows = sites.length;
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${rows * cell + 34}`, role: "img", "aria-label": "connection weights" });
    let pair = 0;
    sites.forEach(([block, sources], row) => {
      if (rows <= 16 || row % Math.ceil(rows / 16) === 0) {
        picture.append(svg("text", { x: 34, y: (row + 0.5) * cell + 4, "text-anchor": "end" }, String(block)));
      }
      for (const source of sources) {
        const value = weights[pair++];
        if (value === null || value === undefined) continue;
        const share = Math.min(100, (100 * symmetricLog(Math.abs(value))) / limit);
        const box = svg("rect", { x: 40 + source * cell, y: row * cell, width: cell - 1, height: cell - 1 },
          svg("title", {}, `after block ${block}, reads ${source || "the embedding"}: ${number(value)}`));
        box.style.fill = `color-mix(in oklab, var(${value < 0 ? "--negative" : "--positive"}) ${share.toFixed(0)}%, var(--middle))`;
        picture.append(box);
      }
    });
    const every = Math.ceil((depth + 1) / 14);
    for (let block = 0; block <= depth; block += every) {
      picture.append(svg("text", { x: 40 + (block + 0.5) * cell, y: rows * cell + 14, "text-anchor": "middle" }, block ? String(block) : "E"));
    }
    picture.append(svg("text", { x: 40 + ((depth + 1) * cell) / 2, y: rows * cell + 29, "text-anchor": "middle", class: "axis" }, "reads"));
    return drawing("Connection weights", picture, "A row is a site. Blue adds, orange subtracts, on a symmetric-logarithmic scale; the value is in the tip. Dynamic weights are means over validation tokens.");
  }

  function command(place) {
    const told = points.command[place];
    if (!told) return element("p", { class: "quiet small" }, "A training that was stopped early has no weights to export.");
    return element("div", { class: "get" }, element("h4", {}, "Get it"),
      element("div", { class: "command" }, element("code", {}, told),
        element("button", { type: "button", class: "copy", "aria-label": `Copy the command that exports ${points.id[place]}` }, "copy")));
  }

  return function show(place) {
    const card = document.getElementById("card");
    card.replaceChildren(heading(place), element("p", { class: "sure" }, points.sure[place]), command(place),
      metrics(place), element("p", { class: "quiet small" }, points.shape[place]));
    card.dataset.trial = points.trial[place];
    document.getElementById("card-figures").replaceChildren(...[wiring(place), curve(place), heat(place)].filter(Boolean));
    card.hidden = false;
  };
};
