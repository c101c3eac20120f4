/** Rotary angles: frequencies by the scalings of transformers, and their cosines and sines. */

/** `rope_scaling` of a Hugging Face config.json, with what it leaves out filled in. */
export type RopeScaling =
  | { type: "linear"; factor: number }
  | {
    type: "llama3";
    factor: number;
    lowFreqFactor: number;
    highFreqFactor: number;
    originalMaxPositions: number;
  }
  | {
    type: "yarn";
    factor: number;
    originalMaxPositions: number;
    /** Scales cosines and sines, and so queries and keys. */
    attentionFactor: number;
    /** Turns within the original positions: waves of at least betaFast are kept, of at most betaSlow stretched. */
    betaFast: number;
    betaSlow: number;
    /** Whether the bounds of the blend are whole pairs. */
    isTruncated: boolean;
  }
  | {
    type: "longrope";
    /** Of each pair's wave. */
    factors: readonly number[];
    attentionFactor: number;
  };

type Llama3 = RopeScaling & { type: "llama3" };
type Yarn = RopeScaling & { type: "yarn" };

/** Llama 3.1: long waves are stretched by `factor`, short ones kept, those between blended linearly in frequency. */
function llama3Frequency(frequency: number, scaling: Llama3): number {
  const { factor, lowFreqFactor, highFreqFactor, originalMaxPositions } = scaling;
  const turns = originalMaxPositions * frequency / (2 * Math.PI); // within the context the model was made for
  if (turns < lowFreqFactor) return frequency / factor;
  if (turns > highFreqFactor) return frequency;
  const blend = (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return (1 - blend) * frequency / factor + blend * frequency;
}

/** The share of pair c that is stretched: from 0 at the pair of betaFast turns to 1 at the one of betaSlow. */
function yarnStretch(headDim: number, theta: number, scaling: Yarn): (c: number) => number {
  const { betaFast, betaSlow, originalMaxPositions, isTruncated } = scaling;
  const pairOf = (turns: number) =>
    headDim * Math.log(originalMaxPositions / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
  const [first, last] = [pairOf(betaFast), pairOf(betaSlow)];
  const low = Math.max(isTruncated ? Math.floor(first) : first, 0);
  const high = Math.min(isTruncated ? Math.ceil(last) : last, headDim - 1);
  const width = low === high ? 0.001 : high - low; // as transformers keeps it from 0
  return (c) => Math.min(Math.max((c - low) / width, 0), 1);
}

/**
 * Angle per position of each of the headDim/2 pairs: theta^(-2c/headDim), then scaled. Radians.
 * As ROPE_INIT_FUNCTIONS of transformers/modeling_rope_utils.py.
 * @param headDim of the part of a head that is rotated
 * @throws RangeError when a longrope has factors for heads of another width
 */
export function ropeFrequencies(headDim: number, theta: number, scaling?: RopeScaling): Float64Array {
  const stretch = scaling?.type === "yarn" ? yarnStretch(headDim, theta, scaling) : undefined;
  if (scaling?.type === "longrope" && scaling.factors.length !== headDim / 2) {
    throw new RangeError(
      `Cannot make a rope for headDim ${headDim}: need ${
        headDim / 2
      } values of "short_factor" in config.json, ` +
        `got ${scaling.factors.length}`,
    );
  }
  return Float64Array.from({ length: headDim / 2 }, (_, c) => {
    const frequency = theta ** (-2 * c / headDim);
    switch (scaling?.type) {
      case undefined:
        return frequency;
      case "linear":
        return frequency / scaling.factor;
      case "llama3":
        return llama3Frequency(frequency, scaling);
      case "yarn":
        return frequency / scaling.factor * stretch!(c) + frequency * (1 - stretch!(c));
      case "longrope":
        return frequency / scaling.factors[c];
    }
  });
}

/** What cosines and sines are multiplied with. */
export function attentionFactorOf(scaling: RopeScaling | undefined): number {
  return scaling && "attentionFactor" in scaling ? scaling.attentionFactor : 1;
}

/**
 * cos and sin of position * frequency, times the attention factor, computed in f64 and rounded once.
 * @param theta `rope_theta` of config.json (10000 for Llama 2, 500000 for Llama 3)
 * @returns two row-major arrays [maxPositions, headDim/2]
 * @throws RangeError when headDim is not a multiple of 4
 */
export function ropeTable(maxPositions: number, headDim: number, theta: number, scaling?: RopeScaling) {
  if (headDim % 4 || headDim <= 0) {
    throw new RangeError(`Cannot make a rope table for headDim ${headDim}: need a positive multiple of 4`);
  }
  const frequencies = ropeFrequencies(headDim, theta, scaling);
  const factor = attentionFactorOf(scaling);
  const half = headDim / 2;
  const cos = new Float32Array(maxPositions * half);
  const sin = new Float32Array(maxPositions * half);
  for (let position = 0; position < maxPositions; position++) {
    for (let c = 0; c < half; c++) {
      cos[position * half + c] = Math.cos(position * frequencies[c]) * factor;
      sin[position * half + c] = Math.sin(position * frequencies[c]) * factor;
    }
  }
  return { cos, sin, shape: [maxPositions, half] as [number, number] };
}
