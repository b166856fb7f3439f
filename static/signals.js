/* Tells the vendors' tags what was decided: before any of them can run, and again when a choice is made.
   It decides nothing: the server says what was granted, in the attributes of this script's tag and in the
   "consentmw" event. It stores nothing and asks nobody for anything. */
(() => {
  "use strict";
  const SITE = {};
  const tag = document.currentScript?.dataset || {}; // Started in a way of its own, it says no to all.
  const words = (text) => (text || "").split(" ").filter(Boolean);
  let now = { granted: words(tag.runs), signals: words(tag.signals), limits: words(tag.limits) };

  const runs = (service) => now.granted.includes(service);
  const limited = (word) => now.limits.includes(word);
  const state = (signal) => now.signals.includes(signal) ? "granted" : "denied";
  const SIGNALS = ["ad_storage", "ad_user_data", "ad_personalization", "analytics_storage",
    "functionality_storage", "personalization_storage", "security_storage"];
  const done = new Set();
  const once = (what, act) => { if (!done.has(what)) { done.add(what); act(); } };

  // Google reads the arguments object itself from the data layer; an array would not do.
  function gtag() { (window.dataLayer = window.dataLayer || []).push(arguments); }

  const vendors = {
    google(kind) {
      // Holds a tag back that hides in the site's own bundle. It has to be said before anything else.
      if (SITE.ga) window["ga-disable-" + SITE.ga] = !runs("google_analytics");
      gtag("consent", kind, Object.fromEntries(SIGNALS.map((signal) => [signal, state(signal)])));
      if (kind === "default") {
        if (limited("regions")) {
          // Where Google finds the visitor in one of these, the closer default counts. It only takes away.
          const denied = Object.fromEntries(SIGNALS.slice(0, -1).map((signal) => [signal, "denied"]));
          gtag("consent", "default", { ...denied, region: SITE.regions });
        }
        gtag("set", "ads_data_redaction", true); // Counts while ad_storage is denied.
      }
      if (limited("containers")) once("blocklist", () => dataLayer.push({ "gtm.blocklist":
        ["customScripts", "customPixels", "nonGoogleScripts", "nonGooglePixels", "nonGoogleIframes"] }));
      if (kind === "update") dataLayer.push({ event: "consentmw", consentmw: now }); // For triggers.
      if ("ownGa" in tag && runs("google_analytics")) once("analytics", () => {
        gtag("js", new Date());
        gtag("config", SITE.ga);
      });
      if ("ownGtm" in tag && runs("google_tag_manager")) once("container", () =>
        dataLayer.push({ "gtm.start": Date.now(), event: "gtm.js" }));
    },

    uet(kind) {
      (window.uetq = window.uetq || []).push("consent", kind, { ad_storage: state("ad_storage") });
    },

    clarity() {
      window.clarity = window.clarity || function () { (clarity.q = clarity.q || []).push(arguments); };
      clarity("consentv2", { ad_Storage: state("ad_storage"), analytics_Storage: state("analytics_storage") });
    },

    // Meta's snippet does nothing where fbq exists already. So it is told when it is first used: the snippet
    // has made its queue by then, and nothing is in it yet.
    meta() {
      const tell = (fbq) => {
        fbq("consent", state("ad_storage") === "granted" ? "grant" : "revoke");
        if (limited("sale")) fbq("dataProcessingOptions", ["LDU"], 0, 0);
      };
      if (done.has("told")) tell(window.fbq);
      let pixel = window.fbq;
      once("fbq", () => Object.defineProperty(window, "fbq", {
        configurable: true, enumerable: true,
        get() {
          if (pixel && (pixel.queue || pixel.callMethod)) once("told", () => tell(pixel));
          return pixel;
        },
        set(value) { pixel = value; },
      }));
    },
  };

  function say(kind) {
    for (const vendor of SITE.vendors || []) {
      // One that is not what its vendor documents must not keep the others from being told.
      try { vendors[vendor](kind); } catch (error) { reportError(error); }
    }
  }
  say("default");
  document.addEventListener("consentmw", (event) => { now = event.detail; say("update"); });
})();
