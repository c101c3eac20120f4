// Methods of Python's strings and dates that chat templates call, with Python's results. Pure.
//
// @huggingface/jinja has some of them as JavaScript has them: its strip ignores what to strip, takes U+FEFF for a space
// and U+0085 for none, and its lengths count UTF-16 words.

/** What str.isspace() takes for a space (CPython, Objects/unicodetype_db.h). */
const SPACES =
  "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008" +
  "\u2009\u200a\u2028\u2029\u202f\u205f\u3000";

function stripped(text: string, characters: unknown, ends: { left: boolean; right: boolean }): string {
  const strips = new Set(typeof characters === "string" ? characters : SPACES);
  const points = Array.from(text);
  let start = 0;
  let end = points.length;
  while (ends.left && start < end && strips.has(points[start])) start++;
  while (ends.right && end > start && strips.has(points[end - 1])) end--;
  return points.slice(start, end).join("");
}

const capitalized = (text: string) => {
  const [first = "", ...rest] = Array.from(text);
  return first.toUpperCase() + rest.join("").toLowerCase();
};

/** str.rsplit(separator, maxsplit) for a separator that is given. */
function splitFromRight(text: string, separator: unknown, most: unknown): string[] {
  if (typeof separator !== "string" || separator === "") throw new TypeError("rsplit() needs a separator");
  const parts = text.split(separator);
  const splits = typeof most === "number" && most >= 0 ? Math.min(most, parts.length - 1) : parts.length - 1;
  const whole = parts.slice(0, parts.length - splits).join(separator);
  return [whole, ...parts.slice(parts.length - splits)];
}

/** By name; the first argument is the string. */
export const STRING_METHODS: Readonly<Record<string, (text: string, ...args: unknown[]) => unknown>> = {
  strip: (text, characters) => stripped(text, characters, { left: true, right: true }),
  lstrip: (text, characters) => stripped(text, characters, { left: true, right: false }),
  rstrip: (text, characters) => stripped(text, characters, { left: false, right: true }),
  capitalize: capitalized,
  rsplit: splitFromRight,
  removeprefix: (text, prefix) => text.startsWith(String(prefix)) ? text.slice(String(prefix).length) : text,
  removesuffix: (text, suffix) =>
    suffix !== "" && text.endsWith(String(suffix)) ? text.slice(0, -String(suffix).length) : text,
};

const MONTHS = "January February March April May June July August September October November December".split(
  " ",
);
const DAYS = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/** date.strftime(format) of Python in the C locale; a directive not listed here stays as it is. */
export function strftime(date: Date, format: string): string {
  const two = (value: number) => String(value).padStart(2, "0");
  const hour = date.getHours();
  const directives: Record<string, string> = {
    Y: String(date.getFullYear()),
    y: two(date.getFullYear() % 100),
    m: two(date.getMonth() + 1),
    d: two(date.getDate()),
    e: String(date.getDate()).padStart(2, " "),
    "-d": String(date.getDate()),
    "-m": String(date.getMonth() + 1),
    B: MONTHS[date.getMonth()],
    b: MONTHS[date.getMonth()].slice(0, 3),
    A: DAYS[date.getDay()],
    a: DAYS[date.getDay()].slice(0, 3),
    H: two(hour),
    I: two(hour % 12 === 0 ? 12 : hour % 12),
    p: hour < 12 ? "AM" : "PM",
    M: two(date.getMinutes()),
    S: two(date.getSeconds()),
    "%": "%",
  };
  return format.replace(/%(-?[a-zA-Z%])/g, (whole, name: string) => directives[name] ?? whole);
}
