// A restricted reader of Python's pickle: it builds tuples, dicts and plain values, and calls nothing but what its
// caller allows by name. A pickle is a program for a stack machine; the opcodes below are those that torch.save()
// of a state dict writes. Any other ends the reading. There is no opcode here that could make an object of a class,
// import a module or change a value that JavaScript code sees: dicts are Maps.
// Source: Python's pickletools, torch/_weights_unpickler.py

import { PickleMachine } from "./pickle_machine.ts";
import { OPCODES } from "./pickle_opcodes.ts";
import { describe, isKind, type PickleNames, type PickleValue } from "./pickle_values.ts";

/** The allow-list: what each opcode does. */
const STEPS: ReadonlyMap<number, (machine: PickleMachine) => void> = new Map([
  [OPCODES.PROTO, (m: PickleMachine) => {
    m.requireStart();
    const protocol = m.u8();
    if (protocol < 2 || protocol > 5) throw m.fail(`required protocol 2 to 5, got ${protocol}`);
  }],
  [OPCODES.FRAME, (m) => void m.skip(8)], // a hint for buffering; the end of the bytes is what counts
  [OPCODES.NONE, (m) => m.push(null)],
  [OPCODES.NEWTRUE, (m) => m.push(true)],
  [OPCODES.NEWFALSE, (m) => m.push(false)],
  [OPCODES.BININT, (m) => m.push(m.i32())],
  [OPCODES.BININT1, (m) => m.push(m.u8())],
  [OPCODES.BININT2, (m) => m.push(m.u16())],
  [OPCODES.LONG1, (m) => m.push(m.integer(m.u8()))],
  [OPCODES.BINUNICODE, (m) => m.push(m.text(m.u32()))],
  [OPCODES.SHORT_BINUNICODE, (m) => m.push(m.text(m.u8()))],
  [OPCODES.EMPTY_TUPLE, (m) => m.pushTuple(0)],
  [OPCODES.TUPLE1, (m) => m.pushTuple(1)],
  [OPCODES.TUPLE2, (m) => m.pushTuple(2)],
  [OPCODES.TUPLE3, (m) => m.pushTuple(3)],
  [OPCODES.MARK, (m) => m.mark()],
  [OPCODES.TUPLE, (m) => m.pushContainer({ kind: "tuple", items: m.popToMark() })],
  [OPCODES.EMPTY_DICT, (m) => m.pushContainer({ kind: "dict", entries: new Map() })],
  [OPCODES.SETITEM, (m) => {
    const value = m.pop();
    m.setItems([m.pop(), value]);
  }],
  [OPCODES.SETITEMS, (m) => m.setItems(m.popToMark())],
  [OPCODES.BINPUT, (m) => m.remember(m.u8())],
  [OPCODES.LONG_BINPUT, (m) => m.remember(m.u32())],
  [OPCODES.MEMOIZE, (m) => m.remember()],
  [OPCODES.BINGET, (m) => m.recall(m.u8())],
  [OPCODES.LONG_BINGET, (m) => m.recall(m.u32())],
  [OPCODES.GLOBAL, (m) => m.pushGlobal(`${m.line()} ${m.line()}`)],
  [OPCODES.STACK_GLOBAL, (m) => {
    const name = m.pop();
    const module = m.pop();
    if (typeof name !== "string" || typeof module !== "string") throw m.fail("required two strings");
    m.pushGlobal(`${module} ${name}`);
  }],
  [OPCODES.REDUCE, (m) => {
    const args = m.popTuple();
    const callable = m.pop();
    if (!isKind(callable, "global")) throw m.fail(`required a name to call, got ${describe(callable)}`);
    m.pushContainer(m.names.call(callable, args.items, m.fail));
  }],
  [OPCODES.BINPERSID, (m) => m.pushContainer(m.names.persistent(m.pop(), m.fail))],
  [OPCODES.BUILD, (m) => {
    const state = m.pop();
    m.names.build(m.top(), state, m.fail);
  }],
]);

/**
 * Runs a pickle and returns the value it leaves. Time and memory grow with its length only.
 * @param path named in errors
 * @throws Error when it is broken or not allowed; it names byte, opcode, problem and remedy
 */
export function readPickle(bytes: Uint8Array, path: string, names: PickleNames): PickleValue {
  const machine = new PickleMachine(bytes, path, names);
  for (let opcode = machine.next(); opcode !== OPCODES.STOP; opcode = machine.next()) {
    const step = STEPS.get(opcode);
    if (step === undefined) throw machine.fail("the opcode is not allowed in a file of weights");
    step(machine);
  }
  return machine.result();
}
