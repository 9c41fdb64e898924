"""Systems whose state is known to be nonlinear: Lorenz-96, and a Duffing oscillator with a drive.

Both are integrated by the classical method of Runge and Kutta, all episodes at once. What drives a
system is held between two samples, so that it is exactly the action of that step. ``advance`` has a
slow twin, scipy's DOP853 at a tolerance of 1e-11.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from paratime.world import Recording, make_episode

Floats = NDArray[np.float64]
SETTLING = 400
"""Samples that are left out before an episode, in which the state reaches the attractor."""


class System(ABC):
    """Equations of motion of E independent episodes; every system is a frozen dataclass.

    Attributes:
        size: Numbers N of the state.
        sample: Time between two samples.
        substeps: Steps of the integrator from one sample to the next.
        exponent: Largest Lyapunov exponent, by time, as ``largest_exponent`` finds it.
    """

    size: int
    sample: float
    substeps: int
    exponent: float

    @abstractmethod
    def rate(self, state: Floats, drive: Floats) -> Floats:
        """Return the change by time of states (E, N) under drives (E, 1)."""

    @abstractmethod
    def start(self, random: np.random.Generator, episodes: int) -> Floats:
        """Draw states (E, N) that need not be on the attractor."""

    @abstractmethod
    def drive(self, random: np.random.Generator, episodes: int, steps: int) -> Floats:
        """Draw what drives each episode from a sample to the next, (E, steps, 1)."""


@dataclass(frozen=True)
class Lorenz96(System):
    """The model of Lorenz (1996, Predictability: a problem partly solved), nothing drives it.

        dx[i]/dt = (x[i+1] - x[i-2]) x[i-1] - x[i] + force,  i modulo the size.

    Args:
        size: Numbers N of the state.
        force: Constant force; 8 is chaotic.
    """

    size: int = 6
    force: float = 8.0
    sample: float = 0.05
    substeps: int = 5
    exponent: float = 0.954

    def rate(self, state: Floats, drive: Floats) -> Floats:
        """Return advection, damping and force."""
        before, ahead = np.roll(state, 1, axis=-1), np.roll(state, -1, axis=-1)
        return (ahead - np.roll(state, 2, axis=-1)) * before - state + self.force

    def start(self, random: np.random.Generator, episodes: int) -> Floats:
        """Draw states around the equilibrium."""
        return self.force + random.normal(size=(episodes, self.size))

    def drive(self, random: np.random.Generator, episodes: int, steps: int) -> Floats:
        """Return zeros."""
        return np.zeros((episodes, steps, 1))


@dataclass(frozen=True)
class Duffing(System):
    """A driven oscillator in a double well (Moon and Holmes 1979), state (x, v).

        dx/dt = v,  dv/dt = x - x^3 - damping v + u.

    The drive u is ``strength`` cos(phase); the phase advances by ``frequency`` by time, and jitters
    at each sample, so that it cannot be foretold for long.

    Args:
        damping: Of the velocity.
        strength: Largest drive.
        frequency: Mean advance of the phase, in radians by time.
        jitter: Standard deviation of what is added to it at each sample, in radians.
    """

    damping: float = 0.3
    strength: float = 0.5
    frequency: float = 1.2
    jitter: float = 0.1
    size: int = 2
    sample: float = 0.2
    substeps: int = 4
    exponent: float = 0.139

    def rate(self, state: Floats, drive: Floats) -> Floats:
        """Return velocity and acceleration."""
        x, v = state[..., 0], state[..., 1]
        return np.stack([v, x - x**3 - self.damping * v + drive[..., 0]], axis=-1)

    def start(self, random: np.random.Generator, episodes: int) -> Floats:
        """Draw positions and velocities."""
        return random.normal(size=(episodes, self.size))

    def drive(self, random: np.random.Generator, episodes: int, steps: int) -> Floats:
        """Draw phases, and return the drives."""
        first = random.uniform(0, 2 * np.pi, size=(episodes, 1))
        jitter = self.jitter * random.normal(size=(episodes, steps))
        phase = first + np.cumsum(self.frequency * self.sample + jitter, axis=1)
        return self.strength * np.cos(phase)[..., None]

    def energy(self, state: Floats) -> Floats:
        """Return what stays as it is without damping and drive, (...,)."""
        x, v = state[..., 0], state[..., 1]
        return v**2 / 2 - x**2 / 2 + x**4 / 4


def advance(system: System, state: Floats, drive: Floats) -> Floats:
    """Return the states (E, N) at the next sample."""
    step = system.sample / system.substeps
    for _ in range(system.substeps):
        a = system.rate(state, drive)
        b = system.rate(state + step / 2 * a, drive)
        c = system.rate(state + step / 2 * b, drive)
        d = system.rate(state + step * c, drive)
        state = state + step / 6 * (a + 2 * b + 2 * c + d)
    return state


def advance_slowly(system: System, state: Floats, drive: Floats) -> Floats:
    """Return the same by scipy's DOP853."""
    ends = [
        solve_ivp(
            lambda _, x, u=u: system.rate(x, u),
            (0, system.sample),
            x,
            method="DOP853",
            rtol=1e-11,
            atol=1e-11,
        ).y[:, -1]
        for x, u in zip(state, drive, strict=True)
    ]
    return np.stack(ends)


