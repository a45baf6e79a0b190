// Makes a page that was made on the server live: it counts windows down, and
// fetches again what changes. Without it everything is there, as of when the
// page was loaded.
"use strict";

(() => {
  // The server's clock decides when a window ends.
  const now = document.body.dataset.now;
  const ahead = now ? Date.parse(now) - Date.now() : 0;
  const two = (n) => String(n).padStart(2, "0");

  function left(seconds) {
    if (seconds <= 0) return "over";
    const h = Math.floor(seconds / 3600), m = Math.floor(seconds / 60) % 60, s = seconds % 60;
    return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
  }

  function tick() {
    for (const el of document.querySelectorAll("[data-until]")) {
      const seconds = Math.round((Date.parse(el.dataset.until) - Date.now() - ahead) / 1000);
      const text = left(seconds);
      if (el.textContent !== text) el.textContent = text;
      el.classList.toggle("soon", seconds > 0 && seconds < 300);
    }
  }
  tick();
  setInterval(tick, 1000);

  const live = document.getElementById("live");
  const every = Number(live?.dataset.every || 0) * 1000;
  if (!every) return;

  // Our own server made the text, and escaped what machines say.
  const policy = window.trustedTypes?.createPolicy("k8snode", { createHTML: (text) => text });
  const parse = (text) => new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, "text/html");

  // morph makes old like fresh and touches only what differs: what has the focus,
  // is selected or was typed stays.
  function morph(old, fresh) {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(name === "class" && old.dataset.until)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && !(name === "class" && old.dataset.until)) old.setAttribute(name, value);
    }
    if (old.dataset.until) return; // counts by itself
    const kept = new Set([...fresh.children].map((c) => c.id).filter(Boolean));
    let at = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      let match = at;
      if (child.id && (match = [...old.children].find((c) => c.id === child.id))) {
        // What is in between goes first: an element that is moved loses the focus.
        while (at !== match && !kept.has(at.id)) {
          const gone = at;
          at = at.nextSibling;
          gone.remove();
        }
      }
      if (match && match.nodeType === child.nodeType && match.nodeName === child.nodeName && (match.id || "") === (child.id || "")) {
        if (match !== at) old.insertBefore(match, at);
        else at = at.nextSibling;
        if (child.nodeType === Node.ELEMENT_NODE) morph(match, child);
        else if (match.data !== child.data) match.data = child.data;
      } else {
        old.insertBefore(document.importNode(child, true), at);
      }
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  }

  const connection = document.getElementById("connection");
  function say(text) {
    if (connection.textContent !== text) connection.textContent = text;
    connection.hidden = !text;
  }

  let tag = "", failures = 0, timer = 0;

  async function refresh() {
    clearTimeout(timer);
    if (document.hidden) return; // it goes on when somebody looks
    try {
      const headers = { "X-K8snode-Fragment": "1", "Accept": "text/html" };
      if (tag) headers["If-None-Match"] = tag;
      const answer = await fetch(location.href, { headers, cache: "no-store", redirect: "error", signal: AbortSignal.timeout(15000) });
      if (answer.status === 401 || answer.status === 403) {
        say("You are no longer signed in: what is shown stands still. Load the page again.");
        return;
      }
      if (answer.status !== 200 && answer.status !== 304) throw new Error(String(answer.status));
      if (answer.status === 200) {
        tag = answer.headers.get("ETag") || "";
        for (const part of parse(await answer.text()).body.children) {
          const old = document.getElementById(part.id);
          if (old) morph(old, part);
        }
        tick();
      }
      failures = 0;
      say("");
    } catch {
      failures++;
      if (failures > 1) say("The server does not answer: what is shown stands still. Trying again.");
    }
    timer = setTimeout(refresh, every * Math.min(2 ** failures, 10));
  }

  timer = setTimeout(refresh, every);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
})();
