// Tokens of a completion, coloured by how much likelier or less likely training made them.
import { element, formatNumber } from "./elements.js";

/**
 * @typedef {{ texts: string[], logprobs: (number | null)[], refLogprobs: (number | null)[] }} Tokens
 */

/** Of changes, the share that are below the full colour. */
const FULL_AT = 0.95;

/** What training changed a token's log-prob by, nats; null where it is not known. @param {Tokens} tokens @param {number} i */
function changeOf({ logprobs, refLogprobs }, i) {
  const [now, before] = [logprobs[i], refLogprobs[i]];
  return now === null || before === null ? null : now - before;
}

/**
 * The change that has the full colour, nats: of all samples' tokens, 95 % are below it.
 * @param {readonly { tokens?: Tokens }[]} samples @returns {number | null} where no change is known
 */
export function changeScale(samples) {
  /** @type {number[]} */
  const sizes = [];
  for (const { tokens } of samples) {
    tokens?.texts.forEach((_, i) => {
      const change = changeOf(tokens, i);
      if (change !== null) sizes.push(Math.abs(change));
    });
  }
  if (sizes.length === 0) return null;
  sizes.sort((a, b) => a - b);
  return Math.max(sizes[Math.floor(FULL_AT * (sizes.length - 1))], 0.01);
}

/** @param {number} change @param {number} scale */
const shadeOf = (change, scale) => ({
  class: `token ${change > 0 ? "more" : "less"}`,
  // Twenty shades are more than an eye tells apart, and numbers of two digits keep the page small.
  style: `--share:${Math.round(20 * Math.min(1, Math.abs(change) / scale)) / 20}`,
});

/** @param {number} value */
const signed = (value) => `${value > 0 ? "+" : ""}${formatNumber(value, 3)}`;

/** A completion token by token. @param {Tokens} tokens @param {number} scale @returns {Node[]} */
export function tokenSpans(tokens, scale) {
  return tokens.texts.map((text, i) => {
    const change = changeOf(tokens, i);
    if (change === null) return document.createTextNode(text);
    const [now, before] = [tokens.logprobs[i], tokens.refLogprobs[i]].map((value) => formatNumber(value, 3));
    const title = `${JSON.stringify(text)}: ${signed(change)} nats (log-prob ${now}, reference ${before})`;
    return element("span", { ...shadeOf(change, scale), title }, text);
  });
}

/** @param {number} scale @param {boolean} isOn @param {(isOn: boolean) => void} onChange */
export function tokenLegend(scale, isOn, onChange) {
  const box = element("input", { type: "checkbox", checked: isOn });
  box.addEventListener("change", () => onChange(box.checked));
  const steps = [-1, -0.5, -0.1, 0.1, 0.5, 1].map((share) =>
    element("span", shadeOf(share * scale, scale), signed(share * scale))
  );
  return element(
    "p",
    { class: "plot note tokenlegend" },
    element("label", {}, box, " log-prob of each token against the reference policy, nats:"),
    " less likely now ",
    ...steps,
    " likelier now",
  );
}
