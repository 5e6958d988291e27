// The upper layer of the front's plot: shaded limits, rings and labels. A click or a slider redraws this layer only.
depthweave.frontOverlay = (access, frontPlot) => {
  "use strict";
  const { drawErrorBars, overlaps, CHARACTER_PX } = frontPlot;
  const { svg } = depthweave;
  const { points, isComplete, inUnit } = access;
  const MAX_LABELS = 40, MAX_AVOIDED_POINTS = 600;
  // Directions from a point to its label as [right, up], the most readable first.
  const DIRECTIONS = [[1, 1], [-1, -1], [1, 0], [-1, 0], [1, -1], [-1, 1], [0, -1], [0, 1]];

  function drawOverlay(scene, { selected, best, limits }) {
    const { width, height, shown } = scene;
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true", class: "overlay" });
    shadeLimits(picture, scene, limits);
    if (shown.has(selected)) drawErrorBars(picture, scene, selected);
    const ringed = drawRings(picture, scene, { selected, best });
    drawLabels(picture, scene, { ringed, best, isLimited: Object.keys(limits).length > 0 });
    return picture;
  }

  function shadeLimits(picture, { view, box, x, y }, limits) {
    const clip = (value, low, high) => Math.max(low, Math.min(high, value));
    for (const [name, limit] of Object.entries(limits)) {
      if (name === view.x) {
        const left = clip(x(inUnit(name, limit[0])), box.left, box.right);
        picture.append(svg("rect", { x: left, y: box.top, width: box.right - left, height: box.bottom - box.top, class: "beyond" }));
      }
      if (name === view.y) {
        const bottom = clip(y(inUnit(name, limit[0])), box.top, box.bottom);
        picture.append(svg("rect", { x: box.left, y: box.top, width: box.right - box.left, height: bottom - box.top, class: "beyond" }));
      }
    }
  }

  // Returns the points that have a ring: they are the first to get a label.
  function drawRings(picture, { shown, positionOf }, { selected, best }) {
    const ringed = new Set();
    function drawRing(point, name, radius) {
      const [cx, cy] = positionOf(point);
      picture.append(svg("circle", { cx, cy, r: radius, class: name }));
      ringed.add(point);
    }
    for (const point of shown) {
      if (points.reference[point] && isComplete(point)) drawRing(point, "ring-reference", 9);
    }
    if (shown.has(best)) drawRing(best, "ring-best", 11);
    if (shown.has(selected)) drawRing(selected, "ring-selected", 14);
    return ringed;
  }

  // Greedy: each label takes the first direction in which it covers nothing. The tip names a point without a label.
  function drawLabels(picture, { box, positions, front, positionOf, obstacles, isNarrow }, { ringed, best, isLimited }) {
    const taken = positions.slice(0, MAX_AVOIDED_POINTS).map(([, px, py]) => [px - 6, py - 6, px + 6, py + 6]).concat(obstacles);
    const severalDepths = new Set(points.depth).size > 1;
    for (const point of new Set([...ringed, ...(isNarrow ? [] : front.slice(0, MAX_LABELS))])) {
      let text = points.short_name[point] + (severalDepths ? ` (${points.depth[point]})` : "");
      if (point === best) text += isLimited ? ", lowest within limits" : ", lowest";
      else if (points.reference[point]) text += ", reference";
      const [px, py] = positionOf(point), width = text.length * CHARACTER_PX, gap = ringed.has(point) ? 15 : 10;
      for (const [right, up] of DIRECTIONS) {
        const cx = px + right * (width / 2 + gap), cy = py - up * (right ? (up ? 9 : 0) : 18);
        const own = [cx - width / 2, cy - 8, cx + width / 2, cy + 8];
        if (own[0] < box.left || own[2] > box.right || own[1] < box.top || own[3] > box.bottom) continue;
        if (taken.some((other) => overlaps(own, other))) continue;
        taken.push(own);
        picture.append(svg("text", { x: cx, y: cy + 4, "text-anchor": "middle", class: "label" }, text));
        break;
      }
    }
  }

  return drawOverlay;
};
