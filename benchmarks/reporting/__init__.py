"""From what a run left behind to what a reader sees: figures, targets, comparisons, tables, plots.
Measures nothing; imports `benchmarks.harness` for the words and for reading the JSON.
"""
