"""``paratime doctor``: the state of a trained model's layers, with advice."""
