/** Faults of several costs and rewards, and of how advantages are composed of them. */
import type { Fault } from "../fault.ts";

const COMPOSED = ["unit/composition.test.ts", "gpu/training_costs.test.ts"];

export const faults: readonly Fault[] = [
  {
    file: "src/rl/quadrants.ts",
    find: "Math.max(...lists.map((costs) => costs[i]))",
    replace: "Math.min(...lists.map((costs) => costs[i]))",
    harm: "a completion counts as safe where one of its costs is",
    tests: ["unit/scores_by_name.test.ts", "unit/scorer_names.test.ts"],
    claim: 4,
  },
  {
    file: "src/rl/composition.ts",
    find: "weights: lambdas.map((lambda) => -lambda)",
    replace: "weights: lambdas.map((lambda) => lambda)",
    harm: "costs are sought where advantages are composed apart",
    tests: COMPOSED,
  },
  {
    file: "src/rl/composition.ts",
    find: 'isWhitened: composition === "gdpo"',
    replace: "isWhitened: false",
    harm: "gdpo leaves the sum as it is: the step grows with the lambdas",
    tests: COMPOSED,
  },
  {
    file: "src/rl/composition.ts",
    find: "(sum, { lambdas }) => sum + lambdas[i], 1)",
    replace: "(sum, { lambdas }) => sum + lambdas[0], 1)",
    harm: "ppo_lag divides the completions of all ranks by the lambdas of the first",
    tests: COMPOSED,
  },
  {
    file: "src/ops/loss/group_advantages.ts",
    find: "return isWhitened ? groupAdvantages(sum, sum.size",
    replace: "return isWhitened ? groupAdvantages(sum, groupSize",
    harm: "gdpo whitens each group in the place of the batch",
    tests: ["parity/parity.test.ts#Advantages"],
  },
  {
    file: "src/train/weighed_scores.ts",
    find: "costsOf(own, name), settings), updates",
    replace: "own.costs, settings), updates",
    harm: "every lambda weighs the largest cost, and none its own",
    tests: ["gpu/training_costs.test.ts#moves the lambda"],
  },
  {
    file: "src/train/weighed_scores.ts",
    find: "rankLambdas?.[Math.floor(i / perRank)][k].lambda ?? updates[k].lambda",
    replace: "updates[k].lambda",
    harm: "ranks with lambdas of their own disagree about the advantages of one batch",
    tests: ["gpu/training_costs.test.ts#two ranks"],
  },
  {
    file: "src/config/constraints.ts",
    find: "entry[key] !== undefined).map(",
    replace: "entry[key] === undefined).map(",
    harm: "what an entry of costs sets for its lambda is not heard",
    tests: ["unit/constraints.test.ts"],
  },
  {
    file: "src/config/constraints.ts",
    find: "entry.model === undefined ? cost_label : null",
    replace: "cost_label",
    harm: "a cost's own model is read by the label of another",
    tests: ["unit/constraints.test.ts"],
  },
  {
    file: "src/scorer/by_name.ts",
    find: "rewards[k].weight * values[i]",
    replace: "values[i]",
    harm: "a reward of weight 0 is sought",
    tests: ["unit/scores_by_name.test.ts"],
  },
  {
    file: "src/scorer/by_name.ts",
    find: "  ofCosts?.forEach((values, k) => assertEach(values, costs![k].name));\n",
    replace: "",
    harm: "a completion without a cost makes lambda and the cost of its batch NaN",
    tests: ["unit/scores_by_name.test.ts"],
  },
  {
    file: "src/scorer/client.ts",
    find: "const others = Object.keys(named);",
    replace: "const others = names;",
    harm: "scores of services with other names are laid over each other",
    tests: ["unit/scorer_names.test.ts"],
  },
  {
    file: "src/scorer/apis/api.ts",
    find: "names.length > 1 && !named.includes(kind)",
    replace: "false",
    harm: "of several costs that the settings do not name one lambda weighs the largest, without a word",
    tests: ["unit/scorer_names.test.ts"],
  },
  {
    file: "src/assembly/score_models.ts",
    find: "[[`costs/${name}`, lists[k]] as const]",
    replace: "[[`costs/${name}`, lists[0]] as const]",
    harm: "every cost is scored by the first model",
    tests: ["e2e/config_effects.test.ts#costs="],
  },
];
