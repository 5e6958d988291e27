// The interactive front. `view` holds every choice of the reader; `draw` follows from it alone.
depthweave.explore = (data) => {
  "use strict";
  const { element, svg, scale, padded, ticks, number } = depthweave;
  const points = data.points, all = points.trial.map((_, place) => place);
  const plot = document.getElementById("front-plot"), controls = document.getElementById("front-controls");
  const narrow = matchMedia("(max-width: 640px)");
  const showCard = depthweave.card(data);
  const columns = Object.fromEntries(data.columns.map((column) => [column.name, column]));
  const RAMP = ["#5b4bc4", "#9c4bb5", "#d1568a", "#ee7a55", "#f2b134"];
  const view = { x: "", y: "", colour: "", logX: false, logY: false, hidden: new Set(), limits: {}, selected: -1, best: -1 };
  let drawn = { spots: [], front: [] };

  const complete = (place) => points.state[place] === "complete";
  const valueOf = (name, place) => points.values[name][place];
  const kept = (place) => ["fusion", "depth", "budget", "state"].every((name) => !view.hidden.has(`${name}=${points[name][place]}`));
  const inUnits = (name, value) => value / columns[name].divisor;

  // The complete points that no other one matches in both and beats in one, left to right.
  function frontOf(places) {
    const sorted = places.filter(complete).sort((a, b) => valueOf(view.x, a) - valueOf(view.x, b) || valueOf(view.y, a) - valueOf(view.y, b));
    const found = [];
    let lowest = Infinity, lowestX = NaN;
    for (const place of sorted) {
      const x = valueOf(view.x, place), y = valueOf(view.y, place);
      if (y < lowest || (y === lowest && x === lowestX)) { found.push(place); lowest = y; lowestX = x; }
    }
    return found;
  }

  // As far as complete points reach; stopped ones beyond stand at the edge and do not squeeze the others.
  function rangeOf(name, places, log, ends) {
    const finished = places.filter(complete), base = finished.length ? finished : places;
    const values = base.map((place) => valueOf(name, place));
    for (const place of ends) for (const side of ["low", "high"]) {
      const end = points[side][name]?.[place];
      if (end) values.push(end);
    }
    if (!values.length) return padded({ low: log ? 1 : 0, high: log ? 10 : 1, log });
    const low = Math.min(...values);
    let high = Math.max(...values);
    const beyond = Math.max(...places.map((place) => valueOf(name, place)), high);
    high = Math.min(beyond, high + 0.35 * (high - low || Math.abs(high) * 0.1));
    return padded({ low: inUnits(name, low), high: inUnits(name, high), log });
  }

  function colourOf(place) {
    if (!view.colour) return points.colour[place];
    const value = valueOf(view.colour, place);
    if (value === null) return "var(--quiet)";
    const share = (value - drawn.ramp[0]) / (drawn.ramp[1] - drawn.ramp[0] || 1);
    return ramp(Math.max(0, Math.min(1, share)));
  }

  function ramp(share) {
    const at = share * (RAMP.length - 1), below = Math.min(RAMP.length - 2, Math.floor(at));
    return `color-mix(in oklab, ${RAMP[below + 1]} ${Math.round(100 * (at - below))}%, ${RAMP[below]})`;
  }

  function mark(place, spot, { size, opacity, hollow, extra = "" }) {
    const colour = colourOf(place), stopped = !complete(place);
    const outline = stopped ? "M4 4l8 8M12 4l-8 8" : data.symbols[JSON.stringify(points.period[place])];
    const factor = size / 16;
    return svg("path", {
      d: outline, class: `mark ${extra}`.trim(), "data-trial": points.trial[place],
      transform: `translate(${(spot[0] - size / 2).toFixed(1)} ${(spot[1] - size / 2).toFixed(1)}) scale(${factor})`,
      // Of fill and stroke, not of the element: thousands of see-through elements would each be a layer to paint.
      style: stopped || hollow
        ? `fill:${hollow ? "var(--ground)" : "none"};stroke:${colour};stroke-width:${1.6 / factor};stroke-opacity:${opacity}`
        : `fill:${colour};fill-opacity:${opacity}`,
    });
  }

  function draw() {
    const wide = plot.clientWidth || 700, tall = narrow.matches ? 340 : 500;
    const box = { left: narrow.matches ? 50 : 62, right: wide - 14, top: 20, bottom: tall - 50 };
    const places = all.filter((place) => kept(place) && valueOf(view.x, place) !== null && valueOf(view.y, place) !== null);
    const front = frontOf(places);
    const [x0, x1] = rangeOf(view.x, places, view.logX, front), [y0, y1] = rangeOf(view.y, places, view.logY, front);
    const x = scale({ low: x0, high: x1, from: box.left, to: box.right, log: view.logX });
    const y = scale({ low: y0, high: y1, from: box.bottom, to: box.top, log: view.logY });
    const spotOf = (place) => [Math.min(box.right, x(inUnits(view.x, valueOf(view.x, place)))), Math.max(box.top, y(inUnits(view.y, valueOf(view.y, place))))];
    const spots = places.map((place) => [place, ...spotOf(place)]);
    if (view.colour) {
      const held = places.map((place) => valueOf(view.colour, place)).filter((value) => value !== null);
      drawn.ramp = [Math.min(...held), Math.max(...held)];
    }
    const picture = svg("svg", { viewBox: `0 0 ${wide} ${tall}`, width: wide, height: tall, "aria-hidden": "true", class: "points" });
    axes(picture, { box, x, y, x0, x1, y0, y1 });
    const lines = plainLines(picture, { box, x, y, places });
    const member = new Set(front), faint = svg("g", {}), strong = svg("g", {}), busy = front.length > 40;
    for (const [place, px, py] of spots) {
      if (!member.has(place)) faint.append(mark(place, [px, py], { size: complete(place) ? 11 : 9, opacity: complete(place) ? 0.42 : 0.5 }));
    }
    const step = stepOf(front.map(spotOf), box);
    if (step) picture.append(svg("path", { d: step, class: "front-line" }));
    lines.push(...stepBoxes(front.map(spotOf), box));
    picture.append(faint);
    for (const place of front) {
      if (!busy) bars(picture, place, { x, y, box });
      strong.append(mark(place, spotOf(place), { size: 15, opacity: 1, hollow: points.seeds[place] > 1 && !points.settled[place], extra: "member" }));
    }
    picture.append(strong);
    if (view.colour) colourBar(picture, box);
    if (!places.length) picture.append(svg("text", { x: wide / 2, y: tall / 2, "text-anchor": "middle" }, "Nothing is left to draw: let something through the filters."));
    plot.querySelector(".points")?.remove();
    plot.prepend(picture);
    Object.assign(drawn, { spots, front, frame: { wide, tall, box, x, y, places: new Set(places), spotOf, lines } });
    decorate();
    document.getElementById("front-status").textContent =
      `${places.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} drawn, ${front.length} on the front of these two.`;
  }

  // What changes with a click or a slider lies in a drawing of its own: the points below stay as they are.
  function decorate() {
    const { wide, tall, box, x, y, places, spotOf, lines } = drawn.frame;
    const picture = svg("svg", { viewBox: `0 0 ${wide} ${tall}`, width: wide, height: tall, "aria-hidden": "true", class: "overlay" });
    shadeLimits(picture, { box, x, y });
    if (places.has(view.selected)) bars(picture, view.selected, { x, y, box });
    const named = rings(picture, { places, spotOf });
    labels(picture, { box, spots: drawn.spots, front: drawn.front, spotOf, lines, named });
    plot.querySelector(".overlay")?.remove();
    plot.querySelector(".points").after(picture);
  }

  function axes(picture, { box, x, y, x0, x1, y0, y1 }) {
    const grid = svg("g", {});
    for (const tick of ticks({ low: x0, high: x1, log: view.logX, count: narrow.matches ? 4 : 7 })) {
      grid.append(svg("line", { x1: x(tick), x2: x(tick), y1: box.top, y2: box.bottom, class: "grid" }),
        svg("text", { x: x(tick), y: box.bottom + 18, "text-anchor": "middle" }, number(tick)));
    }
    for (const tick of ticks({ low: y0, high: y1, log: view.logY })) {
      grid.append(svg("line", { x1: box.left, x2: box.right, y1: y(tick), y2: y(tick), class: "grid" }),
        svg("text", { x: box.left - 8, y: y(tick) + 4, "text-anchor": "end" }, number(tick)));
    }
    const middle = (box.top + box.bottom) / 2;
    grid.append(svg("path", { d: `M${box.left} ${box.top}V${box.bottom}H${box.right}`, class: "frame" }),
      svg("text", { x: (box.left + box.right) / 2, y: box.bottom + 42, "text-anchor": "middle", class: "title" }, columns[view.x].title),
      svg("text", { x: 14, y: middle, transform: `rotate(-90 14 ${middle})`, "text-anchor": "middle", class: "title" }, columns[view.y].title));
    picture.append(grid);
  }

  function shadeLimits(picture, { box, x, y }) {
    for (const [name, limit] of Object.entries(view.limits)) {
      if (name === view.x) {
        const at = Math.max(box.left, Math.min(box.right, x(inUnits(name, limit[0]))));
        picture.append(svg("rect", { x: at, y: box.top, width: Math.max(0, box.right - at), height: box.bottom - box.top, class: "beyond" }));
      }
      if (name === view.y) {
        const at = Math.max(box.top, Math.min(box.bottom, y(inUnits(name, limit[0]))));
        picture.append(svg("rect", { x: box.left, y: box.top, width: box.right - box.left, height: Math.max(0, at - box.top), class: "beyond" }));
      }
    }
  }

  // The plain architectures' lowest loss at each depth, wherever a loss stands on an axis.
  function plainLines(picture, { box, x, y, places }) {
    const upright = columns[view.y].cost && !columns[view.x].cost, name = upright ? view.x : view.y, found = [];
    if (columns[name].cost) return found;
    const plain = places.filter((place) => complete(place) && points.fusion[place] === "none");
    for (const depth of [...new Set(plain.map((place) => points.depth[place]))].sort((a, b) => a - b)) {
      const value = Math.min(...plain.filter((place) => points.depth[place] === depth).map((place) => valueOf(name, place)));
      const at = (upright ? x : y)(inUnits(name, value)), told = `plain, ${depth} blocks`;
      picture.append(upright
        ? svg("line", { x1: at, x2: at, y1: box.top, y2: box.bottom, class: "plain-line" })
        : svg("line", { x1: box.left, x2: box.right, y1: at, y2: at, class: "plain-line" }));
      const width = told.length * 6.4, end = upright ? at + 4 : box.right - 2;
      // One name where lines are close: the next would cover it, and its depth is in the card.
      const own = upright ? [at, box.top, at + width, box.top + 16] : [end - width, at - 18, end, at + 2];
      if (found.some((other) => own[0] < other[2] && other[0] < own[2] && own[1] < other[3] && other[1] < own[3])) continue;
      const text = upright ? { x: end, y: box.top + 12 } : { x: end, y: at - 5, "text-anchor": "end" };
      picture.append(svg("text", { ...text, class: "plain-name" }, told));
      found.push(own);
    }
    return found;
  }

  function stepOf(spots, box) {
    if (!spots.length) return "";
    let path = `M${spots[0][0]} ${box.top}V${spots[0][1]}`;
    for (const [px, py] of spots.slice(1)) path += `H${px}V${py}`;
    return `${path}H${box.right}`;
  }

  // Where the front's line runs, for names to keep off.
  function stepBoxes(spots, box) {
    return spots.flatMap(([px, py], at) => {
      const right = at + 1 < spots.length ? spots[at + 1][0] : box.right, top = at ? spots[at - 1][1] : box.top;
      return [[px, py - 2, right, py + 2], [px - 2, top, px + 2, py]];
    });
  }

  function bars(picture, place, { x, y, box }) {
    const style = `stroke:${colourOf(place)}`;
    const px = x(inUnits(view.x, valueOf(view.x, place))), py = y(inUnits(view.y, valueOf(view.y, place)));
    const clip = (value, low, high) => Math.max(low, Math.min(high, value));
    const xs = ["low", "high"].map((side) => points[side][view.x]?.[place] ?? null);
    if (xs[0] !== null) {
      const [a, b] = xs.map((value) => clip(x(inUnits(view.x, value)), box.left, box.right));
      picture.append(svg("line", { x1: a, x2: b, y1: py, y2: py, class: "bar", style }));
    }
    const ys = ["low", "high"].map((side) => points[side][view.y]?.[place] ?? null);
    if (ys[0] !== null) {
      const [a, b] = ys.map((value) => clip(y(inUnits(view.y, value)), box.top, box.bottom));
      picture.append(svg("line", { x1: px, x2: px, y1: a, y2: b, class: "bar", style }));
    }
  }

  function rings(picture, { places, spotOf }) {
    const named = new Set();
    for (const place of places) {
      if (points.reference[place] && complete(place)) { ring(place, "ring-reference", 9); named.add(place); }
    }
    if (places.has(view.best)) { ring(view.best, "ring-best", 11); named.add(view.best); }
    if (places.has(view.selected)) { ring(view.selected, "ring-selected", 14); named.add(view.selected); }
    function ring(place, name, radius) {
      const [cx, cy] = spotOf(place);
      picture.append(svg("circle", { cx, cy, r: radius, class: name }));
    }
    return named;
  }

  // Greedy: each name takes the first place around its point that covers nothing; one that finds none is in the tip.
  function labels(picture, { box, spots, front, spotOf, lines, named }) {
    const taken = spots.slice(0, 600).map(([, px, py]) => [px - 6, py - 6, px + 6, py + 6]).concat(lines);
    const several = new Set(points.depth).size > 1;
    for (const place of new Set([...named, ...(narrow.matches ? [] : front.slice(0, 40))])) {
      let told = points.name[place] + (several ? ` (${points.depth[place]})` : "");
      if (place === view.best) told += Object.keys(view.limits).length ? ", lowest within limits" : ", lowest";
      else if (points.reference[place]) told += ", reference";
      const [px, py] = spotOf(place), width = told.length * 6.4, gap = named.has(place) ? 15 : 10;
      for (const [right, up] of [[1, 1], [-1, -1], [1, 0], [-1, 0], [1, -1], [-1, 1], [0, -1], [0, 1]]) {
        const cx = px + right * (width / 2 + gap), cy = py - up * (right ? (up ? 9 : 0) : 18);
        const own = [cx - width / 2, cy - 8, cx + width / 2, cy + 8];
        if (own[0] < box.left || own[2] > box.right || own[1] < box.top || own[3] > box.bottom) continue;
        if (taken.some((other) => own[0] < other[2] && other[0] < own[2] && own[1] < other[3] && other[1] < own[3])) continue;
        taken.push(own);
        picture.append(svg("text", { x: cx, y: cy + 4, "text-anchor": "middle", class: "label" }, told));
        break;
      }
    }
  }

  function colourBar(picture, box) {
    const left = box.right - 150, column = columns[view.colour];
    for (let part = 0; part < 30; part++) picture.append(svg("rect", { x: left + part * 5, y: 4, width: 5.5, height: 8, style: `fill:${ramp(part / 29)}` }));
    picture.append(svg("text", { x: left - 6, y: 12, "text-anchor": "end" }, `${column.title}: ${number(inUnits(view.colour, drawn.ramp[0]))} to ${number(inUnits(view.colour, drawn.ramp[1]))}`));
  }

  // Chooses and speaks by the rules of recommend.py.
  function recommend() {
    const limits = Object.entries(view.limits);
    const meets = (place) => limits.every(([name, limit]) => valueOf(name, place) !== null && valueOf(name, place) <= limit[0]);
    const loss = (place) => points.values.perplexity?.[place] ?? Infinity;
    const met = all.filter((place) => complete(place) && meets(place));
    met.sort((a, b) => loss(a) - loss(b) || points.trial[a] - points.trial[b]);
    view.best = met.length ? met[0] : -1;
    const sentence = document.getElementById("recommendation");
    document.getElementById("show-recommended").hidden = !met.length;
    if (!met.length) {
      sentence.textContent = limits.length ? "No complete trial meets these limits." : "No trial is complete yet.";
      return;
    }
    const best = met[0], asked = limits.map(([name, limit]) => `${columns[name].short} at most ${limit[1]}`).join(" and ");
    sentence.textContent = `Lowest perplexity${asked ? ` with ${asked}` : " without limits"}: ${points.said[best]}. ${settled(best, met)}`;
  }

  function settled(best, met) {
    if (points.doubt[best]) return `Not settled: ${points.doubt[best]}.`;
    const close = new Set(data.close[best] ?? []), rivals = met.filter((place) => place !== best && points.seeds[place] > 1);
    if (!rivals.length) return "Nothing else with several fresh seeds is within these limits.";
    const among = `the ${rivals.length} other${rivals.length === 1 ? "" : "s"} with several fresh seeds within these limits`;
    const near = rivals.filter((place) => close.has(place)).map((place) => points.full[place]);
    if (!near.length) return `Settled: of ${among}, none has a loss as low.`;
    const more = near.length > 3 ? ` and ${near.length - 3} more` : "";
    return `Not settled: of ${among}, ${near.length} ${near.length === 1 ? "is" : "are"} not told apart from it in loss: ${near.slice(0, 3).join("; ")}${more}.`;
  }

  function select(place) {
    view.selected = place;
    showCard(place);
    decorate();
  }

  function nearest(event) {
    const frame = plot.getBoundingClientRect(), px = event.clientX - frame.left, py = event.clientY - frame.top;
    const onFront = new Set(drawn.front);
    let found = -1, least = 18;
    for (const [place, x, y] of drawn.spots) {
      // A member is taken before a faint point that lies as near.
      const distance = Math.hypot(x - px, y - py) - (onFront.has(place) ? 4 : 0);
      if (distance < least) { least = distance; found = place; }
    }
    return found;
  }

  function tip(place) {
    const box = document.getElementById("front-tip");
    box.hidden = place < 0;
    if (place < 0) return;
    const rows = [view.x, view.y, view.colour].filter(Boolean).map((name) => `${columns[name].short} ${points.texts[name][place]}`);
    box.replaceChildren(element("b", {}, points.full[place]), ...rows.map((row) => element("div", {}, row)),
      element("div", { class: "quiet" }, complete(place) ? points.sure[place] : points.ended[place].split(":")[0]));
    const [, px, py] = drawn.spots.find((spot) => spot[0] === place);
    box.style.left = `${Math.max(0, Math.min(plot.clientWidth - box.offsetWidth, px + 14))}px`;
    box.style.top = `${Math.max(0, py - box.offsetHeight - 8)}px`;
  }

  function onKey(event) {
    const arrows = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 };
    if (event.key in arrows) {
      const among = ["ArrowRight", "ArrowLeft"].includes(event.key) ? drawn.front
        : drawn.spots.slice().sort((a, b) => a[1] - b[1] || a[2] - b[2]).map((spot) => spot[0]);
      if (!among.length) return;
      const at = among.indexOf(view.selected), next = at < 0 ? 0 : (at + arrows[event.key] + among.length) % among.length;
      select(among[next]);
      event.preventDefault();
    } else if ((event.key === "Enter" || event.key === " ") && view.selected >= 0) {
      document.querySelector("#card h3").focus();
      event.preventDefault();
    }
  }

  function readControls() {
    const form = new FormData(controls);
    Object.assign(view, { x: form.get("x"), y: form.get("y"), colour: form.get("colour"),
      logX: form.get("log-x") !== null, logY: form.get("log-y") !== null });
    view.hidden = new Set([...controls.querySelectorAll("[data-filter]")].filter((box) => !box.checked).map((box) => `${box.dataset.filter}=${box.value}`));
    draw();
  }

  function readLimits() {
    view.limits = {};
    for (const slider of document.querySelectorAll("[data-limit]")) {
      const stops = data.limits[slider.dataset.limit], stop = stops[Number(slider.value)];
      const told = stop ? `at most ${stop[1]}` : "no limit";
      slider.closest("label").querySelector("output").textContent = told;
      slider.setAttribute("aria-valuetext", told);
      if (stop) view.limits[slider.dataset.limit] = stop;
    }
    recommend();
  }

  controls.addEventListener("change", readControls);
  document.getElementById("limits")?.addEventListener("input", () => {
    readLimits();
    if (view.best >= 0) select(view.best); else decorate();
  });
  document.getElementById("show-recommended").addEventListener("click", () => { if (view.best >= 0) select(view.best); });
  plot.addEventListener("click", (event) => {
    const place = nearest(event);
    if (place >= 0) select(place);
    tip(place);
  });
  plot.addEventListener("pointermove", (event) => tip(nearest(event)));
  plot.addEventListener("pointerleave", () => tip(-1));
  plot.addEventListener("keydown", onKey);
  for (const link of document.querySelectorAll("[data-show]")) {
    link.addEventListener("click", () => {
      select(points.trial.indexOf(Number(link.dataset.show)));
      document.getElementById("explore").scrollIntoView({ block: "start" });
      document.querySelector("#card h3").focus({ preventScroll: true });
    });
  }
  let width = 0;
  new ResizeObserver(() => { if (plot.clientWidth !== width) { width = plot.clientWidth; draw(); } }).observe(plot);
  for (const part of document.querySelectorAll(".needs-script")) part.hidden = false;
  if (document.getElementById("limits")) readLimits(); else recommend();
  readControls();
  if (view.best >= 0) select(view.best);
};
