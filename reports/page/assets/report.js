// The colour scheme, the copy buttons, and the Plotly figures: each is drawn when it comes near the visible part.
(() => {
  "use strict";
  const NEAR_PX = 500, CHECK_MS = 1000, MAX_FAILURES = 3, COPIED_MS = 1500;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 640px)");
  const parse = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "null");
  const templates = parse("templates");
  const scheme = () => document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light");
  const config = {
    responsive: true,
    displaylogo: false,
    // The page sends nothing: Plotly has no upload button and no address to upload to.
    showSendToCloud: false,
    plotlyServerURL: "",
    toImageButtonOptions: { format: "svg" },
  };

  // The page holds Plotly compressed, at a third of its size. It is unpacked when the first figure is needed.
  let library = null;
  function plotly() {
    library ??= unpackPlotly().catch((error) => { library = null; throw error; });
    return library;
  }

  async function unpackPlotly() {
    const packed = document.getElementById("plotly").textContent.trim();
    const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    return globalThis.Plotly;
  }

  function layoutFor(figure) {
    const layout = structuredClone(figure.layout);
    layout.template = templates[scheme()];
    // The key above the figures holds for all of them.
    if (layout.showlegend === undefined) layout.showlegend = false;
    if (narrow.matches && layout.margin) layout.margin.r = Math.min(layout.margin.r ?? 80, 8);
    return layout;
  }

  // A narrow page has no room for the numbers in the cells of some figures.
  function tracesFor(figure) {
    if (!narrow.matches || figure.layout.meta?.narrow_text !== false) return figure.data;
    return figure.data.map((trace) => ({ ...trace, texttemplate: "" }));
  }

  async function draw(plot) {
    const figure = JSON.parse(document.querySelector(`script[data-for="${plot.id}"]`).textContent);
    const Plotly = await plotly();
    // While Plotly was unpacked the reader may have hidden the plot or changed the colour scheme.
    if (!isShown(plot)) return;
    const drawnFor = appearance();
    await Plotly.react(plot, tracesFor(figure), layoutFor(figure), {
      ...config,
      displayModeBar: narrow.matches ? false : "hover",
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    });
    plot.dataset.drawn = drawnFor;
    plot.dataset.state = "drawn";
  }

  // `data-drawn` holds the appearance for which Plotly has finished the plot, `data-state` what happened last.
  const appearance = () => `${scheme()} ${narrow.matches ? "narrow" : "wide"}`;
  const plots = [...document.querySelectorAll(".plot")];
  const isShown = (plot) => plot.getClientRects().length > 0;
  const isOutdated = (plot) => plot.dataset.drawn !== appearance();
  function isNearView(plot) {
    const box = plot.getBoundingClientRect();
    return isShown(plot) && box.bottom > -NEAR_PX && box.top < innerHeight + NEAR_PX;
  }

  // At most one drawing of a plot runs at a time. A failed one is tried again, but not for ever.
  const drawing = new Set(), failures = new Map();
  async function drawOnce(plot) {
    if (drawing.has(plot) || !isOutdated(plot) || (failures.get(plot) ?? 0) >= MAX_FAILURES) return;
    drawing.add(plot);
    plot.dataset.state = "drawing";
    try {
      await draw(plot);
      failures.delete(plot);
    } catch (error) {
      plot.dataset.state = `failed: ${error}`;
      failures.set(plot, (failures.get(plot) ?? 0) + 1);
      console.error(`figure ${plot.id} was not drawn`, error);
    } finally {
      drawing.delete(plot);
    }
    // The appearance may have changed while Plotly drew.
    if (isNearView(plot)) drawOnce(plot);
  }
  const drawNear = () => plots.filter((plot) => isOutdated(plot) && isNearView(plot)).forEach(drawOnce);
  function drawAfterChange() {
    failures.clear();
    drawNear();
  }

  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) failures.delete(entry.target);
    drawNear();
  }, { rootMargin: `${NEAR_PX}px` });
  plots.forEach((plot) => observer.observe(plot));
  // A browser that paints no frame for a while reports no intersection: a timer looks too.
  if (plots.length) setInterval(() => { if (!document.hidden) drawNear(); }, CHECK_MS);

  for (const select of document.querySelectorAll(".choose select")) {
    select.addEventListener("change", () => {
      for (const figure of select.closest("section").querySelectorAll("[data-choice]")) {
        figure.hidden = figure.dataset.choice !== select.value;
      }
      drawAfterChange();
    });
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.(".copy");
    if (!button) return;
    const command = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(command.textContent);
    } catch {
      // A page opened from a file may have no clipboard: the text is selected and the reader copies it.
      command.classList.remove("unseen");
      getSelection().selectAllChildren(command);
      if (!document.execCommand("copy")) return;
    }
    button.textContent = "copied";
    setTimeout(() => { button.textContent = "copy"; }, COPIED_MS);
  });

  const toggle = document.getElementById("scheme");
  const labelToggle = () => { toggle.textContent = scheme() === "dark" ? "light" : "dark"; };
  toggle.addEventListener("click", () => {
    document.documentElement.dataset.theme = scheme() === "dark" ? "light" : "dark";
    labelToggle();
    drawAfterChange();
  });
  toggle.hidden = false;
  labelToggle();

  prefersDark.addEventListener("change", () => { labelToggle(); drawAfterChange(); });
  narrow.addEventListener("change", drawAfterChange);
  addEventListener("beforeprint", () => plots.filter(isShown).forEach(drawOnce));
  const data = parse("data");
  if (data) depthweave.explore(data);
})();