def trajectories(system: System, episodes: int, steps: int, seed: int) -> tuple[Floats, Floats]:
    """Return states (E, steps + 1, N) on the attractor, and the drives between, (E, steps, 1)."""
    states, drives = zip(*_samples(system, episodes, SETTLING + steps, seed), strict=True)
    states, drives = (np.stack(x[SETTLING:], axis=1) for x in (states, drives))
    return states, drives[:, :-1]


def _samples(
    system: System, episodes: int, steps: int, seed: int
) -> Iterator[tuple[Floats, Floats]]:
    """Yield ``steps + 1`` states (E, N), each with the drive that follows it, (E, 1)."""
    random = np.random.default_rng(seed)
    state, drives = system.start(random, episodes), system.drive(random, episodes, steps + 1)
    for drive in drives.swapaxes(0, 1):
        yield state, drive
        state = advance(system, state, drive)


@lru_cache
def recording(
    system: System,
    observed: tuple[int, ...],
    episodes: int,
    steps: int,
    seed: int,
    noise: float = 0.0,
) -> Recording:
    """Return episodes in which some of the numbers of the state are seen, and no rewards.

    What is seen has white noise of so many standard deviations of each number.
    """
    states, drives = trajectories(system, episodes, steps, seed)
    seen = states[..., observed]
    white = np.random.default_rng([seed, 1]).normal(size=seen.shape)
    seen = seen + noise * seen.std((0, 1)) * white
    nothing = np.zeros(steps)
    return Recording(
        [
            make_episode(f"episode {n}", x, u, nothing, terminated=False)
            for n, (x, u) in enumerate(zip(seen, drives, strict=True))
        ]
    )


def largest_exponent(system: System, episodes: int, steps: int, seed: int) -> Floats:
    """Return the largest Lyapunov exponent of each episode, by time, (E,).

    The method of Benettin et al. (1980, Meccanica 15): the mean rate at which a neighbour, under
    the same drive, goes away, brought back to a distance of 1e-7 at each sample.
    """
    distance, random = 1e-7, np.random.default_rng(seed)
    apart = random.normal(size=(episodes, system.size))
    growth = np.zeros(episodes)
    for n, (state, drive) in enumerate(_samples(system, episodes, SETTLING + steps - 1, seed)):
        apart *= distance / np.linalg.norm(apart, axis=1, keepdims=True)
        apart = advance(system, state + apart, drive) - advance(system, state, drive)
        if n >= SETTLING:
            growth += np.log(np.linalg.norm(apart, axis=1) / distance)
    return growth / (steps * system.sample)
