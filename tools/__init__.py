"""The tools of the agents: the diffusion model, the scorers, the Evaluator that joins them, and the solvers."""
