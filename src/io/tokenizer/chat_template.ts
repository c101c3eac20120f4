// Chat templates (Jinja) to text, as transformers renders them: @huggingface/jinja, with Python's own string methods.

import { parse, tokenize } from "@huggingface/jinja";
import { messageOf } from "../files/errors.ts";
import type { Message } from "../../rl/conversation.ts";
import { boundedRun } from "./bounded_template.ts";
import { strftime, STRING_METHODS } from "./python_strings.ts";

/** The text of a template and where it stands, for errors. */
export interface ChatTemplateText {
  readonly text: string;
  readonly source: string;
}

/** What a template reads besides the messages. */
export type TemplateVariables = Readonly<Record<string, unknown>>;

export interface ChatTemplate {
  /**
   * The text of a conversation up to where the assistant's answer begins; with add_generation_prompt false among the
   * variables, up to the end of its last message.
   * @throws RefusedByTemplate when the template refuses the messages
   * @throws Error when it calls what is not there
   */
  render(messages: readonly Message[], variables: TemplateVariables): string;
  /** The texts that it writes itself, one after the other. */
  readonly ownText: string;
  /** Whether it asks for today's date. */
  readonly readsDate: boolean;
}

/** What a template said when it called raise_exception. */
export class RefusedByTemplate extends Error {
  override readonly name = "RefusedByTemplate";
}

/** A node of a parsed template, as far as it is looked into. */
interface Node {
  type: string;
  [field: string]: unknown;
}

const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && typeof (value as Node).type === "string";

/** A method under a name that no template can write. */
const ownName = (method: string) => `python.${method}`;
const LENGTH = "length";
const MAX_PROBLEM = 300;
/** As in jinja2's sandbox. */
const MAX_RANGE = 100_000;

/** Its words quote the template, as much of it as they like. */
function problemOf(error: unknown): string {
  const message = messageOf(error);
  return message.length <= MAX_PROBLEM ? message : `${message.slice(0, MAX_PROBLEM)}...`;
}

/** Calls node() for every node below and with `value`, the innermost first. */
function visit(value: unknown, node: (found: Node) => void): void {
  if (Array.isArray(value)) value.forEach((item) => visit(item, node));
  else if (value instanceof Map) value.forEach((item, key) => [key, item].forEach((one) => visit(one, node)));
  else if (isNode(value)) {
    for (const child of Object.values(value)) if (typeof child === "object") visit(child, node);
    node(value);
  }
}

/** Makes a node the call of one of our functions. */
function becomeCall(node: Node, method: string, args: unknown[]): void {
  const callee = { type: "Identifier", value: ownName(method) };
  Object.assign(node, { type: "CallExpression", callee, args });
}

/** A filter that asks of items whether they lack a field; @huggingface/jinja answers no for those that do. */
function askTheOpposite({ callee, args }: Node): void {
  const [, test] = args as Node[];
  if (test?.value !== "undefined") return;
  const filter = callee as Node;
  filter.value = filter.value === "selectattr" ? "rejectattr" : "selectattr";
  test.value = "defined";
}

/** Turns x.strip(...), x | trim and x == y into calls of our functions, in place. */
function callOurMethods(program: unknown): void {
  visit(program, (node) => {
    const { type, callee, args, filter, operand } = node;
    const operator = (node.operator as { value?: unknown } | undefined)?.value;
    if (type === "BinaryExpression" && (operator === "==" || operator === "!=")) {
      becomeCall(node, operator, [node.left, node.right]);
    }
    if (
      type === "CallExpression" && isNode(callee) && callee.type === "MemberExpression" && !callee.computed
    ) {
      const method = (callee.property as Node).value as string;
      if (Object.hasOwn(STRING_METHODS, method)) {
        becomeCall(node, method, [callee.object, ...args as unknown[]]);
      }
    } else if (type === "FilterExpression" && isNode(filter)) {
      const call = filter.type === "CallExpression" ? filter : undefined;
      const name = String(((call?.callee ?? filter) as Node).value);
      if (call && /^(select|reject)attr$/.test(name)) askTheOpposite(call);
      const method = name === "trim" ? "strip" : name;
      const ours = method === "strip" || method === "capitalize" || method === LENGTH;
      if (ours) becomeCall(node, method, [operand, ...(call?.args as unknown[] ?? [])]);
    }
  });
}

