/* Answers advertising companies' tags about the visitor's opt-outs: the __gpp API 1.1 of the Global Privacy Platform.
   It decides nothing: the server says what the answers are, in an attribute of this script's tag and in the
   "consentmw" event. It runs before anything else in the page, so it needs no stub; it stores nothing. */
(() => {
  "use strict";
  const SITE = {};
  const MOST = 100; // listeners of one window
  const LONGEST = 10000; // characters of a message, and a hundredth of it for a name in it
  const LOCATOR = "__gppLocator";
  const tag = document.currentScript?.dataset || {};
  if (!tag.said) return; // Started in a way of its own, it has nothing to answer.
  if (typeof window.__gpp === "function") {
    if (SITE.debug) console.info("consentmw: this page has another __gpp, which is left as it is");
    return;
  }

  let said = tag.said; // As text, so that nobody who was answered can change it.
  let display = "ask" in tag ? "visible" : "disabled";
  let signal = "ready";
  const listeners = new Map();
  let last = 0;

  const sections = () => JSON.parse(said).parsedSections;
  const ping = () => ({
    gppVersion: "1.1", cmpStatus: "loaded", cmpDisplayStatus: display, signalStatus: signal,
    supportedAPIs: [...SITE.apis], cmpId: 1, ...JSON.parse(said), // 1: a CMP without a number of its own
  });
  const event = (eventName, listenerId, data) => ({ eventName, listenerId, data, pingData: ping() });
  const name = (text) => typeof text === "string" && text.length <= LONGEST / 100 ? text : "";

  // Each gives the answer, null for what can't be done. `owner` is the window that asked by a message, or this one.
  const commands = {
    ping,
    addEventListener(_parameter, owner, callback) {
      for (const [id, one] of listeners) if (one.owner.closed) listeners.delete(id); // Its frame is gone.
      const had = [...listeners.values()].filter((one) => one.owner === owner).length;
      if (!callback || had >= MOST) return event("listenerRegistered", 0, false);
      listeners.set(++last, { owner, callback });
      return event("listenerRegistered", last, true);
    },
    removeEventListener(id, owner) {
      const removed = listeners.get(id)?.owner === owner && listeners.delete(id);
      return event("listenerRemoved", Number.isInteger(id) ? id : 0, removed);
    },
    hasSection: (parameter) => name(parameter) ? Object.hasOwn(sections(), parameter) : null,
    getSection(parameter) {
      const found = sections();
      return Object.hasOwn(found, name(parameter)) ? found[parameter] : null;
    },
    getField(parameter) {
      const [section, field, ...more] = name(parameter).split(".");
      const holder = !more.length && commands.getSection(section)?.find((one) => Object.hasOwn(one, field));
      return holder ? holder[field] : null;
    },
  };

  // What a callback throws is its owner's affair: neither the page nor other listeners are to suffer from it.
  function tell(callback, data) {
    try { callback(data, data !== null); } catch (error) { reportError(error); }
  }
  function answer(command, callback, parameter, owner) {
    const heard = typeof callback === "function" ? callback : null;
    const known = typeof command === "string" && Object.hasOwn(commands, command);
    const data = known ? commands[command](parameter, owner, heard) : null;
    if (heard) tell(heard, data);
  }
  function api(command, callback, parameter) { answer(command, callback, parameter, window); }
  window.__gpp = api;

  // A CMP that came later has taken our place: from then on it is the only one to answer.
  const replaced = () => window.__gpp !== api;

  function fire(eventName, data) {
    for (const [id, { callback }] of [...listeners]) {
      if (listeners.has(id)) tell(callback, event(eventName, id, data));
    }
  }
  document.addEventListener("consentmw", ({ detail }) => {
    if (!detail?.gpp?.parsedSections || replaced()) return;
    const before = sections();
    fire("signalStatus", signal = "not ready");
    if (display === "visible") fire("cmpDisplayStatus", display = "hidden");
    said = JSON.stringify(detail.gpp);
    const after = sections();
    for (const section of Object.keys({ ...before, ...after })) {
      if (JSON.stringify(before[section]) !== JSON.stringify(after[section])) fire("sectionChange", section);
    }
    fire("signalStatus", signal = "ready");
  });

  // Frames ask by messages. They may be anybody's, and so may the messages.
  addEventListener("message", ({ data, source, origin }) => {
    const text = typeof data === "string";
    let call = text ? null : data?.__gppCall;
    if (text && data.length <= LONGEST && data.includes("__gppCall")) {
      try { call = JSON.parse(data)?.__gppCall; } catch { return; }
    }
    if (!call || !source || replaced()) return;
    const { command, parameter, callId } = call;
    if (!["string", "number"].includes(typeof callId) || String(callId).length > LONGEST / 100) return;
    answer(command, (returnValue, success) => {
      const sent = { __gppReturn: { returnValue, success, callId } };
      // Only to who asked; a sandboxed frame has no origin to name.
      source.postMessage(text ? JSON.stringify(sent) : sent, origin === "null" ? "*" : origin);
    }, parameter, source);
  });

  // A frame of this name tells frames which window to ask. In the head, which shows nothing, it needs no style.
  if (!window.frames[LOCATOR]) {
    const frame = document.createElement("iframe");
    frame.name = LOCATOR;
    (document.head || document.documentElement).append(frame);
  }
})();
