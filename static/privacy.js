/* Optional comfort: a choice in the banner takes effect without a second page load. All of it works without
   this script, too, through the forms. The server says what was granted, and only that is switched on. */
(() => {
  "use strict";
  const doc = document, here = doc.currentScript;
  const SITE = {};

  // Keys that services left in the browser's storage go, but for those of the services named by the server.
  const keep = here?.dataset.keep;
  for (const name of keep === undefined ? [] : ["localStorage", "sessionStorage"]) {
    const of = (key, stays) => Object.entries(SITE).some(([service, keys]) =>
      keep.split(" ").includes(service) === stays && new RegExp(`^(?:${keys})$`).test(key));
    try {
      const store = window[name];
      for (const key of Object.keys(store)) if (of(key, false) && !of(key, true)) store.removeItem(key);
    } catch { /* closed to the page */ }
  }

  const MARK = "data-consentmw-", OFF = "consentmw-off";
  const again = () => location.replace(location.pathname + location.search); // reload() would send a form again

  // Under Trusted Types a page takes code and its addresses from a named policy only. These come from the
  // page itself, as the server wrote it. Made when needed, since a site may allow no policy of this name.
  let maker;
  function trusted(type, text) {
    if (!type || !window.trustedTypes) return text;
    const as = (value) => value;
    maker ||= trustedTypes.createPolicy("consentmw", { createHTML: as, createScript: as, createScriptURL: as });
    return maker[type.replace("Trusted", "create")](text);
  }
  const put = (element, name, value) => element.setAttribute(name,
    trusted(window.trustedTypes?.getAttributeType(element.localName, name), value));

  // Scripts and frames are made anew: a script runs once, and a frame keeps its place in the history,
  // where going back would find what it loads now even if the page no longer has it.
  function revive(old) {
    const script = old.localName === "script", anew = script || /^i?frame$/.test(old.localName);
    const fresh = anew ? doc.createElement(old.localName) : old;
    if (script) fresh.async = false; // Scripts keep their order, unless they said they need none.
    for (const { name, value } of [...old.attributes]) {
      if (name === MARK + "service" || (script && name === "type") || (name === "name" && value.startsWith(OFF))) continue;
      put(fresh, name.startsWith(MARK) ? name.slice(MARK.length) : name, value);
    }
    if (!anew) {
      for (const name of old.getAttributeNames()) if (name.startsWith(MARK)) old.removeAttribute(name);
      return Promise.resolve();
    }
    if (script && old.nonce) fresh.nonce = old.nonce;
    if (script && old.text) fresh.text = trusted("TrustedScript", old.text);
    const waits = script && fresh.src && !fresh.hasAttribute("async") && !fresh.hasAttribute("defer");
    return new Promise((done) => {
      if (waits) fresh.onload = fresh.onerror = done;
      old.replaceWith(fresh);
      if (!waits) done();
    });
  }

  async function apply(answer) {
    // A policy stays as it was sent with the page: if it still refuses what was allowed now, another page has to come.
    const ours = new URL("../csp", here.src).pathname;
    doc.addEventListener("securitypolicyviolation", (event) => {
      if (event.disposition === "enforce" && event.originalPolicy.includes(ours)) again();
    }, { signal: AbortSignal.timeout(3000) });
    for (const element of doc.querySelectorAll(`[${MARK}service]`)) {
      if (answer.granted.includes(element.getAttribute(MARK + "service"))) await revive(element);
    }
  }

  async function send(form, button) {
    const fields = new URLSearchParams(new FormData(form));
    fields.set(button.name, button.value);
    const answer = await fetch(form.getAttribute("action"), { // form.action is the button of that name
      method: "POST", body: fields, headers: { Accept: "application/json" }, credentials: "same-origin",
    });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  }

  doc.addEventListener("submit", async (event) => {
    const form = event.target, button = event.submitter, banner = form.closest("#consentmw");
    if (!banner || !button || !button.dataset.consentmwAction) return;
    event.preventDefault();
    try {
      const answer = await send(form, button);
      doc.dispatchEvent(new CustomEvent("consentmw", { detail: answer })); // For signals.js and the site.
      if (answer.reload) return again(); // What runs already ends with this page only.
      const note = doc.createElement("p");
      note.className = "cmw-done";
      note.setAttribute("role", "status");
      note.tabIndex = -1;
      note.textContent = answer.message;
      banner.replaceChildren(note);
      note.focus({ preventScroll: true });
      setTimeout(() => banner.remove(), 6000);
      apply(answer).catch(again);
    } catch {
      // The form can do it, too, and its answer explains what went wrong.
      const field = doc.createElement("input");
      field.type = "hidden"; field.name = button.name; field.value = button.value;
      form.append(field);
      HTMLFormElement.prototype.submit.call(form);
    }
  });

  // A page from the back/forward cache may be older than the choice.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
})();