/** len(value); of what is undefined 0, as jinja2 has it. */
function lengthOf(value: unknown): number {
  if (value === undefined) return 0;
  if (typeof value === "string") return Array.from(value).length;
  if (Array.isArray(value)) return value.length;
  if (value instanceof Map) return value.size;
  throw new TypeError(`${value === null ? "none" : typeof value} has no length`);
}

/** Python's ==, by which "1" is not 1; @huggingface/jinja has JavaScript's loose one. */
function equals(left: unknown, right: unknown): boolean {
  if (typeof left === "boolean" && typeof right === "number") return Number(left) === right;
  if (typeof left === "number" && typeof right === "boolean") return left === Number(right);
  return left === right;
}

function globals(onDate: () => void): Record<string, unknown> {
  const methods = Object.entries(STRING_METHODS).map(([name, method]) => {
    const call = (text: unknown, ...args: unknown[]) => {
      if (typeof text !== "string") throw new TypeError(`${name}() of what is no string`);
      return method(text, ...args);
    };
    return [ownName(name), call];
  });
  return {
    ...Object.fromEntries(methods),
    [ownName(LENGTH)]: lengthOf,
    [ownName("==")]: equals,
    [ownName("!=")]: (left: unknown, right: unknown) => !equals(left, right),
    true: true,
    True: true,
    false: false,
    False: false,
    none: null,
    None: null,
    range(start: number, stop?: number, step = 1) {
      const [from, to] = stop === undefined ? [0, start] : [start, stop];
      const length = Math.max(0, Math.ceil((to - from) / step));
      if (!(length <= MAX_RANGE)) throw new RangeError(`range() of more than ${MAX_RANGE}`);
      return Array.from({ length }, (_, i) => from + i * step);
    },
    raise_exception(message: unknown) {
      throw new RefusedByTemplate(String(message));
    },
    strftime_now(format: string) {
      onDate();
      return strftime(new Date(), format);
    },
  };
}

/**
 * Reads a template. Its blocks are trimmed and line ends taken as transformers has jinja2 do it.
 * @throws SyntaxError when it is no template that can be read; it names the source
 */
export function compileChatTemplate({ text, source }: ChatTemplateText): ChatTemplate {
  let program: ReturnType<typeof parse>;
  const literals: string[] = [];
  try {
    const lines = text.replace(/\r\n?/g, "\n");
    program = parse(tokenize(lines, { lstrip_blocks: true, trim_blocks: true }));
    visit(program, ({ type, value }) => {
      if (type === "StringLiteral") literals.push(value as string);
    });
    callOurMethods(program);
  } catch (cause) {
    throw new SyntaxError(
      `Cannot read the chat template of ${source}: ${
        problemOf(cause)
      }; correct it, or set chat_template to ` +
        "file:PATH of another one",
      { cause },
    );
  }
  let readsDate = false;
  const ours = globals(() => readsDate = true);
  return {
    ownText: literals.join("\0"),
    get readsDate() {
      return readsDate;
    },
    render(messages, variables) {
      const all = {
        ...ours,
        add_generation_prompt: true,
        ...variables,
        messages: messages.map(withoutNulls),
      };
      try {
        return boundedRun(program, all);
      } catch (error) {
        if (error instanceof RefusedByTemplate) throw error;
        const problem = problemOf(error);
        throw new Error(`the chat template of ${source} cannot be followed: ${problem}`, { cause: error });
      }
    },
  };
}

/** As transformers, which drops what is null. */
const withoutNulls = (message: Message) =>
  Object.fromEntries(Object.entries(message).filter(([, value]) => value !== null && value !== undefined));
