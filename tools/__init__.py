"""What acts on the world: the diffusion model, the scorers, the evaluator that joins them, and the solvers."""
