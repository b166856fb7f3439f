/* Tells the site's own server what happens in a page: links that lead away, files, forms (their names only), time,
   scrolling, routes within the page, goals. Only in the pages of visitors who chose to be measured, and the server
   asks again what they chose. It stores nothing, and says nothing once a choice is made in the page. */
(() => {
  "use strict";
  const doc = document, tag = doc.currentScript;
  if (!tag?.dataset.page || !navigator.sendBeacon) return;
  const address = new URL("../events", tag.src).href;
  const FILE = /\.(7z|avi|csv|docx?|epub|exe|gz|ics|mp[34]|ods|odt|pdf|pptx?|rtf|tar|txt|wav|webm|xlsx?|zip)$/i;
  const MOST = 20, WAIT = 10_000; // events, and milliseconds, after which they are sent
  // Not by the form's own properties: a field called "closest" would stand in their place.
  const { closest, getAttribute } = Element.prototype;
  const own = (element) => closest.call(element, "[data-consentmw]");
  const over = new AbortController(), { signal } = over;
  const on = (target, type, act, more) => target.addEventListener(type, act, { signal, passive: true, ...more });

  let page = tag.dataset.page, path = location.pathname;
  let waiting = [], timer = 0;
  let since = null, spent = 0, left = false, lowest = 0;
  let begun = new WeakSet();

  function note(kind, facts) {
    if (signal.aborted) return;
    waiting.push({ kind, at: performance.now(), ...facts });
    if (waiting.length >= MOST) send();
    else timer ||= setTimeout(send, WAIT);
  }

  function send() {
    clearTimeout(timer);
    timer = 0;
    if (!waiting.length) return;
    const now = performance.now();
    const events = waiting.map(({ at, ...said }) => ({ ...said, ago: Math.round(now - at) }));
    waiting = [];
    const id = [...crypto.getRandomValues(new Uint32Array(4))].map((part) => part.toString(36)).join("-");
    navigator.sendBeacon(address, new Blob([JSON.stringify({ id, page, events })], { type: "application/json" }));
  }

  // Time counts while the page can be seen; it is told whenever it no longer can, which may be the last chance.
  const look = () => { lowest = Math.max(lowest, scrollY + innerHeight); };
  const watch = () => { since ??= performance.now(); };
  function leave() {
    if (since !== null) spent += performance.now() - since;
    since = null;
    const seconds = Math.round(spent / 1000);
    if (seconds || !left) {
      look();
      const depth = Math.min(10, Math.round(10 * lowest / Math.max(1, doc.documentElement.scrollHeight)));
      note("leave", { seconds, depth });
      spent = 0;
      left = true;
    }
    send();
  }

  function moved() {
    if (location.pathname === path) return;
    leave();
    path = page = location.pathname;
    left = false;
    lowest = 0;
    begun = new WeakSet();
    if (!doc.hidden) watch();
    note("route");
  }

  function follow(event) {
    const link = event.target.closest?.("a[href]");
    if (!link || !/^https?:$/.test(link.protocol) || own(link) || (event.button && event.button !== 1)) return;
    const to = link.origin + link.pathname; // what stands in the query is nobody's business
    if (link.hasAttribute("download") || FILE.test(link.pathname)) note("download", { to });
    else if (link.host !== location.host) note("outbound", { to });
  }

  const name = (form) => (getAttribute.call(form, "id") || getAttribute.call(form, "name") || "").slice(0, 100);
  function typed(event) {
    const form = event.target.form;
    if (!(form instanceof HTMLFormElement) || begun.has(form) || own(form)) return;
    begun.add(form);
    note("form_start", { name: name(form) });
  }

  function start() {
    if (!doc.hidden) watch();
    on(doc, "visibilitychange", () => doc.hidden ? leave() : watch());
    on(window, "pagehide", leave);
    on(window, "pageshow", (event) => { if (event.persisted) watch(); });
    on(window, "scroll", look);
    on(doc, "click", follow, { capture: true });
    on(doc, "auxclick", follow, { capture: true });
    on(doc, "input", typed, { capture: true });
    on(doc, "submit", ({ target }) => { if (!own(target)) note("form_submit", { name: name(target) }); }, { capture: true });
    on(doc, "consentmw-goal", ({ detail }) => note("goal", { name: detail?.name, value: detail?.value }));
    if (window.navigation) on(navigation, "currententrychange", moved);
    else {
      on(window, "popstate", moved);
      const push = history.pushState;
      history.pushState = function () { push.apply(this, arguments); moved(); };
    }
  }

  // The server saw a page that was fetched or rendered ahead before anybody looked at it.
  const ahead = doc.prerendering || performance.getEntriesByType("navigation")[0]?.deliveryType === "navigational-prefetch";
  const seen = () => { if (ahead) note("route"); start(); };

  // Whatever was chosen: the next page knows it.
  on(doc, "consentmw", () => { over.abort(); waiting = []; clearTimeout(timer); });
  if (doc.prerendering) on(doc, "prerenderingchange", seen);
  else seen();
})();
