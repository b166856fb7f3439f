// Stand-in for Hotjar, written for the demo site. Not Hotjar's code.
(function () {
  "use strict";
  var site = window._hjSettings ? String(window._hjSettings.hjid) : "0";
  function keep(name, value, seconds) {
    document.cookie = name + "=" + value + "; path=/; max-age=" + seconds + "; samesite=lax";
  }
  if (document.cookie.indexOf("_hjSessionUser_" + site + "=") < 0) {
    keep("_hjSessionUser_" + site, Math.random().toString(36).slice(2), 31536000);
  }
  keep("_hjSession_" + site, Math.random().toString(36).slice(2), 1800);
  new Image().src = "https://vc.hotjar.io/sessions/" + encodeURIComponent(site) + "?url=" + encodeURIComponent(location.href);
})();
