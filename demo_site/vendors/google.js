// Stand-in for Google's gtag.js and gtm.js, written for the demo site: it does what a privacy test can
// see (data layer, consent signals, cookies, requests) and nothing else. Not Google's code.
(function () {
  "use strict";
  var script = document.currentScript;
  var address = script ? new URL(script.src) : new URL("https://www.googletagmanager.com/gtag/js");
  var own = address.searchParams.get("id") || "";
  var layer = (window[address.searchParams.get("l") || "dataLayer"] = window[address.searchParams.get("l") || "dataLayer"] || []);

  // Both files work on one data layer; the second one to load only adds its container.
  if (window.google_tag_manager && window.google_tag_manager.standin) {
    window.google_tag_manager.standin.add(own);
    return;
  }

  var YEARS2 = 63072000;
  var DAYS90 = 7776000;
  var consent = { byDefault: {}, byUpdate: {}, updated: false };
  var waiting = [];
  var holdUntil = 0;
  var configured = {};
  var hits = 0;
  var blocked = [];

  function granted(signal) {
    var value = consent.byUpdate[signal] || consent.byDefault[signal];
    return value === undefined || value === "granted";
  }

  function known(signal) {
    return signal in consent.byUpdate || signal in consent.byDefault;
  }

  function digit(signal) {
    return known(signal) ? (granted(signal) ? "1" : "0") : "-";
  }

  // The letters of gcd, one for each signal, as public analyses of Google's requests describe them.
  function letter(signal) {
    var table = { "-": { "-": "l", denied: "m", granted: "n" }, denied: { "-": "p", denied: "q", granted: "r" }, granted: { "-": "t", denied: "u", granted: "v" } };
    return table[consent.byDefault[signal] || "-"][consent.byUpdate[signal] || "-"];
  }

  function gcs() {
    return "G1" + digit("ad_storage") + digit("analytics_storage");
  }

  function gcd() {
    return "13" + ["ad_storage", "analytics_storage", "ad_user_data", "ad_personalization"].map(letter).join("3") + "3" + (consent.updated ? "1" : "l") + "5";
  }

  function read(name) {
    var found = document.cookie.split("; ").filter(function (pair) { return pair.indexOf(name + "=") === 0; });
    return found.length ? found[0].slice(name.length + 1) : "";
  }

  // cookie_domain "auto": the highest domain the browser accepts, so the registrable one; none for an address.
  function keep(name, value, seconds) {
    var labels = location.hostname.split(".");
    var end = "; path=/; max-age=" + seconds + "; samesite=lax";
    if (!/^[0-9.]+$|:/.test(location.hostname)) {
      for (var i = labels.length - 2; i >= 0; i--) {
        document.cookie = name + "=" + value + "; domain=" + labels.slice(i).join(".") + end;
        if (read(name)) return;
      }
    }
    document.cookie = name + "=" + value + end;
  }

  function number() {
    return Math.floor(Math.random() * 2147483647);
  }

  function seconds() {
    return Math.floor(Date.now() / 1000);
  }

  function send(url) {
    fetch(url, { method: "POST", mode: "no-cors", credentials: "include", keepalive: true }).catch(function () {});
  }

  function image(url) {
    new Image().src = url;
  }

  function collect(id, name, extra) {
    if (window["ga-disable-" + id] === true || ++hits > 50) return;
    var query = new URLSearchParams({ v: "2", tid: id, en: name, gcs: gcs(), gcd: gcd(), dl: location.href, dt: document.title });
    if (document.referrer) query.set("dr", document.referrer);
    if (consent.updated) query.set("gcu", "1");
    if (granted("analytics_storage")) {
      var client = read("_ga").replace(/^GA1\.\d+\./, "") || number() + "." + seconds();
      keep("_ga", "GA1.1." + client, YEARS2);
      var session = "_ga_" + id.replace(/^G-/, "");
      var now = seconds();
      if (!read(session)) keep(session, "GS2.1.s" + now + "$o1$g0$t" + now + "$j60$l0$h0", YEARS2);
      query.set("cid", client);
    } else {
      // Without storage a page load is told by a number of its own: a cookieless ping.
      query.set("cid", String(number()));
      query.set("pscdl", "denied");
    }
    Object.keys(extra || {}).forEach(function (key) { query.set(key, extra[key]); });
    send("https://www.google-analytics.com/g/collect?" + query);
  }

  function advertise(id, label) {
    if (++hits > 50) return;
    var query = new URLSearchParams({ random: String(number()), gcs: gcs(), gcd: gcd(), url: location.href });
    if (label) query.set("label", label);
    if (!granted("ad_storage")) {
      image("https://pagead2.googlesyndication.com/ccm/collect?tid=" + encodeURIComponent(id) + "&" + query);
      return;
    }
    if (!read("_gcl_au")) keep("_gcl_au", "1.1." + number() + "." + seconds(), DAYS90);
    query.set("auid", read("_gcl_au").replace(/^1\.1\./, ""));
    var kind = label ? "conversion" : "viewthroughconversion";
    image("https://googleads.g.doubleclick.net/pagead/" + kind + "/" + encodeURIComponent(id.slice(3)) + "/?" + query);
  }

  var commands = {
    consent: function (kind, values) {
      // A default for some regions only: this stand-in finds every visitor in Iowa.
      if (values && values.region && !values.region.some(function (code) { return code === "US" || code === "US-IA"; })) return;
      Object.keys(values || {}).forEach(function (signal) {
        if (values[signal] === "granted" || values[signal] === "denied") {
          (kind === "update" ? consent.byUpdate : consent.byDefault)[signal] = values[signal];
        }
      });
      if (kind === "update") {
        consent.updated = true;
        holdUntil = 0;
      } else if (values && values.wait_for_update > 0) {
        holdUntil = Date.now() + Math.min(Number(values.wait_for_update), 5000);
        setTimeout(release, holdUntil - Date.now() + 1);
      }
    },
    config: function (id, options) {
      id = String(id);
      if (configured[id]) return;
      configured[id] = true;
      if (/^AW-/.test(id)) advertise(id, "");
      else if (/^G-/.test(id) && !(options && options.send_page_view === false)) collect(id, "page_view");
    },
    event: function (name, options) {
      var to = options && options.send_to ? [].concat(options.send_to) : Object.keys(configured).filter(function (id) { return /^G-/.test(id); });
      to.forEach(function (target) {
        var parts = String(target).split("/");
        if (/^AW-/.test(parts[0])) advertise(parts[0], parts[1] || "");
        else if (/^G-/.test(parts[0])) collect(parts[0], String(name));
      });
    },
    js: function () {},
    set: function () {}
  };

  function run(entry) {
    if (entry && entry["gtm.blocklist"]) blocked = entry["gtm.blocklist"];
    if (Object.prototype.toString.call(entry) !== "[object Arguments]" || typeof commands[entry[0]] !== "function") return;
    if (entry[0] !== "consent" && Date.now() < holdUntil) {
      waiting.push(entry);
      return;
    }
    commands[entry[0]].apply(null, [].slice.call(entry, 1));
    if (entry[0] === "consent" && !holdUntil) release();
  }

  function release() {
    holdUntil = 0;
    waiting.splice(0).forEach(run);
  }

  // A container fires the analytics tag that somebody configured in it; here always the same one. One whose id
  // ends in HTML holds a tag of "custom HTML" as well, which loads another company's pixel and asks for no consent.
  function add(id) {
    if (!/^GTM-/.test(id)) return;
    setTimeout(function () {
      collect("G-" + id.slice(4) + "T", "page_view", { gtm: id });
      if (/HTML$/.test(id) && blocked.indexOf("customScripts") < 0) image("https://px.ads.linkedin.com/collect?gtm=" + id);
    }, 0);
  }

  window.google_tag_manager = { standin: { add: add } };
  var push = layer.push;
  layer.push = function () {
    var size = push.apply(layer, arguments);
    [].forEach.call(arguments, run);
    return size;
  };
  [].slice.call(layer).forEach(run);
  add(own);
})();
