// Token ids of a rendered conversation in which control tokens that a message wrote out stay text.
//
// As transformers' apply_chat_template(sanitize_control_tokens=True) (utils/chat_template_utils.py): before rendering,
// a message's control tokens are put between two marks; what stands between marks in the rendered text is encoded
// as text, all else with the template's control tokens recognised. Marks around a token leave it whole for templates
// that look for it ("</think>"); a template that cuts the token out leaves a lone mark, which is dropped.

/** How texts become ids; nothing is put before or behind. */
export interface ChatEncoders {
  /** Added tokens are recognised. */
  rendered(text: string): number[];
  /** No added token is recognised, nor arrived at. */
  asText(text: string): number[];
}

/** Private-use characters of which two stand for the marks. */
const FIRST_MARK = 0xf0000;
const LAST_MARK = 0xffffd;

function anyOf(texts: readonly string[]): string {
  const longestFirst = [...texts].sort((a, b) => b.length - a.length);
  return longestFirst.map((text) => text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&")).join("|") || "(?!)";
}

/** Two characters that none of these texts holds. */
function freeMarks(texts: readonly string[]): [begin: string, end: string] {
  const found: string[] = [];
  for (let code = FIRST_MARK; code <= LAST_MARK && found.length < 2; code++) {
    const mark = String.fromCodePoint(code);
    if (!texts.some((text) => text.includes(mark))) found.push(mark);
  }
  if (found.length < 2) throw new RangeError("its texts hold every private-use character of plane 15");
  return [found[0], found[1]];
}

/** Strings anywhere below a value of JSON, each through `change`. */
function withStrings(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === "string") return change(value);
  if (Array.isArray(value)) return value.map((item) => withStrings(item, change));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withStrings(item, change)]));
}

/** Ids of a text as it stands amid others: without the space that SentencePiece puts before a first word. */
function encodeAmid(encode: (text: string) => number[], text: string): number[] {
  const newline = encode("\n");
  const ids = encode(`\n${text}`);
  return newline.every((id, i) => ids[i] === id) ? ids.slice(newline.length) : encode(text);
}

/**
 * Makes a function that gives the ids of render(inputs).
 * @param controlTokens what is not to be recognised in the strings of the inputs
 * @returns inputs: what the template is given, as JSON has it; every string in it is text
 */
export function chatEncoder(controlTokens: readonly string[], { rendered, asText }: ChatEncoders) {
  const control = anyOf(controlTokens);
  const first = new RegExp(control, "u");
  const every = new RegExp(control, "gu");
  return <I>(inputs: I, render: (inputs: I) => string): number[] => {
    const texts: string[] = [];
    withStrings(inputs, (text) => (texts.push(text), text));
    if (!texts.some((text) => first.test(text))) return rendered(render(inputs));
    const [begin, end] = freeMarks(texts);
    const marked = withStrings(inputs, (text) => text.replace(every, `${begin}$&${end}`)) as I;
    // Text, token, text, token... and undefined in a token's place for a lone mark.
    const pieces: (string | undefined)[] = render(marked)
      .split(new RegExp(`${begin}(${control})${end}|[${begin}${end}]`, "u"));
    return pieces.flatMap((piece, i) => {
      if (piece === undefined || piece === "") return [];
      return i === 0 ? rendered(piece) : encodeAmid(i % 2 === 1 ? asText : rendered, piece);
    });
  };
}
