"use strict";
// Draws what `state` says, every few seconds, changing only what changed. Shapes tell the states apart, colors help:
// free is hollow, used is solid, held is a triangle, unfit is a cross.
(() => {
  const EVERY = 5000; // Milliseconds between two looks.
  const OPEN = 200; // Nodes up to which every group starts open; beyond, the first groups until so many are drawn.
  const CELL = 7; // One VF with its gap.
  const SHOWN = 16; // VFs of a rail drawn one by one; a rail with more is drawn in proportion.
  const POOLS = 16;
  const WORDS = ["free", "used", "held", "unfit"];
  const MEANS = ["free", "used by pods", "held for pods to come", "unfit for use"];
  const $ = (id) => document.getElementById(id);

  /** An element with properties, attributes (in `at`) and children. */
  const el = (tag, props = {}, ...children) => {
    const { at = {}, ...rest } = props;
    const made = Object.assign(document.createElement(tag), rest);
    for (const [name, value] of Object.entries(at)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const SVG = "http://www.w3.org/2000/svg";
  const svg = (tag, at, ...children) => {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(at)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };
  const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
  const sum = (rows) => rows.reduce((all, row) => all.map((n, i) => n + row[i]), [0, 0, 0, 0]);
  const since = (time) => {
    const seconds = Math.max(0, (Date.now() - Date.parse(time)) / 1000);
    if (!Number.isFinite(seconds) || Date.parse(time) > Date.now()) return "";
    const steps = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    const [size, unit] = steps.find(([size]) => seconds >= size) ?? [1, "s"];
    return `for ${Math.floor(seconds / size)} ${unit}`;
  };

  const shapes = [
    (x, y) => `M${x + .5} ${y + .5}h4v4h-4z`,
    (x, y) => `M${x} ${y}h5v5h-5z`,
    (x, y) => `M${x} ${y + 5}L${x + 5} ${y + 5}L${x + 5} ${y}z`,
    (x, y) => `M${x + .8} ${y + .8}l3.4 3.4M${x + 4.2} ${y + .8}l-3.4 3.4`,
  ];
  const classes = ["f", "u", "h", "x"];

  /** One picture of a node: four paths, however many VFs. */
  const picture = (rails) => {
    const rows = Math.min(SHOWN, Math.max(1, ...rails.map((rail) => rail.reduce((a, b) => a + b, 0))));
    const paths = ["", "", "", ""];
    rails.forEach((rail, column) => {
      const total = rail.reduce((a, b) => a + b, 0);
      const scale = total > SHOWN ? SHOWN / total : 1;
      let row = 0;
      // From the floor up: what is taken, then what cannot be had, then what is free.
      for (const state of [1, 2, 3, 0]) {
        const count = rail[state] === 0 ? 0 : Math.max(1, Math.round(rail[state] * scale));
        for (let n = 0; n < count && row < rows; n += 1, row += 1) {
          paths[state] += shapes[state](column * CELL, (rows - 1 - row) * CELL);
        }
      }
    });
    const width = Math.max(1, rails.length) * CELL - 2;
    const height = rows * CELL - 2;
    const drawn = paths.map((d, state) => (d ? svg("path", { d, class: classes[state] }) : null)).filter(Boolean);
    return svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, ...drawn);
  };

  const meter = (parts, total, label) => {
    const bar = el("span", { className: "meter", at: { role: "img", "aria-label": label } });
    for (const [name, count] of parts) {
      if (count > 0) {
        const part = el("i", { className: name });
        part.style.width = `${(100 * count) / Math.max(1, total)}%`;
        bar.append(part);
      }
    }
    return bar;
  };

  let token = null;
  let tag = null;
  let shown = null; // The state that is drawn.
  let paused = false;
  let chosen = null; // The gang that stays highlighted, by name.
  let pointed = null; // The gang that is pointed at, or has the focus.
  let open = null; // The node that is shown in full, by name.
  let drawnAt = null;
  const nodes = new Map(); // Name to { element, key, cell, group }.
  const groups = new Map(); // Name to { element, key }.

  // What is chosen stands in the address, so that it can be sent to somebody.
  const read = () => {
    const words = new URLSearchParams(location.hash.slice(1));
    chosen = words.get("gang");
    open = words.get("node");
  };
  const write = () => {
    const words = new URLSearchParams(Object.entries({ gang: chosen, node: open }).filter(([, name]) => name));
    history.replaceState(null, "", words.size ? `#${words}` : location.pathname + location.search);
  };

  const ask = async (path) => {
    const headers = {};
    if (token) headers.authorization = `Bearer ${token}`;
    if (tag && path === "state") headers["if-none-match"] = tag;
    return fetch(path, { headers, cache: "no-store", credentials: "same-origin" });
  };

  const trouble = (text) => {
    $("trouble").hidden = !text;
    if ($("trouble").textContent !== text) $("trouble").textContent = text;
  };

  const look = async () => {
    try {
      const answer = await ask("state");
      if (answer.status === 401 || answer.status === 403) {
        $("login").hidden = false;
        trouble(token ? "The API server says that this user may not look." : "");
        return;
      }
      $("login").hidden = true;
      if (answer.status !== 304) {
        const body = await answer.json();
        if (!answer.ok) {
          trouble(body.error ?? `The endpoint answered ${answer.status}.`);
          return;
        }
        tag = answer.headers.get("etag");
        shown = body;
        draw();
      }
      drawnAt = Date.now();
      trouble("");
    } catch (error) {
      trouble(`Pointsman does not answer (${error.message}); what is drawn may be old.`);
    }
  };

  const tick = () => {
    if (drawnAt) {
      const seconds = Math.round((Date.now() - drawnAt) / 1000);
      $("age").textContent = paused ? "paused" : seconds < 8 ? "up to date" : `last answer ${seconds} s ago`;
    }
  };

  const draw = () => {
    drawTotals();
    drawMap();
    drawGangs();
    drawPools();
    drawWaiting();
    drawNode();
    light();
    document.body.dataset.drawn = "yes";
  };

  const drawTotals = () => {
    const cells = shown.groups.flatMap((group) => group.nodes);
    const total = sum(cells.flatMap((cell) => cell.rails));
    const all = total.reduce((a, b) => a + b, 0);
    const waits = shown.waiting.reduce((n, row) => n + row.count, 0) + shown.waitingUnlisted;
    $("summary").textContent = `${plural(cells.length, "node")} in ${plural(shown.groups.length, "leaf group")}, ` +
      `${plural(shown.rails.length, "rail")}, ${plural(all, "VF")}, ${plural(waits, "waiting pod")}`;
    document.title = waits > 0 ? `(${waits}) Pointsman` : "Pointsman";
    const items = WORDS.map((word, state) => {
      const icon = svg("svg", { viewBox: "-.5 -.5 6 6", "aria-hidden": "true" }, svg("path", { d: shapes[state](0, 0), class: classes[state] }));
      return el("li", {}, icon, el("div", {}, el("b", { textContent: total[state].toLocaleString("en") }), el("span", { textContent: MEANS[state] })));
    });
    $("totals").replaceChildren(...items);
  };

  const told = (cell) => {
    const total = sum(cell.rails);
    const counts = WORDS.map((word, state) => (total[state] > 0 ? `${total[state]} ${word}` : "")).filter(Boolean);
    const gangs = [...new Set([...(cell.gangs ?? []), ...(cell.held ?? [])])].map((index) => shown.gangs[index]?.name);
    return [`${cell.name}: VFs ${counts.join(", ")}`, ...(cell.why ?? []), gangs.length ? `gang ${gangs.join(", ")}` : ""].filter(Boolean).join("; ");
  };

  const drawMap = () => {
    const map = $("map");
    const columns = Math.max(1, shown.rails.length);
    map.style.setProperty("--tile", `${Math.min(170, Math.max(78, columns * 10 + 14))}px`);
    const seen = new Set();
    let count = 0;
    let before = null;
    for (const group of shown.groups) {
      const name = group.name || "outside every leaf group";
      seen.add(name);
      let known = groups.get(name);
      if (!known) {
        const summary = el("summary");
        const list = el("div", { className: "nodes", at: { role: "group", "aria-label": `Nodes of ${name}` } });
        const element = el("details", { className: "group" }, summary, list);
        element.open = count === 0 || count + group.nodes.length <= OPEN;
        // A closed group has no nodes in the document: what is not seen is not drawn.
        element.addEventListener("toggle", () => drawGroup(known));
        known = { element, summary, list, name };
        groups.set(name, known);
      }
      count += group.nodes.length;
      known.group = group;
      drawGroup(known);
      const next = before ? before.nextSibling : map.firstChild;
      if (known.element !== next) map.insertBefore(known.element, next);
      before = known.element;
    }
    for (const [name, known] of groups) {
      if (!seen.has(name)) {
        known.element.remove();
        groups.delete(name);
      }
    }
    if (shown.groups.length === 0) {
      map.replaceChildren(el("p", { className: "empty", textContent: "No node offers a VF that a network attaches." }));
    }
  };

  const drawGroup = (known) => {
    const { group, summary, list, element, name } = known;
    const total = sum(group.nodes.flatMap((cell) => cell.rails));
    const all = total.reduce((a, b) => a + b, 0);
    const key = JSON.stringify([total, group.nodes.length]);
    if (known.key !== key) {
      known.key = key;
      const whole = group.nodes.filter((cell) => cell.rails.every(([, used, held, unfit]) => used + held + unfit === 0)).length;
      const label = WORDS.map((word, state) => `${total[state]} ${word}`).join(", ");
      summary.replaceChildren(
        el("b", { textContent: name }),
        el("span", { textContent: `${plural(group.nodes.length, "node")}, ${whole} whole, ${total[0].toLocaleString("en")} of ${plural(all, "VF")} free` }),
        meter([["used", total[1]], ["held", total[2]], ["unfit", total[3]]], all, label),
      );
    }
    const present = new Set();
    if (element.open) {
      let before = null;
      for (const cell of group.nodes) {
        present.add(cell.name);
        const tile = drawTile(cell, known);
        const next = before ? before.nextSibling : list.firstChild;
        if (tile !== next) list.insertBefore(tile, next);
        before = tile;
      }
    }
    for (const tile of [...list.children]) {
      if (!present.has(tile.dataset.node)) {
        nodes.delete(tile.dataset.node);
        tile.remove();
      }
    }
    if (element.open && !list.querySelector('[tabindex="0"]')) list.firstChild?.setAttribute("tabindex", "0");
    light();
  };

  const drawTile = (cell, group) => {
    let known = nodes.get(cell.name);
    if (!known) {
      const element = el("button", { className: "node", type: "button", at: { tabindex: "-1", "data-node": cell.name } });
      known = { element };
      nodes.set(cell.name, known);
    }
    const key = JSON.stringify(cell);
    if (known.key !== key) {
      known.key = key;
      const name = el("span", {}, cell.name);
      if (cell.why?.length) name.prepend(el("span", { className: "flag", textContent: "! " }));
      known.element.replaceChildren(name, picture(cell.rails));
      known.element.setAttribute("aria-label", told(cell));
      known.element.title = told(cell);
    }
    known.cell = cell;
    known.group = group;
    return known.element;
  };

  const light = () => {
    if (!shown) return;
    const name = pointed ?? chosen;
    const index = shown.gangs.findIndex((gang) => `${gang.namespace}/${gang.name}` === name);
    $("map").classList.toggle("lit", index >= 0);
    const inGang = (cell) => index >= 0 && ((cell.gangs ?? []).includes(index) || (cell.held ?? []).includes(index));
    for (const { element, cell } of nodes.values()) element.classList.toggle("hit", inGang(cell));
    for (const { element, group } of groups.values()) element.classList.toggle("hit", group.nodes.some(inGang));
  };

  const drawGangs = () => {
    const rows = shown.gangs.filter((gang) => gang.placed + gang.waiting > 0).sort((a, b) => b.waiting - a.waiting || b.placed - a.placed);
    const keep = document.activeElement?.dataset?.gang;
    const items = rows.slice(0, 60).map((gang) => {
      const name = `${gang.namespace}/${gang.name}`;
      const of = gang.size ? ` of ${gang.size}` : "";
      const parts = [gang.waiting ? `${gang.waiting} waiting` : "", gang.held ? `${plural(gang.held, "place")} held` : "", gang.domains.length ? `in ${gang.domains.join(", ")}` : ""];
      const button = el("button", { type: "button", at: { "data-gang": name, "aria-pressed": String(chosen === name) } },
        el("b", { textContent: name }), el("span", { textContent: `${gang.placed}${of} placed` }),
        el("small", { textContent: parts.filter(Boolean).join("; ") || "nowhere yet" }));
      return el("li", {}, button);
    });
    if (rows.length > 60) items.push(el("li", { className: "empty", textContent: `and ${rows.length - 60} more` }));
    if (!items.length) items.push(el("li", { className: "empty", textContent: "No gang runs or waits." }));
    $("gangs").replaceChildren(...items);
    if (keep) [...$("gangs").querySelectorAll("button")].find((button) => button.dataset.gang === keep)?.focus();
  };

  const drawPools = () => {
    const left = (pool) => (pool.problem ? -1 : pool.free - pool.promised);
    const scarce = (pool) => (pool.problem ? -1 : left(pool) / Math.max(1, pool.size));
    const rows = [...shown.pools].sort((a, b) => scarce(a) - scarce(b));
    const items = rows.slice(0, POOLS).map((pool) => {
      const used = pool.size - pool.free;
      const text = pool.problem ?? `${left(pool)} of ${pool.size} free${pool.promised ? `, ${pool.promised} promised` : ""}`;
      const note = el("small", {}, el("span", { className: left(pool) <= 0 ? "bad" : "", textContent: text }));
      return el("li", {}, el("span", { className: "name", textContent: pool.name }),
        meter([["used", used], ["held", pool.promised]], pool.size, `${pool.name}: ${used} used, ${pool.promised} promised, ${left(pool)} free`), note);
    });
    if (rows.length > POOLS) items.push(el("li", { className: "more empty", textContent: `and ${plural(rows.length - POOLS, "pool")} with more room` }));
    if (!items.length) items.push(el("li", { className: "more empty", textContent: "There is no SpiderIPPool." }));
    $("pools").replaceChildren(...items);
  };

  let waitingKey = "";
  const drawWaiting = () => {
    // An answer that somebody reads stays until the reasons change.
    const key = JSON.stringify([shown.waiting, shown.waitingUnlisted]);
    if (key === waitingKey) return;
    waitingKey = key;
    const rows = shown.waiting.map((row) => {
      const [first, ...others] = row.pods;
      const more = row.count > 1 ? ` and ${plural(row.count - 1, "other")}` : "";
      const title = el("h3", {}, `${row.namespace}/${first}`, el("small", { textContent: `${more} ${since(row.since)}` }));
      title.title = others.join(", ");
      const article = el("article", {}, title);
      if (row.fits) {
        article.append(el("p", { className: "empty", textContent: "Fits now: the scheduler has not come to it yet." }));
        return article;
      }
      const reasons = row.reasons.map((reason) => el("li", {}, `${reason.reason} (${plural(reason.nodes, "node")})`, el("div", { className: "detail", textContent: reason.detail })));
      article.append(el("ul", { className: "reasons" }, ...reasons));
      const main = row.reasons[0];
      if (main) article.append(el("p", { className: "remedy" }, el("b", { textContent: "What helps: " }), main.remedy));
      const button = el("button", { type: "button", textContent: "What would let it run?", at: { "aria-label": `What would let ${first} run?` } });
      const answer = el("div", { at: { "aria-live": "polite" } });
      button.addEventListener("click", () => explain(row.namespace, first, button, answer));
      article.append(button, answer);
      return article;
    });
    if (shown.waitingUnlisted > 0) rows.push(el("p", { className: "empty", textContent: `and ${plural(shown.waitingUnlisted, "more pod")} of further kinds` }));
    if (!rows.length) rows.push(el("p", { className: "empty", textContent: "Nobody waits." }));
    $("waiting-body").replaceChildren(...rows);
  };

  const explain = async (namespace, pod, button, place) => {
    button.disabled = true;
    try {
      const answer = await ask(`explain?namespace=${encodeURIComponent(namespace)}&pod=${encodeURIComponent(pod)}`);
      const body = await answer.json();
      if (!answer.ok) throw new Error(body.error ?? answer.status);
      const ways = [body.smallestChange, ...body.otherChanges].map((way) => way.join("; "));
      const lead = !body.waiting ? "It fits now." : body.changeTried ? "It would run with:" : "What is known to help:";
      const list = ways.filter(Boolean).map((way, index) => el("li", { textContent: index ? `or: ${way}` : way }));
      place.replaceChildren(el("div", { className: "answer" }, el("b", { textContent: lead }), el("ul", {}, ...list)));
    } catch (error) {
      place.replaceChildren(el("p", { className: "empty", textContent: error.message }));
    } finally {
      button.disabled = false;
    }
  };

  const drawNode = () => {
    const known = open && shown.groups.flatMap((group) => group.nodes).find((cell) => cell.name === open);
    $("node").hidden = !known;
    for (const { element, cell } of nodes.values()) element.setAttribute("aria-current", String(cell.name === open));
    if (!known) return;
    $("node-title").textContent = known.name;
    const rows = known.rails.map((rail, index) => el("tr", {}, el("td", { textContent: shown.rails[index] }), ...rail.map((count) => el("td", { textContent: count || "–" }))));
    const head = el("tr", {}, ...["Rail", ...WORDS].map((text) => el("th", { textContent: text, at: { scope: "col" } })));
    const parts = [el("table", {}, el("thead", {}, head), el("tbody", {}, ...rows))];
    for (const why of known.why ?? []) parts.unshift(el("p", { className: "remedy", textContent: `! ${why}` }));
    const names = (list) => (list ?? []).map((index) => `${shown.gangs[index]?.namespace}/${shown.gangs[index]?.name}`).join(", ");
    if (known.gangs?.length) parts.push(el("p", { className: "remedy" }, el("b", { textContent: "Gangs: " }), names(known.gangs)));
    if (known.held?.length) parts.push(el("p", { className: "remedy" }, el("b", { textContent: "Held for: " }), names(known.held)));
    $("node-body").replaceChildren(...parts);
  };

  $("map").addEventListener("click", (event) => {
    const tile = event.target.closest(".node");
    if (!tile) return;
    open = open === tile.dataset.node ? null : tile.dataset.node;
    write();
    drawNode();
    if (open && event.detail === 0) $("node-title").focus();
  });
  $("map").addEventListener("keydown", (event) => {
    const tile = event.target.closest?.(".node");
    if (!tile) return;
    const all = [...tile.parentNode.children];
    const here = all.indexOf(tile);
    const across = all.filter((other) => other.offsetTop === all[0].offsetTop).length;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across, Home: -here, End: all.length - 1 - here };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const next = all[Math.min(all.length - 1, Math.max(0, here + steps[event.key]))];
    tile.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });
  const gangOf = (event) => event.target.closest?.("[data-gang]")?.dataset.gang ?? null;
  for (const [type, point] of [["mouseover", gangOf], ["mouseleave", () => null], ["focusin", gangOf], ["focusout", () => null]]) {
    $("gangs").addEventListener(type, (event) => { pointed = point(event); light(); });
  }
  $("gangs").addEventListener("click", (event) => {
    const name = gangOf(event);
    if (!name) return;
    chosen = chosen === name ? null : name;
    write();
    drawGangs();
    light();
  });
  $("pause").addEventListener("click", () => {
    paused = !paused;
    $("pause").setAttribute("aria-pressed", String(paused));
    $("pause").textContent = paused ? "Go on" : "Pause";
    tick();
  });
  $("login").addEventListener("submit", (event) => {
    event.preventDefault();
    token = $("token").value.trim() || null;
    $("token").value = "";
    look();
  });

  window.addEventListener("hashchange", () => {
    read();
    if (shown) draw();
  });

  const turn = async () => {
    if (!paused && !document.hidden) await look();
    setTimeout(turn, EVERY);
  };
  read();
  setInterval(tick, 1000);
  turn();
})();
