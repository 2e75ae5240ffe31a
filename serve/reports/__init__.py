"""HTML out of documents: the reports of refine and optimize, and a job while it goes on."""
