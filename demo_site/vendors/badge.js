// Stand-in for a badge that somebody found somewhere, written for the demo site. No company's code.
(function () {
  "use strict";
  var place = document.querySelector("[data-badge]");
  if (place) place.textContent = place.getAttribute("data-badge");
})();
