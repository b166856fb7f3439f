// Stand-in for Meta's pixel library, written for the demo site. Not Meta's code.
(function () {
  "use strict";
  var fbq = window.fbq;
  if (!fbq || fbq.callMethod) return;
  var pixels = [];
  var revoked = false;
  var limited = "";

  function browserId() {
    var found = /(?:^|; )_fbp=([^;]+)/.exec(document.cookie);
    if (found) return found[1];
    var id = "fb.1." + Date.now() + "." + Math.floor(Math.random() * 1e10);
    document.cookie = "_fbp=" + id + "; path=/; max-age=7776000; samesite=lax";
    return id;
  }

  function track(name) {
    if (revoked) return;
    pixels.forEach(function (pixel) {
      var query = new URLSearchParams({ id: pixel, ev: String(name), dl: location.href, rl: document.referrer, fbp: browserId() });
      if (limited) query.set("dpo", limited);
      new Image().src = "https://www.facebook.com/tr/?" + query;
    });
  }

  fbq.callMethod = function (command, value) {
    if (command === "init") pixels.push(String(value));
    else if (command === "consent") revoked = value === "revoke";
    else if (command === "dataProcessingOptions") limited = [].concat(value).join(",");
    else if (command === "track" || command === "trackCustom") track(value);
  };
  (fbq.queue || []).splice(0).forEach(function (call) { fbq.callMethod.apply(fbq, call); });
})();
