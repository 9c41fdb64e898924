"""Names of metrics and curves: their order and meaning."""

from paratime.compare import glossary


def test_names_are_in_order_of_their_horizons():
    names = ["error@10", "error@1", "error@50", "reward_error", "odd@a"]
    expected = ["error@1", "error@10", "error@50", "reward_error", "odd@a"]
    assert glossary.by_horizon(names) == expected


def test_each_name_is_explained_once_with_its_unit():
    found = glossary.explained("trajectories", ["val/nrmse@10", "nrmse@1", "train/loss", "mine"])
    assert [*found] == ["nrmse@h", "loss"]
    assert found["nrmse@h"].endswith("(standard deviations of the training data; lower is better)")
    assert glossary.explained("a domain of one's own", ["loss"]) == {}
