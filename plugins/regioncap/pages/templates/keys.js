// One key each: j and k go from record to record, a number opens a region's form, x the record's; on the page of a
// sample, each answer has a key of its own. In a field, keys are letters; Escape leaves it.
(() => {
  let at = -1;
  const cards = [...document.querySelectorAll("[data-card]")];
  const go = (step) => {
    if (!cards.length) return;
    at = Math.min(Math.max(at + step, 0), cards.length - 1);
    cards[at].focus();
    cards[at].scrollIntoView({ block: "nearest" });
  };
  const open = (details) => {
    if (!details) return;
    details.open = true;
    details.querySelector("textarea, input:not([type=hidden])").focus();
  };
  document.addEventListener("focusin", (event) => {
    const card = event.target.closest("[data-card]");
    if (card) at = cards.indexOf(card);
  });
  document.addEventListener("keydown", (event) => {
    const field = event.target.closest("input, textarea, select");
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (field) {
      if (event.key === "Escape") {
        const details = field.closest("details");
        if (details) details.open = false;
        const card = field.closest("[data-card]");
        (card || document.body).focus();
      }
      return;
    }
    const key = event.key.toLowerCase();
    const answer = [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key);
    if (answer) answer.click();
    else if (key === "j") go(1);
    else if (key === "k") go(-1);
    else if (at >= 0 && /^[1-9]$/.test(key)) open(cards[at].querySelector(`[data-region="${key}"]`));
    else if (at >= 0 && key === "e") open(cards[at].querySelector("[data-region]"));
    else if (at >= 0 && key === "x") open(cards[at].querySelector("[data-record]"));
    else return;
    event.preventDefault();
  });
})();
