// Stand-in for Microsoft's UET tag, written for the demo site: the queue and the consent in it. Not Microsoft's code.
(function () {
  "use strict";
  var queue = Array.isArray(window.uetq) ? window.uetq : [];
  var storage = "granted";
  function take(calls) {
    for (var i = 0; i < calls.length; i++) {
      if (calls[i] === "consent") {
        storage = (calls[i + 2] || {}).ad_storage || storage;
        i += 2;
      }
    }
  }
  take(queue);
  window.uetq = { push: function () { take([].slice.call(arguments)); } };
  var query = new URLSearchParams({ evt: "pageLoad", asc: storage === "granted" ? "G" : "D", p: location.href });
  if (storage === "granted") document.cookie = "_uetvid=" + Math.random().toString(36).slice(2) + "; path=/; max-age=33696000; samesite=lax";
  new Image().src = "https://bat.bing.com/action/0?" + query;
})();
