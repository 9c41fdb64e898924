"""What the command lines share: the parser, its messages, and facts about the installation."""
