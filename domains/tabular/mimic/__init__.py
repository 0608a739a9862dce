"""MIMIC-III (Johnson et al. 2016, doi 10.1038/sdata.2016.35): the published CSV files, the cohort, and a generated stand-in."""
