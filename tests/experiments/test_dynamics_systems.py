"""The simulated systems: their integrator beside scipy's, what they conserve, and their chaos."""

from dataclasses import replace

import numpy as np
import pytest
from systems import (
    SETTLING,
    Duffing,
    Lorenz96,
    advance,
    advance_slowly,
    largest_exponent,
    recording,
    trajectories,
)

SYSTEMS = pytest.mark.parametrize("system", (Duffing(), Lorenz96()), ids=("Duffing", "Lorenz96"))


@SYSTEMS
def test_the_integrator_agrees_with_its_slow_twin(system):
    states, drives = trajectories(system, 3, 5, seed=0)
    for t in range(5):
        found = advance_slowly(system, states[:, t], drives[:, t])
        np.testing.assert_allclose(states[:, t + 1], found, atol=1e-4)


@SYSTEMS
def test_half_the_step_has_a_sixteenth_of_the_error(system):
    states, drives = trajectories(system, 20, 1, seed=0)
    start, drive = states[:, 0], drives[:, 0]
    truth = advance_slowly(system, start, drive)
    coarse, fine = (
        np.abs(advance(replace(system, substeps=n), start, drive) - truth).mean() for n in (4, 8)
    )
    assert coarse / fine == pytest.approx(16, rel=0.25)


def test_the_oscillator_alone_keeps_its_energy_and_damping_takes_it():
    free = Duffing(damping=0.0, strength=0.0)
    states, _ = trajectories(free, 10, 500, seed=0)
    energy = free.energy(states)
    np.testing.assert_allclose(energy, energy[:, :1].repeat(501, axis=1), rtol=1e-3, atol=1e-5)
    damped = free.energy(trajectories(replace(free, damping=0.3), 10, 1, seed=0)[0])
    assert (damped[:, 1] < damped[:, 0]).all()


def test_advection_moves_energy_between_numbers_and_the_equilibrium_stays():
    system = Lorenz96(force=0.0)
    state = np.random.default_rng(0).normal(size=(10, system.size))
    change = (state * system.rate(state, np.zeros((10, 1)))).sum(axis=1)
    np.testing.assert_allclose(change, -np.square(state).sum(axis=1))
    still = np.full((1, 6), 8.0)
    np.testing.assert_allclose(advance(Lorenz96(), still, np.zeros((1, 1))), still)


@SYSTEMS
def test_the_largest_exponent_is_the_one_that_is_said(system):
    found = largest_exponent(system, episodes=128, steps=600, seed=3)
    assert found.mean() == pytest.approx(system.exponent, rel=0.05)


def test_the_largest_exponent_of_the_model_of_forty_numbers_is_the_published_one():
    """1.68 by Vlachas et al. (arXiv 1910.05266)."""
    found = largest_exponent(Lorenz96(size=40, substeps=2), episodes=16, steps=1000, seed=0)
    assert found.mean() == pytest.approx(1.68, rel=0.03)


def test_a_stable_system_has_the_exponent_of_its_linear_part():
    """Without drive the oscillator rests at x = 1, where the real parts are -damping / 2."""
    system = Duffing(damping=0.4, strength=0.0)
    found = largest_exponent(system, episodes=4, steps=2000, seed=0)
    np.testing.assert_allclose(found, -0.2, atol=0.01)


def test_an_action_leads_from_its_observation_to_the_next():
    system = Duffing()
    for episode in recording(system, (0, 1), episodes=3, steps=20, seed=0).episodes:
        seen = episode.observation["observation"].astype(np.float64)
        found = advance(system, seen[:-1], episode.action.astype(np.float64))
        np.testing.assert_allclose(found, seen[1:], atol=1e-5)


@SYSTEMS
def test_seeds_tell_trajectories_apart(system):
    one, again, other = (trajectories(system, 2, 10, seed)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).min(axis=(1, 2)).max() > 0
    assert one.shape == (2, 11, system.size)


def test_what_is_not_observed_is_left_out_and_settling_is_not_recorded():
    seen = recording(Lorenz96(), (0, 2), episodes=1, steps=4, seed=0).episodes[0]
    states, _ = trajectories(Lorenz96(), 1, SETTLING + 4, seed=0)
    assert seen.observation["observation"].shape == (5, 2)
    settled, _ = trajectories(Lorenz96(), 1, 4, seed=0)
    np.testing.assert_allclose(seen.observation["observation"], settled[0, :, [0, 2]].T, rtol=1e-6)
    np.testing.assert_array_equal(states[:, :5], settled)
