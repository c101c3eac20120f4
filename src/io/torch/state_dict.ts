// The state dict in a pickle of torch.save(): where each tensor's values lie, without the values.
//
//   OrderedDict or dict {name: tensor}
//   tensor    torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, backward hooks)
//             or torch._utils._rebuild_parameter(tensor, requires_grad, backward hooks)
//   storage   persistent id ("storage", class, key, device, number of elements)
// Offset and strides count elements. Tensors may share a storage, as tied weights do.
// Source: torch/_utils.py, torch/serialization.py, torch/_weights_unpickler.py

import type { StoredDtype } from "../tensors/dtype.ts";
import { readPickle } from "./pickle_reader.ts";
import {
  describe,
  type Fail,
  isKind,
  type PickleGlobal,
  type PickleNames,
  type PickleObject,
  type PickleValue,
} from "./pickle_values.ts";
import { formatError } from "../files/errors.ts";

/** A run of elements of one type: an entry of the file. */
export interface TorchStorage extends PickleObject {
  readonly dtype: StoredDtype;
  readonly key: string;
  readonly elements: number;
}

/** A view of a storage; in bounds. */
export interface TorchTensor extends PickleObject {
  readonly storage: TorchStorage;
  /** In elements, as the strides. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
}

const ORDERED_DICT = "collections OrderedDict";
const REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2";
const REBUILD_PARAMETER = "torch._utils _rebuild_parameter";

const STORAGES: ReadonlyMap<string, StoredDtype> = new Map([
  ["torch DoubleStorage", "F64"],
  ["torch FloatStorage", "F32"],
  ["torch HalfStorage", "F16"],
  ["torch BFloat16Storage", "BF16"],
  ["torch LongStorage", "I64"],
  ["torch IntStorage", "I32"],
  ["torch ShortStorage", "I16"],
  ["torch CharStorage", "I8"],
  ["torch ByteStorage", "U8"],
  ["torch BoolStorage", "BOOL"],
]);

/** As many dimensions as torch allows. */
const MAX_DIMENSIONS = 64;

function isStorage(value: PickleValue): value is TorchStorage {
  return isKind(value, "object") && "dtype" in value;
}

function isTensor(value: PickleValue): value is TorchTensor {
  return isKind(value, "object") && "strides" in value;
}

function isSize(value: PickleValue): value is number {
  return typeof value === "number" && value >= 0;
}

function isEmptyDict(value: PickleValue): boolean {
  return isKind(value, "dict") && value.entries.size === 0;
}

const NAMES: PickleNames = {
  isAllowed: (name) =>
    name === ORDERED_DICT || name === REBUILD_TENSOR || name === REBUILD_PARAMETER || STORAGES.has(name),

  call({ name }: PickleGlobal, args, fail) {
    if (name === ORDERED_DICT) {
      if (args.length > 0) throw fail(`OrderedDict with ${args.length} arguments, required none`);
      return { kind: "dict", entries: new Map() };
    }
    if (name === REBUILD_TENSOR) return rebuildTensor(args, fail);
    if (name === REBUILD_PARAMETER) return rebuildParameter(args, fail);
    throw fail(`it calls ${name}, which is not allowed in a file of weights`);
  },

  persistent(id, fail): TorchStorage {
    const items = isKind(id, "tuple") ? id.items : [];
    const [tag, type, key, device, elements] = items;
    const dtype = type !== undefined && isKind(type, "global") ? STORAGES.get(type.name) : undefined;
    if (
      tag !== "storage" || dtype === undefined || typeof key !== "string" || typeof device !== "string" ||
      !isSize(elements) || items.length !== 5
    ) {
      throw fail(`required ("storage", class, key, device, number of elements), got ${describe(id)}`);
    }
    return { kind: "object", dtype, key, elements };
  },

  // Module.state_dict() hangs version numbers on its dict; they are of no use here.
  build(target, state, fail) {
    const isMetadata = isKind(state, "dict") && state.entries.size === 1 && state.entries.has("_metadata");
    if (!isKind(target, "dict") || !isMetadata) {
      throw fail(`required the "_metadata" of a dict, got attributes of ${describe(target)}`);
    }
  },
};

function sizesOf(value: PickleValue | undefined, what: string, fail: Fail): readonly number[] {
  if (value === undefined || !isKind(value, "tuple") || value.items.length > MAX_DIMENSIONS) {
    throw fail(`required a tuple of at most ${MAX_DIMENSIONS} sizes as ${what}`);
  }
  if (!value.items.every(isSize)) throw fail(`required whole numbers >= 0 as ${what}`);
  return value.items as readonly number[];
}

function rebuildTensor(args: readonly PickleValue[], fail: Fail): TorchTensor {
  const [storage, offset, , , requiresGrad, hooks] = args;
  if (args.length !== 6 || !isStorage(storage) || !isSize(offset)) {
    throw fail("required (storage, offset, shape, strides, requires_grad, hooks) of a plain tensor");
  }
  if (typeof requiresGrad !== "boolean" || !(hooks === null || isEmptyDict(hooks))) {
    throw fail("required a flag and no backward hooks behind a tensor's strides");
  }
  const shape = sizesOf(args[2], "shape", fail);
  const strides = sizesOf(args[3], "strides", fail);
  if (shape.length !== strides.length) throw fail(`${shape.length} sizes but ${strides.length} strides`);
  const count = shape.includes(0) ? 0 : shape.reduce((product, size) => product * size, 1);
  const last = shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis], offset);
  // A tensor of more elements than its storage repeats some: expand() of a small one can claim any size.
  const required = count === 0 ? offset : Math.max(last + 1, count);
  if (!(required <= storage.elements)) {
    throw fail(
      `a tensor of shape [${shape}], strides [${strides}] at ${offset} needs ${required} elements, its storage ` +
        `has ${storage.elements}`,
    );
  }
  return { kind: "object", storage, offset, shape, strides };
}

function rebuildParameter(args: readonly PickleValue[], fail: Fail): TorchTensor {
  const [tensor, requiresGrad, hooks] = args;
  if (args.length !== 3 || !isTensor(tensor) || typeof requiresGrad !== "boolean" || !isEmptyDict(hooks)) {
    throw fail("required (tensor, requires_grad, no hooks) of a parameter");
  }
  return tensor;
}

/**
 * Reads a state dict, in the order it was written.
 * @param path named in errors
 * Nothing that the pickle names is run.
 * @throws Error when it is no state dict; it names byte, opcode, problem and remedy
 */
export function readStateDict(pickle: Uint8Array, path: string): Map<string, TorchTensor> {
  const value = readPickle(pickle, path, NAMES);
  if (!isKind(value, "dict")) {
    throw formatError(
      path,
      `required a dict of tensors, it holds ${describe(value)}; save model.state_dict()`,
    );
  }
  const tensors = new Map<string, TorchTensor>();
  for (const [name, tensor] of value.entries) {
    if (!isTensor(tensor)) {
      throw formatError(
        path,
        `required a dict of tensors, ${describe(name)} is ${describe(tensor)}; save model.state_dict() alone`,
      );
    }
    tensors.set(name, tensor);
  }
  return tensors;
}
