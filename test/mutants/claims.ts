/** Ten claims that a long run rests on. Each has faults (faults/, `claim`) that break it, and tests that notice. */
export const CLAIMS: readonly string[] = [
  "A restarted run samples only the steps after its newest checkpoint.",
  "A stop string ends a completion, is not scored in training and evaluation, is trained on, counts as " +
  "terminated, and its made-up turn is counted.",
  "SIGINT: a checkpoint after the step in progress, exit code 130, no final or merged weights, the " +
  "same command goes on, a second one ends at once.",
  "Every configuration key reaches what it is for.",
  "Gradients of every parameter, biases included, from two micro-batches equal those of one.",
  "Every op equals its twin where its grid folds, at an odd number of workgroups above 65535.",
  "No op leaves a word of its outputs unwritten.",
  "What is due every k steps happens in the generation batch that holds a multiple of k.",
  "A step whose loss or gradient is not finite leaves weights and moments as they are and is counted, a failure amid " +
  "an update saves nothing, and skipped checkpoints are named.",
  "Rows per pass divide every batch size from 1 to 64, the GPU's budget is the least of all GPUs in " +
  "MiB, and refusals on resume name the key.",
];
