"""HTML reports of refine and optimize, and the page of a running job."""
