// The card of one architecture: what it is, its measured values, its wiring, learning curves, export command.
depthweave.card = (data) => {
  "use strict";
  const { element, svg, scale, ticks, number } = depthweave;
  const wiringFigure = depthweave.wiring(data);
  const narrow = matchMedia("(max-width: 640px)");
  const points = data.points;
  const WIDTH = 360;

  function heading(point) {
    const tags = [];
    if (points.reference[point]) tags.push("reference");
    if (points.member[point]) tags.push("on the front");
    if (points.taken_over[point]) tags.push(points.taken_over[point]);
    if (points.twin[point]) tags.push(`ahead of ${points.twin[point]} by no more than the tolerance`);
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
    if (points.test[point].length) rows.push(metricRow(data.quality.test, points.test[point]));
    if (points.difference[point].length) rows.push(metricRow(data.quality.difference, points.difference[point]));
    return element("table", { class: "metrics" },
      element("caption", { class: "quiet" }, `${seedsSentence(point)} Small type: 95 % intervals.`),
      element("tbody", {}, ...rows));
  }

  function metricRow(title, [value, interval]) {
    return element("tr", {}, element("th", { scope: "row" }, title), element("td", { class: "n" }, value, faintLine(interval)));
  }

  function seedsSentence(point) {
    const own = points.search_quality[point];
    const gave = `The search's own seed gave ${data.quality.word} ${own}`;
    if (points.estimated[point]) return `Losses marked ~ are estimates for the fresh seeds, which it lacks. ${gave}.`;
    if (points.seeds[point] < 2) return "Losses are of one seed.";
    const means = `Losses are means of ${points.seeds[point]} fresh seeds.`;
    return own ? `${means} ${gave} and is not in the mean.` : means;
  }

  function figure(title, picture, caption) {
    return element("figure", { class: "small-figure" }, element("h4", {}, title), picture,
      element("figcaption", {}, caption));
  }

  // A training is [seed, state, index of its token counts, losses].
  const trainingsOf = (point) => data.curves.by_id[points.id[point]] ?? [];

  // The plain architecture of the same depth and budget, or -1.
  function plainOf(point) {
    if (data.plain.includes(points.fusion[point])) return -1;
    return points.trial.findIndex((_, other) => data.plain.includes(points.fusion[other]) && points.state[other] === "complete"
      && points.depth[other] === points.depth[point] && points.budget[other] === points.budget[point]);
  }

  function learningCurve(point) {
    const own = trainingsOf(point), plain = plainOf(point);
    if (!own.length) return null;
    const plainTrainings = plain < 0 ? [] : trainingsOf(plain);
    const lines = [...plainTrainings.map((line) => ["plain", line]), ...own.map((line) => ["own", line])];
    const tokensOf = (line) => data.curves.tokens[line[2]];
    // The steep fall at the beginning would flatten the rest. The errors of heads need not fall.
    const falls = (losses) => losses.length > 2 && losses[0] === Math.max(...losses);
    const later = lines.flatMap(([, line]) => (falls(line[3]) ? line[3].slice(1) : line[3]));
    const pad = (Math.max(...later) - Math.min(...later)) * 0.08 || 0.05;
    const low = Math.min(...later) - pad, high = Math.max(...later) + pad;
    const last = Math.max(...lines.flatMap(([, line]) => tokensOf(line)));
    const height = 158, left = 40, bottom = height - 38;
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
    return figure("Learning curve", picture, `${data.quality.curve}, ${seeds}.${grey} ${outcome[0].toUpperCase()}${outcome.slice(1)}.`);
  }

  function drawCurveAxes(picture, { low, high, last, x, y, left, bottom, height }) {
    for (const tick of ticks({ low, high, count: 4 })) {
      picture.append(svg("line", { x1: left, x2: WIDTH - 10, y1: y(tick), y2: y(tick), class: "grid" }),
        svg("text", { x: left - 5, y: y(tick) + 4, "text-anchor": "end" }, number(tick)));
    }
    for (const tick of ticks({ low: 0, high: last, count: 4 })) {
      // The last number ends at the edge of the picture.
      const anchor = tick === last ? "end" : "middle";
      picture.append(svg("text", { x: x(tick) + (tick === last ? 10 : 0), y: bottom + 14, "text-anchor": anchor }, countText(tick)));
    }
    picture.append(svg("text", { x: (left + WIDTH) / 2, y: height - 3, "text-anchor": "middle", class: "axis" }, "tokens"));
  }

  function countText(count) {
    for (const [factor, prefix] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (count >= factor) return `${count / factor} ${prefix}`;
    return String(count);
  }

  function exportCommand(point) {
    const command = points.command[point];
    if (!command) return element("p", { class: "quiet small" }, "A training that was stopped early has no weights to export.");
    return element("div", { class: "get" }, element("h4", {}, "Export this model"),
      element("div", { class: "command" }, element("code", {}, command),
        element("button", { type: "button", class: "copy", "aria-label": `Copy the command that exports ${points.id[point]}` }, "copy")));
  }

  let shown = -1;
  function showFigures() {
    const figures = [wiringFigure(shown, narrow.matches), learningCurve(shown)];
    document.getElementById("card-figures").replaceChildren(...figures.filter(Boolean));
  }
  narrow.addEventListener("change", () => { if (shown >= 0) showFigures(); });

  return function showCard(point) {
    shown = point;
    const card = document.getElementById("card");
    card.replaceChildren(heading(point), element("p", { class: "certainty" }, points.certainty[point]), exportCommand(point),
      metrics(point), element("p", { class: "quiet small" }, points.shape[point]));
    card.dataset.trial = points.trial[point];
    showFigures();
    card.hidden = false;
  };
};
