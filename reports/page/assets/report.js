// Colour scheme, copying, and the figures below the front: each is drawn when it comes into view.
(() => {
  "use strict";
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 640px)");
  const parse = (id) => JSON.parse(document.getElementById(id)?.textContent ?? "null");
  const templates = parse("templates");
  const scheme = () => document.documentElement.dataset.theme ?? (prefersDark.matches ? "dark" : "light");
  const config = {
    responsive: true,
    displaylogo: false,
    // Nothing leaves the page: no upload, and no address to upload to.
    showSendToCloud: false,
    plotlyServerURL: "",
    toImageButtonOptions: { format: "svg" },
  };

  // Plotly travels compressed, a third of its size, and is unpacked when the first figure is wanted.
  let unpacked = null;
  function plotly() {
    unpacked ??= (async () => {
      const packed = document.getElementById("plotly").textContent.trim();
      const bytes = Uint8Array.from(atob(packed), (sign) => sign.charCodeAt(0));
      const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
      const script = document.createElement("script");
      script.textContent = await new Response(stream).text();
      document.head.append(script);
      return globalThis.Plotly;
    })();
    return unpacked;
  }

  function layoutFor(figure) {
    const layout = structuredClone(figure.layout);
    layout.template = templates[scheme()];
    // One key above the figures serves them all.
    if (layout.showlegend === undefined) layout.showlegend = false;
    if (narrow.matches) {
      if (layout.margin) layout.margin.r = Math.min(layout.margin.r ?? 80, 8);
      // A long title beside a narrow plot would leave no room for the plot.
      if (layout.meta?.narrow_left && layout.margin) layout.margin.l = layout.meta.narrow_left;
    }
    return layout;
  }

  async function draw(plot) {
    const figure = JSON.parse(document.querySelector(`script[data-for="${plot.id}"]`).textContent);
    const library = await plotly();
    plot.dataset.drawn = scheme() + narrow.matches;
    return library.react(plot, figure.data, layoutFor(figure), {
      ...config,
      displayModeBar: narrow.matches ? false : "hover",
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    });
  }

  const plots = [...document.querySelectorAll(".plot")];
  const waiting = (plot) => !plot.closest("[hidden]") && plot.dataset.drawn !== scheme() + narrow.matches;
  const near = new Set();
  const drawNear = () => Promise.all(plots.filter((plot) => near.has(plot) && waiting(plot)).map(draw));
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) entry.isIntersecting ? near.add(entry.target) : near.delete(entry.target);
    drawNear();
  }, { rootMargin: "500px" });
  plots.forEach((plot) => observer.observe(plot));

  for (const select of document.querySelectorAll(".choose select")) {
    select.addEventListener("change", () => {
      for (const figure of select.closest("section").querySelectorAll("[data-choice]")) {
        figure.hidden = figure.dataset.choice !== select.value;
      }
      drawNear();
    });
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.(".copy");
    if (!button) return;
    const command = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(command.textContent);
    } catch {
      // A page opened from a file may lack the clipboard: select the text, the reader presses the key.
      command.classList.remove("unseen");
      getSelection().selectAllChildren(command);
      if (!document.execCommand("copy")) return;
    }
    const told = button.textContent;
    button.textContent = "copied";
    setTimeout(() => { button.textContent = told === "copied" ? "copy" : told; }, 1500);
  });

  const toggle = document.getElementById("scheme");
  const nameToggle = () => { toggle.textContent = scheme() === "dark" ? "light" : "dark"; };
  toggle.addEventListener("click", () => {
    document.documentElement.dataset.theme = scheme() === "dark" ? "light" : "dark";
    nameToggle();
    drawNear();
  });
  toggle.hidden = false;
  nameToggle();

  prefersDark.addEventListener("change", () => { nameToggle(); drawNear(); });
  narrow.addEventListener("change", drawNear);
  addEventListener("beforeprint", () => plots.filter(waiting).forEach(draw));
  const data = parse("data");
  if (data) depthweave.explore(data);
})();
