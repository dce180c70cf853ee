"use strict";
/* Light or dark, as the system has it unless the reader says otherwise; kept where the browser allows it. */

(() => {
  const PLACE = "cxr-explain/appearance";
  const select = CXR.find("appearance");

  function show(theme) {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
  }

  function kept() {
    try {
      const theme = localStorage.getItem(PLACE);
      return ["light", "dark"].includes(theme) ? theme : "";
    } catch {
      return "";
    }
  }

  function keep(theme) {
    try {
      if (theme) localStorage.setItem(PLACE, theme);
      else localStorage.removeItem(PLACE);
    } catch {
      // It then holds until the page is closed.
    }
  }

  select.value = kept();
  show(select.value);
  select.closest(".appearance").hidden = false;
  select.addEventListener("change", () => {
    show(select.value);
    keep(select.value);
  });

  // Paper shows everything: what is folded is opened for it, and folded again.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("#view-overview details:not([open])")];
    for (const each of folded) each.open = true;
  });
  addEventListener("afterprint", () => {
    for (const each of folded) each.open = false;
  });
})();
