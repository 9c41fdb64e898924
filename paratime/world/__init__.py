"""World models: action-conditioned trajectories, imagination and planning.

Tasks: ``DynamicsTask`` (deterministic), ``WorldTask`` (with latents) and their base
``TrajectoryTask``; the rollout modes ``RolloutMode``.

Data: ``TrajectoryData``, which gives tasks a ``TrajectorySpec`` with ``Moments``; the sources
``D4RL``, ``Gym``, ``InMemory``, ``LeRobot``, ``Minari``, ``Npz`` and ``Table``, and their base
``Source``; ``trajectory_source`` for the source that a path means; ``Recording``, ``Episode``,
``make_episode``, ``Layout``, ``align_episode``, ``Whole`` and ``padded``; ``write_minari`` and
``write_npz``.

Environments: ``make_environment``, ``run_episode`` and ``random_episodes``.

Networks: ``WorldModel``, ``DynamicsNetwork`` and ``RSSM``, which return a ``Prediction``; the
latents ``Categorical`` and ``Gaussian``; the reward heads ``MSE``, ``Symlog`` and ``TwoHot``.

Planning: ``Agent`` with one of the planners ``CEM``, ``MPPI`` and ``RandomShooting``, and their
base ``Planner``; ``planning_agent`` for a trained model, its ``planning_policy`` and the
``policies`` that it is compared with, and ``FIRST_SEED``.

Evaluation: ``load`` for the task of a checkpoint, ``unseen_episodes``; ``open_loop``, which returns
an ``OpenLoop``, ``RolloutScores``, ``score_rollouts``, ``step_errors`` and ``HORIZONS``; the
callback ``RolloutVideos``.
"""

from typing import TYPE_CHECKING

from paratime import lazy

if TYPE_CHECKING:
    from paratime.world.commands.plan import FIRST_SEED as FIRST_SEED
    from paratime.world.commands.plan import planning_agent as planning_agent
    from paratime.world.commands.plan import planning_policy as planning_policy
    from paratime.world.commands.plan import policies as policies
    from paratime.world.data.datamodule import TrajectoryData as TrajectoryData
    from paratime.world.data.environment import make_environment as make_environment
    from paratime.world.data.episode import Episode as Episode
    from paratime.world.data.episode import Layout as Layout
    from paratime.world.data.episode import align_episode as align_episode
    from paratime.world.data.episode import make_episode as make_episode
    from paratime.world.data.sources.base import InMemory as InMemory
    from paratime.world.data.sources.base import Recording as Recording
    from paratime.world.data.sources.base import Source as Source
    from paratime.world.data.sources.catalog import trajectory_source as trajectory_source
    from paratime.world.data.sources.d4rl import D4RL as D4RL
    from paratime.world.data.sources.dreamer import Npz as Npz
    from paratime.world.data.sources.dreamer import write_npz as write_npz
    from paratime.world.data.sources.gym import Gym as Gym
    from paratime.world.data.sources.gym import random_episodes as random_episodes
    from paratime.world.data.sources.gym import run_episode as run_episode
    from paratime.world.data.sources.minari import Minari as Minari
    from paratime.world.data.sources.minari import write_minari as write_minari
    from paratime.world.data.sources.table import LeRobot as LeRobot
    from paratime.world.data.sources.table import Table as Table
    from paratime.world.data.spec import Moments as Moments
    from paratime.world.data.spec import TrajectorySpec as TrajectorySpec
    from paratime.world.data.windows import Whole as Whole
    from paratime.world.data.windows import padded as padded
    from paratime.world.evaluation.loading import load as load
    from paratime.world.evaluation.loading import unseen_episodes as unseen_episodes
    from paratime.world.evaluation.report import score_rollouts as score_rollouts
    from paratime.world.evaluation.tensorboard import RolloutVideos as RolloutVideos
    from paratime.world.model.base import Prediction as Prediction
    from paratime.world.model.base import WorldModel as WorldModel
    from paratime.world.model.dynamics import DynamicsNetwork as DynamicsNetwork
    from paratime.world.model.dynamics import RolloutMode as RolloutMode
    from paratime.world.model.metrics import HORIZONS as HORIZONS
    from paratime.world.model.metrics import step_errors as step_errors
    from paratime.world.model.rewards import MSE as MSE
    from paratime.world.model.rewards import Symlog as Symlog
    from paratime.world.model.rewards import TwoHot as TwoHot
    from paratime.world.model.rollout import OpenLoop as OpenLoop
    from paratime.world.model.rollout import RolloutScores as RolloutScores
    from paratime.world.model.rollout import open_loop as open_loop
    from paratime.world.model.rssm import RSSM as RSSM
    from paratime.world.model.rssm import Categorical as Categorical
    from paratime.world.model.rssm import Gaussian as Gaussian
    from paratime.world.model.task import DynamicsTask as DynamicsTask
    from paratime.world.model.task import TrajectoryTask as TrajectoryTask
    from paratime.world.model.task import WorldTask as WorldTask
    from paratime.world.planning.planners import CEM as CEM
    from paratime.world.planning.planners import MPPI as MPPI
    from paratime.world.planning.planners import Agent as Agent
    from paratime.world.planning.planners import Planner as Planner
    from paratime.world.planning.planners import RandomShooting as RandomShooting

__getattr__, __dir__, __all__ = lazy.attach(__name__)
