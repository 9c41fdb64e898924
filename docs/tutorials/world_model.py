"""# A world model, and planning in it

Collect random episodes of a pendulum, learn what actions do, imagine, and plan. It takes about a
minute on a CPU; a few more minutes of training make the plans as good as they get.
"""

# %%
# ## Episodes
#
# A source yields episodes. `Gym` collects random ones from any Gymnasium environment, once, and
# caches them. Recorded data works the same: Dreamer's `.npz`, Minari, D4RL, LeRobot and tables.

from lightning.pytorch import Trainer

from paratime import Encoder
from paratime.training import AdamW
from paratime.world import DynamicsTask, Gym, TrajectoryData

data = TrajectoryData(Gym("Pendulum-v1", episodes=60), sequence_length=64, batch_size=16)

# %%
# ## Train
#
# `DynamicsTask` predicts the next observation and the reward from all observations and actions so
# far. `WorldTask` does so with stochastic latents.

encoder = Encoder(32, depth=1, mlp_size=64)
task = DynamicsTask(encoder, optimizer=AdamW(lr=3e-3, weight_decay=0.01))
trainer = Trainer(
    max_steps=700,
    gradient_clip_val=1.0,
    limit_val_batches=0,
    logger=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(task, data)
trainer.save_checkpoint("pendulum.ckpt")

# %%
# ## How far ahead can it be trusted?
#
# `openloop` imagines from held-out episodes and compares with what happened. *Persistence* is the
# forecast that nothing changes. The last columns use the actions of another episode: if they do not
# hurt, the model ignores actions.

from tools import picture, shell

shell(
    "paratime world openloop --ckpt_path pendulum.ckpt --data gym:Pendulum-v1 --horizon 30 "
    "--out imagined.png"
)
picture("imagined.png", "Observations and rewards of real episodes, and as the model imagines them")

# %%
# ## Plan
#
# The cross-entropy method tries candidate action sequences in the model, keeps the best, and
# repeats. All candidates are one batch. Random actions earn about -1,200 in this environment.

shell(
    "paratime world plan --ckpt_path pendulum.ckpt --episodes 1 --planner CEM "
    "--planner.candidates 128 --planner.iterations 3"
)

# %%
# ## Next
#
# - `paratime fit -c configs/world/pendulum_dynamics.yaml` is the full-sized run.
# - [The guide](../guides/world.md): other data, images, latents, costs of your own.
