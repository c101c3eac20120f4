/** How far one next-token distribution is from another, in f64. Pure. */

/**
 * KL(p || q) = sum over v of p_v (log p_v - log q_v), nats, of the distributions softmax(logits) and softmax(base).
 * @param logits [V] of the policy, @param base [V] of what it is held against
 * @throws RangeError when they are not as many
 */
export function vocabularyKlF64(logits: ArrayLike<number>, base: ArrayLike<number>): number {
  if (logits.length !== base.length) {
    throw new RangeError(
      `Cannot compare distributions: required as many logits of both, got ${logits.length} and ${base.length}; take ` +
        "models of one vocabulary",
    );
  }
  const [own, other] = [logSumExp(logits), logSumExp(base)];
  let sum = 0;
  for (let v = 0; v < logits.length; v++) {
    const logP = logits[v] - own;
    sum += Math.exp(logP) * (logP - (base[v] - other));
  }
  return sum;
}

function logSumExp(values: ArrayLike<number>): number {
  let most = -Infinity;
  for (let v = 0; v < values.length; v++) most = Math.max(most, values[v]);
  let sum = 0;
  for (let v = 0; v < values.length; v++) sum += Math.exp(values[v] - most);
  return most + Math.log(sum);
}
