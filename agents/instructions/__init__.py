"""Learning an instruction: text gradients, the modifier that turns them into instructions, and the bandit that keeps the best."""
