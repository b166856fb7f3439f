// Stand-in for Microsoft Clarity, written for the demo site. Not Microsoft's code.
(function () {
  "use strict";
  var project = document.currentScript ? new URL(document.currentScript.src).pathname.split("/").pop() : "demo";
  // What the page said about consent before this file came; without a word cookies are kept, as outside Europe.
  var storage = "granted";
  var calls = (window.clarity && window.clarity.q) || [];
  function hear(call) {
    if (call[0] === "consentv2") storage = call[1].analytics_Storage;
  }
  [].slice.call(calls).forEach(hear);
  window.clarity = function () { hear(arguments); };
  if (storage === "granted" && document.cookie.indexOf("_clck=") < 0) {
    document.cookie = "_clck=" + Math.random().toString(36).slice(2, 10) + "%5E2%5Edemo; path=/; max-age=31536000; samesite=lax";
  }
  if (storage === "granted") document.cookie = "_clsk=" + Math.random().toString(36).slice(2, 8) + "%5E" + Date.now() + "; path=/; max-age=86400; samesite=lax";
  var url = "https://k.clarity.ms/collect?project=" + encodeURIComponent(project) + "&consent=" + storage + "&url=" + encodeURIComponent(location.href);
  fetch(url, { method: "POST", mode: "no-cors", credentials: "include", keepalive: true, body: "{}" }).catch(function () {});
})();
