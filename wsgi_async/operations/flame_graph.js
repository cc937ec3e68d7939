"use strict";
(() => {
  const page = document.documentElement;
  const graph = page.querySelector("#graph");
  const detail = page.querySelector("#detail");
  const SVG = "http://www.w3.org/2000/svg";
  const make = (name, parent) => parent.appendChild(document.createElementNS(SVG, name));

  // What a frame called follows it, as far as it is deeper.
  const path = [];
  const frames = [...graph.children].map((element, index) => {
    const told = element.querySelector("title").textContent;
    const depth = element.y.baseVal.value / 20;
    const name = told.split("\n")[0];
    const parts = /^(.*) \((.*)\)$/.exec(name) || [name, name, ""];
    const frame = {element, index, depth, told, name, function: parts[1], where: parts[2],
      x: parseFloat(element.getAttribute("x")), w: parseFloat(element.getAttribute("width")),
      parent: path[depth - 1] || null, end: index + 1, text: element.querySelector("text"),
      children: []};
    path.length = depth;
    path.push(frame);
    for (const each of path) each.end = index + 1;
    if (frame.parent) frame.parent.children.push(frame);
    return frame;
  });
  const all = frames[0];
  let zoomed = all;
  let current = all;
  let hits = null;

  const probe = make("text", graph);
  probe.textContent = "0".repeat(100);
  const glyph = probe.getComputedTextLength() / 100 || 7.2;
  probe.remove();

  const write = (frame, width) => {
    const room = Math.floor((graph.width.baseVal.value * width / 100 - 10) / glyph);
    if (room < 2) {
      if (frame.text) frame.text.remove();
      frame.text = null;
      return;
    }
    if (!frame.text) {
      frame.text = make("text", frame.element);
      frame.text.setAttribute("x", 6);
      frame.text.setAttribute("y", 14);
    }
    const whole = frame.function.length <= room;
    frame.text.textContent = whole ? frame.function : frame.function.slice(0, room - 1) + "…";
    const left = room - frame.function.length - 1;
    if (whole && frame.where && left > 5) {
      const where = make("tspan", frame.text);
      where.setAttribute("class", "where");
      where.textContent = " " + (frame.where.length <= left ? frame.where
        : "…" + frame.where.slice(frame.where.length - left + 1));
    }
  };

  const draw = () => {
    const above = new Set();
    for (let frame = zoomed.parent; frame; frame = frame.parent) above.add(frame);
    for (const frame of frames) {
      const inside = frame.index >= zoomed.index && frame.index < zoomed.end;
      const isAbove = above.has(frame);
      frame.element.style.display = inside || isAbove ? "" : "none";
      if (!inside && !isAbove) continue;
      const width = isAbove ? 100 : Math.min(100, frame.w / zoomed.w * 100);
      const x = isAbove ? 0 : Math.max(0, (frame.x - zoomed.x) / zoomed.w * 100);
      frame.element.setAttribute("x", x + "%");
      frame.element.setAttribute("width", width + "%");
      frame.element.classList.toggle("past", isAbove);
      write(frame, width);
    }
  };

  const tell = frame => { detail.textContent = frame ? frame.told.replaceAll("\n", "  ·  ") : standing(); };

  const standing = () => {
    if (hits) {
      // A hit inside another one is counted with that.
      let sum = 0, end = 0;
      for (const frame of frames)
        if (hits.has(frame) && frame.index >= end) { sum += frame.w; end = frame.end; }
      return `${hits.size} frame${hits.size === 1 ? "" : "s"} found, in ${Math.min(100, sum).toFixed(1)} % of the time`;
    }
    return zoomed === all ? "Click on a frame to zoom in; arrow keys, Enter and Esc do the same"
      : zoomed.told.replaceAll("\n", "  ·  ");
  };

  const zoom = frame => {
    zoomed = frame;
    draw();
    tell(null);
  };

  const go = frame => {
    if (!frame) return;
    current.element.setAttribute("tabindex", -1);
    current = frame;
    frame.element.setAttribute("tabindex", 0);
    frame.element.focus();
  };

  const search = text => {
    let test = null;
    if (text) {
      const small = text.toLowerCase();
      test = name => name.toLowerCase().includes(small);
      try {
        const pattern = new RegExp(text, "i");
        const plain = test;
        test = name => pattern.test(name) || plain(name);
      } catch { /* it is no regular expression: the text itself is looked for */ }
    }
    hits = test && new Set(frames.filter(frame => frame !== all && test(frame.name)));
    page.classList.toggle("searching", Boolean(hits));
    for (const frame of frames) frame.element.classList.toggle("hit", Boolean(hits && hits.has(frame)));
    tell(null);
  };

  const box = make("foreignObject", page);
  for (const [key, value] of Object.entries({class: "tools", x: "64%", y: 84, width: "35%", height: 34}))
    box.setAttribute(key, value);
  const input = document.createElementNS("http://www.w3.org/1999/xhtml", "input");
  input.type = "search";
  input.placeholder = "Search ( / )";
  input.setAttribute("aria-label", "Search for frames");
  input.addEventListener("input", () => search(input.value));
  box.appendChild(input);

  for (const frame of frames) {
    const {element} = frame;
    element.setAttribute("tabindex", frame === all ? 0 : -1);
    element.setAttribute("role", "button");
    element.addEventListener("click", () => { zoom(frame); go(frame); });
    element.addEventListener("mouseenter", () => tell(frame));
    element.addEventListener("mouseleave", () => tell(null));
    element.addEventListener("focus", () => tell(frame));
  }
  for (const element of page.querySelectorAll(".own")) {
    const name = element.querySelector("title").textContent.split("\n")[0];
    const look = () => {
      input.value = input.value === name ? "" : name;
      search(input.value);
    };
    element.setAttribute("tabindex", 0);
    element.setAttribute("role", "button");
    element.addEventListener("click", look);
    element.addEventListener("keydown", event => { if (event.key === "Enter") look(); });
  }

  const visible = frame => frame.element.style.display !== "none";
  const beside = step => {
    for (let at = current.index + step; at >= 0 && at < frames.length; at += step)
      if (frames[at].depth === current.depth && visible(frames[at])) return frames[at];
    return null;
  };
  const keys = {
    ArrowUp: () => go(current.parent),
    ArrowDown: () => go(current.children.find(visible)),
    ArrowLeft: () => go(beside(-1)),
    ArrowRight: () => go(beside(1)),
    Enter: () => zoom(current),
    " ": () => zoom(current),
  };
  graph.addEventListener("keydown", event => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  page.addEventListener("keydown", event => {
    if (event.key === "/" && event.target !== input) {
      event.preventDefault();
      input.focus();
    } else if (event.key === "Escape") {
      if (hits) { input.value = ""; search(""); } else zoom(all);
    }
  });
  addEventListener("resize", draw);

  page.classList.add("live");
  draw();
  tell(null);
})();
