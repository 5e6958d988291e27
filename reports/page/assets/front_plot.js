// The lower layer of the front's plot: axes, points, the front's line, lines of the plain architectures, colour bar.
depthweave.frontPlot = (data, access) => {
  "use strict";
  const { svg, scale, ticks, number } = depthweave;
  const { points, columns, isComplete, valueOf, inUnit, frontOf, rangeOf } = access;
  const RAMP = ["#5b4bc4", "#9c4bb5", "#d1568a", "#ee7a55", "#f2b134"];
  const CHARACTER_PX = 6.4, MAX_WITH_BARS = 40;

  // What the reader's choices (`view`) show: the points, the front of both axes, scales from values to pixels.
  function sceneOf(view, shown, { width, height, isNarrow }) {
    const box = { left: isNarrow ? 50 : 62, right: width - 14, top: 20, bottom: height - 50 };
    const front = frontOf(shown, view);
    const xRange = rangeOf(view.x, shown, { log: view.logX, front });
    const yRange = rangeOf(view.y, shown, { log: view.logY, front });
    const x = scale({ low: xRange[0], high: xRange[1], from: box.left, to: box.right, log: view.logX });
    const y = scale({ low: yRange[0], high: yRange[1], from: box.bottom, to: box.top, log: view.logY });
    const positionOf = (point) => [
      Math.min(box.right, x(inUnit(view.x, valueOf(view.x, point)))),
      Math.max(box.top, y(inUnit(view.y, valueOf(view.y, point)))),
    ];
    const positions = shown.map((point) => [point, ...positionOf(point)]);
    return { view, width, height, isNarrow, box, front, xRange, yRange, x, y, positionOf, positions,
      shown: new Set(shown), colourRange: colourRangeOf(view, shown), obstacles: [] };
  }

  function colourRangeOf(view, shown) {
    if (!view.colour) return null;
    const values = shown.map((point) => valueOf(view.colour, point)).filter((value) => value !== null);
    return [Math.min(...values), Math.max(...values)];
  }

  // Draws the layer and adds the boxes of lines and their names, which labels must not cover, to `scene.obstacles`.
  function drawBase(scene) {
    const { view, width, height, box, front, positions, positionOf } = scene;
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true", class: "points" });
    drawAxes(picture, scene);
    drawPlainLines(picture, scene);
    const steps = front.map(positionOf);
    if (steps.length) picture.append(svg("path", { d: stepPath(steps, box), class: "front-line" }));
    scene.obstacles.push(...stepBoxes(steps, box));
    const members = new Set(front), faint = svg("g", {}), strong = svg("g", {});
    for (const [point, px, py] of positions) {
      const style = isComplete(point) ? { size: 11, opacity: 0.42 } : { size: 9, opacity: 0.5 };
      if (!members.has(point)) faint.append(mark(scene, point, [px, py], style));
    }
    picture.append(faint);
    for (const point of front) {
      if (front.length <= MAX_WITH_BARS) drawErrorBars(picture, scene, point);
      const isHollow = points.seeds[point] > 1 && !points.settled[point];
      strong.append(mark(scene, point, positionOf(point), { size: 15, opacity: 1, isHollow, name: "member" }));
    }
    picture.append(strong);
    if (view.colour) drawColourBar(picture, scene);
    if (!positions.length) {
      const text = "The filters exclude every point. Tick more of them.";
      picture.append(svg("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, text));
    }
    return picture;
  }

  function colourOf(scene, point) {
    const { view, colourRange } = scene;
    if (!view.colour) return points.colour[point];
    const value = valueOf(view.colour, point);
    if (value === null) return "var(--quiet)";
    const share = (value - colourRange[0]) / (colourRange[1] - colourRange[0] || 1);
    return rampColour(Math.max(0, Math.min(1, share)));
  }

  function rampColour(share) {
    const place = share * (RAMP.length - 1), below = Math.min(RAMP.length - 2, Math.floor(place));
    return `color-mix(in oklab, ${RAMP[below + 1]} ${Math.round(100 * (place - below))}%, ${RAMP[below]})`;
  }

  function mark(scene, point, [px, py], { size, opacity, isHollow = false, name = "" }) {
    const colour = colourOf(scene, point), isStopped = !isComplete(point);
    const outline = isStopped ? "M4 4l8 8M12 4l-8 8" : data.symbols[JSON.stringify(points.period[point])];
    const factor = size / 16;
    return svg("path", {
      d: outline, class: `mark ${name}`.trim(), "data-trial": points.trial[point],
      transform: `translate(${(px - size / 2).toFixed(1)} ${(py - size / 2).toFixed(1)}) scale(${factor})`,
      // Opacity of fill and stroke: opacity of the element would make each of thousands a layer to paint.
      style: isStopped || isHollow
        ? `fill:${isHollow ? "var(--ground)" : "none"};stroke:${colour};stroke-width:${1.6 / factor};stroke-opacity:${opacity}`
        : `fill:${colour};fill-opacity:${opacity}`,
    });
  }

  function drawAxes(picture, { view, isNarrow, box, x, y, xRange, yRange }) {
    const grid = svg("g", {});
    for (const tick of ticks({ low: xRange[0], high: xRange[1], log: view.logX, count: isNarrow ? 4 : 7 })) {
      grid.append(svg("line", { x1: x(tick), x2: x(tick), y1: box.top, y2: box.bottom, class: "grid" }),
        svg("text", { x: x(tick), y: box.bottom + 18, "text-anchor": "middle" }, number(tick)));
    }
    for (const tick of ticks({ low: yRange[0], high: yRange[1], log: view.logY })) {
      grid.append(svg("line", { x1: box.left, x2: box.right, y1: y(tick), y2: y(tick), class: "grid" }),
        svg("text", { x: box.left - 8, y: y(tick) + 4, "text-anchor": "end" }, number(tick)));
    }
    const middle = (box.top + box.bottom) / 2;
    grid.append(svg("path", { d: `M${box.left} ${box.top}V${box.bottom}H${box.right}`, class: "frame" }),
      svg("text", { x: (box.left + box.right) / 2, y: box.bottom + 42, "text-anchor": "middle", class: "title" }, columns[view.x].title),
      svg("text", { x: 14, y: middle, transform: `rotate(-90 14 ${middle})`, "text-anchor": "middle", class: "title" }, columns[view.y].title));
    picture.append(grid);
  }

  // The lowest loss of the plain architectures at each depth, where an axis is a loss.
  function drawPlainLines(picture, { view, box, x, y, shown, obstacles }) {
    const isVertical = columns[view.y].cost && !columns[view.x].cost, name = isVertical ? view.x : view.y;
    if (columns[name].cost) return;
    const plain = [...shown].filter((point) => isComplete(point) && data.plain.includes(points.fusion[point]));
    for (const depth of [...new Set(plain.map((point) => points.depth[point]))].sort((a, b) => a - b)) {
      const values = plain.filter((point) => points.depth[point] === depth).map((point) => valueOf(name, point));
      const place = (isVertical ? x : y)(inUnit(name, Math.min(...values))), text = `plain, ${depth} blocks`;
      picture.append(isVertical
        ? svg("line", { x1: place, x2: place, y1: box.top, y2: box.bottom, class: "plain-line" })
        : svg("line", { x1: box.left, x2: box.right, y1: place, y2: place, class: "plain-line" }));
      const width = text.length * CHARACTER_PX, edge = isVertical ? place + 4 : box.right - 2;
      const own = isVertical ? [place, box.top, place + width, box.top + 16] : [edge - width, place - 18, edge, place + 2];
      // Of lines that are close only the first has a name. The card gives the depth of the others.
      if (obstacles.some((other) => overlaps(own, other))) continue;
      const where = isVertical ? { x: edge, y: box.top + 12 } : { x: edge, y: place - 5, "text-anchor": "end" };
      picture.append(svg("text", { ...where, class: "plain-name" }, text));
      obstacles.push(own);
    }
  }

  function stepPath(steps, box) {
    let path = `M${steps[0][0]} ${box.top}V${steps[0][1]}`;
    for (const [px, py] of steps.slice(1)) path += `H${px}V${py}`;
    return `${path}H${box.right}`;
  }

  function stepBoxes(steps, box) {
    return steps.flatMap(([px, py], index) => {
      const right = index + 1 < steps.length ? steps[index + 1][0] : box.right, top = index ? steps[index - 1][1] : box.top;
      return [[px, py - 2, right, py + 2], [px - 2, top, px + 2, py]];
    });
  }

  function drawErrorBars(picture, scene, point) {
    const { view, box, x, y } = scene, style = `stroke:${colourOf(scene, point)}`;
    const px = x(inUnit(view.x, valueOf(view.x, point))), py = y(inUnit(view.y, valueOf(view.y, point)));
    const clip = (value, low, high) => Math.max(low, Math.min(high, value));
    const endsOf = (name) => ["low", "high"].map((side) => points[side][name]?.[point] ?? null);
    const xs = endsOf(view.x), ys = endsOf(view.y);
    if (xs[0] !== null) {
      const [x1, x2] = xs.map((value) => clip(x(inUnit(view.x, value)), box.left, box.right));
      picture.append(svg("line", { x1, x2, y1: py, y2: py, class: "bar", style }));
    }
    if (ys[0] !== null) {
      const [y1, y2] = ys.map((value) => clip(y(inUnit(view.y, value)), box.top, box.bottom));
      picture.append(svg("line", { x1: px, x2: px, y1, y2, class: "bar", style }));
    }
  }

  function drawColourBar(picture, { view, box, colourRange }) {
    const left = box.right - 150, column = columns[view.colour];
    for (let part = 0; part < 30; part++) {
      picture.append(svg("rect", { x: left + part * 5, y: 4, width: 5.5, height: 8, style: `fill:${rampColour(part / 29)}` }));
    }
    const [low, high] = colourRange.map((value) => number(inUnit(view.colour, value)));
    picture.append(svg("text", { x: left - 6, y: 12, "text-anchor": "end" }, `${column.title}: ${low} to ${high}`));
  }

  const overlaps = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];

  return { sceneOf, drawBase, drawErrorBars, overlaps, CHARACTER_PX };
};
