"""# A world model, and planning in it

Collect random episodes of a pendulum, learn what actions do, imagine, and plan. It takes about a
minute on a CPU; a few more minutes of training make the plans as good as they get.
"""

# %%
# ## Episodes
#
# A source yields episodes. `gym:ID` collects random ones from any Gymnasium environment, once, and
# caches them. Recorded data works the same: Dreamer's `.npz`, Minari, D4RL, LeRobot and tables.
# `inspect` prints what is in it, and which action explains the next observation.

from pathlib import Path

from tools import picture, shell

shell("paratime world inspect --source Gym --source.environment Pendulum-v1 --source.episodes 60")

# %%
# ## Train
#
# `DynamicsTask` predicts the next observation and the reward from all observations and actions so
# far. `WorldTask` does so with stochastic latents. The config
# `configs/world/pendulum_dynamics.yaml` trains for longer on more episodes.

shell(
    "paratime fit --model DynamicsTask --model.encoder.width 32 --model.encoder.depth 1 "
    "--model.encoder.mlp_size 64 --model.optimizer.lr 3e-3 --data TrajectoryData "
    "--data.source Gym --data.source.environment Pendulum-v1 --data.source.episodes 60 "
    "--data.sequence_length 64 --data.batch_size 16 --trainer.max_steps 600 "
    "--trainer.val_check_interval 600 --trainer.gradient_clip_val 1.0 "
    "--trainer.enable_progress_bar false --trainer.enable_model_summary false"
)
next(Path("lightning_logs").rglob("*.ckpt")).rename("pendulum.ckpt")

# %%
# ## How far ahead can it be trusted?
#
# `openloop` imagines from held-out episodes and compares with what happened. *Persistence* is the
# forecast that nothing changes. The last columns use the actions of another episode: if they do not
# hurt, the model ignores actions.

shell(
    "paratime world openloop --ckpt_path pendulum.ckpt --source Gym "
    "--source.environment Pendulum-v1 --source.episodes 60 --horizon 30 "
    "--out imagined.png"
)
picture("imagined.png", "Observations and rewards of real episodes, and as the model imagines them")

# %%
# ## Plan
#
# The cross-entropy method tries candidate action sequences in the model, keeps the best, and
# repeats. All candidates are one batch. `plan` prints random actions, and none, on the same seeds.

shell(
    "paratime world plan --ckpt_path pendulum.ckpt --episodes 1 --planner CEM "
    "--planner.candidates 128 --planner.iterations 3"
)

# %%
# ## Next
#
# - `paratime fit -c configs/world/pendulum_dynamics.yaml` is the full-sized run.
# - [The guide](../guides/world.md): other data, images, latents, costs of your own.
