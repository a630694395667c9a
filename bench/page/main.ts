// The page's script: draws now, and again when the width changes or the page is printed.
import type { Chart } from "../charts.ts";
import { draw } from "./draw.ts";

const charts = JSON.parse(document.getElementById("charts")?.textContent ?? "[]") as readonly Chart[];
const drawn = new Map<Element, number>();

function drawAll(): void {
  for (const chart of charts) {
    const place = document.getElementById(`chart-${chart.id}`);
    if (place === null) continue;
    const width = Math.round(place.clientWidth);
    if (width === 0 || drawn.get(place) === width) continue;
    drawn.set(place, width);
    place.replaceChildren(draw(chart, width));
  }
}

drawAll();
addEventListener("resize", drawAll);
addEventListener("beforeprint", drawAll);
