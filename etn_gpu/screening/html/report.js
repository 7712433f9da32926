"use strict";
(() => {
  // Tables: a click on a head sorts by it, another click the other way round; empty fields come last.
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const sort = () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        const key = (row) => {
          const cell = row.cells[column];
          if (cell.dataset.value === undefined) return cell.textContent;
          return cell.dataset.value === "" ? NaN : Number(cell.dataset.value);
        };
        const compare = (a, b) => {
          if (typeof a === "string" || typeof b === "string") return String(a).localeCompare(String(b));
          return a - b;
        };
        const empty = (value) => typeof value === "number" && Number.isNaN(value);
        const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
        rows.sort(([a], [b]) => empty(a) - empty(b) || (down ? -1 : 1) * compare(a, b) || 0);
        rows.forEach(([, row]) => table.tBodies[0].append(row));
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
      };
      head.tabIndex = 0;
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        sort();
      });
    });
  }

  // Plots: the numbers of the structure that is nearest to the pointer.
  const data = document.getElementById("structures");
  if (!data) return;
  const { columns, rows } = JSON.parse(data.textContent);
  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  ring.setAttribute("class", "ring");
  ring.setAttribute("r", "6");

  const line = (name, value) => {
    const item = document.createElement("p");
    item.append(`${name} `, Object.assign(document.createElement("b"), { textContent: value }));
    return item;
  };
  const show = (point, event) => {
    const [formula, ...values] = rows[point.row];
    tip.replaceChildren(Object.assign(document.createElement("h4"), { textContent: formula || "–" }));
    values.forEach((value, i) => {
      if (value !== null) tip.append(line(columns[i][0], `${String(value).replace("-", "−")} ${columns[i][1]}`));
    });
    tip.hidden = false;
    const width = document.documentElement.clientWidth;
    tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, width - tip.offsetWidth - 8))}px`;
    const above = event.clientY - tip.offsetHeight - 14;
    tip.style.top = `${above > 8 ? above : event.clientY + 18}px`;
  };

  for (const drawing of document.querySelectorAll("figure svg[role=img]")) {
    const paths = [...drawing.querySelectorAll("path[data-rows]")];
    if (!paths.length) continue;
    let points = null;
    const read = () =>
      paths.flatMap((path) => {
        const places = path.getAttribute("d").match(/M[^h]+/g) || [];
        const named = path.dataset.rows.split(" ");
        return places.map((place, i) => {
          const [x, y] = place.slice(1).split(" ").map(Number);
          return { x, y, row: Number(named[i]) };
        });
      });
    const hide = () => {
      tip.hidden = true;
      ring.remove();
    };
    drawing.addEventListener("pointermove", (event) => {
      points = points || read();
      const matrix = drawing.getScreenCTM();
      if (!matrix) return;
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
      let best = null;
      let least = 14 * 14;
      for (const point of points) {
        const distance = (point.x - at.x) ** 2 + (point.y - at.y) ** 2;
        if (distance <= least) {
          least = distance;
          best = point;
        }
      }
      if (!best) return hide();
      ring.setAttribute("cx", best.x);
      ring.setAttribute("cy", best.y);
      drawing.append(ring);
      show(best, event);
    });
    drawing.addEventListener("pointerleave", hide);
  }
})();
