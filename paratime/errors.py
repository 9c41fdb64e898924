"""The one exception for values that a caller can mend."""


class InputError(ValueError):
    """A value is unusable as given; the message is one line with the remedy.

    Args:
        what: The value's name, as the caller knows it.
        expected: What would have been accepted.
        got: What came.
        remedy: What to do next.
    """

    def __init__(self, what: str, expected: str, got: str, remedy: str) -> None:
        super().__init__(what, expected, got, remedy)

    def __str__(self) -> str:
        what, expected, got, remedy = self.args
        return f"{what}: expected {expected}, got {got}; {remedy}"
