"""RecurrentPPO of sb3-contrib on CartPole without velocities: its own LSTMs, fastrnn's, and `resets=` for its loop.

    pip install '.[clients]'
    python -m bench.clients.recurrent_ppo --json bench/results/NAME.json

The policy sees where cart and pole are, not how fast they move, so it needs its LSTMs, one of the actor and one of
the critic. Several learn from the same seed, each with its own random numbers, and take turns: the library as it is;
with its LSTMs converted; and converted, with a policy that calls each LSTM once for a batch of sequences where the
library calls it for every step. A turn is a rollout and the update from it, and both are timed.

All compute the same function, so they choose the same actions until a difference in rounding changes one. From there on
each plays its own episodes, and only the returns can be compared. How soon that has to be expected is what the last
learner shows: the library as it is, from weights whose last bit is another.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.ppo_recurrent import MlpLstmPolicy
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from torch import Tensor

import fastrnn
from bench.clients.tables import LAST, LEARNERS, recurrent_ppo
from bench.turns import heading
from fastrnn._saving import write_text


class WithoutVelocities(gymnasium.ObservationWrapper):
    """CartPole whose two velocities read zero."""

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return observation * np.array([1, 0, 1, 0], observation.dtype)


class OneCall(MlpLstmPolicy):
    """The policy that leaves the beginnings of episodes to fastrnn's layer."""

    @staticmethod
    def _process_sequence(features: Tensor, lstm_states: Any, episode_starts: Tensor, lstm: Any) -> tuple[Tensor, Any]:
        """Features and starts of B sequences, one after the other, and the state (h, c), each (L, B, H)."""
        rows = lstm_states[0].size(1)
        sequences = features.view(rows, -1, lstm.input_size).transpose(0, 1)
        resets = episode_starts.view(rows, -1).transpose(0, 1) > 0
        output, lstm_states = lstm(sequences, lstm_states, resets=resets)
        return output.transpose(0, 1).flatten(0, 1), lstm_states


class Timed(RecurrentPPO):
    """RecurrentPPO that notes the seconds of its rollouts and updates."""

    def collect_rollouts(self, *args: Any, **options: Any) -> bool:
        return self._timed("rollout", super().collect_rollouts, *args, **options)

    def train(self) -> None:
        self._timed("update", super().train)

    def _timed(self, what: str, run: Callable[..., Any], *args: Any, **options: Any) -> Any:
        begin = time.perf_counter()
        result = run(*args, **options)
        self.__dict__.setdefault("seconds", {"rollout": [], "update": []})[what].append(time.perf_counter() - begin)
        return result


class Curve(BaseCallback):
    """Notes the actions of every step, and the return of every episode with the step at which it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.actions: list[list[int]] = []
        self.returns: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        self.actions.append(self.locals["actions"].tolist())
        self.returns += [
            (self.num_timesteps, float(info["episode"]["r"])) for info in self.locals["infos"] if "episode" in info
        ]
        return True


class Learner:
    """One of them. Its random numbers are its own, however many others learn in between."""

    def __init__(self, name: str, seed: int, envs: int, steps: int, batch: int, hidden: int) -> None:
        env = make_vec_env("CartPole-v1", n_envs=envs, seed=seed, wrapper_class=WithoutVelocities)
        policy = OneCall if name == LEARNERS[2] else MlpLstmPolicy
        self.model = Timed(
            policy,
            env,
            n_steps=steps,
            batch_size=batch,
            policy_kwargs={"lstm_hidden_size": hidden},
            seed=seed,
            device="cpu",
        )
        if name in LEARNERS[1:3]:
            fastrnn.convert(self.model.policy)
        if name == LEARNERS[3]:
            with torch.no_grad():
                for weight in self.model.policy.parameters():
                    weight.copy_(torch.nextafter(weight, torch.full_like(weight, torch.inf)))
        self.curve = Curve()
        self.turn_steps = envs * steps
        self.random = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002 (the library's)

    def turn(self) -> None:
        torch.set_rng_state(self.random[0])
        np.random.set_state(self.random[1])  # noqa: NPY002
        self.model.learn(self.turn_steps, callback=self.curve, reset_num_timesteps=False)
        self.random = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002


def learn(seed: int, timesteps: int, **sizes: int) -> dict[str, Any]:
    """The curves and times of all from one seed."""
    learners = {name: Learner(name, seed, **sizes) for name in LEARNERS}
    while learners[LEARNERS[0]].model.num_timesteps < timesteps:
        for learner in learners.values():
            learner.turn()
    first = learners[LEARNERS[0]].curve.actions
    return {
        "seed": seed,
        "contenders": [
            {
                "name": name,
                "seconds": learner.model.seconds,
                "returns": learner.curve.returns,
                "same actions": sizes["envs"] * agreement(first, learner.curve.actions),
                "steps": learner.model.num_timesteps,
            }
            for name, learner in learners.items()
        ],
    }


def agreement(first: list[Any], second: list[Any]) -> int:
    """The number of equal elements at the beginning."""
    pairs = enumerate(zip(first, second, strict=True))
    return next((number for number, (one, other) in pairs if one != other), len(first))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--seeds", default="0,1,2", help="with commas between them")
    parser.add_argument("--timesteps", type=int, default=40_960, help="of every learner")
    parser.add_argument("--envs", type=int, default=8, help="environments side by side")
    parser.add_argument("--steps", type=int, default=128, help="of a rollout in every environment")
    parser.add_argument("--batch", type=int, default=128, help="steps of a batch of the update")
    parser.add_argument("--hidden", type=int, default=64, help="units of each LSTM")
    given = parser.parse_args()
    packages = ("sb3-contrib", "stable-baselines3", "gymnasium")
    sizes = {name: getattr(given, name) for name in ("envs", "steps", "batch", "hidden")}
    found = heading("bench.clients.recurrent_ppo", *packages) | {**sizes, "runs": []}
    found["threads"] = torch.get_num_threads()
    for seed in map(int, given.seeds.split(",")):
        found["runs"].append(learn(seed, given.timesteps, **sizes))
        for each in found["runs"][-1]["contenders"]:
            update = statistics.median(each["seconds"]["update"])
            mean = statistics.mean([r for _, r in each["returns"]][-LAST:])
            print(f"seed {seed}, {each['name']}: {update:.3f} s an update, mean return {mean:.1f}", flush=True)
        if given.json:
            write_text(given.json, json.dumps(found) + "\n")
    print(recurrent_ppo(found))


if __name__ == "__main__":
    main()
