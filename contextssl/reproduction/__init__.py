"""Tables of papers, made again: what to run, running it, and the table with the paper's numbers beside ours."""
