// Elements of the page. Text goes in as text, never as HTML.

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties] of the element; `class` and names with a dash become attributes
 * @param {...(Node | string | null)} children
 * @returns {any}
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class" || name.includes("-")) made.setAttribute(name, value);
    else Object.assign(made, { [name]: value });
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/**
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {...(Node | string)} children
 */
export function svgElement(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

/** @param {string} label @param {Node} control */
export const labelled = (label, control) => element("label", {}, `${label} `, control);

/**
 * @param {readonly (readonly [value: string, label: string])[]} choices
 * @param {string} chosen
 * @param {(value: string) => void} onChange
 */
export function choice(choices, chosen, onChange) {
  const options = choices.map(([value, label]) =>
    element("option", { value, selected: value === chosen }, label)
  );
  const select = element("select", {}, ...options);
  select.addEventListener("change", () => onChange(select.value));
  return select;
}

/** @param {number | null | undefined} value */
export function formatNumber(value, digits = 4) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-3)) {
    return value.toExponential(digits - 2).replace(/\.?0+e\+?/, "e");
  }
  return String(Number(value.toPrecision(size >= 1000 ? 6 : digits)));
}
