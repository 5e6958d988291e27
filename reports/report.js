// Draws the figures for the reader's colour scheme and width, again when either changes.
(() => {
  "use strict";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 640px)");
  const store = document.getElementById("templates");
  const templates = store ? JSON.parse(store.textContent) : null;
  const config = {
    responsive: true,
    displaylogo: false,
    // Nothing leaves the page: no upload, and no address to upload to.
    showSendToCloud: false,
    plotlyServerURL: "",
    toImageButtonOptions: { format: "svg" },
  };

  function layoutFor(figure) {
    const layout = structuredClone(figure.layout);
    layout.template = dark.matches ? templates.dark : templates.light;
    // One key above the figures serves them all.
    if (layout.showlegend === undefined) layout.showlegend = false;
    if (narrow.matches) {
      // Labels were placed for a wide plot: on a narrow one they would cover each other.
      delete layout.annotations;
      if (layout.margin) layout.margin.r = Math.min(layout.margin.r ?? 80, 8);
      if (layout.scene) shrinkScene(layout);
    }
    return layout;
  }

  function shrinkScene(layout) {
    layout.height = 400;
    for (const axis of ["xaxis", "yaxis", "zaxis"]) {
      layout.scene[axis].title.font = { size: 10 };
      layout.scene[axis].tickfont = { size: 9 };
    }
    const eye = layout.scene.camera.eye;
    for (const axis of ["x", "y", "z"]) eye[axis] *= 1.3;
  }

  function draw(plot) {
    const source = document.querySelector(`script[data-for="${plot.id}"]`);
    const figure = JSON.parse(source.textContent);
    return Plotly.react(plot, figure.data, layoutFor(figure), {
      ...config,
      displayModeBar: narrow.matches ? false : "hover",
      modeBarButtons: [figure.layout.scene
        ? ["toImage", "orbitRotation", "pan3d", "resetCameraDefault3d"]
        : ["toImage", "zoom2d", "pan2d", "resetScale2d"]],
    });
  }

  const shown = () => [...document.querySelectorAll(".plot")].filter((plot) => !plot.closest("[hidden]"));
  const drawAll = () => { if (templates) shown().forEach(draw); };

  for (const select of document.querySelectorAll(".choose select")) {
    select.addEventListener("change", () => {
      for (const figure of select.closest("section").querySelectorAll("[data-choice]")) {
        figure.hidden = figure.dataset.choice !== select.value;
      }
      drawAll();
    });
  }

  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      const command = button.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(command.textContent);
      } catch {
        // A page opened from a file may lack the clipboard: select the text, the reader presses the key.
        getSelection().selectAllChildren(command);
        if (!document.execCommand("copy")) return;
      }
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
  }

  dark.addEventListener("change", drawAll);
  narrow.addEventListener("change", drawAll);
  drawAll();
})();
