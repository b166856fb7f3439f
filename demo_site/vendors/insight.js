// Stand-in for the LinkedIn Insight Tag, written for the demo site. Not LinkedIn's code.
(function () {
  "use strict";
  var partners = window._linkedin_data_partner_ids || [];
  function collect(extra) {
    partners.forEach(function (partner) {
      var query = new URLSearchParams({ v: "2", fmt: "js", pid: String(partner), time: String(Date.now()), url: location.href });
      if (extra) query.set("conversionId", extra);
      new Image().src = "https://px.ads.linkedin.com/collect?" + query;
    });
  }
  var queued = (window.lintrk && window.lintrk.q) || [];
  window.lintrk = function (command, options) {
    if (command === "track" && options) collect(String(options.conversion_id || ""));
  };
  collect("");
  queued.splice(0).forEach(function (call) { window.lintrk(call[0], call[1]); });
})();
