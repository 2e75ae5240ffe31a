"""Learning an instruction: text gradients, the modifier that turns them into instructions, and the bandit that selects the best."""
