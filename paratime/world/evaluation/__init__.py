"""How far ahead a trained model can be trusted."""
