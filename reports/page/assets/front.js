// The interactive front. `view` holds every choice of the reader, and the drawing depends on nothing else.
depthweave.explore = (data) => {
  "use strict";
  const { element } = depthweave;
  const access = depthweave.pointData(data);
  const { points, columns, all, isComplete, valueOf } = access;
  const frontPlot = depthweave.frontPlot(data, access);
  const drawOverlay = depthweave.frontOverlay(access, frontPlot);
  const recommend = depthweave.recommendation(data, access);
  const showCard = depthweave.card(data);
  const plot = document.getElementById("front-plot"), controls = document.getElementById("front-controls");
  const narrow = matchMedia("(max-width: 640px)");
  const CLICK_RADIUS_PX = 18, MEMBER_BONUS_PX = 4;
  const view = { x: "", y: "", colour: "", logX: false, logY: false, hidden: new Set(), limits: {}, selected: -1, best: -1 };
  let scene = { positions: [], front: [] };

  const passesFilters = (point) =>
    ["fusion", "family", "depth", "budget", "state"].every((name) => !view.hidden.has(`${name}=${points[name][point]}`));

  function draw() {
    const size = { width: plot.clientWidth || 700, height: narrow.matches ? 340 : 500, isNarrow: narrow.matches };
    const shown = all.filter((point) =>
      passesFilters(point) && valueOf(view.x, point) !== null && valueOf(view.y, point) !== null);
    scene = frontPlot.sceneOf(view, shown, size);
    const picture = frontPlot.drawBase(scene);
    plot.querySelector(".points")?.remove();
    plot.prepend(picture);
    redrawOverlay();
    document.getElementById("front-status").textContent =
      `${shown.length.toLocaleString("en")} of ${all.length.toLocaleString("en")} points are shown, ${scene.front.length} of them on the front of these two axes.`;
  }

  function redrawOverlay() {
    const picture = drawOverlay(scene, view);
    plot.querySelector(".overlay")?.remove();
    plot.querySelector(".points").after(picture);
  }

  function select(point) {
    view.selected = point;
    showCard(point);
    redrawOverlay();
  }

  // The point under the pointer, or -1. A member of the front wins against a faint point that is as near.
  function pointAt(event) {
    const frame = plot.getBoundingClientRect(), x = event.clientX - frame.left, y = event.clientY - frame.top;
    const members = new Set(scene.front);
    let nearest = -1, least = CLICK_RADIUS_PX;
    for (const [point, px, py] of scene.positions) {
      const distance = Math.hypot(px - x, py - y) - (members.has(point) ? MEMBER_BONUS_PX : 0);
      if (distance < least) { least = distance; nearest = point; }
    }
    return nearest;
  }

  function showTip(point) {
    const tip = document.getElementById("front-tip");
    tip.hidden = point < 0;
    if (point < 0) return;
    const rows = [view.x, view.y, view.colour].filter(Boolean)
      .map((name) => element("div", {}, `${columns[name].short} ${points.texts[name][point]}`));
    const status = isComplete(point) ? points.certainty[point] : points.outcome[point].split(":")[0];
    tip.replaceChildren(element("b", {}, points.full_name[point]), ...rows, element("div", { class: "quiet" }, status));
    const [, px, py] = scene.positions.find((position) => position[0] === point);
    tip.style.left = `${Math.max(0, Math.min(plot.clientWidth - tip.offsetWidth, px + 14))}px`;
    tip.style.top = `${Math.max(0, py - tip.offsetHeight - 8)}px`;
  }

  function onKey(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 };
    if (event.key in steps) {
      const alongFront = ["ArrowRight", "ArrowLeft"].includes(event.key);
      const order = alongFront ? scene.front
        : scene.positions.slice().sort((a, b) => a[1] - b[1] || a[2] - b[2]).map((position) => position[0]);
      if (!order.length) return;
      const current = order.indexOf(view.selected);
      select(order[current < 0 ? 0 : (current + steps[event.key] + order.length) % order.length]);
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
    const unticked = [...controls.querySelectorAll("[data-filter]")].filter((input) => !input.checked);
    view.hidden = new Set(unticked.map((input) => `${input.dataset.filter}=${input.value}`));
    draw();
  }

  function readLimits() {
    view.limits = {};
    for (const slider of document.querySelectorAll("[data-limit]")) {
      const limit = data.limits[slider.dataset.limit][Number(slider.value)];
      const text = limit ? `at most ${limit[1]}` : "no limit";
      slider.closest("label").querySelector("output").textContent = text;
      slider.setAttribute("aria-valuetext", text);
      if (limit) view.limits[slider.dataset.limit] = limit;
    }
    const { best, sentence } = recommend(view.limits);
    view.best = best;
    document.getElementById("recommendation").textContent = sentence;
    document.getElementById("show-recommended").hidden = best < 0;
  }

  controls.addEventListener("change", readControls);
  document.getElementById("limits")?.addEventListener("input", () => {
    readLimits();
    if (view.best >= 0) select(view.best); else redrawOverlay();
  });
  document.getElementById("show-recommended").addEventListener("click", () => { if (view.best >= 0) select(view.best); });
  plot.addEventListener("click", (event) => {
    const point = pointAt(event);
    if (point >= 0) select(point);
    showTip(point);
  });
  plot.addEventListener("pointermove", (event) => showTip(pointAt(event)));
  plot.addEventListener("pointerleave", () => showTip(-1));
  plot.addEventListener("keydown", onKey);
  for (const link of document.querySelectorAll("[data-show]")) {
    link.addEventListener("click", () => {
      select(points.trial.indexOf(Number(link.dataset.show)));
      document.getElementById("explore").scrollIntoView({ block: "start" });
      document.querySelector("#card h3").focus({ preventScroll: true });
    });
  }
  let drawnWidth = 0;
  new ResizeObserver(() => {
    if (plot.clientWidth !== drawnWidth) { drawnWidth = plot.clientWidth; draw(); }
  }).observe(plot);
  for (const part of document.querySelectorAll(".needs-script")) part.hidden = false;
  readLimits();
  readControls();
  if (view.best >= 0) select(view.best);
};
