/** Tensors by name, in objects and lists: what a replayed function takes and gives. */
import type { Tensor } from "@tensorflow/tfjs";
import * as tf from "@tensorflow/tfjs";
import { emptyTensor } from "./tensors.ts";

const isTensor = (value: unknown): value is Tensor => value instanceof tf.Tensor;

/** The tensors of a tree, in its order. */
export function tensorsOf(tree: unknown): Tensor[] {
  if (isTensor(tree)) return [tree];
  if (tree === null || typeof tree !== "object") return [];
  return Object.values(tree).flatMap(tensorsOf);
}

/** The same tree with new tensors of the same shapes in it, whose contents are undefined. */
export function sameShaped<Tree>(tree: Tree): Tree {
  const copied = (value: unknown): unknown => {
    if (isTensor(value)) return emptyTensor(value.shape, value.dtype as "float32" | "int32");
    if (Array.isArray(value)) return value.map(copied);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, copied(part)]));
  };
  return copied(tree) as Tree;
}
