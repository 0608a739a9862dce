"""Tables of people: UCI Adult, pairs that change a sensitive attribute, group fairness, baselines."""
