// Which tokens have a role (BOS, EOS, padding), as the files beside a tokenizer say. Pure.

const NAMED_TOKENS = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
] as const;

export type NamedTokens = Partial<Record<(typeof NAMED_TOKENS)[number], string>>;

/** Content of a token given as text or as an AddedToken object; undefined for anything else. */
export function contentOf(token: unknown): string | undefined {
  const content = typeof token === "object" && token !== null && "content" in token ? token.content : token;
  return typeof content === "string" && content !== "" ? content : undefined;
}

/** What ends and begins a text in the models that are about, where no file says it. */
const WELL_KNOWN = {
  bos_token: [
    "<s>",
    "<|begin_of_text|>",
    "<bos>",
    "<|startoftext|>",
    "<\uFF5Cbegin\u2581of\u2581sentence\uFF5C>",
  ],
  eos_token: [
    "</s>",
    "<|end_of_text|>",
    "<eos>",
    "<|endoftext|>",
    "<\uFF5Cend\u2581of\u2581sentence\uFF5C>",
    "<|im_end|>",
  ],
} as const;

/** The other files of the folder, and what the tokenizer holds. */
export interface RoleSources {
  /** tokenizer_config.json, with the tokens that special_tokens_map.json names. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Whether there is a tokenizer_config.json: what it does not name, the tokenizer then does not have. */
  readonly hasConfig: boolean;
  /** config.json of the model; {} where there is none. */
  readonly modelConfig: Readonly<Record<string, unknown>>;
  /** The token of an id. */
  tokenOf(id: number): string | undefined;
  /** Whether a text is a control token. */
  isControl(text: string): boolean;
  /** Names where tokenizer_config.json has none (or "", as early conversions of LLaMA did). */
  readonly defaults?: NamedTokens;
}

/**
 * Every named token: of tokenizer_config.json; an EOS that it lacks, from config.json's ids. Without that file BOS and
 * EOS are those of config.json's ids, or else of a well-known name.
 */
export function namedTokens(sources: RoleSources): NamedTokens {
  const { config, hasConfig, modelConfig, tokenOf, isControl, defaults = {} } = sources;
  const byId = (key: "bos_token" | "eos_token") => {
    const given = modelConfig[`${key}_id`];
    const ids: unknown[] = Array.isArray(given) ? given : [given];
    return ids.map((id) => typeof id === "number" ? tokenOf(id) : undefined).find((token) =>
      token !== undefined
    );
  };
  const named: NamedTokens = {};
  for (const key of NAMED_TOKENS) {
    let content = contentOf(config[key]);
    if (config[key] !== null) content ??= defaults[key];
    if (key === "eos_token" || (key === "bos_token" && !hasConfig)) content ??= byId(key);
    if ((key === "eos_token" || key === "bos_token") && !hasConfig) {
      content ??= WELL_KNOWN[key].find(isControl);
    }
    if (content !== undefined) named[key] = content;
  }
  return named;
}
