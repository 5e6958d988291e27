// The wiring of one architecture: an arc diagram and the connection matrix. Both name what the reader points at.
depthweave.wiring = (data) => {
  "use strict";
  const { element, svg, number, symmetricLog } = depthweave;
  const points = data.points;
  const NARROW_PX = 360, WIDE_PX = 760, MAX_DEPTH_BESIDE = 16, MAX_EASY_ARCS = 200, MAX_WORDS = 300;
  const BAR_PARTS = 24;

  // What an architecture's sites read: `connections` leave out each site's own block, `cells` are all of them.
  function wiringOf(point) {
    const sites = points.fusion[point] === "none" ? [] : data.wirings[points.wiring[point]];
    const weights = data.weights[points.trial[point]];
    let index = 0;
    const cells = sites.flatMap(([site, sources]) => sources.map((source) => {
      const weight = weights?.[index++] ?? null;
      return { site, source, weight };
    }));
    cells.forEach((cell, place) => { cell.place = place; });
    const largest = Math.max(0.01, ...cells.map((cell) => Math.abs(cell.weight ?? 0)));
    return { name: points.full_name[point], depth: points.depth[point], sites, cells, largest, hasWeights: Boolean(weights),
      connections: cells.filter((cell) => cell.source !== cell.site) };
  }

  const listed = (parts) => (parts.length > 1 ? `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}` : parts.join(""));

  // "the embedding and blocks 1 to 4 and 7"
  function statesText(states) {
    const blocks = states.filter((state) => state > 0), ranges = [];
    for (let start = 0, end; start < blocks.length; start = end + 1) {
      for (end = start; blocks[end + 1] === blocks[end] + 1;) end++;
      if (end - start < 2) end = start;
      ranges.push(end > start ? `${blocks[start]} to ${blocks[end]}` : String(blocks[start]));
    }
    const parts = states.includes(0) ? ["the embedding"] : [];
    if (blocks.length) parts.push(`${blocks.length > 1 ? "blocks" : "block"} ${listed(ranges)}`);
    return listed(parts);
  }

  const weightText = (cell) => (cell.weight === null ? "" : `, weight ${number(cell.weight)}`);
  function connectionText(cell) {
    const source = cell.source === cell.site ? "its own block" : statesText([cell.source]);
    return `The site after block ${cell.site} reads ${source}${weightText(cell)}.`;
  }

  function siteText(wiring, block) {
    const reads = wiring.connections.filter((cell) => cell.site === block).map((cell) => cell.source);
    return reads.length ? `The site after block ${block} reads ${statesText(reads)}.` : `The site after block ${block} reads its own block only.`;
  }

  // What a block's site reads, and which later sites read the block.
  function blockText(wiring, block) {
    const readers = wiring.connections.filter((cell) => cell.source === block).map((cell) => cell.site);
    const name = block ? `Block ${block}` : "The embedding";
    const parts = wiring.sites.some(([site]) => site === block) ? [siteText(wiring, block)] : block ? [`No site follows block ${block}.`] : [];
    parts.push(readers.length ? `${name} is read after ${statesText(readers)}.` : `No later site reads ${block ? `block ${block}` : "the embedding"}.`);
    return parts.join(" ");
  }

  function share(wiring, cell) {
    return Math.min(1, symmetricLog(Math.abs(cell.weight ?? 0)) / symmetricLog(wiring.largest));
  }

  // Zero has the colour of an empty cell, or of a faint line.
  function weightColour(wiring, cell, zero) {
    if (!wiring.hasWeights) return "var(--quiet)";
    if (cell.weight === null) return zero;
    return `color-mix(in oklab, var(${cell.weight < 0 ? "--negative" : "--positive"}) ${(100 * share(wiring, cell)).toFixed(0)}%, ${zero})`;
  }

  // The states in a row. An arc leads from each state that a site reads to the site, which is a dot after its block.
  function arcDiagram(wiring, width) {
    const { depth, sites, connections } = wiring;
    const pitch = (width - 16) / (depth + 1), size = Math.min(15, pitch * 0.62);
    const x = (block) => 8 + pitch * (block + 0.38), siteX = (block) => x(block) + pitch * 0.5;
    const reach = Math.max(1, ...connections.map((cell) => cell.site - cell.source));
    const rise = connections.length ? Math.min(width * 0.32, 26 + reach * pitch * 0.34) : 0, base = rise + (sites.length ? 14 : 12);
    const picture = svg("svg", { viewBox: `0 0 ${width} ${(base + 30).toFixed(0)}`, role: "img", "aria-label": summary(wiring) });
    picture.append(svg("line", { x1: x(0), x2: width - 8, y1: base, y2: base, class: "residual" }));
    const isEasy = connections.length <= MAX_EASY_ARCS, isDense = connections.length > 400;
    const lines = svg("g", { class: isDense ? "dense" : null }), targets = svg("g", {});
    for (const cell of connections) {
      const from = x(cell.source), to = siteX(cell.site), span = to - from;
      const top = base - Math.max(9, rise * ((cell.site - cell.source) / reach)) * 1.3;
      const d = `M${from.toFixed(1)} ${(base - size / 2).toFixed(1)}C${(from + span * 0.1).toFixed(1)} ${top.toFixed(1)} ${(to - span * 0.1).toFixed(1)} ${top.toFixed(1)} ${to.toFixed(1)} ${(base - 2).toFixed(1)}`;
      const strength = wiring.hasWeights ? share(wiring, cell) : 0.4;
      lines.append(svg("path", { d, class: "arc", "data-connection": cell.place, "stroke-width": ((0.6 + 1.8 * strength) * (isDense ? 0.6 : 1)).toFixed(2),
        style: `stroke:${weightColour(wiring, cell, "var(--faint)")}` }, svg("title", {}, connectionText(cell))));
      // A thin line is hard to hit.
      if (isEasy) targets.append(svg("path", { d, class: "target", "data-connection": cell.place }, svg("title", {}, connectionText(cell))));
    }
    picture.append(lines, targets);
    drawStates(picture, wiring, { x, siteX, base, size, pitch });
    return picture;
  }

  function drawStates(picture, { depth, sites }, { x, siteX, base, size, pitch }) {
    const labelStep = Math.ceil(18 / pitch), hasSite = new Set(sites.map(([block]) => block));
    for (let block = 0; block <= depth; block++) {
      const group = svg("g", { "data-block": block });
      group.append(svg("rect", { x: x(block) - pitch * 0.38, y: base - size / 2, width: pitch, height: 32, class: "target" }),
        svg("rect", { x: x(block) - size / 2, y: base - size / 2, width: size, height: size, rx: Math.min(2.5, size / 4), class: block ? "block" : "block embedding" }));
      if (block % labelStep === 0) group.append(svg("text", { x: x(block), y: base + 23, "text-anchor": "middle" }, block ? String(block) : "E"));
      if (hasSite.has(block)) group.append(svg("circle", { cx: siteX(block), cy: base, r: Math.min(3, pitch * 0.2), class: "site" }));
      picture.append(group);
    }
  }

  // A row for each block after which a site may be, a column for each state. The own block is on the diagonal.
  function matrix(wiring) {
    const { depth, cells } = wiring;
    const left = 40, top = 4, cell = Math.min(34, (NARROW_PX - left - 6) / (depth + 1)), edge = cell > 8 ? 1 : 0.5;
    const bottom = top + depth * cell, labelStep = Math.ceil(15 / cell), columnStep = Math.ceil(18 / cell);
    const picture = svg("svg", { viewBox: `0 0 ${NARROW_PX} ${(bottom + (wiring.hasWeights ? 66 : 36)).toFixed(0)}`, role: "img", class: "matrix",
      "aria-label": `Matrix of the connections of ${wiring.name}: rows are sites, columns the states that they read.` });
    let outline = `M${left} ${top}`;
    for (let block = 1; block <= depth; block++) outline += `H${(left + (block + 1) * cell).toFixed(1)}v${cell.toFixed(2)}`;
    picture.append(svg("path", { d: `${outline}H${left}z`, class: "possible" }));
    for (let block = 1; block <= depth; block++) {
      if (block % labelStep === 0) picture.append(svg("text", { x: left - 6, y: top + (block - 0.5) * cell + 4, "text-anchor": "end", "data-block": block }, String(block)));
    }
    for (const it of cells) {
      const box = svg("rect", { x: (left + it.source * cell).toFixed(1), y: (top + (it.site - 1) * cell).toFixed(1), width: (cell - edge).toFixed(2),
        height: (cell - edge).toFixed(2), class: "cell", "data-connection": it.place }, svg("title", {}, connectionText(it)));
      box.style.fill = !wiring.hasWeights && it.source === it.site ? "var(--faint)" : weightColour(wiring, it, "var(--zero)");
      picture.append(box);
    }
    for (let block = 0; block <= depth; block += columnStep) {
      picture.append(svg("text", { x: left + (block + 0.5) * cell, y: bottom + 15, "text-anchor": "middle" }, block ? String(block) : "E"));
    }
    const middle = top + (depth * cell) / 2;
    picture.append(svg("text", { x: left + ((depth + 1) * cell) / 2, y: bottom + 31, "text-anchor": "middle", class: "axis" }, "reads"),
      svg("text", { x: 10, y: middle, transform: `rotate(-90 10 ${middle})`, "text-anchor": "middle", class: "axis" }, "site after block"));
    if (wiring.hasWeights) drawColourBar(picture, wiring, { left, y: bottom + 44 });
    return picture;
  }

  function drawColourBar(picture, wiring, { left, y }) {
    const text = number(Number(wiring.largest.toPrecision(2))), size = 5, end = left + 36 + BAR_PARTS * size;
    picture.append(svg("text", { x: left + 30, y: y + 10, "text-anchor": "end" }, `−${text}`), svg("text", { x: end + 6, y: y + 10 }, `${text} (weight)`));
    for (let part = 0; part < BAR_PARTS; part++) {
      const place = (2 * (part + 0.5)) / BAR_PARTS - 1;
      picture.append(svg("rect", { x: left + 36 + part * size, y, width: size + 0.5, height: 11,
        style: `fill:color-mix(in oklab, var(${place < 0 ? "--negative" : "--positive"}) ${Math.abs(100 * place).toFixed(0)}%, var(--zero))` }));
    }
  }

  function countText(count, noun) {
    return `${count} ${noun}${count === 1 ? "" : "s"}`;
  }

  function summary(wiring) {
    const { name, depth, sites, connections } = wiring;
    if (!sites.length) return `Wiring of ${name}: plain, every block reads the one before it.`;
    return `Wiring of ${name}, ${countText(depth, "block")}: ${countText(sites.length, "site")}, ${countText(connections.length, "connection")}. ${siteText(wiring, sites.at(-1)[0])}`;
  }

  function captionOf(wiring) {
    const { depth, sites, connections } = wiring;
    let text = `${countText(sites.length, "site")} (dots) with ${countText(connections.length, "connection")} (arcs) from the embedding E and blocks 1 to ${depth}. A site reads its own block too: the arcs leave that out, the matrix has it on the diagonal.`;
    if (wiring.hasWeights) text += " Blue weights are positive, orange ones negative, on a symmetric-logarithmic scale; a wider arc is a larger weight. Dynamic weights are means over validation tokens.";
    else text += " The page has no weights of this architecture. If its training recorded any, they are in the run's weights/ folder.";
    return text;
  }

  function inWords(wiring) {
    if (!wiring.sites.length || wiring.sites.length > MAX_WORDS) return null;
    const lines = wiring.sites.map(([block]) => element("li", {}, siteText(wiring, block)));
    return element("details", { class: "words" }, element("summary", {}, "The wiring in words"), element("ul", {}, ...lines));
  }

  // Marks connections in both pictures. `named` are places in the list of cells.
  function mark(pictures, named) {
    pictures.classList.toggle("naming", named.size > 0);
    for (const part of pictures.querySelectorAll("[data-connection]")) {
      part.classList.toggle("named", named.has(Number(part.dataset.connection)));
    }
  }

  // Pointing at an arc or a cell names one connection, at a block all of its own. The arrow keys do the same.
  function listen(pictures, arcs, status, wiring) {
    const { sites, cells } = wiring, hint = siteText(wiring, sites.at(-1)[0]);
    let row = -1, column = -1;
    function show(named, text) {
      mark(pictures, new Set(named.map((cell) => cell.place)));
      status.textContent = text;
    }
    const clear = () => { row = column = -1; show([], hint); };
    function point(event) {
      const connection = event.target.closest("[data-connection]"), block = event.target.closest("[data-block]");
      if (connection) {
        const cell = cells[Number(connection.dataset.connection)];
        show([cell], connectionText(cell));
      } else if (block) {
        const own = Number(block.dataset.block), reads = wiring.connections.filter((cell) => cell.site === own);
        show(reads.length ? reads : wiring.connections.filter((cell) => cell.source === own), blockText(wiring, own));
      } else clear();
    }
    function onKey(event) {
      const steps = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
      if (event.key === "Escape") clear();
      if (!(event.key in steps)) return;
      event.preventDefault();
      const [down, right] = steps[event.key];
      const next = (value, step, count) => (value < 0 ? (step > 0 ? 0 : count - 1) : (value + step + count) % count);
      if (down || row < 0) { row = next(row, down || 1, sites.length); column = -1; }
      const own = cells.filter((cell) => cell.site === sites[row][0]);
      if (right) column = next(column, right, own.length);
      if (column < 0) show(own.filter((cell) => cell.source !== cell.site), siteText(wiring, sites[row][0]));
      else show([own[column]], connectionText(own[column]));
    }
    pictures.addEventListener("pointerover", point);
    pictures.addEventListener("pointerleave", clear);
    arcs.addEventListener("blur", clear);
    arcs.addEventListener("keydown", onKey);
    status.textContent = hint;
  }

  // `isNarrow` is true where the pictures are below each other. Deep models then have thin arcs.
  return function wiringFigure(point, isNarrow) {
    const wiring = wiringOf(point), title = element("h4", {}, "Wiring");
    if (!wiring.sites.length) {
      return element("figure", { class: "small-figure" }, title, arcDiagram(wiring, NARROW_PX),
        element("figcaption", {}, "Plain: every block reads the one before it."));
    }
    const isDeep = wiring.depth > MAX_DEPTH_BESIDE && !isNarrow;
    const status = element("p", { class: "names", role: "status" });
    const arcs = element("div", { class: "arcs", tabindex: 0, role: "application",
      "aria-label": `${summary(wiring)} The up and down keys move through the sites, left and right through what a site reads, Escape ends this.` },
    arcDiagram(wiring, isDeep ? WIDE_PX : NARROW_PX));
    const words = element("div", {}, status, element("figcaption", {}, captionOf(wiring)), inWords(wiring));
    const pictures = element("div", { class: "pictures" }, arcs, words, matrix(wiring));
    listen(pictures, arcs, status, wiring);
    return element("figure", { class: isDeep ? "small-figure wiring deep" : "small-figure wiring" }, title, pictures);
  };
};
