"""
The quickstart by TRL's GRPOTrainer on the CPU, a step at a time.

    python3 bench/peers/trl_quickstart.py FOLDER THREADS

FOLDER/task.json holds the settings of the run (config), the model's folder, the prompts (ids and the user's words) and the
scorer's address. It answers once the first step may begin; asked {"do": "step"}, it takes one and answers with what it saw.
"""
import json
import math
import os
import pathlib
import statistics
import sys
import urllib.request

from python_lines import answer, asked, lack

try:
    import datasets
    import torch
    import transformers
    import trl
except ImportError as error:
    lack(error)

folder, threads = pathlib.Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(threads)
task = json.loads((folder / "task.json").read_text())
config = task["config"]

# Settings that both programs know by one name.
SAME = """
num_generations max_completion_length temperature top_p top_k min_p repetition_penalty loss_type importance_sampling_level
beta use_bias_correction_kl epsilon epsilon_high delta num_iterations scale_rewards mask_truncated_completions learning_rate
lr_scheduler_type warmup_steps max_steps per_device_train_batch_size gradient_accumulation_steps steps_per_generation
weight_decay adam_beta1 adam_beta2 adam_epsilon max_grad_norm logging_steps seed
""".split()


class LagrangianReward:
    """R - lambda C with the scorer's R and C; lambda moves first, as src/rl/lambda.ts has it."""

    __name__ = "combined"

    def __init__(self):
        self.value, self.average = config["lambda_cost"], None
        self.seen = {}

    def __call__(self, prompts, completions, completion_ids, user, **kwargs):
        body = json.dumps({"prompts": user, "responses": completions}).encode()
        request = urllib.request.Request(f"{task['scorer']}/score_batch", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=config["scorer_timeout"]) as response:
            scores = json.load(response)
        rewards, costs = scores["rewards"], scores["costs"]
        violation = statistics.fmean(costs) + config["cost_threshold_d"]
        if config["lambda_pos_cost_only"]:
            violation = max(violation, 0.0)
        memory = config["jc_ema_beta"]
        self.average = violation if self.average is None else memory * self.average + (1 - memory) * violation
        if config["lambda_adapt"]:
            moved = math.exp(math.log(max(self.value, 1e-12)) + config["lambda_lr"] * self.average)
            self.value = min(max(moved, config["lambda_min"]), config["lambda_max"])
        self.seen = {"reward": statistics.fmean(rewards), "cost": statistics.fmean(costs), "completions": len(completions),
                     "tokens": statistics.fmean(map(len, completion_ids)), "lambda": self.value}
        return [reward - self.value * cost for reward, cost in zip(rewards, costs)]


class Turns(transformers.TrainerCallback):
    """Waits before each step until it is asked for; what lies between two steps is time of the first."""

    def __init__(self, reward):
        self.reward = reward

    def on_step_begin(self, *args, **kwargs):
        answer(trl=trl.__version__, torch=torch.__version__, **self.reward.seen)
        if asked() is None:
            os._exit(0)  # nobody asks any more


def rows(tokenizer):
    """Prompts as text, of which the tokenizer makes our ids again."""
    texts = [tokenizer.decode(prompt["ids"], skip_special_tokens=True) for prompt in task["prompts"]]
    for text, prompt in zip(texts, task["prompts"]):
        found = tokenizer(text)["input_ids"]
        if found != prompt["ids"]:
            raise ValueError(f"{text!r} is {prompt['ids']} here and {found} in transformers; need the same prompts")
    return [{"prompt": text, "user": prompt["user"]} for text, prompt in zip(texts, task["prompts"])]


def main():
    tokenizer = transformers.AutoTokenizer.from_pretrained(task["model"])
    reward = LagrangianReward()
    args = trl.GRPOConfig(
        output_dir=str(folder), use_cpu=True, bf16=False, fp16=False, gradient_checkpointing=False, report_to=[],
        save_strategy="no", disable_tqdm=True, dataloader_pin_memory=False, optim="adamw_torch_fused",
        model_init_kwargs={"dtype": "float32", "attn_implementation": "sdpa"}, **{key: config[key] for key in SAME})
    trainer = trl.GRPOTrainer(
        model=task["model"], reward_funcs=reward, args=args, processing_class=tokenizer,
        train_dataset=datasets.Dataset.from_list(rows(tokenizer)), callbacks=[Turns(reward)])
    trainer.train()


try:
    main()
except Exception as error:  # told to the one who asked, who ends this program
    answer(error=f"{type(error).__name__}: {error}")
